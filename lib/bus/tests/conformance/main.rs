//! What the bus promises, shown on a real redis-server and real stores.
//!
//! The suite names no Redis command where it states a promise; where it damages something, it does so the way
//! it happens: a kill, a flush, a deleted group, an entry that nobody of ours wrote.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets what it does not expect has failed"
)]

mod adoption;
mod author;
mod chaos;
mod consumer;
mod faults;
mod inquiry;
mod metrics;
mod poison;
mod relay;
mod replay;
mod scheduled_set;
mod sentinel;
mod snapshots;
mod steps;
mod system;
mod tls;
mod trimming;
