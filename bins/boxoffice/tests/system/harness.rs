//! Starting the whole system for a test, in one process or in seven, and killing and starting it again.
//!
//! It does not know which programs there are and how they find each other: that is `layout`; nor what people do with
//! the system: that is `person`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::{Client, Process, RedisServer, TempDir, eventually};

use crate::layout::{Ingress, one_process, separate};
use crate::private_redis::PrivateRedis;

/// How long the whole system may take to come up; debug builds on two busy cores are slow.
const READY_MAX: Duration = Duration::from_secs(60);

/// What services are asked whether they are ready. The site and the stand-in for Stripe are asked otherwise.
const SERVICE_PROBE: &str = "/readyz";

/// What the site is asked: its first page.
const SITE_PROBE: &str = "/";

/// For how long a cluster has no process for a service that is replaced, beside what the process itself takes to stop and to
/// start: proxies are told that it goes when its preStop begins (3 s), the next pod is made and its container started (about
/// 1 s), and is found to have started (asked every 2 s, so 1 s on average).
const AWAY: Duration = Duration::from_secs(5);

/// How the parts are laid out in processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deployment {
    /// `boxoffice`: everything in one, on one port.
    OneProcess,
    /// Every service, the site and the stand-in for Stripe as processes of their own.
    Separate,
}

/// Whose redis-server carries the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redis {
    /// The private one that `boxoffice` starts for itself.
    Private,
    /// The test's, to damage it.
    OfTheTest,
}

/// What a test may choose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// How long an unpaid order holds its tickets.
    pub(crate) hold_seconds: u64,
    /// Separate processes always use the test's.
    pub(crate) redis: Redis,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hold_seconds: 900,
            redis: Redis::Private,
        }
    }
}

impl Options {
    /// Orders that run out while a test can wait for it, and not before they are paid on a busy machine.
    pub(crate) fn short_hold() -> Self {
        Self {
            hold_seconds: 15,
            ..Self::default()
        }
    }

    /// A redis-server that the test may flush and kill.
    pub(crate) fn redis_of_the_test() -> Self {
        Self {
            redis: Redis::OfTheTest,
            ..Self::default()
        }
    }
}

/// The running system. Dropping it kills it; when the test fails, what its processes printed is shown.
pub(crate) struct System {
    pub(crate) ingress: Arc<Ingress>,
    parts: Vec<Part>,
    redis: Option<RedisServer>,
    dir: TempDir,
}

struct Part {
    process: Process,
    /// Answers 200 once the part can do its work.
    ready: String,
}

impl System {
    /// Starts all of it on a new directory and waits until every part is ready.
    pub(crate) async fn start(deployment: Deployment, options: Options) -> Self {
        Self::start_told(deployment, options, &[]).await
    }

    /// As [`Self::start`], with more variables for every part, which come before what it is told otherwise.
    pub(crate) async fn start_told(
        deployment: Deployment,
        options: Options,
        variables: &[(&str, &str)],
    ) -> Self {
        let dir = testkit::temp_dir();
        let own_redis = deployment == Deployment::Separate || options.redis == Redis::OfTheTest;
        let redis = own_redis.then(RedisServer::start);
        let redis_url = redis.as_ref().map(RedisServer::url);
        let (ingress, programs) = match deployment {
            Deployment::OneProcess => one_process(dir.path(), redis_url.as_deref(), options),
            Deployment::Separate => separate(dir.path(), &redis_url.expect("it was just started"), options),
        };
        let parts = programs
            .into_iter()
            .map(|(program, ready)| {
                let told = variables
                    .iter()
                    .fold(program, |program, (name, value)| program.env(name, value));
                Part {
                    process: told.spawn(),
                    ready,
                }
            })
            .collect();
        let mut system = Self {
            ingress: Arc::new(ingress),
            parts,
            redis,
            dir,
        };
        system.ready().await;
        system
    }

    /// People meet the site at another address from now on: that of what stands before several processes of it.
    pub(crate) fn site_is_at(&mut self, address: &str) {
        Arc::make_mut(&mut self.ingress).site = address.to_owned();
    }

