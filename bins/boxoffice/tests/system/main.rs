//! The whole system, over HTTP, as people and operators meet it: real processes, a real redis-server, real sockets,
//! real stores in directories that vanish with the test.
//!
//! Every file is about one promise. What is promised in every deployment is tested in both: everything in one
//! process, and every service as a process of its own. Nothing here looks inside a service: what a test knows, it
//! knows from answers, from Stripe's books (the stand-in's ledger), and from how processes end.

mod backup;
mod crowd;
mod dead_letters;
mod demo;
mod document;
mod failover;
mod faults;
mod front;
mod harness;
mod idempotency;
mod journey;
mod killed;
mod late_payment;
mod layout;
mod load;
mod operator;
mod person;
mod private_redis;
mod purchase;
mod refused;
mod replicas;
mod rotate_key;
mod sessions;
mod stop;
mod stripe;
mod traces;
mod upgrade;
mod verify;
mod versions;
