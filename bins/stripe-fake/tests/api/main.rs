//! The stand-in over real HTTP: its API, its page, its webhooks, its books and its faults.

mod books;
mod checkout;
mod faults;
mod idempotency;
mod intents;
mod page;
mod process;
mod support;
mod webhooks;
