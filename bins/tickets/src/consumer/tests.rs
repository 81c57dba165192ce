//! Each event over a real store: the rows that are decided, what is emitted with which cause, and what leaves
//! everything as it was.

use events::{
    Cause, Currency, Epoch, Money, Position, RejectReason, Seq, Source, Timestamp, UserId, Version,
};
use store::{Context, Options, Store};
use testkit::TempDir;

use super::*;
use crate::domain::{Details, HoldState};

/// One of each event, as `lib/events` holds their wire forms.
const WIRE: &str =
    include_str!("../../../../lib/events/tests/snapshots/wire__every_event_has_its_wire_form.snap");

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const POSITION: Position = Position {
    epoch: Epoch(1),
    seq: Seq(7),
};

const CAUSE: Cause = Cause::new(Source::Orders, POSITION);

fn id(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn ticket_id() -> TicketId {
    TicketId::from_bytes(id(1))
}

fn seller() -> UserId {
    UserId::from_bytes(id(2))
}

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Usd).unwrap()
}

fn order(n: u8, quantity: u32, status: OrderStatus) -> OrderSnapshot {
    OrderSnapshot {
        id: OrderId::from_bytes(id(n)),
        version: Version::FIRST,
        user_id: UserId::from_bytes(id(3)),
        status,
        reason: None,
        quantity,
        total: usd(1000 * i64::from(quantity)),
        expires_at: NOW,
        created_at: NOW,
        ticket: events::OrderedTicket {
            id: ticket_id(),
            version: Version::FIRST,
            seller_id: seller(),
            title: "A show".into(),
            price: usd(1000),
            venue: None,
            starts_at: None,
        },
    }
}

fn created(n: u8, quantity: u32) -> Event {
    Event::OrderCreated(order(n, quantity, OrderStatus::Created))
}

struct World {
    store: Store<TicketIndexes>,
    _dir: TempDir,
}

impl World {
    /// A store with one ticket of three pieces.
    async fn new() -> Self {
        let world = Self::empty();
        world
            .stages(|_| {
                let details = Details {
                    title: "A show".into(),
                    description: String::new(),
                    venue: None,
                    starts_at: None,
                    price: usd(1000),
                    quantity: 3,
                };
                (None, domain::list(ticket_id(), seller(), details, NOW))
            })
            .await;
        world
    }

    fn empty() -> Self {
        let dir = testkit::temp_dir();
        Self {
            store: Store::open(Options::new(Source::Tickets, dir.path())).unwrap(),
            _dir: dir,
        }
    }

    async fn stages(
        &self,
        decide: impl FnOnce(Option<Ticket>) -> (Option<Ticket>, Decision) + Send + 'static,
    ) {
        let staged = self.store.transact(Context::new(NOW), |tx| {
            let (before, decision) = decide(tx.get(&ticket_id())?);
            stage::<()>(tx, before.as_ref(), decision)
        });
        staged.await.unwrap();
    }

    /// Applies an event as the bus does, and says what was emitted.
    async fn hears(&self, event: Event) -> Result<(Applied, Vec<Event>), Impossible> {
        let before = self.store.status().head;
        let envelope = Envelope {
            source: Source::Orders,
            position: POSITION,
            time: NOW,
            traceparent: Some(TRACE.into()),
            cause: None,
            event,
        };
        let applied = self.store.transact(Context::new(NOW), move |tx| {
            tx.caused_by(Some(CAUSE));
            tx.traced_by(envelope.traceparent.clone());
            TicketsHandler.apply(tx, &envelope)
        });
        let applied = match applied.await {
            Ok(applied) => applied,
            Err(TransactError::Refused(impossible)) => return Err(impossible),
            Err(other) => panic!("{other}"),
        };
        let emitted = self.store.outbox(before, usize::MAX).unwrap();
        let emitted = emitted.iter().map(|entry| {
            let envelope = Envelope::from_json(&entry.envelope).unwrap();
            assert_eq!(envelope.cause, Some(CAUSE));
            assert_eq!(envelope.traceparent.as_deref(), Some(TRACE));
            envelope.event
        });
        Ok((applied, emitted.collect()))
    }

    /// Hears an event that must be applied, and come to nothing when it comes again.
    async fn hears_twice(&self, event: Event, stale: Option<&'static str>) -> Vec<Event> {
        let (applied, emitted) = self.hears(event.clone()).await.unwrap();
        assert_eq!(applied, Applied::Done);
        let state = self.state();
        let again = self.hears(event).await.unwrap();
        assert_eq!(again, (stale.map_or(Applied::Done, Applied::Stale), Vec::new()));
        assert_eq!(self.state(), state, "the same again changes nothing");
        emitted
    }

