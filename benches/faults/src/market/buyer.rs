//! One buyer's way through a purchase: order, pay, cancel, wait, or let it run out; every answer goes into the ledger.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::Answer;

use crate::ledger::{KnownOrder, Ledger, Status};
use crate::person::{Person, Wish};
use crate::random::Random;

use super::{END_SECONDS_MAX, Market, Mix, NEWCOMERS_IN_100, Ordered, PRICE, Plan, pay_at_stripe};

/// A listing of a rush of small ones has so many pieces at most, so that buyers get into each other's way.
const PIECES_MAX: u64 = 3;

/// How long one long poll for another state is, in the header's words.
const POLL: &str = "wait=3";

/// One buyer's way through one purchase after another.
pub(super) struct BuyingClient {
    pub(super) market: Market,
    pub(super) buyer: usize,
    pub(super) random: Random,
    /// What the keys of this client's requests begin with.
    pub(super) key: String,
    /// How many it has used.
    pub(super) sent: usize,
}

impl BuyingClient {
    pub(super) async fn purchase(&mut self, mix: Mix) {
        if self.random.below(100) < NEWCOMERS_IN_100 {
            self.market.somebody_signs_up().await;
        }
        let plan = mix.draw(&mut self.random);
        self.purchase_planned(plan).await;
    }

    pub(super) async fn purchase_planned(&mut self, plan: Plan) -> Option<String> {
        let order = self.order().await;
        if let Some(order) = &order {
            self.go_on(order, plan).await;
        }
        self.market.ledger().finished();
        order
    }

    pub(super) fn person(&self) -> Person {
        self.market.0.buyers[self.buyer].clone()
    }

    fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(self.market.ledger())
    }

    /// A key that no other request of this person has.
    pub(super) fn next_key(&mut self) -> String {
        self.sent += 1;
        format!("{}-{}", self.key, self.sent)
    }

    /// Orders one piece of something, something else when it is gone, until it has an order.
    async fn order(&mut self) -> Option<String> {
        loop {
            let ticket = match self.market.take_open(&mut self.random) {
                Some(ticket) => ticket,
                None => {
                    let quantity = self.random.between(1, PIECES_MAX);
                    let ticket = self.market.list(quantity).await?;
                    self.market.opened(&ticket);
                    ticket
                }
            };
            match self.order_of(&ticket).await {
                Ordered::Taken(order) => return Some(order),
                Ordered::Refused => self.market.closed(&ticket),
                Ordered::Unanswered(_) => return None,
            }
        }
    }

    /// Orders one piece of this.
    pub(super) async fn order_of(&mut self, ticket: &str) -> Ordered {
        let wish = json!({ "ticketId": ticket, "price": PRICE });
        let person = self.person();
        let Some(answer) = person
            .insist(Wish::post("/api/orders", Some(&wish), &self.next_key()))
            .await
        else {
            return self.unanswered();
        };
        match answer.status.as_u16() {
            201 => self.taken(ticket, &answer),
            409 => {
                self.ledger().refused();
                Ordered::Refused
            }
            _ => {
                person.did_not_expect(&answer);
                self.unanswered()
            }
        }
    }

    /// An order of which the ledger has just heard why it is none.
    fn unanswered(&self) -> Ordered {
        Ordered::Unanswered(self.ledger().copy().unexpected.join("; "))
    }

    /// Notes an order that was answered 201.
    pub(super) fn taken(&self, ticket: &str, answer: &Answer) -> Ordered {
        let Some((order, version, status)) = self.read(answer) else {
            return self.unanswered();
        };
        let known = KnownOrder {
            buyer: self.buyer,
            ticket: ticket.to_owned(),
            placed: Instant::now(),
            version,
            status,
            paid: false,
            cancelled: false,
            refund: false,
        };
        self.ledger().ordered(&order, known);
        Ordered::Taken(order)
    }

    pub(super) async fn go_on(&mut self, order: &str, plan: Plan) {
        match plan {
            Plan::Buy => {
                self.pay(order).await;
                self.wait_for(order, Status::is_final).await;
            }
            Plan::Refund => {
                self.pay(order).await;
                if self.wait_for(order, Status::is_final).await == Some(Status::Complete) {
                    self.refund(order).await;
                    self.wait_for(order, |status| status == Status::Cancelled).await;
                }
            }
            Plan::CancelEarly => self.cancel(order).await,
            Plan::CancelLate => {
                self.open_payment(order).await;
                self.cancel(order).await;
            }
            Plan::LetExpire => {
                if self.wait_for(order, Status::is_final).await.is_some() {
                    self.ledger().ran_out(order, self.market.0.hold);
                }
            }
        }
    }

    /// Opens Stripe's page; its address, unless the order can't be paid any more.
    pub(super) async fn open_payment(&mut self, order: &str) -> Option<String> {
        let wish = json!({ "orderId": order });
        let person = self.person();
        let answer = person
            .insist(Wish::post("/api/payments", Some(&wish), &self.next_key()))
            .await?;
        match answer.status.as_u16() {
            201 => {
                self.ledger().payment_opened(&answer.field("id"));
                Some(answer.field("url"))
            }
            // It was cancelled in the meantime, because its time was over or nothing was left of the ticket.
            409 => None,
            _ => {
                person.did_not_expect(&answer);
                None
            }
        }
    }

    async fn pay(&mut self, order: &str) {
        if let Some(page) = self.open_payment(order).await
            && pay_at_stripe(&page).await
        {
            self.ledger().paid(order);
        }
    }

    pub(super) async fn cancel(&mut self, order: &str) {
        let path = format!("/api/orders/{order}");
        let person = self.person();
        let Some(answer) = person.insist(Wish::delete(&path)).await else {
            return;
        };
        match answer.status.as_u16() {
            204 => self.ledger().cancelled(order),
            _ => person.did_not_expect(&answer),
        }
        self.wait_for(order, Status::is_final).await;
    }

    /// The seller gives the money back.
    async fn refund(&mut self, order: &str) {
        let entries = self.ledger().copy();
        let seller = entries
            .orders
            .get(order)
            .and_then(|known| entries.tickets.get(&known.ticket))
            .map(|ticket| self.market.0.sellers[ticket.seller].clone());
        let Some(seller) = seller else { return };
        let path = format!("/api/orders/{order}/refund");
        let key = self.next_key();
        let Some(answer) = seller.insist(Wish::post(&path, None, &key)).await else {
            return;
        };
        match answer.status.as_u16() {
            202 => self.ledger().refund_promised(order),
            _ => seller.did_not_expect(&answer),
        }
    }

    /// Waits, by long polls, until an order is in such a state; the state, unless it never came.
    async fn wait_for(&mut self, order: &str, wanted: impl Fn(Status) -> bool) -> Option<Status> {
        let path = format!("/api/orders/{order}");
        let begun = Instant::now();
        let patience = self.market.0.hold + Duration::from_secs(END_SECONDS_MAX);
        let person = self.person();
        let mut version = 0;
        while begun.elapsed() < patience {
            let wish = Wish::get(&path)
                .header("If-None-Match", &format!("\"{version}\""))
                .header("Prefer", POLL);
            let answer = person.insist(wish).await?;
            match answer.status.as_u16() {
                200 => {
                    let (_, now, status) = self.read(&answer)?;
                    self.ledger().saw(order, now, status);
                    version = now;
                    if wanted(status) {
                        return Some(status);
                    }
                }
                304 => {}
                _ => {
                    person.did_not_expect(&answer);
                    return None;
                }
            }
        }
        let sentence = format!("order {order} came to no end within {patience:?}");
        self.ledger().unexpected(sentence);
        None
    }

    /// Id, version and state of an order in an answer.
    fn read(&self, answer: &Answer) -> Option<(String, u64, Status)> {
        let read = read_order(&answer.json());
        if read.is_none() {
            self.person().did_not_expect(answer);
        }
        read
    }
}

/// Id, version and state of an order.
pub(crate) fn read_order(order: &Value) -> Option<(String, u64, Status)> {
    let id = order["id"].as_str()?.to_owned();
    let status = Status::named(order["status"].as_str()?)?;
    Some((id, order["version"].as_u64()?, status))
}
