//! Each event over a real store: the rows that are decided, what is emitted with which cause, and what leaves
//! everything as it was.

use std::time::Duration;

use events::{
    CancelReason, Cause, Currency, Epoch, Money, OrderExpired, OrderStatus, PaymentId, PaymentSnapshot,
    PaymentStatus, Position, Seq, Source, TicketId, Timestamp, UserId, Version,
};
use store::{Context, Options, Store};
use testkit::TempDir;

use super::*;
use crate::domain::PlaceOrder;

/// One of each event, as `lib/events` holds their wire forms.
const WIRE: &str =
    include_str!("../../../../lib/events/tests/snapshots/wire__every_event_has_its_wire_form.snap");

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const HOLD: Duration = Duration::from_secs(900);

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const POSITION: Position = Position {
    epoch: Epoch(1),
    seq: Seq(7),
};

fn id(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn order_id() -> OrderId {
    OrderId::from_bytes(id(1))
}

fn ticket_id() -> TicketId {
    TicketId::from_bytes(id(2))
}

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Usd).unwrap()
}

fn ticket(version: u64) -> TicketSnapshot {
    TicketSnapshot {
        id: ticket_id(),
        version: Version(version),
        seller_id: UserId::from_bytes(id(3)),
        title: format!("A show, told {version} times"),
        description: String::new(),
        venue: None,
        starts_at: None,
        price: usd(1000),
        quantity: 3,
        reserved: 0,
        sold: 0,
        deleted: false,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn change(reason: Option<RejectReason>) -> TicketChange {
    TicketChange {
        ticket: Some(ticket(2)),
        ticket_id: ticket_id(),
        order_id: order_id(),
        quantity: 2,
        reason,
    }
}

fn payment(status: PaymentStatus) -> PaymentSnapshot {
    PaymentSnapshot {
        id: PaymentId::from_bytes(id(4)),
        version: Version::FIRST,
        order_id: order_id(),
        user_id: UserId::from_bytes(id(5)),
        status,
        stripe_id: "pi_1".into(),
        amount: usd(2000),
        reason: None,
    }
}

fn reserved() -> Event {
    Event::TicketReserved(change(None))
}

fn authorized() -> Event {
    Event::PaymentAuthorized(payment(PaymentStatus::Authorized))
}

fn captured() -> Event {
    Event::PaymentCreated(payment(PaymentStatus::Captured))
}

fn failed() -> Event {
    Event::PaymentFailed(payment(PaymentStatus::Failed))
}

fn refunded() -> Event {
    Event::PaymentRefunded(payment(PaymentStatus::Refunded))
}

fn expired() -> Event {
    Event::OrderExpired(OrderExpired {
        order_id: order_id(),
        expires_at: NOW.plus(HOLD),
    })
}

struct World {
    store: Store<OrderIndexes>,
    _dir: TempDir,
}

impl World {
    fn new() -> Self {
        let dir = testkit::temp_dir();
        Self {
            store: Store::open(Options::new(Source::Orders, dir.path())).unwrap(),
            _dir: dir,
        }
    }

    /// A store that knows a ticket, of which two pieces were just ordered.
    async fn with_order() -> Self {
        let world = Self::new();
        world.hears(NOW, Event::TicketCreated(ticket(1))).await.unwrap();
        let placed = world.store.transact(Context::new(NOW), |tx| {
            let wish = PlaceOrder {
                id: order_id(),
                user_id: UserId::from_bytes(id(5)),
                quantity: 2,
                seen_price: None,
                hold: HOLD,
            };
            let view = tx.get::<TicketView>(&ticket_id())?.unwrap();
            let decision = domain::place(&view, 0, &wish, tx.now()).map_err(TransactError::Refused)?;
            stage(tx, None, decision)
        });
        placed.await.unwrap();
        world
    }

    /// Applies an event as the bus does, and says what was emitted.
    async fn hears(&self, now: Timestamp, event: Event) -> Result<(Applied, Vec<Event>), Impossible> {
        let before = self.store.status().head;
        let source = event.event_type().source();
        let cause = Cause::new(source, POSITION);
        let envelope = Envelope {
            source,
            position: POSITION,
            time: NOW,
            traceparent: Some(TRACE.into()),
            cause: None,
            event,
        };
        let applied = self.store.transact(Context::new(now), move |tx| {
            tx.caused_by(Some(cause));
            tx.traced_by(envelope.traceparent.clone());
            OrdersHandler.apply(tx, &envelope)
        });
        let applied = match applied.await {
            Ok(applied) => applied,
            Err(TransactError::Refused(impossible)) => return Err(impossible),
            Err(other) => panic!("{other}"),
        };
        let emitted = self.store.outbox(before, usize::MAX).unwrap();
        let emitted = emitted.iter().map(|entry| {
            let envelope = Envelope::from_json(&entry.envelope).unwrap();
            assert_eq!(envelope.cause, Some(cause));
            assert_eq!(envelope.traceparent.as_deref(), Some(TRACE));
            envelope.event
        });
        Ok((applied, emitted.collect()))
    }

    /// Hears an event that must move the order, and come to nothing when it comes again.
    async fn goes_on(&self, event: Event, now_is: OrderStatus, says: fn(events::OrderSnapshot) -> Event) {
        let version = self.order().version;
        let (applied, emitted) = self.hears(NOW.plus(HOLD), event.clone()).await.unwrap();
        let order = self.order();
        assert_eq!(applied, Applied::Done);
        assert_eq!((order.status, order.version), (now_is, version.next()));
        assert_eq!(emitted, [says(order.snapshot())]);
        self.is_stale(event).await;
    }

    /// Hears an event that comes too late.
    async fn is_stale(&self, event: Event) {
        let before = self.order();
        let (applied, emitted) = self.hears(NOW.plus(HOLD), event.clone()).await.unwrap();
        assert!(matches!(applied, Applied::Stale(_)), "{event:?}: {applied:?}");
        assert_eq!(emitted, []);
        assert_eq!(self.order(), before);
    }

    /// Hears an event that can't be.
    async fn is_impossible(&self, event: Event) {
        let before = self.order();
        let refused = self.hears(NOW.plus(HOLD), event.clone()).await;
        assert!(refused.is_err(), "{event:?}: {refused:?}");
        assert_eq!(self.order(), before);
    }

    fn order(&self) -> Order {
        self.store.get(&order_id()).unwrap().unwrap()
    }

    fn view(&self) -> Option<TicketView> {
        self.store.get(&ticket_id()).unwrap()
    }

    fn claimed(&self) -> u32 {
        self.store.read(|indexes| indexes.claimed(ticket_id()))
    }
}

#[test]
fn what_concerns_is_what_means_something() {
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
            OrdersHandler.concerns(event_type),
            meaning(&envelope.event).is_some(),
            "{event_type}"
        );
    }
}

