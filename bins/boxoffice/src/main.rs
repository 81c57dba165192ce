//! All of Boxoffice in one process, for a laptop: a private Redis, the five services, the site, and the stand-in for
//! Stripe, on one port.
//!
//! Nothing of the product lives here: this program starts what the other crates are, tells a person what it does while
//! it does it, and stops everything in order. Its subcommands are the operator's: verify, backup, restore, dead-letters,
//! rotate-key.

mod cli;
mod control;
mod data_dir;
mod demo;
mod dispatch;
mod operator;
mod redis_server;
mod system;
mod watch;

use std::process::ExitCode;

use clap::CommandFactory as _;
use service::{Shutdown, init_logs_from, parse_command_line, prepare_process, send_traces};

use crate::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is logged when `RUST_LOG` says nothing: on a laptop, only what a person should see.
const LOG_DEFAULT: &str = "warn";

fn main() -> ExitCode {
    prepare_process();
    let cli: Cli = parse_command_line(Cli::command());
    if let Err(error) = init_logs_from(cli.log_format, LOG_DEFAULT) {
        return not_started(&error);
    }
    service::metrics();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return not_started(&format!("the runtime can't be started: {error}")),
    };
    runtime.block_on(async {
        if let Some(operate) = cli.operate {
            return operator::run(operate).await;
        }
        let shutdown = match Shutdown::on_signals() {
            Ok(shutdown) => shutdown,
            Err(error) => return not_started(&format!("signals can't be listened for: {error}")),
        };
        let traces = match send_traces("boxoffice") {
            Ok(traces) => traces,
            Err(error) => return not_started(&error),
        };
        let ran = system::run(cli, shutdown).await;
        traces.flush().await;
        match ran {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => not_started(&error.to_string()),
        }
    })
}

fn not_started(why: &str) -> ExitCode {
    eprintln!("boxoffice: {why}");
    ExitCode::FAILURE
}
