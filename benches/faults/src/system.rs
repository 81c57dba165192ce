//! The system under test: its parts as processes, a real redis-server, a directory; started, killed, kept alive.
//!
//! It knows nothing of purchases, nor of which fault a row is about: it only does to processes what it is told.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use testkit::{Client, Process, ProcessBuilder, RedisOptions, RedisServer, Reply, TempDir};
use tokio::task::JoinHandle;

use crate::layout::{self, Addresses};
use crate::part::Part;
use crate::release::Release;

/// How long a part may take to come up; debug builds on two busy cores are slow.
const READY_SECONDS_MAX: u64 = 60;

/// How often whoever keeps the parts alive looks after them.
const KEEPER_MILLIS: u64 = 20;

/// How kill -9 shows in an exit status.
const SIGKILL: i32 = 9;

/// What a row may choose.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How long an unpaid order holds its tickets.
    pub hold_seconds: u64,
    /// How Redis keeps its data.
    pub redis: RedisOptions,
    /// More environment for single parts: a clock that is wrong, another Redis address.
    pub environment: Vec<(Part, String, String)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            hold_seconds: 900,
            redis: RedisOptions {
                append_only: true,
                ..RedisOptions::default()
            },
            environment: Vec::new(),
        }
    }
}

impl Setup {
    /// Orders that nobody pays end after this long.
    #[must_use]
    pub fn hold(mut self, seconds: u64) -> Self {
        self.hold_seconds = seconds;
        self
    }

    /// A Redis that forgets everything when it dies.
    #[must_use]
    pub fn forgetful_redis(mut self) -> Self {
        self.redis.append_only = false;
        self
    }

    /// One more variable for one part.
    #[must_use]
    pub fn env(mut self, part: Part, name: &str, value: &impl ToString) -> Self {
        self.environment.push((part, name.to_owned(), value.to_string()));
        self
    }
}

/// The running system. Clones are the same one; when the last is dropped, everything is killed.
#[derive(Clone)]
pub struct System(Arc<Inner>);

struct Inner {
    addresses: Addresses,
    parts: BTreeMap<Part, Mutex<Process>>,
    redis: Mutex<RedisServer>,
    kills: AtomicUsize,
    dir: TempDir,
}

