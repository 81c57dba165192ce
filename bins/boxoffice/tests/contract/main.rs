//! The HTTP contract, row by row, good and bad, against the real program: every status, every header that a client
//! may rely on, and a problem that names the field for everything that is refused.
//!
//! What happens when something is killed, cut or flushed is not here; that is what the `system` tests are for.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod app;
mod checks;
mod description;
mod edges;
mod forged_tokens;
mod fuzz;
mod idempotency;
mod inside;
mod lists;
mod live;
mod matrix;
mod orders;
mod pages;
mod payments;
mod refusals;
mod selling;
mod sessions;
mod throttling;
mod tickets;
mod trusted_key;
mod users;
mod wire;