#[tokio::test]
async fn a_ticket_is_known_as_it_was_last_heard_of() {
    let world = World::new();
    let deleted = TicketSnapshot {
        deleted: true,
        ..ticket(7)
    };
    let told = [
        Event::TicketCreated(ticket(1)),
        // The versions in between were reservations: they change nothing that this service keeps.
        Event::TicketUpdated(ticket(4)),
        Event::TicketDeleted(deleted.clone()),
    ];
    for event in &told {
        let answer = world.hears(NOW, event.clone()).await.unwrap();
        assert_eq!(answer, (Applied::Done, vec![]));
        let Some(Meaning::Ticket(snapshot)) = meaning(event) else {
            panic!("{event:?}")
        };
        assert_eq!(world.view(), Some(TicketView::from(snapshot)));
    }
    // Replayed, they bring no old state back.
    for event in told {
        let (applied, emitted) = world.hears(NOW, event).await.unwrap();
        assert_eq!(
            applied,
            Applied::Stale("the ticket is known in this version or a later one")
        );
        assert_eq!(emitted, []);
        assert_eq!(world.view(), Some(TicketView::from(&deleted)));
    }
}

#[tokio::test]
async fn a_purchase_and_its_refund() {
    let world = World::with_order().await;
    assert_eq!(world.claimed(), 2);
    world
        .goes_on(
            reserved(),
            OrderStatus::AwaitingPayment,
            Event::OrderAwaitingPayment,
        )
        .await;
    world
        .goes_on(authorized(), OrderStatus::Accepted, Event::OrderAccepted)
        .await;
    // It is due by the clock; but it was paid in time.
    world.is_stale(expired()).await;
    world
        .goes_on(captured(), OrderStatus::Complete, Event::OrderCompleted)
        .await;
    for late in [reserved(), authorized(), expired()] {
        world.is_stale(late).await;
    }
    assert_eq!(world.claimed(), 2);
    // The money went back without us: the order ends as if we had asked for it.
    world
        .goes_on(refunded(), OrderStatus::Cancelled, Event::OrderCancelled)
        .await;
    assert_eq!(world.order().reason, Some(CancelReason::Refunded));
    assert_eq!(world.claimed(), 0);
}

