//! A story over a real store, lost from every point of it on, and had again: by what was published and what others
//! repeat, or by what others state anew.

use std::time::Duration;

use events::{
    Currency, Epoch, Money, OrderExpired, PaymentId, Position, RejectReason, Seq, TicketChange, TicketId,
    TicketSnapshot, Timestamp, UserId, Version,
};
use store::{Context, Options, Store};
use testkit::TempDir;

use super::*;
use crate::consumer::stage;
use crate::domain::{self, PlaceOrder};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const HOLD: Duration = Duration::from_secs(900);

fn id(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn order_id(n: u8) -> OrderId {
    OrderId::from_bytes(id(n))
}

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Usd).unwrap()
}

fn ticket(n: u8, version: u64, quantity: u32) -> TicketSnapshot {
    TicketSnapshot {
        id: TicketId::from_bytes(id(n)),
        version: Version(version),
        seller_id: UserId::from_bytes(id(2)),
        title: "A show".into(),
        description: String::new(),
        venue: None,
        starts_at: None,
        price: usd(1000),
        quantity,
        reserved: 0,
        sold: 0,
        deleted: false,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn change(n: u8, reason: Option<RejectReason>) -> TicketChange {
    TicketChange {
        ticket: None,
        ticket_id: TicketId::from_bytes(id(101)),
        order_id: order_id(n),
        quantity: 1,
        reason,
    }
}

fn hear(event: Event) -> Step {
    Step::Hear(Box::new(event))
}

fn reserved(n: u8) -> Step {
    hear(Event::TicketReserved(change(n, None)))
}

fn rejected(n: u8) -> Step {
    hear(Event::TicketRejected(change(n, Some(RejectReason::SoldOut))))
}

fn expired(n: u8) -> Step {
    hear(Event::OrderExpired(OrderExpired {
        order_id: order_id(n),
        expires_at: NOW.plus(HOLD),
    }))
}

fn payment(n: u8, status: PaymentStatus) -> Event {
    let snapshot = PaymentSnapshot {
        id: PaymentId::from_bytes(id(200 + n)),
        version: Version::FIRST,
        order_id: order_id(n),
        user_id: UserId::from_bytes(id(3)),
        status,
        stripe_id: "pi_1".into(),
        amount: usd(1000),
        reason: None,
    };
    match status {
        PaymentStatus::Opened => Event::PaymentOpened(snapshot),
        PaymentStatus::Authorized => Event::PaymentAuthorized(snapshot),
        PaymentStatus::Captured => Event::PaymentCreated(snapshot),
        PaymentStatus::Failed => Event::PaymentFailed(snapshot),
        PaymentStatus::Refunded => Event::PaymentRefunded(snapshot),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Place(u8, u8),
    Asked(u8, Command),
    Hear(Box<Event>),
}

/// Bought, refunded, cancelled, rejected, expired, failed: everything once.
fn story() -> Vec<Step> {
    use PaymentStatus::{Authorized, Captured, Failed, Refunded};
    let paid = |n, status| hear(payment(n, status));
    vec![
        hear(Event::TicketCreated(ticket(101, 1, 5))),
        hear(Event::TicketCreated(ticket(102, 1, 1))),
        Step::Place(11, 101),
        Step::Place(12, 101),
        reserved(11),
        Step::Place(13, 101),
        rejected(12),
        paid(11, Authorized),
        reserved(13),
        Step::Asked(13, Command::Cancel),
        paid(13, Authorized),
        paid(11, Captured),
        hear(Event::TicketUpdated(ticket(102, 2, 7))),
        Step::Place(14, 102),
        reserved(14),
        expired(14),
        Step::Asked(11, Command::Refund),
        Step::Place(15, 102),
        reserved(15),
        paid(15, Authorized),
        paid(15, Failed),
        paid(11, Refunded),
        expired(15),
        Step::Place(16, 102),
        reserved(16),
        paid(16, Authorized),
        hear(Event::TicketDeleted(TicketSnapshot {
            deleted: true,
            ..ticket(101, 9, 5)
        })),
        Step::Place(17, 102),
        Step::Place(18, 102),
        reserved(18),
    ]
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

    async fn after(steps: &[Step]) -> Self {
        let world = Self::new();
        for step in steps {
            world.takes(step.clone()).await;
        }
        world
    }

    async fn takes(&self, step: Step) {
        match step {
            Step::Place(n, of) => {
                let view = self
                    .store
                    .get::<TicketView>(&TicketId::from_bytes(id(of)))
                    .unwrap();
                let wish = PlaceOrder {
                    id: order_id(n),
                    user_id: UserId::from_bytes(id(3)),
                    quantity: 1,
                    seen_price: None,
                    hold: HOLD,
                };
                let decision = domain::place(&view.unwrap(), 0, &wish, NOW).unwrap();
                self.within(move |tx| stage(tx, None, decision)).await;
            }
            Step::Asked(n, command) => {
                let order = self.order(n);
                let decision = domain::decide(&order, command, NOW).unwrap();
                self.within(move |tx| stage(tx, Some(&order), decision)).await;
            }
            Step::Hear(event) => {
                self.hears(*event).await;
            }
        }
    }

    async fn within<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Txn<'_, OrderIndexes>) -> Result<T, TransactError<Impossible>> + Send + 'static,
    ) -> T {
        // Late enough for what has expired, so that nothing is answered `order:notdue`.
        let context = Context::new(NOW.plus(HOLD));
        self.store.transact(context, f).await.unwrap()
    }

    async fn hears(&self, event: Event) -> Applied {
        let envelope = envelope(event);
        self.within(move |tx| OrdersHandler.apply(tx, &envelope)).await
    }

    async fn is_told(&self, event: Event) -> Applied {
        let envelope = envelope(event);
        self.within(move |tx| OrdersHandler.restated(tx, &envelope)).await
    }

    async fn forsakes(&self, source: Source, stated: &[[u8; 16]]) {
        let stated: HashSet<String> = stated
            .iter()
            .map(|id| OrderId::from_bytes(*id).to_string())
            .collect();
        self.within(move |tx| OrdersHandler.forsake(tx, source, &stated))
            .await;
    }

    /// Takes back what `whole` has published beyond this store's head.
    async fn adopts_from(&self, whole: &Self) {
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
                    assert_eq!(OrdersHandler.adopt(tx, envelope)?, Adopted::Whole);
                }
                Ok(())
            });
        adopted.await.unwrap();
        self.store.end_adopting().unwrap();
    }

    fn order(&self, n: u8) -> Order {
        self.store.get(&order_id(n)).unwrap().unwrap()
    }

    fn status(&self, n: u8) -> OrderStatus {
        self.order(n).status
    }

    fn rows(&self) -> (Vec<Order>, Vec<TicketView>) {
        (
            self.store.scan(None, 100).unwrap(),
            self.store.scan(None, 100).unwrap(),
        )
    }

    fn head(&self) -> u64 {
        self.store.status().head.0
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
        Step::Place(..) | Step::Asked(..) => None,
    })
}

