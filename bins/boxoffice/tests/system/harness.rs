//! Starting the whole system for a test, in one process or in seven, and killing and starting it again.
//!
//! It does not know what people do with the system: that is `person`.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use testkit::{Client, Process, ProcessBuilder, RedisServer, TempDir, eventually, eventually_blocking};

/// How long the whole system may take to come up; debug builds on two busy cores are slow.
const READY_MAX: Duration = Duration::from_secs(60);

/// How long the private redis-server of a system that is ready may take to say which process it is.
const REDIS_RUNS_MAX: Duration = Duration::from_secs(10);

/// How long a private redis-server may outlive the process that started it.
const REDIS_GONE_MAX: Duration = Duration::from_secs(5);

/// Below the ports that systems give to outgoing connections, so that nobody takes one while a process restarts.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// How far apart two tests, which are processes of their own, begin to look for free ports.
const PORTS_PER_TEST: u32 = 16;

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
    /// Orders that run out while a test can wait for it.
    pub(crate) fn short_hold() -> Self {
        Self {
            hold_seconds: 2,
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

/// Which process answers which path, as an ingress knows it.
#[derive(Debug, Clone)]
pub(crate) struct Ingress {
    pub(crate) auth: String,
    pub(crate) tickets: String,
    pub(crate) orders: String,
    pub(crate) payments: String,
    pub(crate) site: String,
    pub(crate) stripe: String,
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
            .map(|(program, ready)| Part {
                process: program.spawn(),
                ready,
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

    /// kill -9 of everything but the test's redis-server, and of nothing less.
    pub(crate) fn kill(&mut self) {
        for part in &mut self.parts {
            part.process.kill();
        }
    }

    /// Starts everything that is down, on the same directory and the same ports, and waits until it is ready.
    pub(crate) async fn start_again(&mut self) {
        for part in &mut self.parts {
            if part.process.ended().is_some() {
                part.process = part.process.builder().spawn();
            }
        }
        self.ready().await;
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

    /// The same, while there may be none: what its file names may be gone already.
    pub(crate) fn private_redis_if_it_runs(&self) -> Option<PrivateRedis> {
        PrivateRedis::if_it_runs(self.data_dir())
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

/// The redis-server that a `boxoffice` on some data directory has started for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrivateRedis {
    pid: i32,
}

impl PrivateRedis {
    /// The one of this data directory; it notes its process id a moment after it has begun to accept connections.
    pub(crate) fn of(data_dir: &Path) -> Self {
        eventually_blocking("the private redis-server runs", REDIS_RUNS_MAX, || {
            Self::if_it_runs(data_dir)
        })
    }

    fn if_it_runs(data_dir: &Path) -> Option<Self> {
        let noted = std::fs::read_to_string(data_dir.join("redis").join("redis.pid")).ok()?;
        let redis = Self {
            pid: noted.trim().parse().ok()?,
        };
        redis.runs().then_some(redis)
    }

    /// kill -9. Its keeper is a grandchild of the test, and so nobody else's.
    pub(crate) fn kill(self) {
        let pid = Pid::from_raw(self.pid).expect("a process id");
        rustix::process::kill_process(pid, Signal::KILL).expect("a process of this test can be killed");
    }

    /// Fails the test if it is still there after a moment.
    pub(crate) fn is_gone_soon(self) {
        eventually_blocking("the private redis-server is gone", REDIS_GONE_MAX, || {
            (!self.runs()).then_some(())
        });
    }

    fn runs(self) -> bool {
        let command_line = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&command_line).contains("redis-server")
    }
}

/// `boxoffice` on a data directory and a port, with nothing throttled and Stripe's faults at hand.
pub(crate) fn boxoffice(data_dir: &Path, port: u16) -> ProcessBuilder {
    Process::of("boxoffice")
        .arg("--listen")
        .arg(format!("127.0.0.1:{port}"))
        .arg("--data-dir")
        .arg(data_dir)
        .env("STRIPE_FAKE_FAULTS", "true")
        // Throttling is tested where it lives; here many people sign up from one address.
        .env("AUTH_THROTTLE", "off")
}

/// A port that is free now, and that no outgoing connection will take.
pub(crate) fn free_port() -> u16 {
    free_ports(1)[0]
}

type Programs = Vec<(ProcessBuilder, String)>;

fn one_process(dir: &Path, redis_url: Option<&str>, options: Options) -> (Ingress, Programs) {
    let port = free_port();
    let base = format!("http://127.0.0.1:{port}");
    let mut program = boxoffice(dir, port).env("ORDER_HOLD_SECONDS", options.hold_seconds.to_string());
    if let Some(url) = redis_url {
        program = program.env("REDIS_URL", url);
    }
    let ingress = Ingress {
        auth: base.clone(),
        tickets: base.clone(),
        orders: base.clone(),
        payments: base.clone(),
        site: base.clone(),
        stripe: base.clone(),
    };
    (ingress, vec![(program, format!("{base}/readyz"))])
}

fn separate(dir: &Path, redis_url: &str, options: Options) -> (Ingress, Programs) {
    let base: Vec<String> = free_ports(7)
        .into_iter()
        .map(|port| format!("http://127.0.0.1:{port}"))
        .collect();
    let [auth, tickets, orders, expiration, payments, web, stripe] =
        base.try_into().expect("seven ports were asked for");
    let program = |name: &str, listen: &str, base: &str| {
        Process::of(name)
            .env(listen, base.trim_start_matches("http://"))
            .env("BOXOFFICE_DATA_DIR", dir)
            .env("REDIS_URL", redis_url)
            .env("PUBLIC_URL", &web)
            .env("RUST_LOG", "warn")
    };
    let service = |name: &str| {
        let (listen, base) = match name {
            "auth" => ("AUTH_LISTEN", &auth),
            "tickets" => ("TICKETS_LISTEN", &tickets),
            "orders" => ("ORDERS_LISTEN", &orders),
            "expiration" => ("EXPIRATION_LISTEN", &expiration),
            "payments" => ("PAYMENTS_LISTEN", &payments),
            other => panic!("{other} is no service"),
        };
        (program(name, listen, base), format!("{base}/readyz"))
    };
    let (auth_program, auth_ready) = service("auth");
    let (orders_program, orders_ready) = service("orders");
    let (payments_program, payments_ready) = service("payments");
    let programs = vec![
        (auth_program.env("AUTH_THROTTLE", "off"), auth_ready),
        service("tickets"),
        (
            orders_program.env("ORDER_HOLD_SECONDS", options.hold_seconds.to_string()),
            orders_ready,
        ),
        service("expiration"),
        (
            payments_program
                .env("STRIPE_SECRET_KEY", SECRET_KEY)
                .env("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET)
                .env("STRIPE_API_BASE", &stripe),
            payments_ready,
        ),
        (
            program("web", "WEB_LISTEN", &web)
                .env("WEB_SECRET", "a secret of at least thirty-two bytes")
                .env("AUTH_URL", &auth)
                .env("TICKETS_URL", &tickets)
                .env("ORDERS_URL", &orders)
                .env("EXPIRATION_URL", &expiration)
                .env("PAYMENTS_URL", &payments)
                .env("STRIPE_FORM_ACTION", &stripe),
            format!("{web}/"),
        ),
        (
            program("stripe-fake", "STRIPE_FAKE_LISTEN", &stripe)
                .env("STRIPE_FAKE_DATA_DIR", stripe_dir(dir))
                .env("STRIPE_FAKE_FAULTS", "true")
                .env("STRIPE_SECRET_KEY", SECRET_KEY)
                .env("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET)
                .env("STRIPE_WEBHOOK_URL", format!("{payments}/api/payments/webhook")),
            format!("{stripe}/stripe-fake/ledger"),
        ),
    ];
    let ingress = Ingress {
        auth,
        tickets,
        orders,
        payments,
        site: web,
        stripe,
    };
    (ingress, programs)
}

/// What the payments service shows to the stand-in for Stripe, and the other way round.
const SECRET_KEY: &str = "sk_test_boxoffice";
const WEBHOOK_SECRET: &str = "whsec_boxoffice";

fn stripe_dir(dir: &Path) -> PathBuf {
    dir.join("stripe-fake")
}

/// Ports that are free now. They are held until all are found, so that they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let span = u32::from(PORTS.end - PORTS.start);
    let begin = (std::process::id() * PORTS_PER_TEST) % span;
    let candidates = (0..span).map(|step| {
        let offset = u16::try_from((begin + step) % span).expect("the range has fewer ports than u16");
        PORTS.start + offset
    });
    let bound: Vec<TcpListener> = candidates
        .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .take(count)
        .collect();
    let port = |listener: &TcpListener| {
        listener
            .local_addr()
            .expect("a bound listener has an address")
            .port()
    };
    bound.iter().map(port).collect()
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
