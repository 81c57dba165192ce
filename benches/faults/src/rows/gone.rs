//! Row 33: Redis, Stripe, or the store of a service is gone, and what the probes say of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Client, Disk};
use tokio::task::JoinSet;

use crate::healed::Healed;
use crate::judge::settle;
use crate::market::{Market, Mix, Ordered, Plan};
use crate::part::Part;
use crate::person::Wish;
use crate::report::Outcome;
use crate::rows::pause;
use crate::stage::Stage;
use crate::system::{Setup, System};

/// How long a service may take to say that Redis is gone.
const DEGRADED_SECONDS_MAX: u64 = 10;

/// What payments calls Stripe where it says what it goes without.
const STRIPE: &str = "stripe";

/// How long a payment that can't be opened may take until the buyer is told to come again.
const PUT_OFF_SECONDS_MAX: u64 = 10;

/// Whose store goes away.
const STORELESS: Part = Part::Tickets;

/// How long a service without a store may still say that it is ready.
const READY_WITHOUT_STORE_MILLIS_MAX: u64 = 2_000;

/// How long it may take until a store needs what its disk does not give.
const REFUSED_SECONDS_MAX: u64 = 60;

/// How long a service may take to be well again once its disk is.
const HEALED_SECONDS_MAX: u64 = 10;

/// How many people write into the store that goes away.
const WRITERS: usize = 4;

/// Between two looks at a service whose store goes away: shorter than any try to open it again.
const LOOK_MILLIS: u64 = 10;

/// Row 33: Redis gone, then Stripe gone: live and ready, shown as degraded; reads and single-store writes go on. Then a
/// store gone: that service is not ready, the others are.
pub(super) async fn others_gone(stage: Stage) -> Outcome {
    let looks = stage.size(10, 100);
    let dir = testkit::temp_dir();
    let disk = Disk::under(dir.path());
    let data = Setup::default().env(STORELESS, "BOXOFFICE_DATA_DIR", &disk.dir().display());
    let setup = disk.env().into_iter().fold(data, |setup, (name, value)| {
        setup.env(STORELESS, name, &value.display())
    });
    let system = System::start(&setup).await;
    let market = Market::open(&system, 4, Setup::default().hold_seconds, stage.seed).await;
    market.purchase_all(6, Mix::NO_DEADLINES).await;
    let ticket = market.list(10_000).await.expect("a listing is answered 201");
    let first = market.order(0, &ticket).await.expect_taken();
    let mut open = vec![(0, first)];
    system.kill_redis();
    for part in Part::SERVICES {
        shown_as_degraded(&stage, &system, part, "bus").await;
    }
    let mut reads = 0;
    for nth in 0..looks {
        let buyer = nth % market.buyers().len();
        let listed = market.list(1).await.expect("a listing needs no Redis");
        match market.order(buyer, &ticket).await {
            Ordered::Taken(order) => open.push((buyer, order)),
            other @ (Ordered::Refused | Ordered::Unanswered(_)) => {
                panic!("an order needs no Redis: {other:?}")
            }
        }
        let (_, order) = open.last().expect("there is an order");
        reads += is_read(&market, buyer, &[&listed, &ticket], order).await;
        for part in Part::SERVICES {
            is_up(&system, part).await;
        }
    }
    system.redis().restart();
    // Now Stripe: everything but paying goes on, and paying says so quickly.
    system.kill(Part::Stripe);
    let listed = market.list(1).await.expect("a listing needs no Stripe");
    let order = market.order(1, &ticket).await.expect_taken();
    reads += is_read(&market, 1, &[&listed, &ticket], &order).await;
    let wish = json!({ "orderId": order });
    let asked = Instant::now();
    let answer = market.buyers()[1]
        .once(&Wish::post("/api/payments", Some(&wish), "while-stripe-is-gone"))
        .await
        .expect("payments answers without Stripe");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(
        answer.header("retry-after").is_some(),
        "a 503 says when to come again"
    );
    let took = asked.elapsed();
    let quickly = stage.promised(Duration::from_secs(PUT_OFF_SECONDS_MAX));
    assert!(took < quickly, "it took {took:?} until a payment was put off");
    shown_as_degraded(&stage, &system, Part::Payments, STRIPE).await;
    for part in Part::SERVICES {
        let ready = is_up(&system, part).await;
        assert!(
            part == Part::Payments || !lacks(&ready, STRIPE),
            "{} does not need Stripe: {ready}",
            part.name()
        );
    }
    reads += is_read(&market, 1, &[&listed, &ticket], &order).await;
    system.spawn(Part::Stripe);
    system.part_ready(Part::Stripe).await;
    market.go_on(1, &order, Plan::Buy).await;
    let ready = is_up(&system, Part::Payments).await;
    assert!(!lacks(&ready, STRIPE), "Stripe is back, and has charged: {ready}");
    let unready = without_store(&stage, &system, &market, &disk).await;
    let healed = Healed::now(&system);
    for (buyer, order) in &open {
        market.cancel(*buyer, order).await;
    }
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!(
            "{looks} listings and orders without Redis, and {reads} reads without it or Stripe; without Stripe a payment is \
             put off after {} ms, and payments is ready and says what it lacks; without its store {} is not ready after {} ms",
            took.as_millis(),
            STORELESS.name(),
            unready.as_millis()
        ),
        kills: system.kills(),
        verdict,
    }
}

