//! All services and what may happen to them.

use std::collections::BTreeSet;
use std::time::Duration;

use events::{Currency, Money, OrderId, OrderStatus, PaymentId, Source, TicketId, Timestamp, UserId};
use expiration::consumer::ExpirationHandler;
use expiration::domain::Deadline;
use expiration::store::DeadlineIndexes;
use orders::consumer::OrdersHandler;
use orders::domain::{Order, PlaceOrder, TicketView};
use orders::store::OrderIndexes;
use payments::agent;
use payments::consumer::PaymentsHandler;
use payments::domain::{self as pay, Payment, PaymentError, State};
use payments::store::PaymentIndexes;
use store::{Indexes, Record};
use testkit::Chance;
use tickets::consumer::TicketsHandler;
use tickets::domain::{Details, Hold, HoldState, Ticket};
use tickets::search::TicketIndexes;

use crate::place::{LATER, Place};
use crate::stripe::Stripe;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const HOLD: Duration = Duration::from_secs(900);
const PRICE: i64 = 1_000;
const LISTINGS: u8 = 3;
const PIECES: u32 = 3;
/// In how many rounds everything must be settled when nothing new happens.
const ROUNDS_MAX: usize = 200;

pub(crate) struct World {
    chance: Chance,
    /// Whose losses are accepted.
    lossy: Vec<Source>,
    tickets: Place<TicketIndexes, TicketsHandler>,
    orders: Place<OrderIndexes, OrdersHandler>,
    payments: Place<PaymentIndexes, PaymentsHandler>,
    expiration: Place<DeadlineIndexes, ExpirationHandler>,
    stripe: Stripe,
    placed: u8,
    /// How often a service was set back.
    pub(crate) set_backs: u32,
}

fn id(kind: u8, n: u8) -> [u8; 16] {
    [
        1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, kind, 0x80, 0, 0, 0, 0, 0, 0, n,
    ]
}

fn all<I: Indexes, H: bus::Recovery<I>, R: Record>(place: &Place<I, H>) -> Vec<R> {
    place.store().scan(None, 10_000).unwrap()
}

impl World {
    pub(crate) async fn new(chance: Chance, lossy: &[Source]) -> Self {
        let mut world = Self {
            chance,
            lossy: lossy.to_vec(),
            tickets: Place::new(Source::Tickets, TicketsHandler),
            orders: Place::new(Source::Orders, OrdersHandler),
            payments: Place::new(Source::Payments, PaymentsHandler),
            expiration: Place::new(
                Source::Expiration,
                ExpirationHandler::new(std::sync::Arc::default()),
            ),
            stripe: Stripe::default(),
            placed: 0,
            set_backs: 0,
        };
        for n in 0..LISTINGS {
            let details = Details {
                title: format!("Show {n}"),
                description: String::new(),
                venue: None,
                starts_at: None,
                price: Money::from_minor(PRICE, Currency::Usd).unwrap(),
                quantity: PIECES,
            };
            let (ticket, seller) = (TicketId::from_bytes(id(1, n)), UserId::from_bytes(id(2, n)));
            let listed = tickets::domain::list(ticket, seller, details, NOW);
            world
                .tickets
                .does(move |tx| tickets::consumer::stage(tx, None, listed))
                .await;
        }
        // Listings are in every backup: what becomes of a listing that is lost for good is another question.
        world.tickets.takes_backup().await;
        world
    }

    /// Something that may happen.
    pub(crate) async fn anything(&mut self) {
        match self.chance.below(24) {
            0 => self.place().await,
            1 if self.chance.happens(1, 3) => self.ask().await,
            2 if self.chance.happens(1, 8) => self.ring_somewhere().await,
            1..=4 => self.open().await,
            5..=7 => self.pay(),
            8..=11 => self.work_somewhere().await,
            12..=21 => {
                // Streams are read in batches of any length.
                for _ in 0..self.chance.below(8) {
                    self.deliver_somewhere().await;
                }
            }
            22 => self.back_up().await,
            _ => self.set_back().await,
        }
    }

