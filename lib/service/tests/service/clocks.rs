//! Clocks that disagree: what another service has just acknowledged is known here, whatever time it is here.

use std::time::{Duration, Instant};

use serde_json::json;
use service::{Clock, READ_WAIT_MAX};

use crate::example::{Notes, Places};
use crate::unheard::{does_not_exist, hears_of};
use crate::world::{Running, World};

const HOUR_MILLIS: i64 = 3_600_000;
const LONG_AGO_MILLIS: i64 = -300_000;

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
        hears_of(&notes.client, &format!("/orders/{first}")).await;

        let order = orders.clock.order_id();
        let writing = orders.client.post("/publish", &json!({"not_due": order}));
        writing.expect(200).await;
        hears_of(&notes.client, &format!("/orders/{order}")).await;

        let unknown = format!("/orders/{}", orders.clock.order_id());
        does_not_exist(&notes.client, &unknown).await;
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
    hears_of(&notes.client, &format!("/orders/{order}")).await;
    let old = Clock::with_offset_ms(LONG_AGO_MILLIS).order_id();
    // A machine that does something else may hold up any one answer, and not the quickest of five by so much.
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        notes.client.get(format!("/orders/{old}")).expect(404).await;
        quickest = quickest.min(started.elapsed());
    }
    assert!(quickest < READ_WAIT_MAX, "it was waited for: {quickest:?}");
    notes.stop().await;
    orders.stop().await;
}
