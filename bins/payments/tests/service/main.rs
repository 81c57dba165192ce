//! The payments service over real HTTP, with a real redis-server, real stores, and the stand-in for Stripe on a
//! socket of its own. Auth and orders are played by stores and relays of their own: what they publish is real.

mod clocks;
mod contract;
mod notices;
mod purchase;
mod steps;
mod stopping;
mod trouble;
mod world;
