//! Which programs make up the system, on which ports, and how they find each other.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use testkit::{Process, ProcessBuilder};

use crate::harness::Options;

/// Below the ports that systems give to outgoing connections, so that nobody takes one while a process restarts.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// How far apart two tests, which are processes of their own, begin to look for free ports.
const PORTS_PER_TEST: u32 = 16;

/// What the payments service shows to the stand-in for Stripe, and the other way round.
const SECRET_KEY: &str = "sk_test_boxoffice";
const WEBHOOK_SECRET: &str = "whsec_boxoffice";

/// What an operator shows to services that are processes of their own.
pub(crate) const OPERATOR_TOKEN: &str = "an-operators-token-of-the-tests";

/// Which process answers which path, as an ingress knows it.
#[derive(Debug, Clone)]
pub(crate) struct Ingress {
    pub(crate) auth: String,
    pub(crate) tickets: String,
    pub(crate) orders: String,
    pub(crate) expiration: String,
    pub(crate) payments: String,
    pub(crate) site: String,
    pub(crate) stripe: String,
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

/// The programs to start, and for each where it answers 200 once it can do its work.
pub(crate) type Programs = Vec<(ProcessBuilder, String)>;

/// Everything in one process, on one port.
pub(crate) fn one_process(dir: &Path, redis_url: Option<&str>, options: Options) -> (Ingress, Programs) {
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
        expiration: base.clone(),
        payments: base.clone(),
        site: base.clone(),
        stripe: base.clone(),
    };
    (ingress, vec![(program, format!("{base}/readyz"))])
}

/// Every service, the site and the stand-in for Stripe by itself.
pub(crate) fn separate(dir: &Path, redis_url: &str, options: Options) -> (Ingress, Programs) {
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
        let program = program(name, listen, base).env("BOXOFFICE_OPERATOR_TOKEN", OPERATOR_TOKEN);
        (program, format!("{base}/readyz"))
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
                .env("STRIPE_FAKE_DATA_DIR", dir.join("stripe-fake"))
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
        expiration,
        payments,
        site: web,
        stripe,
    };
    (ingress, programs)
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
