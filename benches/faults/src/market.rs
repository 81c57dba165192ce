//! Purchases: many clients at once who list, order, pay, cancel, refund, or let an order run out, and never give up.

mod buyer;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::Client;
use tokio::task::JoinSet;

use crate::ledger::{KnownTicket, Ledger};
use crate::part::Part;
use crate::person::{Person, Wish};
use crate::random::Random;
use crate::system::System;

use buyer::BuyingClient;
pub(crate) use buyer::read_order;

/// What every piece costs, as it is shown and as Stripe counts it.
pub const PRICE: f64 = 25.5;
/// The same in cents.
pub const PRICE_CENTS: i64 = 2_550;

/// Among so many listings buyers choose, so that they meet.
const LISTINGS_OPEN_MAX: usize = 6;

/// Before so many purchases of a hundred somebody new signs up.
const NEWCOMERS_IN_100: u64 = 5;

/// Between two looks how far the purchases are.
const LOOK_MILLIS: u64 = 20;

/// How long a client waits for the end of a purchase beyond the hold.
const END_SECONDS_MAX: u64 = 180;

/// How a purchase is meant to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Order, pay, have it.
    Buy,
    /// The same, and then the seller gives the money back.
    Refund,
    /// Order, and cancel at once.
    CancelEarly,
    /// Order, open Stripe's page, and cancel.
    CancelLate,
    /// Order, and never pay.
    LetExpire,
}

/// How many purchases of a hundred go which way; the rest is bought.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Refunded afterwards.
    pub refund: u64,
    /// Cancelled, half of them early and half of them late.
    pub cancel: u64,
    /// Never paid. Only sensible with a short hold.
    pub expire: u64,
}

impl Mix {
    /// All ways of a purchase.
    pub const ALL_WAYS: Self = Self {
        refund: 8,
        cancel: 12,
        expire: 6,
    };

    /// All but those that wait for a deadline.
    pub const NO_DEADLINES: Self = Self {
        refund: 8,
        cancel: 12,
        expire: 0,
    };

    fn draw(self, random: &mut Random) -> Plan {
        let ticket = random.below(100);
        if ticket < self.refund {
            Plan::Refund
        } else if ticket < self.refund + self.cancel / 2 {
            Plan::CancelEarly
        } else if ticket < self.refund + self.cancel {
            Plan::CancelLate
        } else if ticket < self.refund + self.cancel + self.expire {
            Plan::LetExpire
        } else {
            Plan::Buy
        }
    }
}

/// People with accounts, and what they were told.
#[derive(Clone)]
pub struct Market(Arc<Inner>);

struct Inner {
    system: System,
    sellers: Vec<Person>,
    buyers: Vec<Person>,
    ledger: Arc<Ledger>,
    random: Random,
    hold: Duration,
    /// Listings with pieces that may still be had.
    open: Mutex<Vec<String>>,
    listings: AtomicUsize,
    /// So that the keys of two runs of purchases differ.
    keys: AtomicUsize,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordered {
    /// Answered 201; its id.
    Taken(String),
    /// Answered 409: nothing is left.
    Refused,
    /// Not answered, or not as promised: what came instead, or what came last.
    Unanswered(String),
}

impl Ordered {
    /// The order's id.
    ///
    /// # Panics
    /// When there is none.
    pub fn expect_taken(self) -> String {
        match self {
            Self::Taken(order) => order,
            Self::Refused | Self::Unanswered(_) => panic!("an order that must be answered 201 is {self:?}"),
        }
    }
}

/// Purchases under way.
pub struct Running {
    clients: JoinSet<()>,
    market: Market,
    before: usize,
    enough: Arc<AtomicBool>,
}

impl Market {
    /// Signs people up. `hold_seconds` is how long the system lets an unpaid order be.
    pub async fn open(system: &System, people: usize, hold_seconds: u64, seed: u64) -> Self {
        let ledger = Arc::new(Ledger::default());
        let sellers = people.div_ceil(4);
        let mut all = Person::sign_up_many(system, &ledger, sellers + people).await;
        let buyers = all.split_off(sellers);
        Self(Arc::new(Inner {
            system: system.clone(),
            sellers: all,
            buyers,
            ledger,
            random: Random::new(seed),
            hold: Duration::from_secs(hold_seconds),
            open: Mutex::default(),
            listings: AtomicUsize::new(0),
            keys: AtomicUsize::new(0),
        }))
    }

    /// What was acknowledged.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.0.ledger
    }

    /// Those who buy.
    pub fn buyers(&self) -> &[Person] {
        &self.0.buyers
    }

    /// Those who sell.
    pub fn sellers(&self) -> &[Person] {
        &self.0.sellers
    }

    /// Everyone buys, one purchase after another, until it is enough.
    pub fn purchases(&self, mix: Mix) -> Running {
        let enough = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for buyer in 0..self.0.buyers.len() {
            let (mut client, enough) = (self.client(buyer), Arc::clone(&enough));
            clients.spawn(async move {
                while !enough.load(Ordering::Relaxed) {
                    client.purchase(mix).await;
                }
            });
        }
        Running {
            clients,
            market: self.clone(),
            before: self.0.ledger.finished_count(),
            enough,
        }
    }

