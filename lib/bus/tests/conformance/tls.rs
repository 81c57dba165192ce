//! A Redis that speaks only TLS to us, asks who we are, and lets us do no more than the bus needs.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bus::{Bus, BusConfig, ScheduledSet};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use testkit::{Guard, RedisOptions, RedisServer, Reply, Watched, eventually, temp_dir};

use crate::inquiry::{head, inquirer};
use crate::sentinel::all_applied;
use crate::system::{CONVERGED, System, at, bus_at, now};

/// What docs/operations.md tells an operator to grant, and no more.
const RULES: &str = "on >s3cret@x resetkeys ~events:* ~requests:* ~roll:* ~inquiries:* ~answers:* ~snapshot:* \
                     ~deadlines resetchannels -@all +@stream +@sortedset +@string +@list +@keyspace +@connection \
                     -@dangerous +eval +evalsha +script|load +time +memory|usage +role +info";

/// The same for Sentinels.
const SENTINEL_RULES: &str = "on >an0ther resetchannels -@all +sentinel|masters +sentinel|slaves +role";

/// So many ports are tried at most.
const PORT_TRIES_MAX: usize = 10;

/// An authority, and what it has signed for the server and for us.
struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    fn make(dir: &Path) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        // Each has a name of its own: a certificate that is named like its issuer is taken for self-signed.
        authority.distinguished_name.push(DnType::CommonName, "authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let made = Self { dir: dir.to_owned() };
        std::fs::write(made.path("ca.pem"), authority.pem()).unwrap();
        for (name, hosts) in [
            ("server", vec!["127.0.0.1".to_owned()]),
            ("client", vec!["boxoffice".to_owned()]),
        ] {
            let key = KeyPair::generate().unwrap();
            let mut wanted = CertificateParams::new(hosts).unwrap();
            wanted.distinguished_name.push(DnType::CommonName, name);
            let signed = wanted.signed_by(&key, &authority).unwrap();
            std::fs::write(made.path(&format!("{name}.pem")), signed.pem()).unwrap();
            std::fs::write(made.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// A server with a port in the clear for the test to look inside, and one over TLS for everyone else.
struct Guarded {
    redis: RedisServer,
    port: u16,
}

impl Guarded {
    fn start(certificates: &Certificates) -> Self {
        let mut arguments = vec!["--user".to_owned(), "boxoffice".to_owned()];
        arguments.extend(RULES.split_whitespace().map(str::to_owned));
        for (name, value) in [
            ("--tls-cert-file", certificates.text("server.pem")),
            ("--tls-key-file", certificates.text("server.key")),
            ("--tls-ca-cert-file", certificates.text("ca.pem")),
            ("--tls-auth-clients", "yes".to_owned()),
        ] {
            arguments.extend([name.to_owned(), value]);
        }
        let redis = RedisServer::with_arguments(RedisOptions::default(), arguments);
        // Between finding a port free and taking it, somebody else may take it: then the server says so, and goes on.
        let port = free_ports()
            .take(PORT_TRIES_MAX)
            .find(|port| {
                let taken = redis.command(&["CONFIG", "SET", "tls-port", &port.to_string()]);
                taken == Reply::Status("OK".to_owned())
            })
            .expect("there is a port for TLS");
        Self { redis, port }
    }

    fn url(&self, login: &str, query: &str) -> String {
        format!("rediss://{login}127.0.0.1:{}{query}", self.port)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_with_a_login_of_few_rights_all_goes_on() {
    let dir = temp_dir();
    let certificates = Certificates::make(dir.path());
    let guarded = Guarded::start(&certificates);
    let query = format!(
        "?ca={}&cert={}&key={}",
        certificates.text("ca.pem"),
        certificates.text("client.pem"),
        certificates.text("client.key")
    );
    let url = guarded.url("boxoffice:s3cret%40x@", &query);
    let mut system = System::on(guarded.redis);
    system.bus = bus_at(&url);
    let running = system.run();
    system.publish(1..=200).await;
    system.converges_to(200).await;
    // A flush makes every reader and the relay find their feet again, with what they are allowed to ask.
    system.redis.command(&["FLUSHALL"]);
    system.publish(201..=300).await;
    system.converges_to(300).await;
    let _asking = inquirer(&system);
    assert_eq!(head(&system).await, at(1, 300));
    eventually("nothing was refused", CONVERGED, || async {
        let status = system.bus.status();
        (status.connected && status.relay_trouble.is_none()).then_some(())
    })
    .await;
    running.stop().await;
    let refused = system.redis.command(&["ACL", "LOG"]);
    assert_eq!(refused, Reply::Array(Vec::new()), "what the rules lack");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_authority_a_certificate_or_the_password_there_is_no_connection() {
    let dir = temp_dir();
    let certificates = Certificates::make(dir.path());
    let guarded = Guarded::start(&certificates);
    let own = format!(
        "&cert={}&key={}",
        certificates.text("client.pem"),
        certificates.text("client.key")
    );
    let ca = format!("?ca={}", certificates.text("ca.pem"));
    for (what, login, query) in [
        (
            "the authority is nobody's that we trust",
            "boxoffice:s3cret%40x@",
            String::new(),
        ),
        ("the server asks who we are", "boxoffice:s3cret%40x@", ca.clone()),
        ("the password is wrong", "boxoffice:guess@", format!("{ca}{own}")),
    ] {
        let bus = Bus::new(BusConfig {
            redis_url: guarded.url(login, &query),
            prefix: String::new(),
            clock: Arc::new(now),
        })
        .unwrap();
        let asked = ScheduledSet::new(&bus, "deadlines").due(now(), 1).await;
        let error = asked.expect_err(what).to_string();
        assert!(!error.contains("s3cret"), "{what}: {error}");
    }
    let bus = bus_at(&guarded.url("boxoffice:s3cret%40x@", &format!("{ca}{own}")));
    eventually("with all of them there is one", CONVERGED, || async {
        ScheduledSet::new(&bus, "deadlines").due(now(), 1).await.ok()
    })
    .await;
}

/// Sentinels and servers, all over TLS, each with a login of its own; and the master is killed.
#[tokio::test(flavor = "multi_thread")]
async fn behind_sentinels_over_tls_with_a_login_the_next_master_is_found() {
    let dir = temp_dir();
    let certificates = Certificates::make(dir.path());
    let guard = Guard {
        ca: certificates.text("ca.pem"),
        cert: certificates.text("server.pem"),
        key: certificates.text("server.key"),
        user: "boxoffice".to_owned(),
        rules: RULES.to_owned(),
        sentinel_rules: SENTINEL_RULES.to_owned(),
    };
    let started = tokio::task::spawn_blocking(move || Watched::start_guarded(&guard));
    let (mut redis, port) = started.await.unwrap();
    let url = |sentinel_password: &str| {
        format!(
            "rediss+sentinel://boxoffice:s3cret%40x@127.0.0.1:{port}/shop?ca={}&cert={}&key={}\
             &sentinel_user=boxoffice&sentinel_password={sentinel_password}",
            certificates.text("ca.pem"),
            certificates.text("client.pem"),
            certificates.text("client.key")
        )
    };
    let mut system = System::on(RedisServer::start());
    let guessing = bus_at(&url("guess"));
    let refused = ScheduledSet::new(&guessing, "deadlines").due(now(), 1).await;
    refused.expect_err("the Sentinel asks for its own password");
    system.bus = bus_at(&url("an0ther"));
    let running = system.run();
    system.publish(1..=100).await;
    all_applied(&system, 100).await;
    let redis = tokio::task::spawn_blocking(move || {
        redis.kill_master();
        redis
    });
    let _redis = redis.await.unwrap();
    system.publish(101..=200).await;
    all_applied(&system, 200).await;
    running.stop().await;
}

/// Ports that are free now, below those that outgoing connections get.
fn free_ports() -> impl Iterator<Item = u16> {
    let begin = 10_000 + u16::try_from(std::process::id() % 19_000).unwrap();
    (begin..30_000).filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}
