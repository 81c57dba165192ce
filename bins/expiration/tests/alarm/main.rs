//! The alarm over a real store and a real redis-server.
//!
//! A step is taken by hand where what it does is looked at, and the clock is the test's: nothing here waits for a
//! deadline to pass. Only where the loop itself is the matter does it run.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets what it does not expect has failed"
)]

mod faults;
mod ringing;
mod world;
