//! The fault bench: the system as real processes, people who buy, harm, and whether anything was lost.
//!
//! Each row of faults.md is a story in `rows`: it starts a [`system::System`] (services, stand-in for Stripe, a real
//! redis-server, real directories and sockets), opens a [`market::Market`] whose clients never give up, does harm,
//! heals it, and lets [`judge`] poll until nothing is pending. What was acknowledged stands in [`ledger`], outside the
//! system. `boxoffice-faults` runs rows and prints a table; `tests/rows` runs each in its short form.
//!
//! The bench changes nothing in the services: it has their failpoints compiled in (feature `failpoints`), and plays
//! them itself ([`play`]), so that no program that ships contains one. It is no load generator and measures no speed.

mod armed;
pub mod books;
pub mod cli;
pub mod failure;
pub mod healed;
pub mod judge;
pub mod layout;
pub mod ledger;
pub mod market;
pub mod metrics;
pub mod part;
pub mod person;
pub mod play;
pub mod random;
pub mod release;
pub mod report;
pub mod rows;
pub mod run;
pub mod stage;
pub mod system;
pub mod times;
