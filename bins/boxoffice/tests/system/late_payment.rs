//! A payment that comes when the order is over, or just then: nobody pays for nothing, and nothing is sold unpaid.

use std::time::Duration;

use serde_json::json;
use testkit::eventually;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::harness::{Deployment, Options, System, in_both_deployments};
use crate::person::{PRICE_CENTS, Person};
use crate::stripe::{self, Charge};

/// The hold of the orders that are raced for: what loses the race because the machine is slow has lost it, too.
const RACE_HOLD_SECONDS: u64 = 2;

/// How many orders are paid around the end of their hold.
const RACES: u32 = 20;

/// From so long before the end of the hold, one payment after another.
const RACE_BEGINS_BEFORE: Duration = Duration::from_millis(300);
const RACE_STEP: Duration = Duration::from_millis(30);

/// How long the outcome of a race may take.
const DECIDED_MAX: Duration = Duration::from_secs(40);

in_both_deployments!(
    what_was_authorised_for_an_expired_order_is_voided,
    an_order_that_expired_can_not_be_paid_any_more,
);

/// The buyer pays in time, but Stripe's notices are held up until the hold has ended.
async fn what_was_authorised_for_an_expired_order_is_voided(deployment: Deployment) {
    let system = System::start(deployment, Options::short_hold()).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(1).await;
    let stripe = system.stripe();
    stripe.fails(json!({ "fault": "hold" })).await;
    let order = buyer.orders(&ticket).await;
    buyer.sees(&order, "awaiting:payment").await;
    buyer.pays(&order).await;

    buyer.sees_cancelled(&order, "expired").await;
    stripe.settles(&order, &[Charge::voided()]).await;
    buyer.sees_available(&ticket, 1).await;

    // The notices come at last, and change nothing: the next buyer is served, the first one never charged.
    stripe.heal().await;
    let bought = seller_s_next_customer(&system, &ticket).await;
    stripe.settles(&bought, &[Charge::captured(PRICE_CENTS)]).await;
    stripe.settles(&order, &[Charge::voided()]).await;
    buyer.sees_cancelled(&order, "expired").await;
}

/// The hold ends first, and Stripe refuses for a while to close the page, on which the buyer then pays.
async fn an_order_that_expired_can_not_be_paid_any_more(deployment: Deployment) {
    let system = System::start(deployment, Options::short_hold()).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(1).await;
    let stripe = system.stripe();
    stripe
        .fails(json!({ "fault": "error_before", "route": "POST /v1/checkout/sessions/*/expire" }))
        .await;
    let order = buyer.orders(&ticket).await;
    buyer.sees(&order, "awaiting:payment").await;
    let opened = buyer.opens_payment(&order).await;
    buyer.sees_cancelled(&order, "expired").await;

    let answer = stripe::pay(&opened.page).await;
    assert_eq!(answer.status, 303, "the page is still open: {}", answer.text());
    stripe.heal().await;
    stripe.settles(&order, &[Charge::voided()]).await;
    buyer.sees_available(&ticket, 1).await;
    seller_s_next_customer(&system, &ticket).await;
    stripe.settles(&order, &[Charge::voided()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_payment_and_expiry_race_the_money_and_the_tickets_agree() {
    let options = Options {
        hold_seconds: RACE_HOLD_SECONDS,
        ..Options::default()
    };
    let system = System::start(Deployment::OneProcess, options).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(RACES).await;
    let mut races = JoinSet::new();
    for race in 0..RACES {
        let (buyer, ticket) = (buyer.clone(), ticket.clone());
        races.spawn(async move {
            let ends = Instant::now() + Duration::from_secs(RACE_HOLD_SECONDS);
            let order = buyer.orders(&ticket).await;
            // On a busy machine a hold can end before its payment page is open.
            let opened = buyer
                .post("/api/payments", &json!({ "orderId": order }))
                .send()
                .await;
            if opened.status == 201 {
                // The moment itself is what is tested, so here a clock is waited for.
                tokio::time::sleep_until(ends - RACE_BEGINS_BEFORE + RACE_STEP * race).await;
                stripe::pay(&opened.field("url")).await;
            }
            order
        });
    }
    let mut sold = 0;
    for order in races.join_all().await {
        let ended = eventually("a race is decided", DECIDED_MAX, async || {
            let order = buyer.order(&order).await;
            ["complete", "cancelled"]
                .iter()
                .any(|end| order["status"] == *end)
                .then_some(order)
        })
        .await;
        if ended["status"] == "complete" {
            sold += 1;
            system
                .stripe()
                .settles(&order, &[Charge::captured(PRICE_CENTS)])
                .await;
        } else {
            assert_eq!(ended["reason"], "expired");
            eventually(
                "nothing is left authorised for a cancelled order",
                DECIDED_MAX,
                async || {
                    let charges = system.stripe().charges(&order).await;
                    (charges.is_empty() || charges == [Charge::voided()]).then_some(())
                },
            )
            .await;
        }
    }
    buyer.sees_available(&ticket, RACES - sold).await;
}

async fn seller_s_next_customer(system: &System, ticket: &str) -> String {
    Person::sign_up(system).await.buys(ticket).await
}
