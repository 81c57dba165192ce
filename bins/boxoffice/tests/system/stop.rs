//! SIGTERM under load: what was accepted is answered, and everything is gone in time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use testkit::eventually;
use tokio::task::JoinSet;

use crate::harness::{Deployment, Options, System, in_both_deployments};
use crate::person::Person;

/// Within this time everything is gone.
const GONE_MAX: Duration = Duration::from_secs(10);

/// How many people order, each one order after another.
const PEOPLE: usize = 12;

/// At most so many orders each: as many as one page of one's orders shows.
const ORDERS_EACH_MAX: usize = 100;

/// The system is stopped once so many orders were acknowledged.
const ORDERS_BEFORE: usize = 100;

/// How long the load may take to get there.
const LOAD_MAX: Duration = Duration::from_secs(60);

in_both_deployments!(no_accepted_request_fails_when_the_system_is_told_to_stop);

async fn no_accepted_request_fails_when_the_system_is_told_to_stop(deployment: Deployment) {
    let mut system = System::start(deployment, Options::default()).await;
    let seller = Person::sign_up(&system).await;
    let ticket = seller.lists(100_000).await;
    let buyers = Person::sign_up_many(&system, PEOPLE).await;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut load = JoinSet::new();
    for buyer in &buyers {
        load.spawn(order_until_nobody_answers(
            buyer.clone(),
            ticket.clone(),
            Arc::clone(&acknowledged),
        ));
    }
    // Somebody who waits for news is let go with an answer, too.
    let waiting = buyers[0].orders(&ticket).await;
    let awaited = buyers[0].sees(&waiting, "awaiting:payment").await;
    let patient = buyers[0].clone();
    let patient = tokio::spawn(async move {
        let known = format!("\"{}\"", awaited["version"]);
        let path = format!("/api/orders/{waiting}");
        let poll = patient
            .get(&path)
            .header("If-None-Match", known)
            .header("Prefer", "wait=30");
        poll.send().await.status.as_u16()
    });
    eventually("the system is under load", LOAD_MAX, async || {
        (acknowledged.load(Ordering::Relaxed) >= ORDERS_BEFORE).then_some(())
    })
    .await;

    system.terminate(GONE_MAX);
    assert_eq!(patient.await.expect("the poll was answered"), 304);
    let known: BTreeSet<String> = load.join_all().await.into_iter().flatten().collect();

    // An order that is there but was not acknowledged would be a request that was accepted and failed.
    system.start_again().await;
    let mut kept = BTreeSet::new();
    for buyer in &buyers {
        let orders = buyer.get("/api/orders?limit=100").expect(200).await.json();
        for order in orders.as_array().expect("a list of orders") {
            kept.insert(order["id"].as_str().expect("an order has an id").to_owned());
        }
    }
    let lost: Vec<&String> = known.difference(&kept).collect();
    assert!(lost.is_empty(), "acknowledged, and not there any more: {lost:?}");
    let unanswered = kept.difference(&known).count();
    // The one order that the patient buyer placed aside from the load.
    assert_eq!(unanswered, 1, "accepted, and never answered");
}

/// Every answer that comes must be a good one; the first that does not come ends it.
async fn order_until_nobody_answers(
    buyer: Person,
    ticket: String,
    acknowledged: Arc<AtomicUsize>,
) -> Vec<String> {
    let mut ids = Vec::new();
    // One place of the page is left for the order of the patient buyer.
    for _ in 1..ORDERS_EACH_MAX {
        let wish = json!({ "ticketId": ticket });
        let Ok(answer) = buyer.post("/api/orders", &wish).try_send().await else {
            break;
        };
        assert_eq!(answer.status, 201, "{}", answer.text());
        ids.push(answer.field("id"));
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    ids
}
