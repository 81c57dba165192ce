//! A story over a real store, lost from every point of it on, and had again: by what was published and what others
//! repeat, or by what others state anew.

use bus::Handler as _;
use events::{Epoch, OrderId, OrderSnapshot, OrderedTicket, Position, Seq, TicketId, UserId, Version};
use store::{Context, Options, Store};
use testkit::TempDir;

use super::*;
use crate::consumer::stage;
use crate::domain::{self, Decision};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn id(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Usd).unwrap()
}

fn details(quantity: u32) -> Details {
    Details {
        title: "A show".into(),
        description: "Loud".into(),
        venue: Some("The hall".into()),
        starts_at: None,
        price: usd(1000),
        quantity,
    }
}

fn order(n: u8, ticket: u8, quantity: u32, status: OrderStatus) -> OrderSnapshot {
    OrderSnapshot {
        id: OrderId::from_bytes(id(n)),
        version: Version::FIRST,
        user_id: UserId::from_bytes(id(3)),
        status,
        reason: None,
        quantity,
        total: usd(1000 * i64::from(quantity)),
        expires_at: NOW,
        // Not when the id was made: only the order's own event tells it.
        created_at: NOW.plus(std::time::Duration::from_millis(7)),
        ticket: OrderedTicket {
            id: TicketId::from_bytes(id(ticket)),
            version: Version::FIRST,
            seller_id: UserId::from_bytes(id(2)),
            title: "A show".into(),
            price: usd(1000),
            venue: None,
            starts_at: None,
        },
    }
}

/// The event that an order in its present state is told by.
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
    List(u8, u32),
    Seller(u8, Command),
    Hear(Box<Event>),
}

/// Sold, refunded, released, rejected, withdrawn: everything once.
fn story() -> Vec<Step> {
    use OrderStatus::{Accepted, Cancelled, Complete, Created, Refunding};
    let by = UserId::from_bytes(id(2));
    let hear = |n, ticket, quantity, status| Step::Hear(Box::new(says(order(n, ticket, quantity, status))));
    vec![
        Step::List(101, 3),
        Step::List(102, 1),
        hear(11, 101, 2, Created),
        hear(12, 101, 1, Created),
        hear(13, 101, 1, Created),
        hear(11, 101, 2, Accepted),
        hear(12, 101, 1, Cancelled),
        hear(13, 101, 1, Cancelled),
        hear(14, 101, 1, Created),
        hear(11, 101, 2, Complete),
        Step::Seller(
            102,
            Command::Update {
                by,
                details: details(5),
            },
        ),
        hear(11, 101, 2, Refunding),
        hear(15, 99, 1, Created),
        hear(14, 101, 1, Accepted),
        hear(11, 101, 2, Cancelled),
        Step::Seller(102, Command::Delete { by }),
        hear(14, 101, 1, Complete),
        hear(16, 102, 1, Created),
        hear(17, 101, 2, Created),
    ]
}

type Rows = (Vec<Ticket>, Vec<Hold>);

struct World {
    store: Store<TicketIndexes>,
    _dir: TempDir,
}

impl World {
    fn new() -> Self {
        let dir = testkit::temp_dir();
        Self {
            store: Store::open(Options::new(Source::Tickets, dir.path())).unwrap(),
            _dir: dir,
        }
    }

    async fn after(steps: &[Step]) -> Self {
        let world = Self::new();
        for step in steps {
            world.takes(step.clone()).await;
        }
        world
    }

    async fn takes(&self, step: Step) {
        match step {
            Step::List(n, quantity) => {
                let seller = UserId::from_bytes(id(2));
                let decision = domain::list(TicketId::from_bytes(id(n)), seller, details(quantity), NOW);
                self.stages(None, decision).await;
            }
            Step::Seller(n, command) => {
                let ticket = self.store.get::<Ticket>(&TicketId::from_bytes(id(n))).unwrap();
                let decision = domain::decide(ticket.as_ref(), None, command, NOW).unwrap();
                self.stages(ticket, decision).await;
            }
            Step::Hear(event) => {
                self.hears(*event).await;
            }
        }
    }

    async fn stages(&self, before: Option<Ticket>, decision: Decision) {
        let staged = self.store.transact(Context::new(NOW), move |tx| {
            stage::<()>(tx, before.as_ref(), decision)
        });
        staged.await.unwrap();
    }

