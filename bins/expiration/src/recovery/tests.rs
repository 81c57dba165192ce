//! A story over a real store, lost from every point of it on, and had again: by what was published and what others
//! repeat, or by what others state anew.

use std::time::Duration;

use events::{
    CancelReason, Currency, Epoch, Money, OrderId, OrderNotDue, OrderedTicket, Position, Seq, TicketId,
    Timestamp, UserId, Version,
};
use store::{Context, Options, Store};
use testkit::TempDir;

use super::*;
use crate::consumer::stage;
use crate::domain;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const HOLD: Duration = Duration::from_secs(900);

fn id(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn order_id(n: u8) -> OrderId {
    OrderId::from_bytes(id(n))
}

fn order(n: u8, status: OrderStatus) -> OrderSnapshot {
    let price = Money::from_minor(1000, Currency::Usd).unwrap();
    OrderSnapshot {
        id: order_id(n),
        version: Version::FIRST,
        user_id: UserId::from_bytes(id(2)),
        status,
        reason: (status == OrderStatus::Cancelled).then_some(CancelReason::Expired),
        quantity: 1,
        total: price,
        expires_at: NOW.plus(HOLD),
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

fn says(order: OrderSnapshot) -> Event {
    match order.status {
        OrderStatus::Created => Event::OrderCreated(order),
        OrderStatus::AwaitingPayment => Event::OrderAwaitingPayment(order),
        OrderStatus::Accepted => Event::OrderAccepted(order),
        OrderStatus::Complete => Event::OrderCompleted(order),
        OrderStatus::Refunding => Event::OrderRefunding(order),
        OrderStatus::Cancelled => Event::OrderCancelled(order),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Hear(Box<Event>),
    Ring(u8),
}

/// Paid in time, run out, rung too early, run out and not answered yet, still waiting.
fn story() -> Vec<Step> {
    use OrderStatus::{Accepted, Cancelled, Created};
    let hear = |n, status| Step::Hear(Box::new(says(order(n, status))));
    let not_due = OrderNotDue {
        order_id: order_id(13),
        remaining_ms: 1_000,
    };
    vec![
        hear(11, Created),
        hear(12, Created),
        hear(13, Created),
        hear(11, Accepted),
        Step::Ring(12),
        hear(14, Created),
        Step::Ring(13),
        hear(12, Cancelled),
        Step::Hear(Box::new(Event::OrderNotDue(not_due))),
        Step::Ring(13),
        hear(13, Cancelled),
        Step::Ring(14),
        hear(15, Created),
    ]
}

struct World {
    store: Store<DeadlineIndexes>,
    handler: std::sync::Arc<ExpirationHandler>,
    _dir: TempDir,
}

impl World {
    fn new() -> Self {
        let dir = testkit::temp_dir();
        Self {
            store: Store::open(Options::new(Source::Expiration, dir.path())).unwrap(),
            handler: std::sync::Arc::new(ExpirationHandler::new(std::sync::Arc::default())),
            _dir: dir,
        }
    }

    async fn after(steps: &[Step]) -> Self {
        let world = Self::new();
        for step in steps {
            match step.clone() {
                Step::Hear(event) => drop(world.hears(*event).await),
                Step::Ring(n) => world.rings(n).await,
            }
        }
        world
    }

    async fn within<T: Send + 'static>(
        &self,
        now: Timestamp,
        f: impl FnOnce(&ExpirationHandler, &mut Txn<'_, DeadlineIndexes>) -> Result<T, TransactError<Impossible>>
        + Send
        + 'static,
    ) -> T {
        let handler = std::sync::Arc::clone(&self.handler);
        let within = self.store.transact(Context::new(now), move |tx| f(&handler, tx));
        within.await.unwrap()
    }

    async fn hears(&self, event: Event) -> Applied {
        let envelope = envelope(event);
        self.within(NOW, move |handler, tx| handler.apply(tx, &envelope))
            .await
    }

    async fn is_told(&self, event: Event) -> Applied {
        let envelope = envelope(event);
        self.within(NOW, move |handler, tx| handler.restated(tx, &envelope))
            .await
    }

    async fn rings(&self, n: u8) {
        self.within(NOW.plus(HOLD), move |_, tx| {
            let deadline = tx.get::<Deadline>(&order_id(n))?;
            let decision = domain::decide(deadline.as_ref(), Command::Fire, tx.now()).unwrap();
            stage(tx, order_id(n), decision)
        })
        .await;
    }

    async fn adopts_from(&self, whole: &Self) {
        let entries = whole.store.outbox(self.store.status().head, usize::MAX).unwrap();
        let told: Vec<Envelope> = entries
            .iter()
            .map(|entry| Envelope::from_json(&entry.envelope).unwrap())
            .collect();
        let handler = std::sync::Arc::clone(&self.handler);
        self.store.begin_adopting("behind its stream");
        let adopted = self
            .store
            .adopt::<Impossible>(Context::new(NOW), entries, move |tx| {
                for envelope in &told {
                    assert_eq!(handler.adopt(tx, envelope)?, Adopted::Whole);
                }
                Ok(())
            });
        adopted.await.unwrap();
        self.store.end_adopting().unwrap();
    }

    fn rows(&self) -> Vec<Deadline> {
        self.store.scan(None, 100).unwrap()
    }

    fn waiting(&self) -> Vec<OrderId> {
        self.store
            .read(|indexes| indexes.waiting().map(|(order, _)| order).collect())
    }
}

fn envelope(event: Event) -> Envelope {
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

fn heard(steps: &[Step]) -> impl Iterator<Item = Event> + '_ {
    steps.iter().filter_map(|step| match step {
        Step::Hear(event) => Some(Event::clone(event)),
        Step::Ring(_) => None,
    })
}

#[tokio::test]
async fn set_back_to_any_point_it_adopts_its_own_events_and_reads_the_others_again() {
    let story = story();
    let whole = World::after(&story).await;
    for at in 0..=story.len() {
        let world = World::after(&story[..at]).await;
        world.adopts_from(&whole).await;
        for event in heard(&story[at..]) {
            world.hears(event).await;
        }
        assert_eq!(world.rows(), whole.rows(), "set back to {at}");
        assert_eq!(world.waiting(), whole.waiting(), "set back to {at}");
        assert_eq!(world.store.status().head, whole.store.status().head);
    }
}

#[tokio::test]
async fn orders_that_are_stated_run_out_and_no_others() {
    use OrderStatus::{Accepted, AwaitingPayment, Cancelled, Complete, Created, Refunding};
    let world = World::after(&story()).await;
    assert_eq!(world.waiting(), [order_id(15)]);
    for _ in 0..2 {
        // 14 has run out, as far as is known here; the orders service has lost that it heard so.
        for (n, status) in [
            (14, AwaitingPayment),
            (15, Accepted),
            (16, Created),
            (12, Complete),
        ] {
            world.is_told(says(order(n, status))).await;
        }
        let stated = [14, 16].map(|n| order_id(n).to_string()).into_iter().collect();
        world
            .within(NOW, move |handler, tx| {
                handler.forsake(tx, Source::Orders, &stated)
            })
            .await;
        assert_eq!(world.waiting(), [order_id(14), order_id(16)]);
        assert_eq!(world.rows().len(), 2);
    }
    for status in [Refunding, Cancelled] {
        world.is_told(says(order(14, status))).await;
        assert_eq!(world.waiting(), [order_id(16)]);
    }
    let stated = HashSet::new();
    world
        .within(NOW, move |handler, tx| {
            handler.forsake(tx, Source::Orders, &stated)
        })
        .await;
    assert_eq!(world.rows(), []);
}

#[tokio::test]
async fn what_has_run_out_and_was_not_answered_is_stated() {
    let world = World::after(&story()).await;
    let rows = world.store.rows(None, 100).unwrap();
    let told: Vec<Event> = rows
        .iter()
        .filter_map(|(_, row)| world.handler.restate(row))
        .collect();
    let expired = OrderExpired {
        order_id: order_id(14),
        expires_at: NOW.plus(HOLD),
    };
    assert_eq!(told, [Event::OrderExpired(expired)]);
}
