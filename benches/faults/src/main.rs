//! `boxoffice-faults`: the bench, and every part of the system that it tests, in one executable.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match faults::play::asked_for() {
        Some(part) => faults::play::play(&part),
        None => faults::cli::main(),
    }
}
