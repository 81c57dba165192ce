//! What each service's main shares.

mod clock;
pub mod http;
pub mod trace;

pub use clock::Clock;
