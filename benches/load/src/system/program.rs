//! One program of the system, as a process.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{START_SECONDS_MAX, SystemError};

/// How long it may take to stop.
const STOP_SECONDS_MAX: u64 = 30;

/// What it prints once it serves.
const LISTENING: &str = "listening on ";

/// A setting of this machine's owner that is not meant for a system that is measured.
const NOT_PASSED_ON: [&str; 5] = [
    "REDIS_URL",
    "STRIPE_SECRET_KEY",
    "BOXOFFICE_DEMO",
    "BOXOFFICE_DATA_DIR",
    "BOXOFFICE_OPERATOR_TOKEN",
];

/// A program, not started yet.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its arguments.
    pub(super) args: Vec<String>,
    /// Its environment beside what it inherits.
    pub(super) env: Vec<(&'static str, String)>,
}

/// A program that runs. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// Where it listens: `http://…`.
    pub(super) address: String,
}

impl Program {
    /// Starts it and waits until it says where it listens. What it logs goes into a file in `logs`.
    pub(super) fn start(&self, logs: &Path) -> Result<Running, SystemError> {
        if !self.path.is_file() {
            return Err(SystemError::NoProgram(self.path.clone()));
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let log_file = logs.join(format!("{name}.log"));
        let log = std::fs::File::create(&log_file).map_err(SystemError::Dir)?;
        let mut command = Command::new(&self.path);
        for name in NOT_PASSED_ON {
            command.env_remove(name);
        }
        let spawned = command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C is for this program, which then stops the system in order.
            .process_group(0)
            .spawn();
        let child = spawned.map_err(|cause| SystemError::Spawn {
            program: self.path.clone(),
            cause,
        })?;
        let mut running = Running {
            child,
            address: String::new(),
        };
        match running.listens() {
            Some(address) => running.address = address,
            None => {
                return Err(SystemError::NotUp {
                    program: self.path.clone(),
                    printed: std::fs::read_to_string(&log_file).unwrap_or_default(),
                });
            }
        }
        Ok(running)
    }
}

impl Running {
    /// Waits until it says where it listens; nothing if it ends or stays silent.
    fn listens(&mut self) -> Option<String> {
        let stdout = self.child.stdout.take()?;
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
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself, which the next request will tell.
            kill_process(pid, signal).ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
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
