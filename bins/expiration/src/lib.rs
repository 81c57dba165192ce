//! expiration
pub mod domain;
