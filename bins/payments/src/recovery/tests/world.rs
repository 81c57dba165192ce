//! A service's store, an orders service that repeats itself, and Stripe, told as simply as they can be.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bus::{Adopted, Applied, Handler as _, Impossible, Recovery as _};
use events::{
    CancelReason, Currency, Envelope, Epoch, Event, Money, OrderId, OrderSnapshot, OrderStatus,
    OrderedTicket, PaymentId, Position, Seq, Source, TicketId, Timestamp, UserId, Version,
};
use store::{Context, Options, Store, TransactError, Txn};
use testkit::TempDir;

use crate::agent::{follow_order, stage};
use crate::consumer::PaymentsHandler;
use crate::domain::{
    self, Call, Command, Intent, IntentStatus, Order, Payment, PaymentError, SessionStatus, Step as Wanted,
    StripeView, decide, next_call, next_step,
};
use crate::recovery::payment_of;
use crate::store::PaymentIndexes;

pub(super) const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
pub(super) const PRICE: i64 = 1000;

pub(super) fn id(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

pub(super) fn order_id(n: u8) -> OrderId {
    OrderId::from_bytes(id(n))
}

pub(super) fn payment_id(n: u8) -> PaymentId {
    PaymentId::from_bytes(id(100 + n))
}

pub(super) fn order(n: u8, version: u64, status: OrderStatus, reason: Option<CancelReason>) -> OrderSnapshot {
    let price = Money::from_minor(PRICE, Currency::Usd).unwrap();
    OrderSnapshot {
        id: order_id(n),
        version: Version(version),
        user_id: UserId::from_bytes(id(2)),
        status,
        reason,
        quantity: 1,
        total: price,
        expires_at: NOW.plus(Duration::from_secs(900)),
        created_at: NOW,
        ticket: OrderedTicket {
            id: TicketId::from_bytes(id(3)),
            version: Version::FIRST,
            seller_id: UserId::from_bytes(id(4)),
            title: "A show".into(),
            price,
            venue: None,
            starts_at: None,
        },
    }
}

pub(super) fn says(order: OrderSnapshot) -> Event {
    match order.status {
        OrderStatus::Created => Event::OrderCreated(order),
        OrderStatus::AwaitingPayment => Event::OrderAwaitingPayment(order),
        OrderStatus::Accepted => Event::OrderAccepted(order),
        OrderStatus::Complete => Event::OrderCompleted(order),
        OrderStatus::Refunding => Event::OrderRefunding(order),
        OrderStatus::Cancelled => Event::OrderCancelled(order),
    }
}

/// Stripe's own books: they are not set back with a store.
#[derive(Debug, Clone, Default)]
pub(super) struct Stripe {
    sessions: BTreeMap<String, StripeView>,
    pub(super) captures: u32,
}

impl Stripe {
    fn make(&mut self, n: PaymentId, attempt: u32) -> StripeView {
        let session = format!("cs_{n}_{attempt}");
        let made = self.sessions.entry(session.clone()).or_insert(StripeView {
            url: Some(format!("https://stripe.test/{session}")),
            session,
            attempt,
            session_status: SessionStatus::Open,
            intent: None,
        });
        made.clone()
    }

    pub(super) fn pay(&mut self, session: &str) {
        let view = self.sessions.get_mut(session).unwrap();
        if view.session_status == SessionStatus::Open {
            view.session_status = SessionStatus::Complete;
            view.url = None;
            view.intent = Some(Intent {
                id: format!("pi_{session}"),
                status: IntentStatus::RequiresCapture,
                captured_minor: 0,
                refunded_minor: 0,
                refund_pending_minor: 0,
                refunds: 0,
            });
        }
    }

    fn run_out(&mut self, session: &str) {
        let view = self.sessions.get_mut(session).unwrap();
        view.session_status = SessionStatus::Expired;
        view.url = None;
    }

    fn call(&mut self, session: &str, call: &Call) {
        let captures = &mut self.captures;
        let view = self.sessions.get_mut(session).unwrap();
        let intent = view.intent.as_mut();
        match (call, intent) {
            (Call::Expire(_), _) => {
                view.session_status = SessionStatus::Expired;
                view.url = None;
            }
            (Call::Void(_), Some(intent)) => intent.status = IntentStatus::Canceled,
            (Call::Capture(_), Some(intent)) => {
                *captures += 1;
                intent.status = IntentStatus::Succeeded;
                intent.captured_minor = PRICE;
            }
            (Call::Refund(refund), Some(intent)) => {
                assert_eq!(refund.number, intent.refunds + 1);
                intent.refunded_minor += refund.amount_minor;
                intent.refunds += 1;
            }
            (call, None) => panic!("{call:?} without an intent"),
        }
    }

    /// Captured and not given back.
    pub(super) fn kept(&self) -> i64 {
        let intents = self.sessions.values().filter_map(|view| view.intent.as_ref());
        intents
            .map(|intent| intent.captured_minor - intent.refunded_minor)
            .sum()
    }
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Hear(Box<Event>),
    Open(u8),
    Pay(u8),
    RunOut(u8),
    Work,
}

/// Bought; bought and refunded; paid too late; never paid; opened, run out and bought in a second attempt.
pub(super) fn story() -> Vec<Step> {
    use OrderStatus::{Accepted, AwaitingPayment, Cancelled, Complete, Created, Refunding};
    let hear = |n, version, status| Step::Hear(Box::new(says(order(n, version, status, None))));
    let over = |n, version, reason| Step::Hear(Box::new(says(order(n, version, Cancelled, Some(reason)))));
    let mut story = Vec::new();
    for n in 11..=15 {
        story.extend([
            hear(n, 1, Created),
            hear(n, 2, AwaitingPayment),
            Step::Open(n),
            Step::Work,
        ]);
    }
    story.extend([
        Step::Pay(11),
        Step::RunOut(15),
        Step::Work,
        Step::Pay(12),
        hear(11, 3, Accepted),
        Step::Pay(13),
        Step::Open(15),
        Step::Work,
        hear(11, 4, Complete),
        hear(12, 3, Accepted),
        Step::Work,
        hear(12, 4, Complete),
        over(13, 3, CancelReason::Expired),
        Step::Pay(15),
        Step::Work,
        hear(12, 5, Refunding),
        over(14, 3, CancelReason::Buyer),
        Step::Work,
        hear(15, 3, Accepted),
        over(12, 6, CancelReason::Refunded),
        Step::Work,
        hear(15, 4, Complete),
    ]);
    story
}

pub(super) struct World {
    pub(super) store: Store<PaymentIndexes>,
    stripe: Arc<Mutex<Stripe>>,
    _dir: TempDir,
}

impl World {
    pub(super) fn new(stripe: Stripe) -> Self {
        let dir = testkit::temp_dir();
        Self {
            store: Store::open(Options::new(Source::Payments, dir.path())).unwrap(),
            stripe: Arc::new(Mutex::new(stripe)),
            _dir: dir,
        }
    }

    pub(super) async fn after(steps: &[Step]) -> Self {
        let world = Self::new(Stripe::default());
        for step in steps {
            world.takes(step.clone()).await;
        }
        world
    }

    pub(super) async fn takes(&self, step: Step) {
        match step {
            Step::Hear(event) => drop(self.hears(*event).await),
            Step::Open(n) => self.opens(n).await,
            Step::Pay(n) => self.stripe().pay(&self.session(n)),
            Step::RunOut(n) => self.stripe().run_out(&self.session(n)),
            Step::Work => self.works().await,
        }
    }

    pub(super) fn stripe(&self) -> MutexGuard<'_, Stripe> {
        self.stripe.lock().unwrap()
    }

    pub(super) fn session(&self, n: u8) -> String {
        self.payment(n).unwrap().state.session().unwrap().to_owned()
    }

    pub(super) fn payment(&self, n: u8) -> Option<Payment> {
        self.store.get(&payment_id(n)).unwrap()
    }

    pub(super) fn state(&self, n: u8) -> &'static str {
        self.payment(n).map_or("none", |payment| payment.state.as_str())
    }

    async fn within<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Txn<'_, PaymentIndexes>) -> Result<T, TransactError<Impossible>> + Send + 'static,
    ) -> T {
        self.store.transact(Context::new(NOW), f).await.unwrap()
    }

    pub(super) async fn hears(&self, event: Event) -> Applied {
        let envelope = envelope(event);
        self.within(move |tx| PaymentsHandler.apply(tx, &envelope)).await
    }

    pub(super) async fn is_told(&self, event: Event) -> Applied {
        let envelope = envelope(event);
        self.within(move |tx| PaymentsHandler.restated(tx, &envelope))
            .await
    }

    pub(super) async fn forsakes_all_but(&self, orders: &[u8]) {
        let stated: HashSet<String> = orders.iter().map(|n| order_id(*n).to_string()).collect();
        self.within(move |tx| PaymentsHandler.forsake(tx, Source::Orders, &stated))
            .await;
    }

    /// The buyer asks to pay.
    async fn opens(&self, n: u8) {
        self.within(move |tx| {
            let order = tx.get::<Order>(&order_id(n))?.unwrap();
            let known = payment_of(tx, &order)?;
            let decision = domain::pay(&order, known.as_ref(), payment_id(n), "http://site", NOW).unwrap();
            let payment_id = Some(decision.payment.id);
            tx.put_any(Order { payment_id, ..order })?;
            stage(tx, known.map(|payment| payment.version), decision)?;
            Ok(())
        })
        .await;
    }

    /// Makes steps at Stripe as the agent does (look, decide, at most one call, look), until none is wanted.
    pub(super) async fn works(&self) {
        for _ in 0..20 {
            let payments: Vec<Payment> = self.store.scan(None, 100).unwrap();
            let mut moved = false;
            for payment in payments {
                moved |= self.steps(payment).await;
            }
            if !moved {
                return;
            }
        }
        panic!("the work has no end");
    }

    async fn steps(&self, payment: Payment) -> bool {
        let Some(wanted) = next_step(&payment) else {
            return false;
        };
        let view = if wanted == Wanted::CreateSession {
            self.stripe().make(payment.id, payment.attempt)
        } else {
            self.look(&payment)
        };
        let seen = self.observes(&payment, view.clone()).await;
        if wanted == Wanted::CreateSession {
            return true;
        }
        let Some(call) = next_call(&seen, &view) else {
            return seen.version != payment.version;
        };
        self.stripe().call(&view.session, &call);
        let view = self.look(&seen);
        self.observes(&seen, view).await;
        true
    }

    fn look(&self, payment: &Payment) -> StripeView {
        let session = payment.state.session().unwrap();
        self.stripe().sessions.get(session).cloned().unwrap()
    }

    async fn observes(&self, payment: &Payment, view: StripeView) -> Payment {
        let payment = payment.clone();
        self.within(move |tx| match decide(&payment, Command::Observe(view), NOW) {
            Ok(decision) => {
                let payment = stage(tx, Some(payment.version), decision)?;
                Ok(follow_order(tx, payment)?)
            }
            Err(PaymentError::Stale(_)) => Ok(payment),
            Err(error) => panic!("{error} in {payment:?}"),
        })
        .await
    }

    pub(super) async fn adopts_from(&self, whole: &Self) {
        let entries = whole.store.outbox(self.store.status().head, usize::MAX).unwrap();
        let told: Vec<Envelope> = entries
            .iter()
            .map(|entry| Envelope::from_json(&entry.envelope).unwrap())
            .collect();
        self.store.begin_adopting("behind its stream");
        let adopted = self
            .store
            .adopt::<Impossible>(Context::new(NOW), entries, move |tx| {
                for envelope in &told {
                    assert_eq!(PaymentsHandler.adopt(tx, envelope)?, Adopted::Whole);
                }
                Ok(())
            });
        adopted.await.unwrap();
        self.store.end_adopting().unwrap();
    }

    /// Every payment without what does not travel: the row's own version; the request, which is not asked again; and
    /// which attempt it was, which is learnt by a look at Stripe where one is still due.
    pub(super) fn payments(&self) -> Vec<Payment> {
        let payments: Vec<Payment> = self.store.scan(None, 100).unwrap();
        let plain = |payment: Payment| {
            let order = Order::restated(None, &order(11, 1, OrderStatus::AwaitingPayment, None));
            Payment {
                version: Version::FIRST,
                request: domain::CheckoutRequest::new(&order, "http://site", NOW),
                attempt: if next_step(&payment).is_some() {
                    payment.attempt
                } else {
                    1
                },
                ..payment
            }
        };
        payments.into_iter().map(plain).collect()
    }

    pub(super) fn orders(&self) -> Vec<Order> {
        self.store.scan(None, 100).unwrap()
    }
}

pub(super) fn envelope(event: Event) -> Envelope {
    Envelope {
        source: event.event_type().source(),
        position: Position {
            epoch: Epoch(1),
            seq: Seq(1),
        },
        time: NOW,
        traceparent: None,
        cause: None,
        event,
    }
}

pub(super) fn heard(steps: &[Step]) -> Vec<Event> {
    let heard = steps.iter().filter_map(|step| match step {
        Step::Hear(event) => Some(Event::clone(event)),
        Step::Open(_) | Step::Pay(_) | Step::RunOut(_) | Step::Work => None,
    });
    heard.collect()
}
