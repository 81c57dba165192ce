//! The system under test: one that runs already, or one that is started here on a directory of its own.

mod apart;
mod program;
mod started;

use std::path::PathBuf;

pub use started::Started;

use crate::place::Place;
use crate::proc::{self, Watched};

/// How long the system may take to come up; a large store is read whole.
const START_SECONDS_MAX: u64 = 120;

/// Why there is no system.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// The program is not there.
    #[error(
        "{0} is not there: build it (`cargo build --release --workspace --bins`) or name `boxoffice` with --program"
    )]
    NoProgram(PathBuf),
    /// It can't be started.
    #[error("{program} can't be started: {cause}")]
    Spawn {
        /// Which.
        program: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// It ended, or said nothing.
    #[error("{program} did not come up within {START_SECONDS_MAX} s; it printed:\n{printed}")]
    NotUp {
        /// Which.
        program: PathBuf,
        /// What it printed.
        printed: String,
    },
    /// A directory or a port for it can't be had.
    #[error("a directory or a port for the system can't be had: {0}")]
    Dir(std::io::Error),
    /// Where it says that it listens is no address.
    #[error("{0}")]
    Address(String),
}

/// How a system is started here.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The `boxoffice` program; those of the services lie beside it.
    pub program: PathBuf,
    /// Below which folder its data directory is made.
    pub below: PathBuf,
    /// How long an order holds its tickets.
    pub hold_seconds: u64,
    /// Further arguments of `boxoffice`.
    pub args: Vec<String>,
    /// Each service as a process of its own, as in production, instead of all in one.
    pub apart: bool,
}

/// How `boxoffice verify` finds the system.
#[derive(Debug, Clone, Default)]
pub struct Verify {
    /// What it is told.
    pub args: Vec<String>,
    /// What lets it in where services are processes of their own.
    pub operator_token: Option<String>,
}

/// The system under test.
#[derive(Debug)]
pub enum System {
    /// Started here.
    Started(Box<Started>),
    /// Running already.
    Running {
        /// Where.
        place: Place,
        /// Its data directory, if `boxoffice verify` is to look at it.
        data_dir: Option<PathBuf>,
    },
}

impl System {
    /// Where it is.
    pub fn place(&self) -> &Place {
        match self {
            Self::Started(started) => started.place(),
            Self::Running { place, .. } => place,
        }
    }

    /// How `boxoffice verify` finds it, if it can.
    pub fn verify(&self) -> Option<Verify> {
        match self {
            Self::Started(started) => Some(started.verify()),
            Self::Running { data_dir, .. } => {
                let data_dir = data_dir.as_ref()?.display().to_string();
                Some(Verify {
                    args: vec!["--data-dir".to_owned(), data_dir],
                    operator_token: None,
                })
            }
        }
    }

    /// Its processes, as far as they are on this machine and may be looked at.
    pub fn processes(&self) -> Vec<Watched> {
        let roots: Vec<u32> = match self {
            Self::Started(started) => started.pids(),
            Self::Running { place, .. } => place.addresses().into_iter().filter_map(proc::listener).collect(),
        };
        let mut processes: Vec<Watched> = Vec::new();
        for process in roots.into_iter().flat_map(proc::family) {
            if !processes.contains(&process) {
                processes.push(process);
            }
        }
        processes
    }
}
