//! One purchase, acknowledged step by acknowledged step, with something happening after each of them.

use crate::harness::System;
use crate::person::{Opened, PRICE_CENTS, Person};
use crate::stripe::{self, Charge};

/// What has been acknowledged last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    SignedUp,
    Listed,
    Ordered,
    Reserved,
    PaymentOpened,
    Paid,
    Complete,
}

/// What was acknowledged to two people so far.
struct Journey {
    seller: Person,
    buyer: Person,
    ticket: Option<String>,
    order: Option<String>,
    payment: Option<Opened>,
    /// The state in which the order was seen last.
    seen: &'static str,
}

/// One person sells, another buys. After each acknowledged step `happens` does its worst; then everything that was
/// acknowledged must still be there, and the next step must work. In the end there is one ticket, sold, and one charge.
pub(crate) async fn purchase_while(system: &mut System, mut happens: impl AsyncFnMut(&mut System, Step)) {
    let mut journey = Journey {
        seller: Person::sign_up(system).await,
        buyer: Person::sign_up(system).await,
        ticket: None,
        order: None,
        payment: None,
        seen: "created",
    };
    let steps = [
        Step::SignedUp,
        Step::Listed,
        Step::Ordered,
        Step::Reserved,
        Step::PaymentOpened,
        Step::Paid,
        Step::Complete,
    ];
    for step in steps {
        journey.take(step).await;
        happens(system, step).await;
        journey.is_all_there(step).await;
    }
    let Journey {
        seller,
        buyer,
        ticket,
        order,
        ..
    } = journey;
    let (ticket, order) = (ticket.expect("it was listed"), order.expect("it was ordered"));
    system
        .stripe()
        .settles(&order, &[Charge::captured(PRICE_CENTS)])
        .await;
    buyer.sees_available(&ticket, 0).await;
    assert!(!buyer.finds_on_sale(&ticket).await);
    testkit::eventually(
        "the seller sees it sold",
        std::time::Duration::from_secs(40),
        async || (seller.sees_orders(&ticket).await == ["complete"]).then_some(()),
    )
    .await;
}

impl Journey {
    async fn take(&mut self, step: Step) {
        match step {
            Step::SignedUp => {}
            Step::Listed => self.ticket = Some(self.seller.lists(1).await),
            Step::Ordered => self.order = Some(self.buyer.orders(known(&self.ticket)).await),
            Step::Reserved => self.sees("awaiting:payment").await,
            Step::PaymentOpened => self.payment = Some(self.buyer.opens_payment(known(&self.order)).await),
            Step::Paid => {
                let payment = self.payment.as_ref().expect("the step before opened it");
                let answer = stripe::pay(&payment.page).await;
                assert_eq!(answer.status, 303, "{}", answer.text());
            }
            Step::Complete => self.sees("complete").await,
        }
    }

    async fn sees(&mut self, status: &'static str) {
        self.buyer.sees(known(&self.order), status).await;
        self.seen = status;
    }

    async fn is_all_there(&self, after: Step) {
        for person in [&self.seller, &self.buyer] {
            person.is_signed_in().await;
            person.sign_in().await;
        }
        if let Some(ticket) = &self.ticket {
            self.buyer.ticket(ticket).await;
        }
        if let Some(order) = &self.order {
            let now = self.buyer.order(order).await;
            let status = now["status"].as_str().expect("an order has a state");
            assert!(
                progress(status) >= progress(self.seen),
                "after {after:?} the order was {} once, and is now {now}",
                self.seen
            );
        }
        if let Some(payment) = &self.payment {
            self.buyer
                .get(&format!("/api/payments/{}", payment.id))
                .expect(200)
                .await;
        }
    }
}

fn known(id: &Option<String>) -> &str {
    id.as_ref().expect("an earlier step made it")
}

/// How far an order has come on the way to `complete`.
fn progress(status: &str) -> usize {
    ["created", "awaiting:payment", "accepted", "complete"]
        .iter()
        .position(|known| *known == status)
        .unwrap_or_else(|| panic!("`{status}` is not on the way to a purchase"))
}