    /// So many purchases, or a few more, from their beginning to their end.
    pub async fn purchase_all(&self, wanted: usize, mix: Mix) {
        let running = self.purchases(mix);
        running.reach(wanted).await;
        running.finish().await;
    }

    /// One purchase by one buyer, as planned; answers the order, if it came to one.
    pub async fn purchase_as(&self, buyer: usize, plan: Plan) -> Option<String> {
        self.client(buyer).purchase_planned(plan).await
    }

    /// One order of one listing by one buyer.
    pub async fn order(&self, buyer: usize, ticket: &str) -> Ordered {
        self.client(buyer).order_of(ticket).await
    }

    /// A buyer opens Stripe's page for an order; its address, unless it can't be paid.
    pub async fn open_payment(&self, buyer: usize, order: &str) -> Option<String> {
        self.client(buyer).open_payment(order).await
    }

    /// One order of one listing, sent once, on a connection of its own: one who does not insist, and may stay without
    /// an answer. The judge then finds the order if it was placed all the same.
    ///
    /// # Errors
    /// Why no answer came.
    pub async fn order_once(&self, buyer: usize, ticket: &str) -> Result<Ordered, String> {
        let mut client = self.client(buyer);
        let wish = json!({ "ticketId": ticket, "price": PRICE });
        let key = client.next_key();
        let person = client.person().on_a_new_connection();
        let answer = person.once(&Wish::post("/api/orders", Some(&wish), &key)).await?;
        Ok(match answer.status.as_u16() {
            201 => client.taken(ticket, &answer),
            _ => Ordered::Refused,
        })
    }

    /// A buyer cancels an order.
    pub async fn cancel(&self, buyer: usize, order: &str) {
        self.client(buyer).cancel(order).await;
    }

    /// A buyer who has an order goes on with it.
    pub async fn go_on(&self, buyer: usize, order: &str, plan: Plan) {
        self.client(buyer).go_on(order, plan).await;
        self.0.ledger.finished();
    }

    /// Another account, so that auth has something to do, too.
    pub async fn somebody_signs_up(&self) {
        Person::sign_up_many(&self.0.system, &self.0.ledger, 1).await;
    }

    fn client(&self, buyer: usize) -> BuyingClient {
        let round = self.0.keys.fetch_add(1, Ordering::Relaxed);
        BuyingClient {
            market: self.clone(),
            buyer,
            random: self.0.random.fork(u64::try_from(round).unwrap_or(u64::MAX)),
            key: format!("{round}-{buyer}"),
            sent: 0,
        }
    }

    /// A new listing of so many pieces; its id.
    pub async fn list(&self, quantity: u64) -> Option<String> {
        let number = self.0.listings.fetch_add(1, Ordering::Relaxed);
        let seller = number % self.0.sellers.len();
        let listing = json!({ "title": format!("Seat {number}"), "price": PRICE, "quantity": quantity });
        let person = &self.0.sellers[seller];
        let key = format!("listing-{number}");
        let answer = person
            .insist(Wish::post("/api/tickets", Some(&listing), &key))
            .await?;
        if answer.status != 201 {
            person.did_not_expect(&answer);
            return None;
        }
        let ticket = answer.field("id");
        self.0.ledger.listed(&ticket, KnownTicket { seller, quantity });
        Some(ticket)
    }

    fn take_open(&self, random: &mut Random) -> Option<String> {
        let open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        // One more than there are, so that a new one comes up now and then.
        if open.len() < LISTINGS_OPEN_MAX && random.below(2) == 0 {
            return None;
        }
        random.pick(&open).cloned()
    }

    fn opened(&self, ticket: &str) {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push(ticket.to_owned());
    }

    fn closed(&self, ticket: &str) {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|known| known != ticket);
    }
}

impl Running {
    /// How many of these purchases are over for their clients.
    pub fn finished(&self) -> usize {
        self.market.ledger().finished_count() - self.before
    }

    /// Waits until so many are over.
    pub async fn reach(&self, wanted: usize) {
        let patience = self.market.0.hold + Duration::from_secs(END_SECONDS_MAX);
        let (mut seen, mut since) = (0, Instant::now());
        while self.finished() < wanted {
            if self.finished() > seen {
                (seen, since) = (self.finished(), Instant::now());
            }
            assert!(
                since.elapsed() < patience,
                "no purchase came to its end for {patience:?}"
            );
            tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
        }
    }

    /// It is enough: nobody begins another purchase; waits until those that were begun are over.
    pub async fn finish(self) {
        self.enough.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
    }
}

/// Fills in Stripe's page with the card that always works; whether Stripe has taken it.
pub async fn pay_at_stripe(page: &str) -> bool {
    let Some(path_at) = page.find("/stripe-fake/") else {
        return false;
    };
    let (base, path) = page.split_at(path_at);
    let card = [
        ("number", "4242424242424242"),
        ("expiry", "12/34"),
        ("cvc", "123"),
    ];
    let answer = Client::new(base).form(path, &card).try_send().await;
    answer.is_ok_and(|answer| answer.status == 303)
}

/// A client of the stand-in for Stripe.
pub fn stripe(system: &System) -> Client {
    Client::new(system.base(Part::Stripe))
}
