//! Clocks that disagree: what another service has just acknowledged is known here, whatever time it is here.

use std::time::Instant;

use serde_json::json;
use service::{Clock, READ_WAIT_MAX};
use testkit::eventually;

use crate::example::{Notes, Places};
use crate::world::{Running, SOON, World};

const HOUR_MILLIS: i64 = 3_600_000;
const LONG_AGO_MILLIS: i64 = -300_000;

async fn heard_of(notes: &Running, order: impl std::fmt::Display) {
    eventually("the order to be noted", SOON, || async {
        (notes.client.get(format!("/orders/{order}")).send().await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_an_hour_off_makes_no_fresh_id_disappear() {
    for offset_millis in [HOUR_MILLIS, -HOUR_MILLIS] {
        let world = World::new();
        let orders = Running::start::<Places>(&world.settings()).await.unwrap();
        let mut elsewhen = world.settings();
        elsewhen.clock_offset_ms = offset_millis;
        let notes = Running::start::<Notes>(&elsewhen).await.unwrap();
        // Something was heard of the other, so that its clock is known here.
        let first = orders.clock.order_id();
        orders
            .client
            .post("/publish", &json!({"not_due": first}))
            .expect(200)
            .await;
        heard_of(&notes, first).await;

        let order = orders.clock.order_id();
        let reading = notes.client.get(format!("/orders/{order}")).send();
        let writing = orders.client.post("/publish", &json!({"not_due": order})).send();
        let (read, _) = tokio::join!(reading, writing);
        assert_eq!(read.status, 200, "{offset_millis}: {}", read.text());

        let unknown = format!("/orders/{}", orders.clock.order_id());
        notes.client.get(&unknown).expect(404).await;
        notes.stop().await;
        orders.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_long_be_known_is_not_waited_for() {
    let world = World::new();
    let orders = Running::start::<Places>(&world.settings()).await.unwrap();
    let notes = Running::start::<Notes>(&world.settings()).await.unwrap();
    let order = orders.clock.order_id();
    orders
        .client
        .post("/publish", &json!({"not_due": order}))
        .expect(200)
        .await;
    heard_of(&notes, order).await;
    let old = Clock::with_offset_ms(LONG_AGO_MILLIS).order_id();
    let started = Instant::now();
    notes.client.get(format!("/orders/{old}")).expect(404).await;
    assert!(started.elapsed() < READ_WAIT_MAX, "it was waited for");
    notes.stop().await;
    orders.stop().await;
}