/// What `steps` lets be heard, with one source's events first or last: streams are read apart from each other.
fn reordered(steps: &[Step], source: Source, first: bool) -> Vec<Event> {
    let mut events: Vec<Event> = heard(steps).collect();
    events.sort_by_key(|event| (event.event_type().source() == source) != first);
    events
}

#[tokio::test]
async fn set_back_to_any_point_it_adopts_its_own_events_and_reads_the_others_again() {
    let story = story();
    let whole = World::after(&story).await;
    let orders = [
        (Source::Payments, true),
        (Source::Payments, false),
        (Source::Expiration, true),
    ];
    for at in 0..=story.len() {
        let (source, first) = orders[at % orders.len()];
        let world = World::after(&story[..at]).await;
        world.adopts_from(&whole).await;
        assert_eq!(
            world.rows().0,
            whole.rows().0,
            "orders come back from own events alone, from {at} on"
        );
        for event in reordered(&story[at..], source, first) {
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
async fn a_store_given_up_for_an_older_one_comes_to_the_same_ends_by_what_others_repeat() {
    let story = story();
    // After order 13 was placed: nothing of what came then was published, as far as this store knows.
    let world = World::after(&story[..6]).await;
    for event in reordered(&story[6..], Source::Payments, true) {
        world.hears(event).await;
    }
    assert_eq!(world.status(11), OrderStatus::Cancelled, "refunded");
    assert_eq!(world.order(11).reason, Some(events::CancelReason::Refunded));
    assert_eq!(world.status(12), OrderStatus::Cancelled, "rejected");
    // That its buyer had cancelled it is lost, and the payment undoes itself when it hears of the acceptance.
    assert_eq!(world.status(13), OrderStatus::Accepted);
}

#[tokio::test]
async fn what_is_stated_of_listings_replaces_what_was_known_whatever_its_version() {
    let world = World::after(&story()).await;
    world.is_told(Event::TicketUpdated(ticket(102, 1, 2))).await;
    world.forsakes(Source::Tickets, &[id(102)]).await;
    assert_eq!(world.rows().1, [TicketView::from(&ticket(102, 1, 2))]);
    // What happens from now on has versions after that one.
    let later = ticket(102, 2, 3);
    world.hears(Event::TicketUpdated(later.clone())).await;
    assert_eq!(world.rows().1, [TicketView::from(&later)]);
}

#[tokio::test]
async fn a_payment_s_present_state_tells_all_that_came_before_it() {
    use PaymentStatus::{Authorized, Captured, Failed, Opened, Refunded};
    for (status, ends) in [
        (Opened, OrderStatus::Created),
        (Authorized, OrderStatus::Accepted),
        (Captured, OrderStatus::Complete),
        (Failed, OrderStatus::Cancelled),
        (Refunded, OrderStatus::Cancelled),
    ] {
        let world = World::after(&story()).await;
        for _ in 0..2 {
            world.is_told(payment(17, status)).await;
            assert_eq!(world.status(17), ends, "{status:?}");
        }
        // It was over before: nothing turns back.
        let before = world.order(13);
        world.is_told(payment(13, status)).await;
        assert_eq!(world.order(13), before);
    }
}

#[tokio::test]
async fn an_accepted_order_whose_payment_is_lost_ends() {
    let world = World::after(&story()).await;
    world.forsakes(Source::Payments, &[id(16)]).await;
    assert_eq!(world.status(16), OrderStatus::Accepted, "its payment was stated");
    for _ in 0..2 {
        world.forsakes(Source::Payments, &[]).await;
        assert_eq!(world.status(16), OrderStatus::Cancelled);
        assert_eq!(
            world.status(18),
            OrderStatus::AwaitingPayment,
            "it can still be paid"
        );
    }
}

#[tokio::test]
async fn every_order_is_stated_as_it_is() {
    let world = World::after(&story()).await;
    let rows = world.store.rows(None, 100).unwrap();
    let told: Vec<Event> = rows
        .iter()
        .filter_map(|(_, row)| OrdersHandler.restate(row))
        .collect();
    let (orders, _) = world.rows();
    assert_eq!(told.len(), orders.len());
    let empty = World::new();
    for event in told {
        // Who hears nothing but this knows the same.
        let envelope = envelope(event);
        empty.within(move |tx| OrdersHandler.adopt(tx, &envelope)).await;
    }
    assert_eq!(empty.rows().0, orders);
}
