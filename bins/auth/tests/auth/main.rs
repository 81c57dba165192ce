//! The auth service over real sockets, with a real store and a real Redis: every row of the contract, good and bad.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it should be"
)]

mod accounts;
mod limits;
mod process;
mod sessions;
mod support;
