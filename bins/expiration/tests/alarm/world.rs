//! A store, a redis-server, a clock that the tests move, and the events of orders.

use std::sync::Arc;
use std::time::Duration;

use bus::{Applied, Bus, BusConfig, BusError, Handler};
use events::{
    Cause, Currency, Envelope, Epoch, Event, Money, OrderId, OrderNotDue, OrderSnapshot, OrderStatus,
    OrderedTicket, Position, Seq, Source, TicketId, Timestamp, UserId, Version,
};
use expiration::alarm::{Alarm, AlarmError, SET_NAME};
use expiration::consumer::ExpirationHandler;
use expiration::hints::Hints;
use expiration::store::DeadlineIndexes;
use service::Clock;
use store::{Context, Options, Store};
use testkit::{RedisServer, Reply, TempDir};

/// How long an unpaid order has.
pub(crate) const HOLD: Duration = Duration::from_secs(900);

/// How long a test waits for what must come soon.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// How often it is rung again, each time after two seconds or more of waiting for Redis.
const RINGS_MAX: u32 = 20;

pub(crate) struct World {
    pub(crate) redis: RedisServer,
    pub(crate) clock: Clock,
    pub(crate) hints: Arc<Hints>,
    pub(crate) store: Store<DeadlineIndexes>,
    dir: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = testkit::temp_dir();
        Self {
            redis: RedisServer::start(),
            clock: Clock::new(),
            hints: Arc::default(),
            store: open(&dir),
            dir,
        }
    }

    /// As after the end of the process: the store is opened anew, and no hint is left.
    pub(crate) fn reopened(self) -> Self {
        self.store.close();
        Self {
            store: open(&self.dir),
            hints: Arc::default(),
            ..self
        }
    }

    /// An alarm that no hint reaches: what the set is not told in time it must find out.
    pub(crate) fn deaf_alarm(&self) -> Alarm {
        self.alarm_with(Arc::default())
    }

    pub(crate) fn alarm(&self) -> Alarm {
        self.alarm_with(Arc::clone(&self.hints))
    }

    fn alarm_with(&self, hints: Arc<Hints>) -> Alarm {
        let clock = self.clock.clone();
        let bus = Bus::new(BusConfig {
            redis_url: self.redis.url(),
            prefix: String::new(),
            clock: Arc::new(move || clock.now()),
        });
        Alarm::new(self.store.clone(), &bus.unwrap(), self.clock.clone(), hints)
    }

    /// An order is placed now, by the clock of the orders service, which is the same here.
    pub(crate) async fn place(&self) -> OrderId {
        let order = self.clock.order_id();
        self.place_at(order, self.clock.now()).await;
        order
    }

    /// An order is placed when the clock of the orders service shows `placed_at`.
    pub(crate) async fn place_at(&self, order: OrderId, placed_at: Timestamp) {
        let placed = snapshot(order, OrderStatus::Created, placed_at);
        assert_eq!(self.hears(Event::OrderCreated(placed)).await, Applied::Done);
    }

    /// Many orders are placed at the same time.
    pub(crate) async fn place_many(&self, count: usize) -> Vec<OrderId> {
        let orders: Vec<OrderId> = (0..count).map(|_| self.clock.order_id()).collect();
        let now = self.clock.now();
        let placed = orders
            .iter()
            .map(|order| Event::OrderCreated(snapshot(*order, OrderStatus::Created, now)));
        self.hears_all(placed.collect()).await;
        orders
    }

    pub(crate) async fn settle(&self, order: OrderId) {
        let accepted = snapshot(order, OrderStatus::Accepted, self.clock.now());
        assert_eq!(self.hears(Event::OrderAccepted(accepted)).await, Applied::Done);
    }

    pub(crate) async fn postpone(&self, order: OrderId, remaining: Duration) {
        let not_due = OrderNotDue {
            order_id: order,
            remaining_ms: remaining.as_millis().try_into().unwrap(),
        };
        assert_eq!(self.hears(Event::OrderNotDue(not_due)).await, Applied::Done);
    }

    async fn hears(&self, event: Event) -> Applied {
        self.hears_all(vec![event]).await[0]
    }

    async fn hears_all(&self, events: Vec<Event>) -> Vec<Applied> {
        let handler = ExpirationHandler::new(Arc::clone(&self.hints));
        let now = self.clock.now();
        let applied = self.store.transact(Context::new(now), move |tx| {
            let mut applied = Vec::with_capacity(events.len());
            for event in events {
                let position = Position {
                    epoch: Epoch(1),
                    seq: Seq(1),
                };
                tx.caused_by(Some(Cause::new(Source::Orders, position)));
                let envelope = Envelope {
                    source: Source::Orders,
                    position,
                    time: now,
                    traceparent: None,
                    cause: None,
                    event,
                };
                applied.push(handler.apply(tx, &envelope)?);
            }
            Ok(applied)
        });
        applied.await.unwrap()
    }

    /// The orders that were announced, in order, each as often as it was.
    pub(crate) fn announced(&self) -> Vec<OrderId> {
        let outbox = self.store.outbox(Seq(0), usize::MAX).unwrap();
        outbox
            .iter()
            .map(
                |entry| match Envelope::from_json(&entry.envelope).unwrap().event {
                    Event::OrderExpired(expired) => expired.order_id,
                    other => panic!("{other:?}"),
                },
            )
            .collect()
    }

    /// What is in the set, the earliest deadline first.
    pub(crate) fn in_set(&self) -> Vec<OrderId> {
        let Reply::Array(members) = self.redis.command(&["ZRANGE", SET_NAME, "0", "-1"]) else {
            panic!("the set is no set")
        };
        members
            .iter()
            .map(|member| member.text().unwrap().parse().unwrap())
            .collect()
    }

    /// Puts something into the set behind the alarm's back.
    pub(crate) fn smuggle(&self, member: &str, deadline: Timestamp) {
        let score = deadline.as_millis().to_string();
        let added = self.redis.command(&["ZADD", SET_NAME, &score, member]);
        assert_eq!(added, Reply::Integer(1));
    }
}

fn open(dir: &TempDir) -> Store<DeadlineIndexes> {
    Store::open(Options::new(Source::Expiration, dir.path())).unwrap()
}

fn snapshot(order: OrderId, status: OrderStatus, placed_at: Timestamp) -> OrderSnapshot {
    let price = Money::from_minor(1000, Currency::Usd).unwrap();
    OrderSnapshot {
        id: order,
        version: Version::FIRST,
        user_id: UserId::from_bytes([2; 16]),
        status,
        reason: None,
        quantity: 1,
        total: price,
        expires_at: placed_at.plus(HOLD),
        created_at: placed_at,
        ticket: OrderedTicket {
            id: TicketId::from_bytes([3; 16]),
            version: Version::FIRST,
            seller_id: UserId::from_bytes([4; 16]),
            title: "A show".into(),
            price,
            venue: None,
            starts_at: None,
        },
    }
}

/// Rings, in a test in which Redis is well: on a busy machine it can stand still for longer than a link waits for it, and then
/// it is rung again, as in production. Where an error is the matter, the step itself is called.
pub(crate) async fn ring(alarm: &mut Alarm) -> Duration {
    for _ in 1..RINGS_MAX {
        match alarm.ring_once().await {
            Err(AlarmError::Set(BusError::Unreachable(error))) => println!("ringing again: {error}"),
            rung => return rung.unwrap(),
        }
    }
    alarm.ring_once().await.unwrap()
}