    async fn within<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Txn<'_, TicketIndexes>) -> Result<T, TransactError<Impossible>> + Send + 'static,
    ) -> T {
        self.store.transact(Context::new(NOW), f).await.unwrap()
    }

    async fn hears(&self, event: Event) -> Applied {
        let envelope = envelope(Source::Orders, 1, event);
        self.within(move |tx| TicketsHandler.apply(tx, &envelope)).await
    }

    async fn is_told(&self, event: Event) -> Applied {
        let envelope = envelope(Source::Orders, 1, event);
        self.within(move |tx| TicketsHandler.restated(tx, &envelope))
            .await
    }

    async fn forsakes_all_but(&self, orders: &[u8]) {
        let stated: HashSet<String> = orders
            .iter()
            .map(|n| OrderId::from_bytes(id(*n)).to_string())
            .collect();
        self.within(move |tx| TicketsHandler.forsake(tx, Source::Orders, &stated))
            .await;
    }

    /// Takes back what `whole` has published beyond this store's head.
    async fn adopts_from(&self, whole: &Self) {
        let head = self.store.status().head;
        let entries = whole.store.outbox(head, usize::MAX).unwrap();
        let told: Vec<Envelope> = entries
            .iter()
            .map(|entry| Envelope::from_json(&entry.envelope).unwrap())
            .collect();
        self.store.begin_adopting("behind its stream");
        let adopted = self
            .store
            .adopt::<Impossible>(Context::new(NOW), entries, move |tx| {
                for envelope in &told {
                    assert_eq!(TicketsHandler.adopt(tx, envelope)?, Adopted::Whole);
                }
                Ok(())
            });
        adopted.await.unwrap();
        self.store.end_adopting().unwrap();
        assert_eq!(self.store.status().head, whole.store.status().head);
    }

    fn rows(&self) -> Rows {
        let rows: Rows = (
            self.store.scan(None, 100).unwrap(),
            self.store.scan(None, 100).unwrap(),
        );
        for ticket in &rows.0 {
            assert!(ticket.is_consistent());
            let held = |state| {
                let holds = rows.1.iter().filter(|hold| hold.ticket_id == ticket.id);
                holds
                    .filter(|hold| hold.state == state)
                    .map(|hold| hold.quantity)
                    .sum::<u32>()
            };
            assert_eq!(
                (ticket.reserved, ticket.sold),
                (held(HoldState::Held), held(HoldState::Sold))
            );
        }
        rows
    }

    fn head(&self) -> u64 {
        self.store.status().head.0
    }
}

fn envelope(source: Source, seq: u64, event: Event) -> Envelope {
    Envelope {
        source,
        position: Position {
            epoch: Epoch(1),
            seq: Seq(seq),
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
        Step::List(..) | Step::Seller(..) => None,
    })
}

/// How the orders of the story stand at its end.
fn orders_at_the_end() -> Vec<OrderSnapshot> {
    let mut orders: Vec<OrderSnapshot> = Vec::new();
    for event in heard(&story()) {
        let (Event::OrderCreated(order)
        | Event::OrderAccepted(order)
        | Event::OrderCompleted(order)
        | Event::OrderRefunding(order)
        | Event::OrderCancelled(order)) = event
        else {
            panic!("the story has other events")
        };
        orders.retain(|known| known.id != order.id);
        orders.push(order);
    }
    orders
}

#[tokio::test]
async fn set_back_to_any_point_it_adopts_its_own_events_and_reads_the_others_again() {
    let story = story();
    let whole = World::after(&story).await;
    for at in 0..=story.len() {
        let world = World::after(&story[..at]).await;
        world.adopts_from(&whole).await;
        assert_eq!(
            world.rows().0,
            whole.rows().0,
            "listings come back from own events alone, from {at} on"
        );
        for event in heard(&story[at..]) {
            world.hears(event).await;
        }
        assert_eq!(world.rows(), whole.rows(), "set back to {at}");
        assert_eq!(
            world.head(),
            whole.head(),
            "set back to {at}, it has nothing new to say"
        );
    }
}

#[tokio::test]
async fn everything_heard_twice_more_leaves_everything_as_it_was() {
    let world = World::after(&story()).await;
    let (rows, head, hash) = (
        world.rows(),
        world.head(),
        world.store.state_hash().await.unwrap(),
    );
    for _ in 0..2 {
        for event in heard(&story()) {
            assert!(matches!(world.hears(event).await, Applied::Stale(_)));
        }
    }
    assert_eq!((world.rows(), world.head()), (rows, head));
    assert_eq!(world.store.state_hash().await.unwrap(), hash);
}

#[tokio::test]
async fn orders_that_are_stated_as_they_are_known_change_no_pieces() {
    let world = World::after(&story()).await;
    let (tickets, holds) = world.rows();
    let orders = orders_at_the_end();
    for _ in 0..2 {
        for order in orders.clone() {
            world.is_told(says(order)).await;
        }
        world.forsakes_all_but(&[11, 12, 13, 14, 15, 16, 17]).await;
    }
    let now = world.rows();
    assert_eq!(now.1, holds);
    // An order that waits for its pieces is told of them, or that it gets none, once more.
    let counts = |tickets: &[Ticket]| -> Vec<_> {
        tickets
            .iter()
            .map(|ticket| (ticket.id, ticket.reserved, ticket.sold, ticket.deleted))
            .collect()
    };
    assert_eq!(counts(&now.0), counts(&tickets));
}

