//! Many people who order as fast as they are answered, and what became of their orders.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::eventually;
use tokio::task::JoinSet;

use crate::harness::System;
use crate::person::Person;

/// How many people order, each one order after another.
const PEOPLE: usize = 12;

/// At most so many orders each: as many as one page of one's orders shows.
const ORDERS_EACH_MAX: usize = 100;

/// How many pieces there are: more than anyone can order here.
const PIECES: u32 = 100_000;

/// How long the load may take to get anywhere.
const LOAD_MAX: Duration = Duration::from_secs(60);

/// How long the services may take to agree about all orders after a fault.
const AGREED_MAX: Duration = Duration::from_secs(30);

/// People who order one piece each, again and again, until nobody answers or it is enough.
pub(crate) struct Load {
    seller: Person,
    buyers: Vec<Person>,
    ticket: String,
    answered: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
    running: JoinSet<Vec<String>>,
}

/// What the load has left behind.
pub(crate) struct Aftermath {
    seller: Person,
    buyers: Vec<Person>,
    ticket: String,
    /// The orders that were answered 201.
    acknowledged: BTreeSet<String>,
}

impl Load {
    /// Begins to order.
    pub(crate) async fn on(system: &System) -> Self {
        let seller = Person::sign_up(system).await;
        let buyers = Person::sign_up_many(system, PEOPLE).await;
        let ticket = seller.lists_and_is_heard(PIECES).await;
        let (answered, enough) = (Arc::default(), Arc::default());
        let mut running = JoinSet::new();
        for buyer in &buyers {
            let (answered, enough) = (Arc::clone(&answered), Arc::clone(&enough));
            running.spawn(order_on_and_on(buyer.clone(), ticket.clone(), answered, enough));
        }
        Self {
            seller,
            buyers,
            ticket,
            answered,
            enough,
            running,
        }
    }

    /// Waits until so many more orders were answered.
    pub(crate) async fn goes_on_for(&self, orders: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + orders;
        eventually("the load goes on", LOAD_MAX, async || {
            (self.answered.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// Waits until everyone has stopped ordering, because it is enough or because nobody answers.
    pub(crate) async fn ends(self) -> Aftermath {
        self.enough.store(true, Ordering::Relaxed);
        Aftermath {
            seller: self.seller,
            buyers: self.buyers,
            ticket: self.ticket,
            acknowledged: self.running.join_all().await.into_iter().flatten().collect(),
        }
    }
}

impl Aftermath {
    /// What was acknowledged is there.
    pub(crate) async fn nothing_is_lost(&self) {
        let kept = self.kept().await;
        let lost: Vec<&String> = self.acknowledged.difference(&kept).collect();
        assert!(lost.is_empty(), "acknowledged, and not there any more: {lost:?}");
    }

    /// What is there was acknowledged: nothing was done for somebody who never heard of it.
    pub(crate) async fn nothing_is_unanswered(&self) {
        let kept = self.kept().await;
        let unanswered: Vec<&String> = kept.difference(&self.acknowledged).collect();
        assert!(
            unanswered.is_empty(),
            "accepted, and never answered: {unanswered:?}"
        );
    }

    /// Every order gets its piece, and the pieces add up at both services.
    pub(crate) async fn everyone_is_served(&self) {
        let mut served = 0;
        for buyer in &self.buyers {
            served += eventually("every order has its piece", AGREED_MAX, async || {
                let orders = orders_of(buyer).await;
                let waits = orders.iter().any(|order| order["status"] != "awaiting:payment");
                (!waits).then_some(orders.len())
            })
            .await;
        }
        let served = u32::try_from(served).expect("there are fewer orders than pieces");
        self.seller.sees_available(&self.ticket, PIECES - served).await;
    }

    async fn kept(&self) -> BTreeSet<String> {
        let mut kept = BTreeSet::new();
        for buyer in &self.buyers {
            let ids = orders_of(buyer).await;
            kept.extend(
                ids.iter()
                    .map(|order| order["id"].as_str().expect("an order has an id").to_owned()),
            );
        }
        kept
    }
}

/// Every answer that comes must be a good one; the first that does not come ends it.
async fn order_on_and_on(
    buyer: Person,
    ticket: String,
    answered: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.len() < ORDERS_EACH_MAX && !enough.load(Ordering::Relaxed) {
        let wish = json!({ "ticketId": ticket });
        let Ok(answer) = buyer.post("/api/orders", &wish).try_send().await else {
            break;
        };
        assert_eq!(answer.status, 201, "{}", answer.text());
        ids.push(answer.field("id"));
        answered.fetch_add(1, Ordering::Relaxed);
    }
    ids
}

async fn orders_of(buyer: &Person) -> Vec<Value> {
    let orders = buyer.get("/api/orders?limit=100").expect(200).await.json();
    orders.as_array().expect("a list of orders").clone()
}
