//! Services are replaced one by one, each away for as long as in a cluster, while people read pages and buy: nobody who reads sees
//! more of it than that a page takes longer, and whoever was told that an order stands has exactly that order.
//!
//! That two versions understand each other is row 31 of the fault bench, which has two that differ. Here both are this build, and
//! what counts is the absence. With `BOXOFFICE_PREVIOUS=FOLDER` the services first go back to the programs of another build, the
//! last release's for one, and then forward to this one.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{Client, eventually};
use tokio::task::JoinSet;

use crate::harness::{Deployment, Options, System};
use crate::operator::Operator;
use crate::person::{PRICE, Person};

/// Names a folder with the programs of another version.
const PREVIOUS: &str = "BOXOFFICE_PREVIOUS";

/// How many people buy, and how many more only look.
const BUYERS: usize = 2;
const READERS: usize = 2;

/// How long one order may be tried for, whatever is being replaced, on a busy machine.
const ORDER_MAX: Duration = Duration::from_secs(90);

/// A service that is away for less than this is waited for by every page: a page asks for 7 s, and whoever has just come may say
/// "in a second". On a machine that is so slow that it takes longer, a page may say that it can't be shown right now.
const SURELY_WAITED_FOR: Duration = Duration::from_secs(6);

/// How much longer than a service is away a page may take, on a machine that has little time for it.
const PAGE_BEYOND_MAX: Duration = Duration::from_secs(20);

/// What people met.
#[derive(Default)]
struct Met {
    /// Pages that were shown.
    pages: usize,
    /// Pages that said to come again.
    unavailable: usize,
    /// How long a page took, at most.
    slowest: Duration,
    /// Orders that were answered with 201.
    orders: BTreeSet<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn one_service_after_another_is_replaced_and_nobody_notices() {
    let mut system = System::start(Deployment::Separate, Options::default()).await;
    let seller = Person::sign_up(&system).await;
    let ticket: Arc<str> = seller.lists(10_000).await.into();
    let (readers, buyers) = (
        Person::sign_up_many(&system, READERS).await,
        Person::sign_up_many(&system, BUYERS).await,
    );
    let over = Arc::new(AtomicBool::new(false));
    let mut reading = JoinSet::new();
    for reader in readers {
        reading.spawn(reads(reader, Arc::clone(&ticket), Arc::clone(&over)));
    }
    let mut buying = JoinSet::new();
    for buyer in buyers {
        buying.spawn(buys(buyer, Arc::clone(&ticket), Arc::clone(&over)));
    }
    let mut longest = Duration::ZERO;
    if let Some(previous) = std::env::var_os(PREVIOUS).map(PathBuf::from) {
        longest = system.replace_each_service(Some(&previous)).await;
    }
    longest = longest.max(system.replace_each_service(None).await);
    over.store(true, Ordering::Relaxed);

    for met in reading.join_all().await {
        assert!(met.pages > 0, "somebody has read meanwhile");
        if longest < SURELY_WAITED_FOR {
            assert_eq!(met.unavailable, 0, "each was away for at most {longest:?}");
        }
        assert!(
            met.slowest < longest + PAGE_BEYOND_MAX,
            "a page took {:?} while each service was away for at most {longest:?}",
            met.slowest
        );
        println!(
            "away for at most {longest:?}: {} pages, the slowest in {:?}, {} not shown",
            met.pages, met.slowest, met.unavailable
        );
    }
    let mut orders = 0;
    for (buyer, met) in buying.join_all().await {
        let listed = buyer.get("/api/orders?limit=100").expect(200).await.json();
        let listed: BTreeSet<String> = listed
            .as_array()
            .expect("a list of orders")
            .iter()
            .map(|order| order["id"].as_str().expect("an id").to_owned())
            .collect();
        assert_eq!(
            listed, met.orders,
            "what was answered with 201 is there, and nothing else"
        );
        for order in &met.orders {
            buyer.sees(order, "awaiting:payment").await;
        }
        orders += met.orders.len();
    }
    assert!(orders > 0, "somebody has bought meanwhile");
    tells_holds(&system, orders).await;
    Operator::of(&system, Deployment::Separate).finds_nothing_wrong();
}

/// What the metrics say of holds is what there is, also after the restart of who counts them.
async fn tells_holds(system: &System, open: usize) {
    let tickets = Client::new(&system.ingress.tickets);
    let expected = format!("tickets_holds{{state=\"open\"}} {open}");
    eventually(&expected, ORDER_MAX, async || {
        let metrics = tickets.get("/metrics").expect(200).await.text();
        metrics.lines().any(|line| line == expected).then_some(())
    })
    .await;
}

/// Opens pages, one after another.
async fn reads(reader: Person, ticket: Arc<str>, over: Arc<AtomicBool>) -> Met {
    let mut met = Met::default();
    while !over.load(Ordering::Relaxed) {
        for path in ["/", &format!("/tickets/{ticket}"), "/orders"] {
            let begun = Instant::now();
            let page = reader.get(path).within(ORDER_MAX).send().await;
            met.slowest = met.slowest.max(begun.elapsed());
            match page.status.as_u16() {
                200 => met.pages += 1,
                503 => met.unavailable += 1,
                other => panic!("{path}: {other}\n{}", page.text()),
            }
        }
    }
    met
}

/// Orders a piece, and another one. What gets no answer is asked for again with the same key.
async fn buys(buyer: Person, ticket: Arc<str>, over: Arc<AtomicBool>) -> (Person, Met) {
    let mut met = Met::default();
    let wish = json!({ "ticketId": *ticket, "price": PRICE });
    // No more than a list shows.
    for number in 0..100 {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        let key = format!("upgrade-{number}");
        loop {
            assert!(begun.elapsed() < ORDER_MAX, "no order within {ORDER_MAX:?}");
            let request = buyer.post("/api/orders", &wish);
            let Ok(answer) = request.header("Idempotency-Key", &key).try_send().await else {
                // Nobody listens at this moment.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            match answer.status.as_u16() {
                201 => {
                    met.orders.insert(answer.field("id"));
                    break;
                }
                503 => tokio::time::sleep(Duration::from_millis(200)).await,
                other => panic!("{other}: {}", answer.text()),
            }
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    (buyer, met)
}
