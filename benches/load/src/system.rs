//! The system under test: one that runs already, or one that is started here on a directory of its own.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::place::{Base, Place};
use crate::proc::{self, Watched};

/// How long the system may take to come up; a large store is read whole.
const START_SECONDS_MAX: u64 = 120;

/// How long it may take to stop.
const STOP_SECONDS_MAX: u64 = 30;

/// What it prints once it serves.
const LISTENING: &str = "listening on ";

/// Why there is no system.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// The program is not there.
    #[error(
        "{0} is not there: build it (`cargo build --release --package boxoffice`) or name it with --program"
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
    /// A directory for it can't be made.
    #[error("a directory for the system's data can't be made: {0}")]
    Dir(std::io::Error),
    /// Where it says that it listens is no address.
    #[error("{0}")]
    Address(String),
}

/// How a system is started here.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The `boxoffice` program.
    pub program: PathBuf,
    /// Below which folder its data directory is made.
    pub below: PathBuf,
    /// How long an order holds its tickets.
    pub hold_seconds: u64,
    /// Further arguments.
    pub args: Vec<String>,
}

/// A system that is started here, and killed when this is dropped.
#[derive(Debug)]
pub struct Started {
    child: Child,
    launch: Launch,
    dir: TempDir,
    data_dir: PathBuf,
    place: Place,
    took: Duration,
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
            Self::Started(started) => &started.place,
            Self::Running { place, .. } => place,
        }
    }

    /// Its data directory, if that is known.
    pub fn data_dir(&self) -> Option<&Path> {
        match self {
            Self::Started(started) => Some(&started.data_dir),
            Self::Running { data_dir, .. } => data_dir.as_deref(),
        }
    }

    /// Its processes, as far as they are on this machine and may be looked at.
    pub fn processes(&self) -> Vec<Watched> {
        let roots: Vec<u32> = match self {
            Self::Started(started) => vec![started.child.id()],
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

impl Started {
    /// Starts one and waits until it serves.
    ///
    /// # Errors
    /// [`SystemError`] says why there is none, with what it printed.
    pub fn start(launch: Launch) -> Result<Self, SystemError> {
        std::fs::create_dir_all(&launch.below).map_err(SystemError::Dir)?;
        let dir = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(&launch.below)
            .map_err(SystemError::Dir)?;
        let (child, place, took) = spawn(&launch, dir.path())?;
        Ok(Self {
            child,
            launch,
            data_dir: dir.path().join("data"),
            dir,
            place,
            took,
        })
    }

    /// How long it took to come up the last time.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Stops it and starts it again on the same directory.
    ///
    /// # Errors
    /// When it does not come up again.
    pub fn restart(&mut self) -> Result<(), SystemError> {
        self.stop();
        (self.child, self.place, self.took) = spawn(&self.launch, self.dir.path())?;
        Ok(())
    }

    /// Sends a signal to its main process.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself, which the next request will tell.
            kill_process(pid, signal).ok();
        }
    }

    /// Asks it to end, and kills it if it does not.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(STOP_SECONDS_MAX);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "a poll with a deadline; nothing runs beside it"
            )]
            std::thread::sleep(Duration::from_millis(20));
        }
        // Both fail only when it is gone.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(launch: &Launch, dir: &Path) -> Result<(Child, Place, Duration), SystemError> {
    if !launch.program.is_file() {
        return Err(SystemError::NoProgram(launch.program.clone()));
    }
    let begun = Instant::now();
    let refused = |cause| SystemError::Spawn {
        program: launch.program.clone(),
        cause,
    };
    let log = std::fs::File::create(dir.join("boxoffice.log")).map_err(SystemError::Dir)?;
    let mut child = Command::new(&launch.program)
        .args(["--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.join("data"))
        .args([
            "--throttle",
            "off",
            "--hold-seconds",
            &launch.hold_seconds.to_string(),
        ])
        .args(&launch.args)
        .env_remove("REDIS_URL")
        .env_remove("STRIPE_SECRET_KEY")
        .env_remove("BOXOFFICE_DEMO")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        // Ctrl-C is for this program, which then stops the system in order.
        .process_group(0)
        .spawn()
        .map_err(refused)?;
    let address = child.stdout.take().and_then(|stdout| {
        let (found, address) = mpsc::channel();
        let read = move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(at) = line.find(LISTENING) {
                    let address = line[at + LISTENING.len()..].trim().to_owned();
                    // Fails only when nobody waits any more; what it prints is read on, so that its pipe never fills.
                    found.send(address).ok();
                }
            }
        };
        std::thread::Builder::new().spawn(read).ok()?;
        address.recv_timeout(Duration::from_secs(START_SECONDS_MAX)).ok()
    });
    let Some(address) = address else {
        child.kill().ok();
        child.wait().ok();
        return Err(SystemError::NotUp {
            program: launch.program.clone(),
            printed: std::fs::read_to_string(dir.join("boxoffice.log")).unwrap_or_default(),
        });
    };
    let base: Base = address.parse().map_err(SystemError::Address)?;
    Ok((child, Place::at(base), begun.elapsed()))
}
