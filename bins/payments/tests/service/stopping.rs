//! What becomes of requests that are under way when the service is told to stop.

use std::time::{Duration, Instant};

use serde_json::json;
use service::DRAIN_SECONDS_MAX;
use testkit::Answer;

use crate::world::{Order, World};

/// Within this time the service is gone, whatever Stripe does, on a busy machine, too: the drain alone may take 8 s. The fault
/// bench holds each service to the ten seconds that are promised (`./scripts/faults 30`).
const GONE_MAX: Duration = Duration::from_secs(30);
/// Within this time whoever asked has an answer: before the hang of twice a drain is over.
const ANSWERED_MAX: Duration = Duration::from_secs(DRAIN_SECONDS_MAX);
const OPEN_ROUTE: &str = "POST /v1/checkout/sessions";

/// An order whose page is being asked for, while Stripe does `fault` to the first call.
async fn asked_for(world: &World, fault: serde_json::Value) -> (Order, tokio::task::JoinHandle<Answer>) {
    let (user, ann) = world.person();
    let order = world.order(user).await;
    world.fault(fault).await;
    let body = json!({ "orderId": order.id() });
    let asking = tokio::spawn(async move { ann.post("/api/payments", &body).send().await });
    world.acted(1).await;
    (order, asking)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_under_way_gets_its_page_without_the_worker() {
    let mut world = World::start().await;
    let (order, asking) = asked_for(&world, json!({ "fault": "rate_limited", "route": OPEN_ROUTE })).await;
    let leaving = world.leaving();
    let begun = Instant::now();
    leaving.begin_stop();
    world.heal().await;
    let answer = asking.await.expect("the request does not panic");
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json()["orderId"], order.id().to_string());
    assert!(begun.elapsed() < ANSWERED_MAX, "{:?}", begun.elapsed());
    leaving.stop().await;
    assert!(begun.elapsed() < GONE_MAX, "{:?}", begun.elapsed());
    assert_eq!(world.open_sessions().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_stripe_keeps_waiting_is_told_so_soon() {
    let mut world = World::start().await;
    let hang = json!({ "fault": "hang", "route": OPEN_ROUTE, "seconds": 2 * DRAIN_SECONDS_MAX });
    let (order, asking) = asked_for(&world, hang).await;
    let leaving = world.leaving();
    let begun = Instant::now();
    leaving.begin_stop();
    let answer = asking.await.expect("the request does not panic");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    assert!(begun.elapsed() < ANSWERED_MAX, "{:?}", begun.elapsed());
    leaving.stop().await;
    assert!(begun.elapsed() < GONE_MAX, "{:?}", begun.elapsed());
    // What was begun is gone on with.
    world.heal().await;
    world.restart().await;
    let ann = world.signed_in(order.buyer());
    assert_eq!(world.open(&ann, &order).await["status"], "open");
    assert_eq!(world.open_sessions().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_while_stripe_is_gone_too_is_told_so_soon() {
    let mut world = World::start().await;
    // As in one process, where the stand-in stops to listen at the same moment.
    let (_, asking) = asked_for(&world, json!({ "fault": "answer_lost", "route": OPEN_ROUTE })).await;
    let leaving = world.leaving();
    let begun = Instant::now();
    leaving.begin_stop();
    world.stripe_goes().await;
    let answer = asking.await.expect("the request does not panic");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    leaving.stop().await;
    assert!(begun.elapsed() < GONE_MAX, "{:?}", begun.elapsed());
}
