//! Payments over a real store, lost from every point of their story on, and had again: by what was published, what the
//! orders service repeats or states anew, and what Stripe shows.

mod world;

use events::{CancelReason, Currency, EventType, Money, PaymentStatus, Seq, UserId, Version};
use store::Context;

use self::world::{NOW, PRICE, Stripe, World, envelope, heard, id, order, order_id, payment_id, says, story};
use super::*;
use crate::domain::State;

#[tokio::test]
async fn set_back_to_any_point_it_looks_at_stripe_and_is_where_it_was() {
    let story = story();
    let whole = World::after(&story).await;
    let kept = whole.stripe().kept();
    for at in 0..=story.len() {
        let world = World::after(&story[..at]).await;
        *world.stripe() = whole.stripe().clone();
        world.adopts_from(&whole).await;
        // The worker may be at work before, between and after what is read again.
        if at % 2 == 0 {
            world.works().await;
        }
        for event in heard(&story[at..]) {
            world.hears(event).await;
            if at % 3 == 0 {
                world.works().await;
            }
        }
        world.works().await;
        assert_eq!(world.payments(), whole.payments(), "set back to {at}");
        assert_eq!(world.orders(), whole.orders(), "set back to {at}");
        assert_eq!(
            world.stripe().captures,
            3,
            "set back to {at}, nothing is captured twice"
        );
        assert_eq!(world.stripe().kept(), kept, "set back to {at}");
        assert_eq!(
            world.store.status().head,
            whole.store.status().head,
            "set back to {at}, it has nothing new to say"
        );
    }
}

#[tokio::test]
async fn everything_heard_twice_more_leaves_everything_as_it_was() {
    let world = World::after(&story()).await;
    let hash = world.store.state_hash().await.unwrap();
    let head = world.store.status().head;
    for _ in 0..2 {
        for event in heard(&story()) {
            assert!(matches!(world.hears(event).await, Applied::Stale(_)));
        }
        world.works().await;
    }
    assert_eq!(world.store.state_hash().await.unwrap(), hash);
    assert_eq!(world.store.status().head, head);
}

#[tokio::test]
async fn a_page_that_was_open_can_be_paid_again_after_a_look() {
    let story = story();
    let whole = World::after(&story[..4]).await;
    let world = World::new(whole.stripe().clone());
    world.adopts_from(&whole).await;
    assert_eq!(world.state(11), "opening");
    assert_eq!(
        world.store.read(|indexes| indexes.urgent()).len(),
        1,
        "the worker looks at once"
    );
    for event in heard(&story[..4]) {
        world.hears(event).await;
    }
    world.works().await;
    assert!(matches!(world.payment(11).unwrap().state, State::Open(_)));
    assert_eq!(world.store.status().head, whole.store.status().head);
    world.stripe().pay(&world.session(11));
    world.works().await;
    assert_eq!(world.state(11), "authorized");
}

#[tokio::test]
async fn a_store_given_up_for_an_older_one_captures_and_gives_back_what_it_finds() {
    let story = story();
    let at = story.len() - 22;
    // All sessions are open, and what was paid then is lost with what was told of it.
    for works_between in [false, true] {
        let world = World::after(&story[..at]).await;
        let whole = World::after(&story).await;
        *world.stripe() = whole.stripe().clone();
        for event in heard(&story[at..]) {
            world.hears(event).await;
            if works_between {
                world.works().await;
            }
        }
        world.works().await;
        // 12 was captured and refunded by the time it is looked at; whether it is seen between the two makes no difference.
        let twelfth = if works_between { "refunded" } else { "closed" };
        assert_eq!(
            [11, 12, 13, 14].map(|n| world.state(n)),
            ["captured", twelfth, "closed", "closed"]
        );
        assert_eq!(world.stripe().captures, 3, "nothing is captured twice");
        // Its second session was opened after the backup: nobody here can know of it, and the first has run out. An order
        // that waits for the capture hears that it will not come.
        let told = world.store.outbox(Seq(0), usize::MAX).unwrap();
        let failed = told
            .iter()
            .any(|entry| entry.event_type == EventType::PaymentFailed);
        assert_eq!(
            (world.state(15), failed),
            if works_between {
                ("closed", true)
            } else {
                ("lapsed", false)
            }
        );
    }
}

#[tokio::test]
async fn an_order_that_is_stated_leads_its_payment() {
    use OrderStatus::{Accepted, AwaitingPayment, Cancelled, Complete, Refunding};
    let paid = || async {
        let world = World::after(&story()[..4]).await;
        world.stripe().pay(&world.session(11));
        world.works().await;
        assert_eq!(world.state(11), "authorized");
        world
    };
    for (status, ends, kept) in [
        (AwaitingPayment, "authorized", 0),
        (Accepted, "captured", PRICE),
        (Complete, "captured", PRICE),
        (Refunding, "refunded", 0),
        (Cancelled, "closed", 0),
    ] {
        let world = paid().await;
        for _ in 0..2 {
            // The version is smaller than the one that is known.
            world.is_told(says(order(11, 1, status, None))).await;
            world.works().await;
            assert_eq!(world.state(11), ends, "{status:?}");
        }
        assert_eq!(world.stripe().kept(), kept, "{status:?}");
    }
    // That it was cancelled is lost, and so it was accepted: there is no money any more, and it hears so.
    let world = paid().await;
    world
        .hears(says(order(11, 3, Cancelled, Some(CancelReason::Buyer))))
        .await;
    world.works().await;
    let head = world.store.status().head;
    world.is_told(says(order(11, 3, Accepted, None))).await;
    let told = world.store.outbox(head, usize::MAX).unwrap();
    assert_eq!(told[0].event_type, EventType::PaymentFailed);
    assert_eq!(world.state(11), "closed");
}

#[tokio::test]
async fn nothing_is_kept_of_orders_that_are_lost() {
    let world = World::after(&story()).await;
    assert_eq!(world.stripe().kept(), 2 * PRICE);
    for _ in 0..2 {
        world.forsakes_all_but(&[11]).await;
        world.works().await;
        assert_eq!(world.stripe().kept(), PRICE);
        assert_eq!(world.state(15), "refunded");
        assert_eq!(world.orders().len(), 1);
    }
}

#[tokio::test]
async fn what_others_rely_on_is_stated() {
    let world = World::after(&story()).await;
    let rows = world.store.rows(None, 100).unwrap();
    let mut told: Vec<(Option<OrderId>, &str)> = rows
        .iter()
        .filter_map(|(_, row)| PaymentsHandler.restate(row))
        .map(|event| (event.order_id(), event.event_type().as_str()))
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            (Some(order_id(11)), "payment:created"),
            (Some(order_id(12)), "payment:refunded"),
            (Some(order_id(15)), "payment:created"),
        ]
    );
}

#[tokio::test]
async fn money_without_its_session_is_not_guessed_at() {
    let world = World::new(Stripe::default());
    let snapshot = PaymentSnapshot {
        id: payment_id(11),
        version: Version::FIRST,
        order_id: order_id(11),
        user_id: UserId::from_bytes(id(2)),
        status: PaymentStatus::Authorized,
        stripe_id: "pi_1".into(),
        amount: Money::from_minor(PRICE, Currency::Usd).unwrap(),
        reason: None,
    };
    let refused = world.store.transact(Context::new(NOW), move |tx| {
        PaymentsHandler.adopt(tx, &envelope(Event::PaymentAuthorized(snapshot)))
    });
    let Err(TransactError::Refused(Impossible(why))) = refused.await else {
        panic!("adopted")
    };
    assert!(why.contains("without the session"), "{why}");
}
