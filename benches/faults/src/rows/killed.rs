//! Rows in which services are killed while people buy.

use serde_json::json;

use crate::healed::Healed;
use crate::judge::settle;
use crate::market::{Market, Mix, PRICE, Plan, pay_at_stripe};
use crate::part::Part;
use crate::person::{Person, Wish};
use crate::report::Outcome;
use crate::rows::pause;
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
    let purchases = market.purchases(Mix::ALL_WAYS);
    let mut random = stage.random();
    let mut strikes = 0;
    // Strikes go on as long as people buy; a fast machine is struck at least so often all the same.
    while purchases.finished() < wanted || strikes < strikes_min {
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
    let healed = Healed::now(&system);
    purchases.finish().await;
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!("{strikes} times two of five services"),
        kills: system.kills(),
        verdict,
    }
}

/// What may be answered 2xx besides a purchase: a listing that is changed, one that is withdrawn, money that is given back,
/// a password; each followed by a kill of who gave the answer. How many answers.
async fn changes(system: &System, market: &Market) -> usize {
    let ticket = market.list(1).await.expect("a listing is answered 201");
    let seller = seller_of(market, &ticket);
    let path = format!("/api/tickets/{ticket}");
    let title = "Another seat";
    let listing = json!({ "title": title, "price": PRICE, "quantity": 1 });
    let answer = seller.insist(Wish::put(&path, &listing)).await;
    system.bounce(Part::Tickets).await;
    let answer = answer.expect("a change of a listing is answered");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let version = answer.json()["version"]
        .as_u64()
        .expect("a listing has a version");
    market.ledger().ticket_changed(&ticket, version);
    let read = seller.insist(Wish::get(&path)).await.expect("a listing is read");
    assert_eq!(read.field("title"), title, "{}", read.text());

    let unwanted = market.list(1).await.expect("a listing is answered 201");
    let path = format!("/api/tickets/{unwanted}");
    let answer = seller_of(market, &unwanted).insist(Wish::delete(&path)).await;
    system.bounce(Part::Tickets).await;
    let answer = answer.expect("a withdrawal is answered");
    assert_eq!(answer.status, 204, "{}", answer.text());
    market.ledger().withdrawn(&unwanted);

    let order = market
        .purchase_as(1, Plan::Buy)
        .await
        .expect("an order is answered 201");
    let bought = market.ledger().copy().orders[&order].ticket.clone();
    let path = format!("/api/orders/{order}/refund");
    let key = format!("refund-{order}");
    let answer = seller_of(market, &bought)
        .insist(Wish::post(&path, None, &key))
        .await;
    system.bounce(Part::Orders).await;
    let answer = answer.expect("a refund is answered");
    assert_eq!(answer.status, 202, "{}", answer.text());
    market.ledger().refund_promised(&order);

    let forgetful = Person::sign_up_many(system, market.ledger(), 1).await.remove(0);
    forgetful.changes_password().await;
    system.bounce(Part::Auth).await;
    forgetful.has_the_new_password().await;
    4
}

fn seller_of(market: &Market, ticket: &str) -> Person {
    let known = market.ledger().copy().tickets[ticket].seller;
    market.sellers()[known].clone()
}

/// Row 3: each kind of acknowledged write, and kill -9 of its service the moment that the answer is there.
pub(super) async fn right_after_the_answer(stage: Stage) -> Outcome {
    let rounds = stage.size(2, 12);
    let system = System::start(&Setup::default()).await;
    let market = Market::open(&system, 2, Setup::default().hold_seconds, stage.seed).await;
    let mut answers = 0;
    for _ in 0..rounds {
        // An account: the password still opens it. The session alone would prove nothing, it is only a signature.
        let newcomer = Person::sign_up_many(&system, market.ledger(), 1).await;
        system.kill(Part::Auth);
        system.spawn(Part::Auth);
        for person in newcomer {
            person.signed_in_again().await;
        }
        // A listing.
        let ticket = market.list(2).await.expect("a listing is answered 201");
        system.bounce(Part::Tickets).await;
        // An order, and its payment as soon as it can be paid.
        let order = market.order(0, &ticket).await.expect_taken();
        system.bounce(Part::Orders).await;
        let page = market
            .open_payment(0, &order)
            .await
            .expect("a payment is answered 201");
        system.bounce(Part::Payments).await;
        // Stripe's page, opened before the kill, still leads to the ticket.
        assert!(pay_at_stripe(&page).await, "Stripe takes the card");
        market.ledger().paid(&order);
        system.bounce(Part::Payments).await;
        // A cancellation of another order.
        let other = market.order(0, &ticket).await.expect_taken();
        let answer = market.buyers()[0]
            .insist(Wish::delete(&format!("/api/orders/{other}")))
            .await;
        system.bounce(Part::Orders).await;
        let answer = answer.expect("a cancellation is answered");
        assert_eq!(answer.status, 204, "{}", answer.text());
        market.ledger().cancelled(&other);
        let others = changes(&system, &market).await;
        answers += 6 + others;
    }
    // What was bought by someone else in between finds a system that works.
    for buyer in 0..market.buyers().len() {
        market.purchase_as(buyer, Plan::Refund).await;
    }
    let verdict = settle(&system, &market, Healed::now(&system)).await;
    Outcome {
        done: format!("{answers} answers, each followed by a kill of who gave it"),
        kills: system.kills(),
        verdict,
    }
}