#[tokio::test]
async fn a_rejection_ends_the_order_with_its_reason() {
    for (reason, ends) in [
        (Some(RejectReason::SoldOut), CancelReason::Rejected),
        (Some(RejectReason::PriceChanged), CancelReason::Rejected),
        (Some(RejectReason::Deleted), CancelReason::TicketDeleted),
        (None, CancelReason::Rejected),
    ] {
        let world = World::with_order().await;
        let rejected = Event::TicketRejected(change(reason));
        world
            .goes_on(rejected, OrderStatus::Cancelled, Event::OrderCancelled)
            .await;
        assert_eq!(world.order().reason, Some(ends));
        assert_eq!(world.claimed(), 0);
    }
}

#[tokio::test]
async fn pieces_that_are_lost_end_an_order_and_give_the_money_back_once_it_is_ours() {
    let rejected = || Event::TicketRejected(change(Some(RejectReason::SoldOut)));
    let world = World::with_order().await;
    world.hears(NOW, reserved()).await.unwrap();
    world
        .goes_on(rejected(), OrderStatus::Cancelled, Event::OrderCancelled)
        .await;
    let world = World::with_order().await;
    // That its pieces are held was forgotten; nobody could have paid it otherwise.
    world
        .goes_on(authorized(), OrderStatus::Accepted, Event::OrderAccepted)
        .await;
    world.is_stale(rejected()).await;
    world.hears(NOW, captured()).await.unwrap();
    world
        .goes_on(rejected(), OrderStatus::Refunding, Event::OrderRefunding)
        .await;
    world
        .goes_on(refunded(), OrderStatus::Cancelled, Event::OrderCancelled)
        .await;
    world.is_stale(captured()).await;
}

#[tokio::test]
async fn a_capture_that_fails_ends_the_order() {
    let world = World::with_order().await;
    for event in [reserved(), authorized()] {
        world.hears(NOW, event).await.unwrap();
    }
    world
        .goes_on(failed(), OrderStatus::Cancelled, Event::OrderCancelled)
        .await;
    assert_eq!(world.order().reason, Some(CancelReason::PaymentFailed));
    world.is_impossible(captured()).await;
}

#[tokio::test]
async fn an_expiry_that_is_early_is_answered_and_one_in_time_ends_the_order() {
    let world = World::with_order().await;
    world.hears(NOW, reserved()).await.unwrap();
    let before = world.order();
    let early = NOW.plus(HOLD - Duration::from_millis(1_500));
    for _ in 0..2 {
        let (applied, emitted) = world.hears(early, expired()).await.unwrap();
        assert_eq!(applied, Applied::Done);
        let not_due = events::OrderNotDue {
            order_id: order_id(),
            remaining_ms: 1_500,
        };
        assert_eq!(emitted, [Event::OrderNotDue(not_due)]);
        assert_eq!(world.order(), before);
    }
    world
        .goes_on(expired(), OrderStatus::Cancelled, Event::OrderCancelled)
        .await;
    assert_eq!(world.order().reason, Some(CancelReason::Expired));
    for late in [reserved(), authorized(), failed(), refunded()] {
        world.is_stale(late).await;
    }
    world.is_impossible(captured()).await;
}

#[tokio::test]
async fn what_the_protocol_rules_out_is_refused_and_changes_nothing() {
    let world = World::with_order().await;
    for event in [captured(), failed(), refunded()] {
        world.is_impossible(event).await;
    }
    world.hears(NOW, reserved()).await.unwrap();
    for event in [captured(), failed(), refunded()] {
        world.is_impossible(event).await;
    }
}

#[tokio::test]
async fn an_order_that_this_service_has_lost_is_nothing_to_it() {
    let nobodys = World::new();
    for event in [
        reserved(),
        Event::TicketRejected(change(Some(RejectReason::SoldOut))),
        expired(),
        authorized(),
        captured(),
        failed(),
        refunded(),
    ] {
        assert_eq!(
            nobodys.hears(NOW, event).await,
            Ok((
                Applied::Stale("this service knows no such order any more"),
                vec![]
            ))
        );
    }
}

#[tokio::test]
async fn what_means_nothing_changes_nothing() {
    let world = World::with_order().await;
    let (order, view) = (world.order(), world.view());
    for event in [
        Event::TicketReleased(change(None)),
        Event::TicketSold(change(None)),
        Event::PaymentOpened(payment(PaymentStatus::Opened)),
    ] {
        assert_eq!(world.hears(NOW, event).await, Ok((Applied::Done, vec![])));
        assert_eq!((world.order(), world.view()), (order.clone(), view.clone()));
    }
}
