//! The command line.

use std::process::ExitCode;

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
