//! The load harness: it drives a system like this one over HTTP, and reports how fast it was, what it cost, and whether
//! it stayed correct.
//!
//! A [`scenario`] is what one user does again and again; [`drive`] lets many of them do it, in a closed loop or at a
//! fixed rate; [`record`] keeps what came of it. Beside them, [`meter`] asks the system what each process costs, and
//! [`invariants`] asks the system whether everything still adds up. [`limits`] measures what the machine could do at
//! most, in the same run, so that every figure can be told as a share of what was possible. [`results`] is what all of
//! this is written down as, [`html`] what it looks like, and [`compare`] puts two runs side by side.
//!
//! It is not part of the product and is never linked into it. It sends load to this machine only, unless it is told
//! that the other one may be loaded.

pub mod catalog;
pub mod cli;
pub mod compare;
pub mod drive;
pub mod html;
pub mod http;
pub mod invariants;
pub mod limits;
pub mod live;
pub mod machine;
pub mod market;
pub mod meter;
pub mod number;
pub mod order;
pub mod place;
pub mod proc;
pub mod record;
pub mod redis_server;
pub mod results;
pub mod run;
pub mod scenario;
pub mod scrape;
pub mod search;
pub mod suite;
pub mod system;
pub mod table;
pub mod targets;
pub mod user;
