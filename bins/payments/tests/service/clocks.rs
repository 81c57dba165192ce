//! A clock that is wrong: only Stripe's own bounds are hurt by it, and that is said and no dead end.

use events::OrderStatus;
use serde_json::json;
use testkit::eventually;

use crate::world::{GOOD_CARD, SOON, World};

const HOUR_MS: i64 = 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_ahead_orders_are_still_paid() {
    let mut world = World::start().await;
    world.clock_offset_ms = HOUR_MS;
    world.restart().await;
    let (user, ann) = world.person();
    let mut order = world.order(user).await;
    // By this clock every id is an hour old, and an old one is not waited for: it is asked for until it is known.
    let body = json!({ "orderId": order.id() });
    let opened = eventually("the order is known and opened", SOON, || async {
        let answer = ann.post("/api/payments", &body).send().await;
        assert_ne!(answer.status, 409, "{answer:?}");
        (answer.status == 201).then(|| answer.json())
    })
    .await;
    assert_eq!(opened["status"], "open");
    world.pay(&opened, GOOD_CARD).await;
    world
        .tells(&opened, &["payment:opened", "payment:authorized"])
        .await;
    order.becomes(&world, OrderStatus::Accepted).await;
    world.settles(&order, ("succeeded", 2500, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_behind_stripe_refuses_and_the_buyer_is_asked_to_come_back() {
    let mut world = World::start().await;
    world.clock_offset_ms = -HOUR_MS;
    world.restart().await;
    let (user, ann) = world.person();
    let order = world.order(user).await;
    let body = json!({ "orderId": order.id() });
    let answer = ann.post("/api/payments", &body).expect(503).await;
    assert!(answer.header("retry-after").is_some());
    let metrics = world.client.get("/metrics").expect(200).await.text();
    assert!(metrics.contains("outcome=\"untimely\""), "{metrics}");
    // Put right, the same order is paid.
    world.clock_offset_ms = 0;
    world.restart().await;
    assert_eq!(world.open(&ann, &order).await["status"], "open");
}
