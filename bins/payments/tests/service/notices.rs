//! Stripe's notices: forged, repeated, reordered, late, lost, and before the answer that they are about.

use events::{CancelReason, OrderId, OrderStatus};
use http::Method;
use serde_json::json;
use testkit::{Answer, eventually};

use crate::world::{GOOD_CARD, SOON, World};

const WEBHOOK: &str = "/api/payments/webhook";

async fn send(world: &World, body: &str, signature: Option<&str>) -> Answer {
    let request = world
        .client
        .request(Method::POST, WEBHOOK)
        .body("application/json", body.to_owned());
    let request = match signature {
        Some(signature) => request.header("Stripe-Signature", signature),
        None => request,
    };
    request.send().await
}

fn signed(world: &World, body: &str, secret: &str, seconds_ago: i64) -> String {
    let at = world.clock.now().as_seconds() - seconds_ago;
    stripe_webhook::Webhook::generate_test_header(body, secret, Some(at))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_or_stale_notice_is_refused() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let order = world.order(user).await;
    let opened = world.open(&ann, &order).await;
    let body = json!({
        "id": "evt_forged",
        "type": "checkout.session.completed",
        "data": { "object": { "id": "cs_x", "object": "checkout.session", "metadata": { "payment_id": opened["id"] } } },
    })
    .to_string();
    let good = signed(&world, &body, "whsec_boxoffice", 0);
    for (body, signature) in [
        (body.clone(), None),
        (body.clone(), Some("nonsense".to_owned())),
        (body.clone(), Some(signed(&world, &body, "whsec_wrong", 0))),
        (body.clone(), Some(signed(&world, &body, "whsec_boxoffice", 400))),
        (body.clone(), Some(signed(&world, &body, "whsec_boxoffice", -400))),
        (body.replace("forged", "other"), Some(good.clone())),
        (
            "not json".to_owned(),
            Some(signed(&world, "not json", "whsec_boxoffice", 0)),
        ),
    ] {
        let answer = send(&world, &body, signature.as_deref()).await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    // The same with a good signature, by either of the two secrets: believed to be from Stripe, about a session
    // that does not exist there, so that nothing comes of it.
    assert_eq!(send(&world, &body, Some(&good)).await.status, 200);
    let other = signed(&world, &body, "whsec_another", 0);
    assert_eq!(send(&world, &body, Some(&other)).await.status, 200);
    // A kind that nobody here has heard of.
    let strange =
        json!({ "id": "evt_2", "type": "made.up", "data": { "object": { "object": "thing" } } }).to_string();
    let signature = signed(&world, &strange, "whsec_boxoffice", 0);
    assert_eq!(send(&world, &strange, Some(&signature)).await.status, 200);
    world.tells(&opened, &["payment:opened"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_about_a_payment_that_is_not_known_is_counted() {
    let world = World::start().await;
    assert_eq!(unknown(&world).await, 0);
    let body = lost_notice(&world, world.clock.order_id());
    // It is believed and answered with 200: that Stripe sends it again would help nobody.
    is_taken(&world, &body).await;
    assert_eq!(unknown(&world).await, 1);
    // What is about no payment of ours is nobody's trouble.
    let strange = body.replace("payment_id", "invoice");
    is_taken(&world, &strange).await;
    assert_eq!(unknown(&world).await, 1);
}

/// Answered with 200, it would not come again, and what was paid would stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_overtakes_its_order_waits_for_it() {
    let world = World::start().await;
    let (user, _) = world.person();
    world.hold_orders_back();
    let order = world.placed(user).await;
    let body = lost_notice(&world, order.id());
    let signature = signed(&world, &body, "whsec_boxoffice", 0);
    assert_eq!(send(&world, &body, Some(&signature)).await.status, 503);
    world.let_orders_go();
    is_taken(&world, &body).await;
    assert_eq!(unknown(&world).await, 0, "it is known, to be undone");
}

/// A notice of a page that was paid, about a payment that nobody has heard of.
fn lost_notice(world: &World, order: OrderId) -> String {
    json!({
        "id": "evt_lost",
        "type": "checkout.session.completed",
        "data": { "object": { "id": "cs_lost", "object": "checkout.session", "metadata": {
            "payment_id": world.clock.payment_id(), "order_id": order,
        } } },
    })
    .to_string()
}

/// Sends a notice until it is taken, as Stripe does.
async fn is_taken(world: &World, body: &str) {
    eventually("the notice is taken", SOON, || async {
        let signature = signed(world, body, "whsec_boxoffice", 0);
        let answer = send(world, body, Some(&signature)).await;
        assert!(answer.status == 200 || answer.status == 503, "{answer:?}");
        (answer.status == 200).then_some(())
    })
    .await;
}

/// How many notices were about payments that are not known.
async fn unknown(world: &World) -> u64 {
    const UNKNOWN: &str = "payments_unknown_notices_total";
    let told = world.client.get("/metrics").expect(200).await.text();
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix(UNKNOWN)?.strip_prefix(' ').map(str::to_owned));
    line.expect("it is told before the first one")
        .parse()
        .expect("a count")
}

/// The store was given up for an older one while people paid on pages that it had opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_payment_of_an_order_that_is_not_accepted_is_undone() {
    let mut world = World::start().await;
    let (user, ann) = world.person();
    let mut order = world.order(user).await;
    let mut over = world.order(user).await;
    let mut accepted = world.order(user).await;
    let (lost, late, owed) = (
        world.open(&ann, &order).await,
        world.open(&ann, &over).await,
        world.open(&ann, &accepted).await,
    );
    world.lose_the_store().await;
    // The order is known again, and is paid by another payment.
    let again = world.open(&ann, &order).await;
    assert_ne!(again["id"], lost["id"]);
    over.cancelled(&world, CancelReason::Expired).await;
    accepted.becomes(&world, OrderStatus::Accepted).await;
    world.knows_all_orders().await;
    for page in [&lost, &late, &owed] {
        assert_eq!(world.pay(page, GOOD_CARD).await, 303);
    }
    world.settles(&over, ("canceled", 0, 0)).await;
    world.settles(&order, ("canceled", 0, 0)).await;
    assert_eq!(world.pay(&again, GOOD_CARD).await, 303);
    world
        .tells(&again, &["payment:opened", "payment:authorized"])
        .await;
    order.becomes(&world, OrderStatus::Accepted).await;
    world
        .tells(
            &again,
            &["payment:opened", "payment:authorized", "payment:created"],
        )
        .await;
    let books = world.ledger(&order).await;
    assert!(books.contains(&("succeeded".to_owned(), 2500, 0)), "{books:?}");
    assert!(books.contains(&("canceled".to_owned(), 0, 0)), "{books:?}");
    // What may be due is left to a person, who hears of it.
    world.settles(&accepted, ("requires_capture", 0, 0)).await;
    let told = world.client.get("/metrics").expect(200).await.text();
    let counted = |line: &str| line.starts_with("payments_unknown_notices_total ") && !line.ends_with(" 0");
    assert!(told.lines().any(counted), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_and_reordered_notices_change_nothing_twice() {
    let world = World::start().await;
    let (user, ann) = world.person();
    world.fault(json!({ "fault": "double", "copies": 5 })).await;
    let mut order = world.order(user).await;
    let opened = world.open(&ann, &order).await;
    world.pay(&opened, GOOD_CARD).await;
    world
        .tells(&opened, &["payment:opened", "payment:authorized"])
        .await;
    order.becomes(&world, OrderStatus::Accepted).await;
    let told = ["payment:opened", "payment:authorized", "payment:created"];
    world.tells(&opened, &told).await;
    world.settles(&order, ("succeeded", 2500, 0)).await;

    world.heal().await;
    world.fault(json!({ "fault": "reorder", "count": 2 })).await;
    let mut second = world.order(user).await;
    let opened = world.open(&ann, &second).await;
    world.pay(&opened, GOOD_CARD).await;
    world.tells(&opened, &told[..2]).await;
    second.becomes(&world, OrderStatus::Accepted).await;
    world.tells(&opened, &told).await;
    world.settles(&second, ("succeeded", 2500, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_notice_costs_nothing_when_the_buyer_comes_back() {
    let world = World::start().await;
    let (user, ann) = world.person();
    world.fault(json!({ "fault": "drop" })).await;
    let (one, two) = (world.order(user).await, world.order(user).await);
    let opened = world.open(&ann, &one).await;
    world.pay(&opened, GOOD_CARD).await;
    // The page that Stripe sends the buyer back to reads the payment, or asks for it again.
    let path = format!("/api/payments/{}", opened["id"].as_str().unwrap());
    assert_eq!(ann.get(path).expect(200).await.json()["status"], "authorized");
    let opened = world.open(&ann, &two).await;
    world.pay(&opened, GOOD_CARD).await;
    assert_eq!(world.open(&ann, &two).await["status"], "authorized");
    world
        .tells(&opened, &["payment:opened", "payment:authorized"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_that_come_after_the_end_change_nothing() {
    let world = World::start().await;
    let (user, ann) = world.person();
    world.fault(json!({ "fault": "hold" })).await;
    let mut order = world.order(user).await;
    let opened = world.open(&ann, &order).await;
    world.pay(&opened, GOOD_CARD).await;
    order.cancelled(&world, CancelReason::Expired).await;
    world.becomes(&ann, &opened, "closed").await;
    world.settles(&order, ("canceled", 0, 0)).await;
    let told = world.told(&opened).await;
    // Only now do the notices of the authorisation arrive.
    world.heal().await;
    testkit::eventually("all notices are delivered", crate::world::SOON, || async {
        let books = world.stripe.get("/stripe-fake/ledger").expect(200).await.json();
        (books["pendingEvents"] == 0).then_some(())
    })
    .await;
    world.becomes(&ann, &opened, "closed").await;
    assert_eq!(world.told(&opened).await, told);
    world.settles(&order, ("canceled", 0, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_comes_while_nobody_is_there_is_sent_again() {
    let mut world = World::start().await;
    let (user, ann) = world.person();
    let order = world.order(user).await;
    let opened = world.open(&ann, &order).await;
    world.stop().await;
    world.pay(&opened, GOOD_CARD).await;
    world.restart().await;
    world
        .tells(&opened, &["payment:opened", "payment:authorized"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_notice_is_made_up_for_when_nobody_comes_back() {
    let world = World::start().await;
    let (user, ann) = world.person();
    world.fault(json!({ "fault": "drop" })).await;
    let order = world.order(user).await;
    let opened = world.open(&ann, &order).await;
    world.pay(&opened, GOOD_CARD).await;
    world
        .tells(&opened, &["payment:opened", "payment:authorized"])
        .await;
}