    fn ticket(&self) -> Ticket {
        self.store.get(&ticket_id()).unwrap().unwrap()
    }

    fn hold(&self, n: u8) -> Option<(HoldState, OrderStatus)> {
        let hold = self.store.get::<Hold>(&(ticket_id(), OrderId::from_bytes(id(n))));
        hold.unwrap().map(|hold| (hold.state, hold.order_status))
    }

    fn state(&self) -> (Option<Ticket>, Vec<Hold>) {
        (
            self.store.get(&ticket_id()).unwrap(),
            self.store.scan(None, 100).unwrap(),
        )
    }

    /// Reserved, sold, and the version.
    fn counts(&self) -> (u32, u32, u64) {
        let ticket = self.ticket();
        (ticket.reserved, ticket.sold, ticket.version.0)
    }
}

fn change(ticket: &Ticket, n: u8, quantity: u32, reason: Option<RejectReason>) -> events::TicketChange {
    events::TicketChange {
        ticket: Some(ticket.snapshot()),
        ticket_id: ticket_id(),
        order_id: OrderId::from_bytes(id(n)),
        quantity,
        reason,
    }
}

#[test]
fn what_concerns_is_what_is_a_command() {
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
            TicketsHandler.concerns(event_type),
            command(&envelope.event).is_some(),
            "{event_type}"
        );
    }
}

#[tokio::test]
async fn an_order_s_pieces_are_held_sold_and_given_back() {
    let world = World::new().await;
    let emitted = world
        .hears_twice(created(9, 2), Some("this order has its hold already"))
        .await;
    assert_eq!(
        emitted,
        [Event::TicketReserved(change(&world.ticket(), 9, 2, None))]
    );
    assert_eq!(world.counts(), (2, 0, 2));
    assert_eq!(
        world.hold(9),
        Some((HoldState::Held, OrderStatus::AwaitingPayment))
    );

    let accepted = Event::OrderAccepted(order(9, 2, OrderStatus::Accepted));
    let further = Some("the order is known to be further on");
    assert_eq!(world.hears_twice(accepted.clone(), further).await, []);
    assert_eq!(world.counts(), (2, 0, 2));
    assert_eq!(world.hold(9), Some((HoldState::Held, OrderStatus::Accepted)));

    let completed = Event::OrderCompleted(order(9, 2, OrderStatus::Complete));
    let emitted = world
        .hears_twice(completed, Some("these pieces are sold already"))
        .await;
    assert_eq!(emitted, [Event::TicketSold(change(&world.ticket(), 9, 2, None))]);
    assert_eq!(world.counts(), (0, 2, 3));
    assert_eq!(world.hold(9), Some((HoldState::Sold, OrderStatus::Complete)));

    let refunding = Event::OrderRefunding(order(9, 2, OrderStatus::Refunding));
    assert_eq!(world.hears_twice(refunding, further).await, []);
    assert_eq!(world.hold(9), Some((HoldState::Sold, OrderStatus::Refunding)));
    assert_eq!(
        world.hears(accepted).await,
        Ok((Applied::Stale("the order is known to be further on"), vec![]))
    );
    assert_eq!(world.hold(9), Some((HoldState::Sold, OrderStatus::Refunding)));

    let cancelled = Event::OrderCancelled(order(9, 2, OrderStatus::Cancelled));
    let emitted = world
        .hears_twice(cancelled, Some("these pieces are released already"))
        .await;
    assert_eq!(
        emitted,
        [Event::TicketReleased(change(&world.ticket(), 9, 2, None))]
    );
    assert_eq!(world.counts(), (0, 0, 4));
    assert_eq!(world.hold(9), Some((HoldState::Released, OrderStatus::Cancelled)));
}

#[tokio::test]
async fn releasing_one_order_s_hold_leaves_another_s() {
    let world = World::new().await;
    world.hears(created(9, 1)).await.unwrap();
    world.hears(created(10, 2)).await.unwrap();
    let cancelled = Event::OrderCancelled(order(9, 1, OrderStatus::Cancelled));
    world
        .hears_twice(cancelled, Some("these pieces are released already"))
        .await;
    assert_eq!(world.counts(), (2, 0, 4));
    assert_eq!(
        world.hold(10),
        Some((HoldState::Held, OrderStatus::AwaitingPayment))
    );
}

