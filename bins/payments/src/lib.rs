//! payments: takes the money for an order through Stripe, and gives it back.
pub mod domain;
pub mod stripe;