    async fn place(&mut self) {
        let ticket = TicketId::from_bytes(id(
            1,
            u8::try_from(self.chance.below(u64::from(LISTINGS))).unwrap(),
        ));
        let wish = PlaceOrder {
            id: OrderId::from_bytes(id(3, self.placed)),
            user_id: UserId::from_bytes(id(4, self.placed)),
            quantity: 1 + u32::from(self.chance.happens(1, 3)),
            seen_price: None,
            hold: HOLD,
        };
        let placed = self
            .orders
            .does(move |tx| {
                let Some(view) = tx.get::<TicketView>(&ticket)? else {
                    return Ok(false);
                };
                let claimed = tx.indexes().claimed(ticket);
                match orders::domain::place(&view, claimed, &wish, NOW) {
                    Ok(decision) => orders::consumer::stage(tx, None, decision).map(|()| true),
                    Err(_) => Ok(false),
                }
            })
            .await;
        self.placed += u8::from(placed);
    }

    async fn ask(&mut self) {
        let orders: Vec<Order> = all(&self.orders);
        let Some(order) = orders.get(self.chance.index(0..orders.len())).cloned() else {
            return;
        };
        let command = if order.status == OrderStatus::Complete {
            orders::domain::Command::Refund
        } else {
            orders::domain::Command::Cancel
        };
        if let Ok(decision) = orders::domain::decide(&order, command, NOW) {
            self.orders
                .does(move |tx| orders::consumer::stage(tx, Some(&order), decision))
                .await;
        }
    }

    async fn open(&mut self) {
        let payable: Vec<pay::Order> = all(&self.payments);
        let Some(order) = payable.get(self.chance.index(0..payable.len())).cloned() else {
            return;
        };
        // Another id each time: one that was lost before it was told of is not had again.
        let mut fresh = id(5, 0);
        fresh[9..].copy_from_slice(&self.chance.number().to_be_bytes()[1..]);
        let fresh = PaymentId::from_bytes(fresh);
        self.payments
            .does(move |tx| {
                let known = match order.payment_id {
                    None => None,
                    Some(id) => tx.get::<Payment>(&id)?,
                };
                if let Ok(decision) = pay::pay(&order, known.as_ref(), fresh, "http://site", NOW) {
                    let payment_id = Some(decision.payment.id);
                    agent::stage(tx, known.map(|payment| payment.version), decision)?;
                    tx.put_any(pay::Order { payment_id, ..order })?;
                }
                Ok(())
            })
            .await;
    }

    /// A buyer who was given the address of Stripe's page pays there.
    fn pay(&mut self) {
        let payments: Vec<Payment> = all(&self.payments);
        let open = payments.iter().filter_map(|payment| {
            let State::Open(checkout) = &payment.state else {
                return None;
            };
            Some((checkout.session.clone(), payment.amount.minor()))
        });
        let open: Vec<(String, i64)> = open.collect();
        if let Some((session, amount)) = open.get(self.chance.index(0..open.len())) {
            self.stripe.pay(session, *amount);
        }
    }

    async fn work_somewhere(&mut self) {
        let payments: Vec<Payment> = all(&self.payments);
        if let Some(payment) = payments.get(self.chance.index(0..payments.len())).cloned() {
            self.work(payment).await;
        }
    }

    /// One step of the payments worker: look, decide, at most one call, look. Says whether anything has changed.
    async fn work(&mut self, payment: Payment) -> bool {
        let amount = payment.amount.minor();
        let view = match (pay::next_step(&payment), payment.state.session()) {
            (None, _) => return false,
            (Some(pay::Step::CreateSession), _) => self.stripe.session(&payment),
            (Some(_), Some(session)) => self.stripe.look(session),
            (Some(step), None) => panic!("{step:?} without a session"),
        };
        let seen = self.observe(&payment, view.clone()).await;
        let Some(call) = pay::next_call(&seen, &view) else {
            return seen.version != payment.version;
        };
        self.stripe.call(&view.session, &call, amount);
        let view = self.stripe.look(&view.session);
        self.observe(&seen, view).await;
        true
    }

