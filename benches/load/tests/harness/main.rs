//! The harness itself, on real sockets and as a real process: what it measures must be what there is.

mod command;
mod coordinated_omission;
mod stalling;