/// Restarts every part that ends, as an orchestrator would, until it is dropped.
pub struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl System {
    /// Starts all of it on a new directory and a Redis of its own, and waits until every part is ready.
    pub async fn start(setup: &Setup) -> Self {
        Self::start_on(RedisServer::with(setup.redis.clone()), setup).await
    }

    /// The same on a Redis that runs already, so that something can be put between it and the parts.
    ///
    /// # Panics
    /// When a part does not come up.
    pub async fn start_on(redis: RedisServer, setup: &Setup) -> Self {
        let dir = testkit::temp_dir();
        let addresses = Addresses::find();
        let parts = Part::ALL.into_iter().map(|part| {
            for folder in ["armed", "visited"] {
                fs::create_dir_all(layout::failpoints(dir.path(), part).join(folder))
                    .expect("a temporary directory can be written");
            }
            let builder = layout::builder(part, dir.path(), &addresses, &redis.url(), setup);
            (part, Mutex::new(builder.spawn()))
        });
        let parts = parts.collect();
        let system = Self(Arc::new(Inner {
            addresses,
            parts,
            redis: Mutex::new(redis),
            kills: AtomicUsize::new(0),
            dir,
        }));
        system.ready().await;
        system
    }

    /// Where a part answers.
    pub fn base(&self, part: Part) -> String {
        self.0.addresses.base(part)
    }

    /// Where everything is kept.
    pub fn dir(&self) -> &Path {
        self.0.dir.path()
    }

    /// Where a service keeps its store.
    pub fn store_dir(&self, part: Part) -> PathBuf {
        self.dir().join("data").join(part.name())
    }

    /// How many kill -9 there were from which something was started again, those by failpoints included.
    pub fn kills(&self) -> usize {
        self.0.kills.load(Ordering::Relaxed)
    }

    /// A part's process.
    pub fn process(&self, part: Part) -> MutexGuard<'_, Process> {
        let process = self.0.parts.get(&part).expect("every part has a process");
        process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// kill -9 of one part.
    pub fn kill(&self, part: Part) {
        self.process(part).kill();
    }

    /// Starts a part that has ended, on the same directory and port, without waiting until it is ready.
    pub fn spawn(&self, part: Part) {
        self.succeed(&mut self.process(part), |builder| builder);
    }

    /// The same with one more variable, which it keeps from then on.
    pub fn spawn_with(&self, part: Part, name: &str, value: &str) {
        self.succeed(&mut self.process(part), |builder| builder.env(name, value));
    }

    /// The same as another release of it, which it is from then on.
    pub fn spawn_release(&self, part: Part, release: Release) {
        self.succeed(&mut self.process(part), |builder| release.of(part, builder));
    }

    /// Puts a new process in the place of one that has ended.
    fn succeed(&self, process: &mut Process, with: impl FnOnce(ProcessBuilder) -> ProcessBuilder) {
        let killed = |status: ExitStatus| status.signal() == Some(SIGKILL);
        if process.ended().is_some_and(killed) {
            self.count_kill();
        }
        let successor = with(process.builder()).spawn();
        *process = successor;
    }

    /// kill -9 and a new start of one part.
    pub async fn bounce(&self, part: Part) {
        self.kill(part);
        self.spawn(part);
        self.part_ready(part).await;
    }

    /// Looks after the parts from now on.
    pub fn keep_alive(&self) -> Keeper {
        let system = self.clone();
        Keeper(tokio::spawn(async move {
            loop {
                system.revive();
                tokio::time::sleep(Duration::from_millis(KEEPER_MILLIS)).await;
            }
        }))
    }

    /// Starts every part that was killed.
    ///
    /// # Panics
    /// When one ended in another way than by a signal: parts do not end by themselves.
    pub fn revive(&self) {
        for part in Part::ALL {
            let mut process = self.process(part);
            let Some(status) = process.ended() else { continue };
            assert!(
                status.code().is_none(),
                "{} ended by itself ({status})\n{}",
                part.name(),
                process.printed()
            );
            self.succeed(&mut process, |builder| builder);
        }
    }

    /// Waits until a part, just spawned, serves, or says that it will not: by its last words, or by not being ready.
    ///
    /// # Panics
    /// When it does neither in time (I8).
    pub async fn serves_or_says_why_not(&self, part: Part, within: Duration) -> Result<(), String> {
        let client = Client::new(self.base(part));
        let begun = Instant::now();
        let mut last = "it has not answered".to_owned();
        while begun.elapsed() < within {
            match client.get("/readyz").try_send().await {
                Ok(answer) if answer.status.is_success() => return Ok(()),
                Ok(answer) => last = answer.text(),
                Err(_) => {
                    let mut process = self.process(part);
                    if process.ended().is_some() {
                        process.wait(within);
                        return Err(process.printed());
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(KEEPER_MILLIS)).await;
        }
        assert!(
            last.contains("store"),
            "{} neither serves nor says why not within {within:?}: {last}",
            part.name()
        );
        Err(last)
    }

    /// The redis-server.
    pub fn redis(&self) -> MutexGuard<'_, RedisServer> {
        self.0.redis.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A Redis command that must not be refused.
    ///
    /// # Panics
    /// When it is.
    pub fn redis_command(&self, parts: &[&str]) -> Reply {
        let reply = self.redis().command(parts);
        assert!(!matches!(reply, Reply::Error(_)), "{parts:?}: {reply:?}");
        reply
    }

    /// kill -9 of redis-server.
    pub fn kill_redis(&self) {
        self.redis().kill();
        self.count_kill();
    }

    fn count_kill(&self) {
        self.0.kills.fetch_add(1, Ordering::Relaxed);
    }

    /// Polls until every part is ready.
    pub async fn ready(&self) {
        for part in Part::ALL {
            self.part_ready(part).await;
        }
    }

    /// Polls until one part is ready.
    ///
    /// # Panics
    /// When it ends by itself, or the time is over; the message shows what it printed.
    pub async fn part_ready(&self, part: Part) {
        let path = match part {
            Part::Stripe => "/stripe-fake/ledger?order=none",
            Part::Auth | Part::Tickets | Part::Orders | Part::Expiration | Part::Payments => "/readyz",
        };
        let client = Client::new(self.base(part));
        let begun = Instant::now();
        loop {
            let last = match client.get(path).try_send().await {
                Ok(answer) if answer.status.is_success() => return,
                Ok(answer) => answer.text(),
                Err(error) => error.to_string(),
            };
            self.still_starting(part, begun, &last);
            tokio::time::sleep(Duration::from_millis(KEEPER_MILLIS)).await;
        }
    }

    /// Whether a service says that it can't reach Redis.
    ///
    /// # Panics
    /// When it does not say how it is: a fault of Redis is no reason for that.
    pub async fn bus_is_degraded(&self, part: Part) -> bool {
        let ready = Client::new(self.base(part)).get("/readyz").expect(200).await;
        ready.text().contains("degraded")
    }

    fn still_starting(&self, part: Part, begun: Instant, last: &str) {
        let mut process = self.process(part);
        if let Some(status) = process.ended()
            && status.code().is_some()
        {
            panic!("{} ended ({status})\n{}", part.name(), process.printed());
        }
        assert!(
            begun.elapsed() < Duration::from_secs(READY_SECONDS_MAX),
            "{} is not ready: {last}\n{}",
            part.name(),
            process.printed()
        );
    }

    /// How much memory each service holds, in MiB, in the order of [`Part::SERVICES`].
    pub fn memory_mib(&self) -> Vec<u64> {
        Part::SERVICES
            .into_iter()
            .map(|part| self.memory_mib_of(part))
            .collect()
    }

    /// How much memory a service holds, in MiB.
    ///
    /// # Panics
    /// When it does not run.
    pub fn memory_mib_of(&self, part: Part) -> u64 {
        let pid = self.process(part).pid();
        let status =
            fs::read_to_string(format!("/proc/{pid}/status")).expect("a running service has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .and_then(|kilobytes| kilobytes.parse::<u64>().ok());
        kilobytes.expect("a running service holds memory") / 1_024
    }

    /// No service holds much more than it did.
    ///
    /// # Panics
    /// When one does.
    pub fn memory_grew_little(&self, before: &[u64], growth_mib_max: u64) {
        for ((part, before), now) in Part::SERVICES.into_iter().zip(before).zip(self.memory_mib()) {
            assert!(
                now.saturating_sub(*before) <= growth_mib_max,
                "{} grew from {before} to {now} MiB (I9)",
                part.name()
            );
        }
    }

    /// What every part has printed, for a failure that nobody else explains.
    pub fn printed(&self) -> String {
        Part::ALL
            .into_iter()
            .map(|part| format!("=== {}\n{}\n", part.name(), self.process(part).printed()))
            .collect()
    }
}