#[tokio::test]
async fn what_cannot_be_held_is_rejected_once_and_for_all() {
    let world = World::new().await;
    let before = world.ticket();
    let rejected = |n, quantity, reason| {
        let ticket = world.ticket();
        vec![Event::TicketRejected(change(&ticket, n, quantity, Some(reason)))]
    };
    let refused = Some("this order was refused its pieces already");
    let emitted = world.hears_twice(created(9, 4), refused).await;
    assert_eq!(emitted, rejected(9, 4, RejectReason::SoldOut));
    let mut outdated = order(10, 1, OrderStatus::Created);
    outdated.ticket.price = usd(999);
    let emitted = world.hears_twice(Event::OrderCreated(outdated), refused).await;
    assert_eq!(emitted, rejected(10, 1, RejectReason::PriceChanged));
    assert_eq!(world.hold(9), Some((HoldState::Refused, OrderStatus::Created)));

    // The end of an order that never held anything is only noted.
    let cancelled = Event::OrderCancelled(order(9, 4, OrderStatus::Cancelled));
    let emitted = world
        .hears_twice(cancelled, Some("this order held nothing"))
        .await;
    assert_eq!(emitted, []);
    assert_eq!(world.hold(9), Some((HoldState::Refused, OrderStatus::Cancelled)));
    assert_eq!(world.ticket(), before);

    world
        .stages(|ticket| {
            let delete = Command::Delete { by: seller() };
            let decision = domain::decide(ticket.as_ref(), None, delete, NOW).unwrap();
            (ticket, decision)
        })
        .await;
    let emitted = world.hears_twice(created(11, 1), refused).await;
    assert_eq!(emitted, rejected(11, 1, RejectReason::Deleted));
}

#[tokio::test]
async fn an_order_that_is_over_before_it_is_heard_of_gets_nothing_when_it_comes() {
    let world = World::new().await;
    let before = world.ticket();
    let cancelled = Event::OrderCancelled(order(9, 1, OrderStatus::Cancelled));
    let emitted = world
        .hears_twice(cancelled, Some("this order held nothing"))
        .await;
    assert_eq!(emitted, []);
    // What placed it was a dead letter, say, and is replayed an hour later.
    let answer = world.hears(created(9, 1)).await.unwrap();
    assert_eq!(
        answer,
        (
            Applied::Stale("this order was refused its pieces already"),
            vec![]
        )
    );
    assert_eq!(world.ticket(), before);
}

#[tokio::test]
async fn a_ticket_that_was_never_listed_is_rejected() {
    let world = World::empty();
    let (applied, emitted) = world.hears(created(9, 1)).await.unwrap();
    assert_eq!(applied, Applied::Done);
    let rejected = events::TicketChange {
        ticket: None,
        ticket_id: ticket_id(),
        order_id: OrderId::from_bytes(id(9)),
        quantity: 1,
        reason: Some(RejectReason::Deleted),
    };
    assert_eq!(emitted, [Event::TicketRejected(rejected)]);
    assert_eq!(world.state().0, None);
    assert_eq!(world.hold(9), Some((HoldState::Refused, OrderStatus::Created)));
}

#[tokio::test]
async fn what_the_protocol_rules_out_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let without_hold = [
        (
            Event::OrderAccepted(order(9, 1, OrderStatus::Accepted)),
            "an order without a hold goes on",
        ),
        (
            Event::OrderRefunding(order(9, 1, OrderStatus::Refunding)),
            "an order without a hold goes on",
        ),
        (
            Event::OrderCompleted(order(9, 1, OrderStatus::Complete)),
            "an order without a hold is complete",
        ),
    ];
    let before = world.state();
    for (event, reason) in without_hold {
        assert_eq!(world.hears(event).await, Err(Impossible(reason.into())));
        assert_eq!(world.state(), before);
    }
}

#[tokio::test]
async fn an_order_that_is_over_is_not_sold_by_an_event_that_comes_late() {
    let world = World::new().await;
    world.hears(created(9, 1)).await.unwrap();
    let cancelled = Event::OrderCancelled(order(9, 1, OrderStatus::Cancelled));
    world.hears(cancelled).await.unwrap();
    let before = world.state();
    let completed = Event::OrderCompleted(order(9, 1, OrderStatus::Complete));
    let late = Applied::Stale("the order is known to be further on");
    assert_eq!(world.hears(completed).await, Ok((late, vec![])));
    assert_eq!(world.state(), before);
}

#[tokio::test]
async fn what_asks_nothing_changes_nothing() {
    let world = World::new().await;
    let before = world.state();
    let awaiting = Event::OrderAwaitingPayment(order(9, 1, OrderStatus::AwaitingPayment));
    assert_eq!(world.hears(awaiting).await, Ok((Applied::Done, vec![])));
    assert_eq!(world.state(), before);
}
