//! A system that is started here: all in one process, or each service in its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::apart::{self, Apart};
use super::program::{Program, Running};
use super::{Launch, SystemError, Verify};
use crate::place::{Base, Place};
use crate::redis_server::RedisServer;

/// A system that is started here, and stopped when this is dropped.
#[derive(Debug)]
pub struct Started {
    // In this order they are stopped: what asks others first.
    running: Vec<Running>,
    redis: Option<RedisServer>,
    programs: Vec<Program>,
    verify: Verify,
    place: Place,
    took: Duration,
    dir: TempDir,
}

impl Started {
    /// Starts one and waits until it serves.
    ///
    /// # Errors
    /// [`SystemError`] says why there is none, with what it printed.
    pub fn start(launch: &Launch) -> Result<Self, SystemError> {
        std::fs::create_dir_all(&launch.below).map_err(SystemError::Dir)?;
        let dir = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(&launch.below)
            .map_err(SystemError::Dir)?;
        let begun = Instant::now();
        let data_dir = dir.path().join("data");
        if !launch.apart {
            let programs = vec![one_process(launch, &data_dir)];
            let running = start_all(&programs, dir.path())?;
            let base: Base = running[0].address.parse().map_err(SystemError::Address)?;
            return Ok(Self {
                running,
                redis: None,
                programs,
                verify: Verify {
                    args: vec!["--data-dir".to_owned(), data_dir.display().to_string()],
                    operator_token: None,
                },
                place: Place::at(base),
                took: begun.elapsed(),
                dir,
            });
        }
        let redis = RedisServer::start(dir.path()).map_err(SystemError::Dir)?;
        let Apart {
            programs,
            place,
            verify,
        } = apart::plan(launch, &data_dir, &redis.url())?;
        let running = start_all(&programs, dir.path())?;
        Ok(Self {
            running,
            redis: Some(redis),
            programs,
            verify,
            place,
            took: begun.elapsed(),
            dir,
        })
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// How `boxoffice verify` finds it.
    pub fn verify(&self) -> Verify {
        self.verify.clone()
    }

    /// How long it took to come up the last time.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Its processes, without those that they have started.
    pub fn pids(&self) -> Vec<u32> {
        let redis = self.redis.iter().map(RedisServer::pid);
        self.running.iter().map(Running::pid).chain(redis).collect()
    }

    /// Stops it and starts it again on the same directory.
    ///
    /// # Errors
    /// When it does not come up again.
    pub fn restart(&mut self) -> Result<(), SystemError> {
        self.running.clear();
        let begun = Instant::now();
        self.running = start_all(&self.programs, self.dir.path())?;
        self.took = begun.elapsed();
        if let [alone] = &self.running[..] {
            self.place = Place::at(alone.address.parse().map_err(SystemError::Address)?);
        }
        Ok(())
    }

    /// Sends a signal to each of its programs.
    pub fn signal(&self, signal: Signal) {
        for running in &self.running {
            running.signal(signal);
        }
    }
}

fn start_all(programs: &[Program], logs: &Path) -> Result<Vec<Running>, SystemError> {
    programs.iter().map(|program| program.start(logs)).collect()
}

fn one_process(launch: &Launch, data_dir: &Path) -> Program {
    let mut args: Vec<String> = ["--listen", "127.0.0.1:0", "--throttle", "off", "--hold-seconds"]
        .map(str::to_owned)
        .to_vec();
    args.push(launch.hold_seconds.to_string());
    args.push("--data-dir".to_owned());
    args.push(data_dir.display().to_string());
    args.extend(launch.args.iter().cloned());
    Program {
        path: PathBuf::from(&launch.program),
        args,
        env: Vec::new(),
    }
}
