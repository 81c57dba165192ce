//! Micro-benchmarks: what single steps cost when nothing else is done. `cargo bench -p load --bench micro`; a name
//! behind `--` picks some.
//!
//! They explain the figures of the load harness; they are no figures of the system. What waits for the disk or for Redis
//! is measured with both, since that wait is the step.

mod bus_steps;
mod encoding;
mod pages;
mod sample;
mod store_transactions;
mod tokens;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    encoding::bench,
    tokens::bench,
    pages::bench,
    store_transactions::bench,
    bus_steps::bench
);
criterion_main!(benches);
