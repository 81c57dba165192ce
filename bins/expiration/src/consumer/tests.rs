//! Each event over a real store: the rows that are decided, what is emitted, and what leaves everything as it was.

use events::{
    Cause, Currency, Epoch, Money, OrderExpired, OrderNotDue, OrderSnapshot, OrderStatus, OrderedTicket,
    Position, Seq, Source, TicketId, Timestamp, UserId, Version,
};
use store::{Context, Options, Store};
use testkit::TempDir;

use super::*;
use crate::domain::DeadlineState;

/// One of each event, as `lib/events` holds their wire forms.
const WIRE: &str =
    include_str!("../../../../lib/events/tests/snapshots/wire__every_event_has_its_wire_form.snap");

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const HOLD: Duration = Duration::from_secs(900);

fn id(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn order_id() -> OrderId {
    OrderId::from_bytes(id(1))
}

fn order(status: OrderStatus) -> OrderSnapshot {
    let price = Money::from_minor(1000, Currency::Usd).unwrap();
    OrderSnapshot {
        id: order_id(),
        version: Version::FIRST,
        user_id: UserId::from_bytes(id(2)),
        status,
        reason: None,
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

struct World {
    store: Store<DeadlineIndexes>,
    hints: Arc<Hints>,
    _dir: TempDir,
}

impl World {
    fn new() -> Self {
        let dir = testkit::temp_dir();
        Self {
            store: Store::open(Options::new(Source::Expiration, dir.path())).unwrap(),
            hints: Arc::default(),
            _dir: dir,
        }
    }

    /// Applies an event as the bus does; says also which orders the alarm was told of.
    async fn hears(&self, now: Timestamp, event: Event) -> (Applied, usize) {
        let envelope = Envelope {
            source: Source::Orders,
            position: Position {
                epoch: Epoch(1),
                seq: Seq(7),
            },
            time: NOW,
            traceparent: None,
            cause: None,
            event,
        };
        let handler = ExpirationHandler::new(Arc::clone(&self.hints));
        let applied = self.store.transact(Context::new(now), move |tx| {
            tx.caused_by(Some(Cause::new(envelope.source, envelope.position)));
            handler.apply(tx, &envelope)
        });
        let applied = applied.await.unwrap();
        (applied, self.hints.take().orders.len())
    }

    fn deadline(&self) -> Option<Deadline> {
        self.store.get(&order_id()).unwrap()
    }
}

#[test]
fn what_concerns_is_what_is_a_command() {
    let handler = ExpirationHandler::new(Arc::default());
    let envelopes: Vec<Envelope> = WIRE
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| Envelope::from_json(line).unwrap())
        .collect();
    let types: Vec<EventType> = envelopes
        .iter()
        .map(|envelope| envelope.event.event_type())
        .collect();
    assert_eq!(types, EventType::ALL);
    for envelope in envelopes {
        let event_type = envelope.event.event_type();
        assert_eq!(
            handler.concerns(event_type),
            command(&envelope.event).is_some(),
            "{event_type}"
        );
    }
}

#[tokio::test]
async fn an_order_s_deadline_comes_moves_and_goes() {
    let world = World::new();
    let waiting = Deadline {
        order_id: order_id(),
        expires_at: NOW.plus(HOLD),
        due: NOW.plus(HOLD),
        state: DeadlineState::Waiting,
    };
    let created = Event::OrderCreated(order(OrderStatus::Created));
    assert_eq!(world.hears(NOW, created.clone()).await, (Applied::Done, 1));
    assert_eq!(world.deadline(), Some(waiting.clone()));
    let again = world.hears(NOW, created).await;
    assert_eq!(
        again,
        (Applied::Stale("this order's deadline is kept already"), 0)
    );
    assert_eq!(world.deadline(), Some(waiting.clone()));

    let not_due = Event::OrderNotDue(OrderNotDue {
        order_id: order_id(),
        remaining_ms: 5_000,
    });
    let later = NOW.plus(HOLD);
    assert_eq!(world.hears(later, not_due.clone()).await, (Applied::Done, 1));
    let postponed = Deadline {
        due: later.plus(Duration::from_secs(5)),
        ..waiting
    };
    assert_eq!(world.deadline(), Some(postponed.clone()));
    assert_eq!(world.hears(later, not_due.clone()).await, (Applied::Done, 1));
    assert_eq!(
        world.deadline(),
        Some(postponed),
        "the same again changes nothing"
    );

    let accepted = Event::OrderAccepted(order(OrderStatus::Accepted));
    assert_eq!(world.hears(later, accepted.clone()).await, (Applied::Done, 1));
    assert_eq!(world.deadline(), None);
    for (event, reason) in [
        (accepted, "no deadline is kept for this order"),
        (
            Event::OrderCancelled(order(OrderStatus::Cancelled)),
            "no deadline is kept for this order",
        ),
        (not_due, "the order was settled before it was postponed"),
    ] {
        assert_eq!(world.hears(later, event).await, (Applied::Stale(reason), 0));
        assert_eq!(world.deadline(), None);
    }
    assert_eq!(
        world.store.status().head,
        Seq(0),
        "only the alarm publishes anything"
    );
}

#[tokio::test]
async fn a_cancelled_order_is_forgotten_even_after_its_announcement() {
    let world = World::new();
    world
        .hears(NOW, Event::OrderCreated(order(OrderStatus::Created)))
        .await;
    let fired = world
        .store
        .transact(Context::new(NOW.plus(HOLD)), |tx| {
            let deadline = tx.get::<Deadline>(&order_id())?;
            let decision = domain::decide(deadline.as_ref(), Command::Fire, tx.now());
            stage(tx, order_id(), decision.map_err(TransactError::Refused)?)
        })
        .await;
    fired.unwrap();
    let expired = &world.store.outbox(Seq(0), usize::MAX).unwrap()[0];
    assert_eq!(
        Envelope::from_json(&expired.envelope).unwrap().event,
        Event::OrderExpired(OrderExpired {
            order_id: order_id(),
            expires_at: NOW.plus(HOLD),
        })
    );
    assert_eq!(
        world.deadline().map(|deadline| deadline.state),
        Some(DeadlineState::Fired)
    );
    let cancelled = Event::OrderCancelled(order(OrderStatus::Cancelled));
    assert_eq!(world.hears(NOW, cancelled).await, (Applied::Done, 1));
    assert_eq!(world.deadline(), None);
}

#[tokio::test]
async fn what_asks_nothing_changes_nothing() {
    let world = World::new();
    let placed = world.hears(NOW, Event::OrderCreated(order(OrderStatus::Created)));
    placed.await;
    let before = world.deadline();
    for event in [
        Event::OrderAwaitingPayment(order(OrderStatus::AwaitingPayment)),
        Event::OrderCompleted(order(OrderStatus::Complete)),
        Event::OrderRefunding(order(OrderStatus::Refunding)),
    ] {
        assert_eq!(world.hears(NOW, event).await, (Applied::Done, 0));
        assert_eq!(world.deadline(), before);
    }
}