async fn is_up(system: &System, part: Part) -> Value {
    let client = Client::new(system.base(part));
    client.get("/healthz").expect(200).await;
    client.get("/readyz").expect(200).await.json()
}

/// Whether a service that is ready says that it goes without this.
fn lacks(ready: &Value, what: &str) -> bool {
    let services = ready["services"].as_array().into_iter().flatten();
    let lacking = services.flat_map(|service| service["degraded"].as_array().into_iter().flatten());
    lacking.into_iter().any(|name| name == what)
}

/// Listings and an order, one by one and in their lists, are read as always, each at the first try. How many reads.
async fn is_read(market: &Market, buyer: usize, tickets: &[&str], order: &str) -> usize {
    let one_by_one = tickets.iter().map(|ticket| format!("/api/tickets/{ticket}"));
    let lists = ["/api/tickets".to_owned(), "/api/orders".to_owned()];
    let paths: Vec<String> = one_by_one
        .chain([format!("/api/orders/{order}")])
        .chain(lists)
        .collect();
    for path in &paths {
        let answer = market.buyers()[buyer].once(&Wish::get(path)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{path} is not answered: {error}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    paths.len()
}

/// It says that it goes without this, and is ready all the same.
async fn shown_as_degraded(stage: &Stage, system: &System, part: Part, what: &str) {
    let begun = Instant::now();
    loop {
        let ready = is_up(system, part).await;
        if lacks(&ready, what) {
            return;
        }
        let waited = begun.elapsed();
        assert!(
            waited < stage.promised(Duration::from_secs(DEGRADED_SECONDS_MAX)),
            "{} does not say that it goes without {what}: {ready}",
            part.name()
        );
        pause(20).await;
    }
}

/// The disk below one store takes nothing more: how long it took until the service said that it is not ready.
async fn without_store(stage: &Stage, system: &System, market: &Market, disk: &Disk) -> Duration {
    let before = disk.refusals();
    let enough = Arc::new(AtomicBool::new(false));
    disk.limit(Some(0));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (market, enough) = (market.clone(), Arc::clone(&enough));
        writers
            .spawn(async move { while !enough.load(Ordering::Relaxed) && market.list(1).await.is_some() {} });
    }
    let begun = Instant::now();
    while disk.refusals() == before {
        assert!(
            begun.elapsed() < Duration::from_secs(REFUSED_SECONDS_MAX),
            "the disk of {} refuses nothing",
            STORELESS.name()
        );
        pause(LOOK_MILLIS).await;
    }
    let gone = Instant::now();
    let client = Client::new(system.base(STORELESS));
    loop {
        let ready = client.get("/readyz").send().await;
        if ready.status == 503 && ready.text().contains("store") {
            break;
        }
        let waited = gone.elapsed();
        assert!(
            waited < stage.promised(Duration::from_millis(READY_WITHOUT_STORE_MILLIS_MAX)),
            "{} says that it is ready, {waited:?} after its store was gone: {}",
            STORELESS.name(),
            ready.text()
        );
        pause(LOOK_MILLIS).await;
    }
    let unready = gone.elapsed();
    enough.store(true, Ordering::Relaxed);
    client.get("/healthz").expect(200).await;
    for part in Part::SERVICES.into_iter().filter(|part| *part != STORELESS) {
        is_up(system, part).await;
    }
    disk.limit(None);
    let within = stage.promised(Duration::from_secs(HEALED_SECONDS_MAX));
    tokio::time::timeout(within, system.part_ready(STORELESS))
        .await
        .unwrap_or_else(|_| panic!("{} is not well again within {within:?}", STORELESS.name()));
    writers.join_all().await;
    unready
}
