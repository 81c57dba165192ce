//! A service over real sockets, a real store and a real Redis: what every service gets from this crate.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it should be"
)]

mod alerts;
mod clocks;
mod everyday;
mod example;
mod inside;
mod overload;
mod set_back;
mod stall;
mod unheard;
mod world;