#[tokio::test]
async fn with_only_its_listings_left_it_holds_what_orders_are_stated() {
    let listings: Vec<Step> = story()
        .into_iter()
        .filter(|step| matches!(step, Step::List(..)))
        .collect();
    let world = World::after(&listings).await;
    for order in orders_at_the_end() {
        world.is_told(says(order)).await;
    }
    world.forsakes_all_but(&[11, 12, 13, 14, 15, 16, 17]).await;
    let whole = World::after(&story()).await;
    let live = |world: &World| -> Vec<Hold> {
        let (_, holds) = world.rows();
        let live = |hold: &Hold| matches!(hold.state, HoldState::Held | HoldState::Sold);
        let of_listed = |hold: &Hold| hold.ticket_id == TicketId::from_bytes(id(101));
        holds.into_iter().filter(live).filter(of_listed).collect()
    };
    assert_eq!(live(&world), live(&whole));
}

#[tokio::test]
async fn an_order_that_has_lost_its_end_gets_its_pieces_again_only_if_nobody_has_them() {
    let world = World::after(&story()[..8]).await;
    // Order 12 was cancelled, and 14 has not come yet: one piece is left.
    world
        .is_told(says(order(12, 101, 1, OrderStatus::AwaitingPayment)))
        .await;
    let hold = |world: &World, n| {
        let hold: Option<Hold> = world
            .store
            .get(&(TicketId::from_bytes(id(101)), OrderId::from_bytes(id(n))))
            .unwrap();
        hold.unwrap().state
    };
    assert_eq!(hold(&world, 12), HoldState::Held);

    let world = World::after(&story()[..9]).await;
    let head = world.store.status().head;
    world
        .is_told(says(order(12, 101, 1, OrderStatus::AwaitingPayment)))
        .await;
    assert_eq!(hold(&world, 12), HoldState::Refused, "14 has it");
    // It was paid all the same: it hears again that there is nothing for it, and the money goes back.
    world.hears(says(order(12, 101, 1, OrderStatus::Accepted))).await;
    world.hears(says(order(12, 101, 1, OrderStatus::Complete))).await;
    let said = world.store.outbox(head, usize::MAX).unwrap();
    let said: Vec<EventType> = said.iter().map(|entry| entry.event_type).collect();
    assert_eq!(said, [EventType::TicketRejected, EventType::TicketRejected]);
    // Should the other one let go of it, the buyer who has paid gets it after all.
    world.hears(says(order(14, 101, 1, OrderStatus::Cancelled))).await;
    world
        .is_told(says(order(12, 101, 1, OrderStatus::Accepted)))
        .await;
    world.hears(says(order(12, 101, 1, OrderStatus::Complete))).await;
    assert_eq!(hold(&world, 12), HoldState::Sold);
    world.rows();
}

#[tokio::test]
async fn what_belongs_to_orders_that_are_lost_goes_back_on_sale() {
    let world = World::after(&story()).await;
    world.forsakes_all_but(&[17]).await;
    let (tickets, holds) = world.rows();
    assert_eq!((tickets[0].reserved, tickets[0].sold), (2, 0));
    let live = holds
        .iter()
        .filter(|hold| matches!(hold.state, HoldState::Held | HoldState::Sold));
    assert_eq!(live.count(), 1);
    let rows = world.rows();
    world.forsakes_all_but(&[17]).await;
    assert_eq!(world.rows(), rows);
}

#[tokio::test]
async fn what_is_stated_is_how_each_listing_is_and_what_an_order_may_not_have_heard() {
    let world = World::after(&story()).await;
    let rows = world.store.rows(None, 100).unwrap();
    let told: Vec<Event> = rows
        .iter()
        .filter_map(|(_, row)| TicketsHandler.restate(row))
        .collect();
    let (tickets, _) = world.rows();
    let listings = [
        Event::TicketUpdated(tickets[0].snapshot()),
        Event::TicketDeleted(tickets[1].snapshot()),
    ];
    for listing in &listings {
        assert!(told.contains(listing), "{told:?}");
    }
    let claims: Vec<(EventType, Option<OrderId>)> = told
        .iter()
        .filter(|event| event.order_id().is_some())
        .map(|event| (event.event_type(), event.order_id()))
        .collect();
    let of = |n| Some(OrderId::from_bytes(id(n)));
    let mut expected = vec![
        (EventType::TicketRejected, of(15)),
        (EventType::TicketReserved, of(17)),
        (EventType::TicketRejected, of(16)),
    ];
    expected.sort_by_key(|(_, order)| *order);
    let mut claims = claims;
    claims.sort_by_key(|(_, order)| *order);
    assert_eq!(claims, expected);
}