    async fn observe(&mut self, payment: &Payment, view: pay::StripeView) -> Payment {
        let payment = payment.clone();
        self.payments
            .does(
                move |tx| match pay::decide(&payment, pay::Command::Observe(view), LATER) {
                    Ok(decision) => {
                        let payment = agent::stage(tx, Some(payment.version), decision)?;
                        Ok(agent::follow_order(tx, payment)?)
                    }
                    Err(PaymentError::Stale(_)) => Ok(payment),
                    Err(error) => panic!("{error}: {payment:?}"),
                },
            )
            .await
    }

    async fn ring_somewhere(&mut self) {
        let deadlines: Vec<Deadline> = all(&self.expiration);
        if let Some(deadline) = deadlines.get(self.chance.index(0..deadlines.len())) {
            self.ring(deadline.order_id).await;
        }
    }

    async fn ring(&mut self, order: OrderId) -> bool {
        self.expiration
            .does(move |tx| {
                let deadline = tx.get::<Deadline>(&order)?;
                let fire = expiration::domain::Command::Fire;
                match expiration::domain::decide(deadline.as_ref(), fire, LATER) {
                    Ok(decision) => expiration::consumer::stage(tx, order, decision).map(|()| true),
                    Err(_) => Ok(false),
                }
            })
            .await
    }

    async fn deliver_somewhere(&mut self) -> bool {
        match self.chance.below(6) {
            0 => self.tickets_hear_orders().await,
            1 => self.payments_hear_orders().await,
            2 => self.expiration_hears_orders().await,
            3 => self.orders_hear_tickets().await,
            4 => self.orders_hear_payments().await,
            _ => self.orders_hear_expiration().await,
        }
    }

    async fn tickets_hear_orders(&mut self) -> bool {
        let (from, to) = (&self.orders, &mut self.tickets);
        to.hears(from.source, &from.stream, || from.stated()).await
    }

    async fn payments_hear_orders(&mut self) -> bool {
        let (from, to) = (&self.orders, &mut self.payments);
        to.hears(from.source, &from.stream, || from.stated()).await
    }

    async fn expiration_hears_orders(&mut self) -> bool {
        let (from, to) = (&self.orders, &mut self.expiration);
        to.hears(from.source, &from.stream, || from.stated()).await
    }

    async fn orders_hear_tickets(&mut self) -> bool {
        let (from, to) = (&self.tickets, &mut self.orders);
        to.hears(from.source, &from.stream, || from.stated()).await
    }

    async fn orders_hear_payments(&mut self) -> bool {
        let (from, to) = (&self.payments, &mut self.orders);
        to.hears(from.source, &from.stream, || from.stated()).await
    }

    async fn orders_hear_expiration(&mut self) -> bool {
        let (from, to) = (&self.expiration, &mut self.orders);
        to.hears(from.source, &from.stream, || from.stated()).await
    }

    async fn back_up(&mut self) {
        match self.chance.below(4) {
            0 => self.tickets.takes_backup().await,
            1 => self.orders.takes_backup().await,
            2 => self.payments.takes_backup().await,
            _ => self.expiration.takes_backup().await,
        }
    }

    async fn set_back(&mut self) {
        let lost = |source| self.lossy.contains(&source);
        let (tickets, orders, expiration) = (
            lost(Source::Tickets),
            lost(Source::Orders),
            lost(Source::Expiration),
        );
        let set_back = match self.chance.below(4) {
            0 => self.tickets.is_set_back(tickets).await,
            1 => self.orders.is_set_back(orders).await,
            2 => self.payments.is_set_back(false).await,
            _ => self.expiration.is_set_back(expiration).await,
        };
        self.set_backs += u32::from(set_back);
        if set_back && tickets {
            self.tickets.takes_backup().await;
        }
    }

