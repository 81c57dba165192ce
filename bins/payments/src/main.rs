//! The payments service as a process of its own. The same code runs inside `boxoffice`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    service::run::<payments::App>()
}