    /// One more process of the site, on a port of its own, told what the one of [`Deployment::Separate`] is told, and this.
    pub(crate) fn another_site(&self, variables: &[(&str, &str)]) -> Process {
        let site = self.parts.iter().find(|part| part.ready.ends_with(SITE_PROBE));
        let builder = site.expect("the site is a process of its own").process.builder();
        let builder = builder.env("WEB_LISTEN", "127.0.0.1:0");
        let told = variables
            .iter()
            .fold(builder, |builder, (name, value)| builder.env(name, value));
        told.start()
    }

    /// kill -9 of everything but the test's redis-server, and of nothing less.
    pub(crate) fn kill(&mut self) {
        for part in &mut self.parts {
            part.process.kill();
        }
    }

    /// Starts everything that is down, on the same directory and the same ports, and waits until it is ready.
    pub(crate) async fn start_again(&mut self) {
        self.spawn_again();
        self.ready().await;
    }

    /// Starts everything that is down, though it may not become ready.
    pub(crate) fn spawn_again(&mut self) {
        for part in &mut self.parts {
            if part.process.ended().is_some() {
                part.process = part.process.builder().spawn();
            }
        }
    }

    /// The one process of [`Deployment::OneProcess`].
    pub(crate) fn process(&mut self) -> &mut Process {
        assert_eq!(
            self.parts.len(),
            1,
            "only the one-process deployment has one process"
        );
        &mut self.parts[0].process
    }

    /// The test's redis-server.
    pub(crate) fn redis(&mut self) -> &mut RedisServer {
        self.redis
            .as_mut()
            .expect("the test asked for a redis-server of its own")
    }

    /// The private redis-server of the one process.
    pub(crate) fn private_redis(&self) -> PrivateRedis {
        PrivateRedis::of(self.data_dir())
    }

    /// SIGTERM to every part at once; each must be gone in time, and say that all went well.
    pub(crate) fn terminate(&mut self, within: Duration) {
        for part in &self.parts {
            part.process.terminate();
        }
        let begun = Instant::now();
        for part in &mut self.parts {
            let status = part.process.wait(within.saturating_sub(begun.elapsed()));
            assert_eq!(status.code(), Some(0), "{}", part.process.printed());
        }
    }

    /// Replaces one service after another, as an upgrade does: SIGTERM, and once it is gone, the next process on the same
    /// store; the next service when that one is ready. The new processes are of the build in `folder`, if one is named.
    /// Answers the longest time for which a service was away.
    pub(crate) async fn replace_each_service(&mut self, folder: Option<&Path>) -> Duration {
        let mut longest = Duration::ZERO;
        for index in 0..self.parts.len() {
            let part = &mut self.parts[index];
            if !part.ready.ends_with(SERVICE_PROBE) {
                continue;
            }
            let begun = Instant::now();
            part.process.terminate();
            let status = part.process.wait(READY_MAX);
            assert_eq!(status.code(), Some(0), "{}", part.process.printed());
            tokio::time::sleep(AWAY).await;
            let own = testkit::bin("boxoffice");
            let folder = folder.or(own.parent()).expect("a program is in a folder");
            part.process = part.process.builder().of_build(folder).spawn();
            self.ready().await;
            longest = longest.max(begun.elapsed());
        }
        longest
    }

    /// Where everything is kept.
    pub(crate) fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Polls until every part is ready.
    async fn ready(&mut self) {
        let client = Client::new("");
        for part in &mut self.parts {
            let probe = client.at(&part.ready);
            eventually(&format!("{} is ready", part.ready), READY_MAX, async || {
                let ended = part.process.ended();
                assert!(ended.is_none(), "it ended: {ended:?}\n{}", part.process.printed());
                let answer = probe.get("").try_send().await.ok()?;
                answer.status.is_success().then_some(())
            })
            .await;
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for part in &self.parts {
                eprintln!("=== {}\n{}", part.ready, part.process.printed());
            }
        }
    }
}

/// Tests a story in every deployment.
macro_rules! in_both_deployments {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn in_one_process() {
                super::$name($crate::harness::Deployment::OneProcess).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn as_separate_processes() {
                super::$name($crate::harness::Deployment::Separate).await;
            }
        }
    )+};
}
pub(crate) use in_both_deployments;
