//! How the parts of one system are started: programs, ports, environment.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use testkit::{Process, ProcessBuilder};

use crate::part::Part;
use crate::play::PLAY_VARIABLE;
use crate::system::Setup;

/// The program whose copies play the parts.
const PROGRAM: &str = "boxoffice-faults";

/// Below the ports that systems give to outgoing connections, so that nobody takes one while a part restarts.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// How far apart two systems begin to look for free ports.
const PORTS_PER_SYSTEM: u32 = 16;

/// What the payments service shows to the stand-in for Stripe, and the other way round.
const SECRET_KEY: &str = "sk_test_boxoffice";
const WEBHOOK_SECRET: &str = "whsec_boxoffice";

/// How often a payment that waits is looked at: often, so that a lost notice costs a row little time.
const RECONCILE_SECONDS: u32 = 2;

/// What an operator of the system under test shows to its inside.
pub const OPERATOR_TOKEN: &str = "the-token-of-the-fault-bench";

/// Where each part answers.
#[derive(Debug, Clone)]
pub struct Addresses {
    ports: [u16; Part::ALL.len()],
}

impl Addresses {
    /// Ports that are free now. All are held until all are found, so that they differ.
    ///
    /// # Panics
    /// When the loopback has not that many left.
    pub fn find() -> Self {
        /// Systems of one process look in different places, like those of different processes.
        static SYSTEMS: AtomicU32 = AtomicU32::new(0);
        let span = u32::from(PORTS.end - PORTS.start);
        let nth = std::process::id().wrapping_add(SYSTEMS.fetch_add(1, Ordering::Relaxed));
        let begin = (nth % span) * PORTS_PER_SYSTEM % span;
        let candidates = (0..span).map(|step| {
            let offset = u16::try_from((begin + step) % span).expect("the range has fewer ports than u16");
            PORTS.start + offset
        });
        let bound: Vec<TcpListener> = candidates
            .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
            .take(Part::ALL.len())
            .collect();
        let ports: Vec<u16> = bound
            .iter()
            .map(|listener| {
                let address = listener.local_addr().expect("a bound listener has an address");
                address.port()
            })
            .collect();
        Self {
            ports: ports.try_into().expect("the loopback has free ports"),
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base(&self, part: Part) -> String {
        format!("http://{}", self.listen(part))
    }

    fn listen(&self, part: Part) -> String {
        let index = Part::ALL
            .iter()
            .position(|known| *known == part)
            .expect("ALL has all of them");
        format!("127.0.0.1:{}", self.ports[index])
    }
}

/// The folder with the orders for a part's failpoints.
pub fn failpoints(dir: &Path, part: Part) -> PathBuf {
    dir.join("failpoints").join(part.name())
}

/// How one part is started.
pub(crate) fn builder(
    part: Part,
    dir: &Path,
    addresses: &Addresses,
    redis_url: &str,
    setup: &Setup,
) -> ProcessBuilder {
    let listen = match part {
        Part::Auth => "AUTH_LISTEN",
        Part::Tickets => "TICKETS_LISTEN",
        Part::Orders => "ORDERS_LISTEN",
        Part::Expiration => "EXPIRATION_LISTEN",
        Part::Payments => "PAYMENTS_LISTEN",
        Part::Stripe => "STRIPE_FAKE_LISTEN",
    };
    let common = Process::at(program())
        .env(PLAY_VARIABLE, part.name())
        .env(listen, addresses.listen(part))
        .env("BOXOFFICE_DATA_DIR", dir.join("data"))
        .env("REDIS_URL", redis_url)
        .env("BOXOFFICE_OPERATOR_TOKEN", OPERATOR_TOKEN)
        .env(failpoint::FOLDER_VARIABLE, failpoints(dir, part))
        .env("RUST_LOG", "warn");
    let own = match part {
        // Throttling is tested where it lives; here many people sign up from one address.
        Part::Auth => common.env("AUTH_THROTTLE", "off"),
        Part::Orders => common.env("ORDER_HOLD_SECONDS", setup.hold_seconds.to_string()),
        Part::Payments => common
            .env("STRIPE_SECRET_KEY", SECRET_KEY)
            .env("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET)
            .env("STRIPE_RECONCILE_SECONDS", RECONCILE_SECONDS.to_string())
            .env("STRIPE_API_BASE", addresses.base(Part::Stripe)),
        Part::Stripe => common
            .env("STRIPE_FAKE_DATA_DIR", dir.join("stripe-fake"))
            .env("STRIPE_SECRET_KEY", SECRET_KEY)
            .env("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET)
            .env(
                "STRIPE_WEBHOOK_URL",
                format!("{}/api/payments/webhook", addresses.base(Part::Payments)),
            ),
        Part::Tickets | Part::Expiration => common,
    };
    setup
        .environment
        .iter()
        .filter(|(whose, _, _)| *whose == part)
        .fold(own, |builder, (_, name, value)| builder.env(name, value))
}

/// Ourselves, or, for a test, the program that lies beside it.
pub(crate) fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a running program knows where its own file is");
    if own.file_name().is_some_and(|name| name == PROGRAM) {
        own
    } else {
        testkit::bin(PROGRAM)
    }
}
