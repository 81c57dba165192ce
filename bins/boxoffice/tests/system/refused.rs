//! What must not start does not start, says why, and says what to do about it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{Client, Process, ProcessBuilder, RedisServer, eventually_blocking, temp_dir};

use crate::harness::{Deployment, Options, System};
use crate::layout::{boxoffice, free_port};
use crate::person::Person;

/// A second process on data that is in use is refused within this time: ten times what is promised, which the fault bench
/// holds it to on a machine that has nothing else to do (`./scripts/faults 27`).
const IN_USE_MAX: Duration = Duration::from_secs(20);

/// A store that has lost something is refused within this time, on a busy machine, too.
const DAMAGED_MAX: Duration = Duration::from_secs(50);

/// How long a test waits for what has a bound of its own.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every service's store, as its directory is called.
const STORES: [&str; 5] = ["auth", "tickets", "orders", "expiration", "payments"];

#[tokio::test(flavor = "multi_thread")]
async fn a_second_boxoffice_on_a_data_directory() {
    let mut system = System::start(Deployment::OneProcess, Options::default()).await;
    let first = system.process().pid();
    let said = refusal(boxoffice(system.data_dir(), free_port()), IN_USE_MAX);
    assert!(
        said.contains("is in use by another boxoffice") && said.contains(&format!("process {first}")),
        "{said}"
    );
    assert!(said.contains("Stop that one"), "it says what to do: {said}");

    // The first one did not notice.
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    buyer.buys(&seller.lists(1).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_a_store() {
    let (redis, dir) = (RedisServer::start(), temp_dir());
    let tickets = |dir: &Path| {
        Process::of("tickets")
            .env("TICKETS_LISTEN", "127.0.0.1:0")
            .env("BOXOFFICE_DATA_DIR", dir)
            .env("REDIS_URL", redis.url())
    };
    let first = tickets(dir.path()).start();
    let said = refusal(tickets(dir.path()), IN_USE_MAX);
    assert!(
        said.contains("the tickets store in ")
            && said.contains(&format!("in use by process {}", first.pid())),
        "{said}"
    );
    Client::new(first.base()).get("/api/tickets").expect(200).await;
}

/// sled opens a truncated file as if nothing had ever been in it: this must not.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_file_was_truncated() {
    let mut system = System::start(Deployment::OneProcess, Options::default()).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(1).await;
    let order = buyer.buys(&ticket).await;
    system.kill();

    for store in STORES {
        let file = system.data_dir().join(store).join("db");
        let whole = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        // sled makes room ahead; only a cut through what was written is a loss.
        let written = whole
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        for kept in [0, written / 4, written / 2] {
            std::fs::write(&file, &whole[..kept]).expect("a file of this test can be written");
            let said = refusal(boxoffice(system.data_dir(), free_port()), DAMAGED_MAX);
            assert!(
                said.contains(&format!("the {store} store in ")),
                "{store} cut to {kept}: {said}"
            );
            assert!(
                said.contains("begin anew"),
                "{store} cut to {kept}, what to do: {said}"
            );
        }
        std::fs::write(&file, whole).expect("a file of this test can be written");
    }

    // Nothing was spoilt by trying: with its files back, everything is there.
    system.start_again().await;
    assert_eq!(buyer.order(&order).await["status"], "complete");
    buyer
        .post("/api/orders", &json!({ "ticketId": ticket }))
        .expect(409)
        .await;
}

#[test]
fn an_address_that_is_taken() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback has a free port");
    let port = taken
        .local_addr()
        .expect("a bound listener has an address")
        .port();
    let said = refusal(boxoffice(temp_dir().path(), port), IN_USE_MAX);
    assert!(
        said.contains(&format!("127.0.0.1:{port}")) && said.contains("--listen"),
        "{said}"
    );
}

/// What production tells payments, with a stand-in's key or address by mistake.
#[tokio::test(flavor = "multi_thread")]
async fn a_stand_in_for_stripe_where_money_is_real() {
    let (redis, dir) = (RedisServer::start(), temp_dir());
    let payments = |key: &str, base: Option<&str>| {
        let program = Process::of("payments")
            .env("PAYMENTS_LISTEN", "127.0.0.1:0")
            .env("BOXOFFICE_DATA_DIR", dir.path())
            .env("REDIS_URL", redis.url())
            .env("STRIPE_STAND_IN", "refused")
            .env("STRIPE_SECRET_KEY", key)
            .env("STRIPE_WEBHOOK_SECRET", "whsec_boxoffice");
        match base {
            Some(base) => program.env("STRIPE_API_BASE", base),
            None => program,
        }
    };
    for (key, base) in [
        ("sk_test_boxoffice", None),
        ("sk_test_boxoffice", Some("http://127.0.0.1:9")),
        ("sk_test_of_a_real_account", Some("http://127.0.0.1:9")),
    ] {
        let said = refusal(payments(key, base), PATIENCE);
        assert!(
            said.contains("STRIPE_STAND_IN is `refused`") && said.contains("unset STRIPE_API_BASE"),
            "{key} at {base:?}: {said}"
        );
        assert!(!said.contains(key), "a key is shown: {said}");
    }
    drop(payments("sk_test_of_a_real_account", None).start());

    let program = boxoffice(dir.path(), free_port())
        .env("REDIS_URL", redis.url())
        .env("STRIPE_STAND_IN", "refused");
    let said = refusal(program, PATIENCE);
    assert!(
        said.contains("STRIPE_STAND_IN is `refused`") && said.contains("set STRIPE_SECRET_KEY"),
        "{said}"
    );
}

/// Starts a program that must refuse, and answers what it said about it.
fn refusal(program: ProcessBuilder, within: Duration) -> String {
    let begun = Instant::now();
    let mut process = program.spawn();
    let ended = eventually_blocking("it ends or its time is up", PATIENCE, || {
        process
            .ended()
            .map(Some)
            .or_else(|| (begun.elapsed() > within).then_some(None))
    });
    let code = ended.and_then(|status| status.code());
    assert_eq!(code, Some(1), "refused within {within:?}\n{}", process.printed());
    // What a process has printed arrives a moment after its end; this waits for the end of it.
    process.wait(PATIENCE);
    process.stderr()
}
