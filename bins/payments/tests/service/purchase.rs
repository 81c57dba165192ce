//! What becomes of a payment when all goes as it should, and when people change their minds.

use events::{CancelReason, OrderStatus};
use serde_json::json;

use crate::world::{CARD_FAILING_AT_CAPTURE, GOOD_CARD, World};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_paid_and_its_money_given_back() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let mut order = world.order(user).await;
    let opened = world.open(&ann, &order).await;
    assert_eq!(opened["status"], "open");
    assert_eq!(opened["orderId"], order.id().to_string());
    assert_eq!(world.pay(&opened, GOOD_CARD).await, 303);
    world
        .tells(&opened, &["payment:opened", "payment:authorized"])
        .await;
    assert_eq!(
        world.ledger(&order).await,
        [("requires_capture".to_owned(), 0, 0)],
        "not before it is accepted"
    );

    order.becomes(&world, OrderStatus::Accepted).await;
    world.settles(&order, ("succeeded", 2500, 0)).await;
    let captured = ["payment:opened", "payment:authorized", "payment:created"];
    world.tells(&opened, &captured).await;
    let payment = world.becomes(&ann, &opened, "captured").await;
    assert_eq!(
        (&payment["amount"], &payment["currency"]),
        (&json!(25), &json!("usd"))
    );
    assert_eq!(payment["url"], json!(null));

    order.becomes(&world, OrderStatus::Complete).await;
    order.becomes(&world, OrderStatus::Refunding).await;
    world.settles(&order, ("succeeded", 2500, 2500)).await;
    world
        .tells(&opened, &[&captured[..], &["payment:refunded"]].concat())
        .await;
    order.cancelled(&world, CancelReason::Refunded).await;
    let again = ann
        .post("/api/payments", &json!({ "orderId": order.id() }))
        .expect(409)
        .await;
    assert!(!again.json()["errors"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_again_it_is_the_same_page() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let order = world.order(user).await;
    let first = world.open(&ann, &order).await;
    assert_eq!(world.open(&ann, &order).await, first);
    // Two at once, on another order.
    let other = world.order(user).await;
    let (one, two) = tokio::join!(world.open(&ann, &other), world.open(&ann, &other));
    assert_eq!(one, two);
    assert_ne!(one["id"], first["id"]);
    world.tells(&one, &["payment:opened"]).await;
    // Paid in the meantime: the same payment, with nothing left to pay.
    assert_eq!(world.pay(&first, GOOD_CARD).await, 303);
    let paid = world.open(&ann, &order).await;
    assert_eq!(
        (&paid["id"], &paid["status"], &paid["url"]),
        (&first["id"], &json!("authorized"), &json!(null))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_can_be_followed_by_a_good_one() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let mut order = world.order(user).await;
    let opened = world.open(&ann, &order).await;
    assert_ne!(world.pay(&opened, "4000000000000002").await, 303);
    assert_eq!(world.open(&ann, &order).await["status"], "open");
    assert_eq!(world.pay(&opened, GOOD_CARD).await, 303);
    world
        .tells(&opened, &["payment:opened", "payment:authorized"])
        .await;
    order.becomes(&world, OrderStatus::Accepted).await;
    world.settles(&order, ("succeeded", 2500, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_while_the_order_is_being_reserved() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let mut order = world.placed(user).await;
    world.knows_all_orders().await;
    let body = json!({ "orderId": order.id() });
    let asking = ann.post("/api/payments", &body).send();
    let reserving = order.becomes(&world, OrderStatus::AwaitingPayment);
    let (answer, ()) = tokio::join!(asking, reserving);
    assert_eq!(answer.status, 201, "{answer:?}");
    // One that is not answered for long may be answered yet: it can't be told that it can't be paid.
    let stuck = world.placed(user).await;
    world.knows_all_orders().await;
    let answer = ann
        .post("/api/payments", &json!({ "orderId": stuck.id() }))
        .expect(503)
        .await;
    assert_eq!(
        answer.json()["detail"],
        "The order's tickets are not reserved yet, try again soon"
    );
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_while_the_page_is_open_it_can_not_be_paid() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let mut order = world.order(user).await;
    let opened = world.open(&ann, &order).await;
    order.cancelled(&world, CancelReason::Expired).await;
    world.becomes(&ann, &opened, "closed").await;
    assert_eq!(world.session_status(&opened).await, "expired");
    assert_ne!(world.pay(&opened, GOOD_CARD).await, 303);
    let answer = ann
        .post("/api/payments", &json!({ "orderId": order.id() }))
        .expect(409)
        .await;
    assert_eq!(answer.json()["detail"], "The order has expired");
    assert_eq!(world.ledger(&order).await, []);
    world.tells(&opened, &["payment:opened"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_after_it_was_authorised_the_money_is_let_go() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let mut order = world.order(user).await;
    let opened = world.open(&ann, &order).await;
    world.pay(&opened, GOOD_CARD).await;
    world
        .tells(&opened, &["payment:opened", "payment:authorized"])
        .await;
    order.cancelled(&world, CancelReason::Buyer).await;
    world.settles(&order, ("canceled", 0, 0)).await;
    world.becomes(&ann, &opened, "closed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paid_in_the_same_moment_as_it_is_cancelled_nothing_is_kept() {
    let world = World::start().await;
    let (user, ann) = world.person();
    for _ in 0..8 {
        let mut order = world.order(user).await;
        let opened = world.open(&ann, &order).await;
        tokio::join!(
            world.pay(&opened, GOOD_CARD),
            order.cancelled(&world, CancelReason::Expired)
        );
        world.becomes(&ann, &opened, "closed").await;
        for (status, captured, _) in world.ledger(&order).await {
            assert_eq!((status.as_str(), captured), ("canceled", 0));
        }
        assert!(!world.told(&opened).await.contains(&"payment:created".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_the_bank_refuses_fails_the_payment() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let mut order = world.order(user).await;
    let opened = world.open(&ann, &order).await;
    assert_eq!(world.pay(&opened, CARD_FAILING_AT_CAPTURE).await, 303);
    world
        .tells(&opened, &["payment:opened", "payment:authorized"])
        .await;
    order.becomes(&world, OrderStatus::Accepted).await;
    world
        .tells(
            &opened,
            &["payment:opened", "payment:authorized", "payment:failed"],
        )
        .await;
    order.cancelled(&world, CancelReason::PaymentFailed).await;
    world.becomes(&ann, &opened, "failed").await;
    let books = world.ledger(&order).await;
    assert!(
        books
            .iter()
            .all(|(status, captured, _)| status == "canceled" && *captured == 0),
        "{books:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_made_at_stripe_ends_it_like_our_own() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let mut order = world.order(user).await;
    let opened = world.open(&ann, &order).await;
    world.pay(&opened, GOOD_CARD).await;
    world
        .tells(&opened, &["payment:opened", "payment:authorized"])
        .await;
    order.becomes(&world, OrderStatus::Accepted).await;
    world.becomes(&ann, &opened, "captured").await;
    let stripe_id = world.intent_of(&opened).await;
    world
        .at_stripe(
            "/stripe-fake/dashboard/refunds",
            &[("payment_intent", &stripe_id)],
        )
        .await;
    world.becomes(&ann, &opened, "refunded").await;
    let told = [
        "payment:opened",
        "payment:authorized",
        "payment:created",
        "payment:refunded",
    ];
    world.tells(&opened, &told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_ended_at_stripe_is_followed_by_another() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let mut order = world.order(user).await;
    let first = world.open(&ann, &order).await;
    let session = first["url"]
        .as_str()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    world
        .at_stripe(&format!("/v1/checkout/sessions/{session}/expire"), &[])
        .await;
    let second = world.open(&ann, &order).await;
    assert_eq!((&second["id"], &second["status"]), (&first["id"], &json!("open")));
    assert_ne!(second["url"], first["url"]);
    world.pay(&second, GOOD_CARD).await;
    world
        .tells(
            &first,
            &["payment:opened", "payment:opened", "payment:authorized"],
        )
        .await;
    order.becomes(&world, OrderStatus::Accepted).await;
    world.settles(&order, ("succeeded", 2500, 0)).await;
}