    /// Lets everything be heard, done and run out, until nothing moves any more.
    pub(crate) async fn comes_to_rest(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for _ in 0..ROUNDS_MAX {
                let heard = [
                    self.tickets_hear_orders().await,
                    self.payments_hear_orders().await,
                    self.expiration_hears_orders().await,
                    self.orders_hear_tickets().await,
                    self.orders_hear_payments().await,
                    self.orders_hear_expiration().await,
                ];
                if heard == [false; 6] {
                    break;
                }
                moved = true;
            }
            for payment in all::<_, _, Payment>(&self.payments) {
                moved |= self.work(payment).await;
            }
            for deadline in all::<_, _, Deadline>(&self.expiration) {
                moved |= self.ring(deadline.order_id).await;
            }
            if !moved {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// I1, and what must hold of every store at any moment.
    pub(crate) fn check(&self) {
        let holds: Vec<Hold> = all(&self.tickets);
        for ticket in all::<_, _, Ticket>(&self.tickets) {
            let pieces = |state| {
                let of = holds.iter().filter(|hold| hold.ticket_id == ticket.id);
                of.filter(|hold| hold.state == state)
                    .map(|hold| hold.quantity)
                    .sum::<u32>()
            };
            assert!(ticket.is_consistent(), "I1: {ticket:?}");
            let counted = (ticket.reserved, ticket.sold);
            assert_eq!(
                counted,
                (pieces(HoldState::Held), pieces(HoldState::Sold)),
                "{ticket:?}"
            );
        }
        if self.lossy.is_empty() {
            let places = [
                &self.tickets.letters,
                &self.orders.letters,
                &self.payments.letters,
                &self.expiration.letters,
            ];
            assert!(places.iter().all(|letters| letters.is_empty()), "{places:?}");
        }
    }

    /// How many orders were completed or ended, how many of them are known, and what was called impossible.
    pub(crate) fn summary(&self) -> String {
        let known: Vec<Order> = all(&self.orders);
        let complete = known
            .iter()
            .filter(|order| order.status == OrderStatus::Complete)
            .count();
        let letters = [
            &self.tickets.letters,
            &self.orders.letters,
            &self.payments.letters,
            &self.expiration.letters,
        ];
        format!(
            "{} set back, {} placed, {} known, {complete} complete, {letters:?}",
            self.set_backs,
            self.placed,
            known.len()
        )
    }

    /// I2, I4 and I7, when nothing moves any more.
    pub(crate) fn check_at_rest(&self) {
        self.check();
        let holds: Vec<Hold> = all(&self.tickets);
        let known: Vec<Order> = all(&self.orders);
        let live = |order: OrderId| -> Option<HoldState> {
            let of = holds.iter().filter(|hold| hold.order_id == order);
            of.map(|hold| hold.state)
                .find(|state| matches!(state, HoldState::Held | HoldState::Sold))
        };
        let mut orders = BTreeSet::new();
        for order in &known {
            orders.insert(order.id);
            let money = self.stripe.of(order.id);
            let payable = self
                .payments
                .store()
                .get::<pay::Order>(&order.id)
                .unwrap()
                .unwrap();
            assert_eq!((payable.status, payable.version), (order.status, order.version));
            match order.status {
                OrderStatus::Complete => {
                    assert_eq!(live(order.id), Some(HoldState::Sold), "{order:?}");
                    assert_eq!(money, (order.total.minor(), false), "{order:?}");
                }
                OrderStatus::Cancelled => {
                    assert_eq!(live(order.id), None, "{order:?}");
                    assert_eq!(money, (0, false), "{order:?}");
                }
                OrderStatus::Created
                | OrderStatus::AwaitingPayment
                | OrderStatus::Accepted
                | OrderStatus::Refunding => panic!(
                    "{order:?} hangs; letters: {:?} {:?} {:?}",
                    self.tickets.letters, self.orders.letters, self.payments.letters
                ),
            }
        }
        if self.lossy.is_empty() {
            assert_eq!(known.len(), usize::from(self.placed), "I3: an order is lost");
        }
        for n in 0..self.placed {
            let order = OrderId::from_bytes(id(3, n));
            if !orders.contains(&order) {
                assert_eq!(
                    (live(order), self.stripe.of(order)),
                    (None, (0, false)),
                    "{order} is lost"
                );
            }
        }
    }
}
