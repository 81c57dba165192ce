//! The operator's commands: `boxoffice verify`, `backup`, `restore`, `dead-letters` and `rotate-key`.
//!
//! They talk to a running system through its internal routes, or work on stores at rest; `target` finds out which.
//! Nothing of the product is decided here: what is right stands in `lib/invariants`, what a backup is in `lib/store`.
//! Each command says what it did in plain words, and never prints a secret.

mod at_rest;
mod backup;
pub(crate) mod collect;
mod dead_letters;
mod manifest;
pub(crate) mod remote;
mod report;
mod restore;
mod rotate_key;
mod target;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use events::Source;

/// What an operator can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Operate {
    Verify(verify::Verify),
    Backup(backup::Backup),
    Restore(restore::Restore),
    DeadLetters(dead_letters::DeadLetters),
    RotateKey(rotate_key::RotateKey),
}

/// How a command ended that could be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is well.
    Good,
    /// It was done, and what it found or did is not all well.
    Bad,
}

/// Why a command could not be carried out, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperatorError {
    /// There is nothing to work on.
    #[error("there is no data in {}: name the directory with --data-dir, or services that run with --service NAME=URL", .0.display())]
    NoDirectory(PathBuf),
    /// A command that needs a running system found none.
    #[error(
        "nothing runs on {}: start boxoffice there, or name services that run with --service NAME=URL", .0.display()
    )]
    NothingRuns(PathBuf),
    /// The process that has the directory does not answer.
    #[error(
        "process {pid} runs on this data directory, and its control socket {} does not answer: {why}. It may be starting or \
         stopping, or have said at its start why it has none; try again", .socket.display()
    )]
    NoControlSocket {
        socket: PathBuf,
        pid: String,
        why: String,
    },
    /// A service does not answer.
    #[error("{service} at {place} can't be reached: {why}. Is it running, and is that its own address?")]
    Unreachable {
        service: Source,
        place: String,
        why: String,
    },
    /// A service does not do what it was asked.
    #[error("{service} refuses {path} ({status}): {said}")]
    Refused {
        service: Source,
        path: String,
        status: u16,
        said: String,
    },
    /// An answer that is none.
    #[error(
        "{service} answered {path} with something else than expected: {why}. Is it of the same version as this program?"
    )]
    Strange {
        service: Source,
        path: String,
        why: String,
    },
    /// A file or directory.
    #[error("{doing} {} failed: {cause}. See to the disk and the permissions", .path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] crate::data_dir::DataDirError),
    /// Anything else, as a whole sentence.
    #[error("{0}")]
    Failed(String),
}

impl OperatorError {
    /// A function that says what went wrong with `path`.
    pub(crate) fn io(doing: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { doing, path, cause }
    }
}

/// What a shell sees of a command that could not be carried out, as of one that was not understood.
const NOT_DONE: u8 = 2;

/// Carries a command out: 0 when all is well, 1 when it found or left something wrong, 2 when it could not do its work.
pub(crate) async fn run(operate: Operate) -> ExitCode {
    let done = match operate {
        Operate::Verify(command) => command.run().await,
        Operate::Backup(command) => command.run().await,
        Operate::Restore(command) => command.run().await,
        Operate::DeadLetters(command) => command.run().await,
        Operate::RotateKey(command) => command.run().await,
    };
    match done {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("boxoffice: {error}");
            ExitCode::from(NOT_DONE)
        }
    }
}

/// Tells whoever started this.
fn say(line: &str) {
    service::print_line(line);
}

/// `1 ticket`, `2 tickets`.
fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Where this program takes the time from.
fn now() -> events::Timestamp {
    service::Clock::new().now()
}
