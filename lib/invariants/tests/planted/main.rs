//! Good books pass, and whatever is planted in them is found, named and said in plain words.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "to plant one thing is to leave all others as they are"
)]

mod paid;
mod planted;
mod promised;
mod timed;
mod world;
