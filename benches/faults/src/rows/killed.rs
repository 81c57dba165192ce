//! Rows in which services are killed while people buy.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::judge::settle;
use crate::ledger::{KnownOrder, Status};
use crate::market::{Market, Mix, PRICE, Plan, pay_at_stripe, read_order};
use crate::part::Part;
use crate::person::Wish;
use crate::report::Outcome;
use crate::stage::Stage;
use crate::system::{Setup, System};

/// An unpaid order's time in these rows: short, so that orders run out while services are down.
const HOLD_SECONDS: u64 = 8;

/// How many people buy at once.
const PEOPLE: usize = 12;

/// The shortest and the longest time between two strikes.
const STRIKE_MILLIS: (u64, u64) = (150, 900);

/// How long a victim stays down.
const DOWN_MILLIS: (u64, u64) = (0, 400);

/// Row 2: two services, killed at the same moment, again and again.
pub(super) async fn two_at_random(stage: Stage) -> Outcome {
    let wanted = stage.size(60, 2_500);
    let strikes_min = stage.size(4, 110);
    let system = System::start(&Setup::default().hold(HOLD_SECONDS)).await;
    let market = Market::open(&system, PEOPLE, HOLD_SECONDS, stage.seed).await;
    let purchases = market.purchases(wanted, Mix::ALL_WAYS);
    let mut random = stage.random();
    let mut strikes = 0;
    // Strikes go on as long as people buy; a fast machine is struck at least so often all the same.
    while !purchases.is_finished() || strikes < strikes_min {
        pause(random.between(STRIKE_MILLIS.0, STRIKE_MILLIS.1)).await;
        let mut victims = Part::SERVICES.to_vec();
        while victims.len() > 2 {
            let spared = random.pick(&victims).copied();
            victims.retain(|part| Some(*part) != spared);
        }
        for victim in &victims {
            system.kill(*victim);
        }
        pause(random.between(DOWN_MILLIS.0, DOWN_MILLIS.1)).await;
        for victim in &victims {
            system.spawn(*victim);
        }
        for victim in &victims {
            system.part_ready(*victim).await;
        }
        strikes += 1;
        if strikes % 20 == 0 {
            stage.say(&format!(
                "{strikes} strikes, {} purchases are over",
                purchases.finished()
            ));
        }
    }
    let healed = Instant::now();
    purchases.finish().await;
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!("{strikes} times two of five services"),
        kills: system.kills(),
        verdict,
    }
}

/// Row 3: each kind of acknowledged write, and kill -9 of its service the moment that the answer is there.
pub(super) async fn right_after_the_answer(stage: Stage) -> Outcome {
    let rounds = stage.size(2, 12);
    let system = System::start(&Setup::default()).await;
    let market = Market::open(&system, 2, Setup::default().hold_seconds, stage.seed).await;
    let buyer = &market.buyers()[0];
    let mut answers = 0;
    for round in 0..rounds {
        // An account: the person is signed in afterwards.
        let newcomer = crate::person::Person::sign_up_many(&system, market.ledger(), 1).await;
        system.kill(Part::Auth);
        system.spawn(Part::Auth);
        assert!(
            newcomer[0].is_signed_in().await,
            "an account that was answered 201 is gone"
        );
        // A listing.
        let ticket = market.list(2).await.expect("a listing is answered 201");
        system.bounce(Part::Tickets).await;
        // An order.
        let order = acknowledged_order(&market, &ticket, &format!("order-{round}")).await;
        system.bounce(Part::Orders).await;
        // A payment, once it can be paid.
        let wish = json!({ "orderId": order });
        let answer = buyer
            .insist(Wish::post(
                "/api/payments",
                Some(&wish),
                &format!("payment-{round}"),
            ))
            .await
            .expect("a payment is answered");
        assert_eq!(answer.status, 201, "{}", answer.text());
        system.bounce(Part::Payments).await;
        market.ledger().payment_opened();
        // Stripe's page, opened before the kill, still leads to the ticket.
        assert!(pay_at_stripe(&answer.field("url")).await, "Stripe takes the card");
        market.ledger().paid(&order);
        system.bounce(Part::Payments).await;
        // A cancellation of another order.
        let other = acknowledged_order(&market, &ticket, &format!("other-{round}")).await;
        let path = format!("/api/orders/{other}");
        let answer = buyer
            .insist(Wish::delete(&path))
            .await
            .expect("a cancellation is answered");
        system.bounce(Part::Orders).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
        market.ledger().cancelled(&other);
        answers += 6;
    }
    // What was bought by someone else in between finds a system that works.
    for buyer in 0..market.buyers().len() {
        market.purchase_as(buyer, Plan::Refund).await;
    }
    let verdict = settle(&system, &market, Instant::now()).await;
    Outcome {
        done: format!("{answers} answers, each followed by a kill of who gave it"),
        kills: system.kills(),
        verdict,
    }
}

/// An order by the first buyer that was answered 201.
async fn acknowledged_order(market: &Market, ticket: &str, key: &str) -> String {
    let wish = json!({ "ticketId": ticket, "price": PRICE });
    let answer = market.buyers()[0]
        .insist(Wish::post("/api/orders", Some(&wish), key))
        .await
        .expect("an order is answered");
    assert_eq!(answer.status, 201, "{}", answer.text());
    let (order, version, status) = read_order(&answer.json()).expect("an order has a state");
    debug_assert_eq!(status, Status::Created);
    let known = KnownOrder {
        buyer: 0,
        ticket: ticket.to_owned(),
        version,
        status,
        paid: false,
        cancelled: false,
        refund: false,
    };
    market.ledger().ordered(&order, known);
    order
}

/// Lets the purchases go on for a moment: the time between two strikes is chance, not something waited for.
async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
