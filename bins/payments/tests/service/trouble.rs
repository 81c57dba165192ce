//! Stripe does not answer, answers nonsense, fails before or after the work, refuses for a while: one charge.

use events::{CancelReason, OrderStatus};
use serde_json::{Value, json};

use crate::world::{GOOD_CARD, Order, World};

/// Every way in which a call can go wrong and leave open whether it was done, or be turned away.
const FAULTS: [&str; 7] = [
    "answer_lost",
    "garbage",
    "error_before",
    "error_stored",
    "error_after",
    "rate_limited",
    "conflict",
];

async fn once(world: &World, fault: &str, route: &str, count: u32) {
    world
        .fault(json!({ "fault": fault, "route": route, "count": count }))
        .await;
}

async fn authorized(world: &World) -> (Order, Value) {
    let (user, ann) = world.person();
    let order = world.order(user).await;
    let opened = world.open(&ann, &order).await;
    world.pay(&opened, GOOD_CARD).await;
    world
        .tells(&opened, &["payment:opened", "payment:authorized"])
        .await;
    (order, opened)
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_with_opening_leads_to_one_page() {
    let world = World::start().await;
    let (user, ann) = world.person();
    for fault in FAULTS {
        let order = world.order(user).await;
        once(&world, fault, "POST /v1/checkout/sessions", 2).await;
        let opened = world.open(&ann, &order).await;
        assert_eq!(opened["status"], "open", "{fault}");
        assert_eq!(world.pay(&opened, GOOD_CARD).await, 303, "{fault}");
        world
            .tells(&opened, &["payment:opened", "payment:authorized"])
            .await;
        assert_eq!(world.ledger(&order).await.len(), 1, "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_with_looking_delays_only() {
    let world = World::start().await;
    let (user, ann) = world.person();
    for fault in ["answer_lost", "garbage", "error_before", "rate_limited"] {
        let order = world.order(user).await;
        let opened = world.open(&ann, &order).await;
        once(&world, fault, "GET /v1/checkout/sessions/*", 2).await;
        world.pay(&opened, GOOD_CARD).await;
        world
            .tells(&opened, &["payment:opened", "payment:authorized"])
            .await;
        world.heal().await;
        assert_eq!(world.ledger(&order).await.len(), 1, "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_with_capturing_leads_to_one_charge() {
    let world = World::start().await;
    for fault in FAULTS {
        let (mut order, opened) = authorized(&world).await;
        once(&world, fault, "POST /v1/payment_intents/*/capture", 2).await;
        order.becomes(&world, OrderStatus::Accepted).await;
        world.settles(&order, ("succeeded", 2500, 0)).await;
        world
            .tells(
                &opened,
                &["payment:opened", "payment:authorized", "payment:created"],
            )
            .await;
        world.heal().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_with_voiding_leaves_nothing_authorised() {
    let world = World::start().await;
    for fault in FAULTS {
        let (mut order, _) = authorized(&world).await;
        once(&world, fault, "POST /v1/payment_intents/*/cancel", 2).await;
        order.cancelled(&world, CancelReason::Expired).await;
        world.settles(&order, ("canceled", 0, 0)).await;
        world.heal().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_with_giving_back_gives_back_once() {
    let world = World::start().await;
    for fault in FAULTS {
        let (mut order, opened) = authorized(&world).await;
        order.becomes(&world, OrderStatus::Accepted).await;
        world.settles(&order, ("succeeded", 2500, 0)).await;
        let captured = ["payment:opened", "payment:authorized", "payment:created"];
        world.tells(&opened, &captured).await;
        once(&world, fault, "POST /v1/refunds", 2).await;
        order.becomes(&world, OrderStatus::Complete).await;
        order.becomes(&world, OrderStatus::Refunding).await;
        world
            .tells(&opened, &[&captured[..], &["payment:refunded"]].concat())
            .await;
        assert_eq!(
            world.ledger(&order).await,
            [("succeeded".to_owned(), 2500, 2500)],
            "{fault}"
        );
        world.heal().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stripe_out_of_order_answers_503_and_goes_on_when_it_is_back() {
    let world = World::start().await;
    let (user, ann) = world.person();
    world
        .fault(json!({ "fault": "error_stored", "route": "POST /v1/checkout/sessions" }))
        .await;
    let order = world.order(user).await;
    let body = json!({ "orderId": order.id() });
    let answer = ann.post("/api/payments", &body).expect(503).await;
    assert!(answer.header("retry-after").is_some());
    world.heal().await;
    let opened = world.open(&ann, &order).await;
    assert_eq!(opened["status"], "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_before_stripe_has_answered_the_session_is_learnt_and_ended() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let mut order = world.order(user).await;
    world
        .fault(json!({ "fault": "hang", "route": "POST /v1/checkout/sessions", "seconds": 5, "count": 1 }))
        .await;
    let body = json!({ "orderId": order.id() });
    let asking = ann.post("/api/payments", &body).send();
    let cancelling = async {
        testkit::eventually("the session is being opened", crate::world::SOON, || async {
            let books = world.stripe.get("/stripe-fake/ledger").expect(200).await.json();
            (books["sessions"] == 1).then_some(())
        })
        .await;
        order.cancelled(&world, CancelReason::Expired).await;
    };
    let (answer, ()) = tokio::join!(asking, cancelling);
    assert_eq!(answer.status, 409, "{answer:?}");
    testkit::eventually("no session is open", crate::world::SOON, || async {
        world.open_sessions().await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_goes_on_where_it_was() {
    let mut world = World::start().await;
    let (mut order, opened) = authorized(&world).await;
    // Captured at Stripe, the answer lost, and stopped before it could look again.
    world
        .fault(json!({ "fault": "answer_lost", "route": "POST /v1/payment_intents/*/capture", "count": 1 }))
        .await;
    world
        .fault(json!({ "fault": "error_before", "route": "GET /v1/checkout/sessions/*" }))
        .await;
    order.becomes(&world, OrderStatus::Accepted).await;
    world.stop().await;
    world.heal().await;
    world.restart().await;
    world
        .tells(
            &opened,
            &["payment:opened", "payment:authorized", "payment:created"],
        )
        .await;
    world.settles(&order, ("succeeded", 2500, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_stripe_has_forgotten_lead_to_one_charge() {
    let world = World::with(|config| config.idempotency_seconds = 0).await;
    for fault in ["answer_lost", "garbage", "error_after"] {
        let (user, ann) = world.person();
        let mut order = world.order(user).await;
        once(&world, fault, "POST /v1/checkout/sessions", 1).await;
        let opened = world.open(&ann, &order).await;
        world.pay(&opened, GOOD_CARD).await;
        world
            .tells(&opened, &["payment:opened", "payment:authorized"])
            .await;
        once(&world, fault, "POST /v1/payment_intents/*/capture", 1).await;
        order.becomes(&world, OrderStatus::Accepted).await;
        world.settles(&order, ("succeeded", 2500, 0)).await;
        let captured = ["payment:opened", "payment:authorized", "payment:created"];
        world.tells(&opened, &captured).await;
        once(&world, fault, "POST /v1/refunds", 1).await;
        order.becomes(&world, OrderStatus::Complete).await;
        order.becomes(&world, OrderStatus::Refunding).await;
        world
            .tells(&opened, &[&captured[..], &["payment:refunded"]].concat())
            .await;
        assert_eq!(
            world.ledger(&order).await,
            [("succeeded".to_owned(), 2500, 2500)],
            "{fault}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_authorisation_for_an_order_is_voided() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let mut order = world.order(user).await;
    // Made at Stripe, but Stripe answers every repetition with the stored failure: another session is opened.
    once(&world, "error_after", "POST /v1/checkout/sessions", 1).await;
    let opened = world.open(&ann, &order).await;
    let sessions = world.open_sessions().await;
    assert_eq!(sessions.len(), 2);
    let own = opened["url"].as_str().unwrap().rsplit('/').next().unwrap();
    let stray = sessions.iter().find(|session| *session != own).unwrap();
    assert_eq!(world.pay(&opened, GOOD_CARD).await, 303);
    assert_eq!(world.pay_session(stray, GOOD_CARD).await, 303);
    world
        .tells(&opened, &["payment:opened", "payment:authorized"])
        .await;
    order.becomes(&world, OrderStatus::Accepted).await;
    let wanted = [("canceled".to_owned(), 0, 0), ("succeeded".to_owned(), 2500, 0)];
    testkit::eventually(
        "one is captured and the other voided",
        crate::world::SOON,
        || async {
            let mut books = world.ledger(&order).await;
            books.sort();
            (books == wanted).then_some(())
        },
    )
    .await;
}
