//! The world around the service: who signs in, what becomes of orders, and Stripe.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusConfig, Relay};
use events::{
    CancelReason, Currency, Event, KeyPublished, Money, OrderId, OrderSnapshot, OrderStatus, OrderedTicket,
    Source, UserId, Version,
};
use payments::{App, Options};
use serde_json::{Value, json};
use service::{Clock, Settings, ShutdownTrigger};
use session::{Claims, SigningKey};
use store::{Context, Store};
use stripe_fake::Config;
use testkit::{Client, RedisServer, TempDir, eventually, temp_dir};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

mod stripe;

pub(crate) use self::stripe::play_stripe;

pub(crate) const SOON: Duration = Duration::from_secs(20);
pub(crate) const SITE: &str = "http://site.test";
pub(crate) const GOOD_CARD: &str = "4242424242424242";
pub(crate) const CARD_FAILING_AT_CAPTURE: &str = "4000000000000341";
pub(crate) const STRIPE_KEY: &str = "sk_test_boxoffice";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_boxoffice";

const ORDERS_STREAM: &str = "events:orders";

/// Something that serves until it is stopped.
pub(crate) struct Serving {
    trigger: ShutdownTrigger,
    task: JoinHandle<()>,
}

impl Serving {
    pub(crate) fn begin_stop(&self) {
        self.trigger.begin();
    }

    pub(crate) async fn stop(self) {
        self.trigger.begin();
        tokio::time::timeout(SOON, self.task)
            .await
            .expect("it stops in time")
            .expect("it does not panic");
    }
}

pub(crate) struct World {
    pub(crate) clock: Clock,
    /// Someone who calls the service without having signed in.
    pub(crate) client: Client,
    pub(crate) stripe: Client,
    /// How wrong the service's own clock is, from the next start on.
    pub(crate) clock_offset_ms: i64,
    address: SocketAddr,
    stripe_base: String,
    auth: Store<()>,
    orders: Store<()>,
    payments: Option<Serving>,
    stripe_serving: Option<Serving>,
    _playing: Vec<Serving>,
    redis: RedisServer,
    dir: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// One whose Stripe is set up otherwise.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        service::metrics();
        let redis = RedisServer::start();
        let dir = temp_dir();
        let clock = Clock::new();
        let payments = listen("127.0.0.1:0").await;
        let address = payments.local_addr().expect("bound");
        let (stripe_base, stripe_serving) = play_stripe(address, dir.path().join("stripe"), change).await;
        let (auth, auth_relay) = play(Source::Auth, &redis, &dir, &clock);
        let (orders, orders_relay) = play(Source::Orders, &redis, &dir, &clock);
        let mut world = Self {
            client: Client::new(format!("http://{address}")),
            stripe: Client::new(stripe_base.clone()),
            clock,
            clock_offset_ms: 0,
            address,
            stripe_base,
            auth,
            orders,
            payments: None,
            stripe_serving: Some(stripe_serving),
            _playing: vec![auth_relay, orders_relay],
            redis,
            dir,
        };
        world.payments = Some(world.serve(payments).await);
        let key = KeyPublished {
            kid: signing_key().kid().to_owned(),
            public_key: signing_key().public_key().to_owned(),
            usable_from: world.clock.now(),
        };
        say(&world.auth, &world.clock, Event::KeyPublished(key)).await;
        world.ready().await;
        world
    }

    /// Stops the service and starts it again on the same store and address.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.payments = Some(self.serve(listen(self.address).await).await);
        self.ready().await;
    }

    /// Everything that the service has ever known of payments is given up: its store, and what it has published.
    pub(crate) async fn lose_the_store(&mut self) {
        self.stop().await;
        let store = self.dir.path().join(Source::Payments.as_str());
        std::fs::remove_dir_all(store).expect("a temporary directory can be changed");
        self.redis
            .command(&["DEL", "events:payments", "requests:payments"]);
        self.restart().await;
    }

    /// What the orders service says from now on reaches nobody, until it is let go: its stream can't be written.
    pub(crate) fn hold_orders_back(&self) {
        self.redis.command(&["SET", ORDERS_STREAM, "no stream"]);
    }

    pub(crate) fn let_orders_go(&self) {
        self.redis.command(&["DEL", ORDERS_STREAM]);
    }

    /// Waits until the service has applied all that the orders service has said.
    pub(crate) async fn knows_all_orders(&self) {
        let head = *self.orders.durable().borrow();
        let expected = (json!(head.epoch), json!(head.seq));
        eventually("all orders are known", SOON, || async {
            let answer = self.client.get("/internal/status").try_send().await.ok()?;
            let status = (answer.status == 200).then(|| answer.json())?;
            let sources = status["bus"]["sources"].as_array().cloned()?;
            let orders = sources
                .into_iter()
                .find(|source| source["source"] == json!(Source::Orders))?;
            ((orders["epoch"].clone(), orders["cursor"].clone()) == expected).then_some(())
        })
        .await;
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(payments) = self.payments.take() {
            payments.stop().await;
        }
    }

    /// The service, to be stopped while the rest of the world goes on.
    pub(crate) fn leaving(&mut self) -> Serving {
        self.payments.take().expect("it serves")
    }

    async fn serve(&self, listener: TcpListener) -> Serving {
        let options = Options {
            stripe_secret_key: STRIPE_KEY.to_owned(),
            stripe_webhook_secret: vec!["whsec_another".to_owned(), WEBHOOK_SECRET.to_owned()],
            stripe_api_base: Some(self.stripe_base.clone()),
            stripe_reconcile_seconds: 1,
            stripe_stand_in: payments::StandIn::Allowed,
        };
        let (trigger, shutdown) = ShutdownTrigger::new();
        let mut settings = Settings::new(self.dir.path(), self.redis.url(), SITE);
        settings.clock_offset_ms = self.clock_offset_ms;
        let started = service::start::<App>(&settings, options, shutdown.clone())
            .await
            .expect("payments starts");
        let router = started
            .api
            .clone()
            .merge(started.internal.clone())
            .merge(service::health_router(vec![started.probe.clone()]));
        let task = tokio::spawn(async move {
            service::serve(listener, service::http::edge(router), shutdown).await;
            started.stop().await;
        });
        Serving { trigger, task }
    }

    async fn ready(&self) {
        eventually("payments is ready", SOON, || async {
            let answer = self.client.get("/readyz").try_send().await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// A person who has signed in.
    pub(crate) fn person(&self) -> (UserId, Client) {
        let user = self.clock.user_id();
        (user, self.signed_in(user))
    }

    /// That person, in a new session.
    pub(crate) fn signed_in(&self, user: UserId) -> Client {
        let claims = Claims::new(user, "ann@example.org", self.clock.session_id(), self.clock.now());
        self.client.with_bearer(signing_key().sign(&claims))
    }

    /// An order of that person's, placed and reserved. The service knows of it then: on a busy machine that may take longer
    /// than it keeps a request waiting.
    pub(crate) async fn order(&self, user: UserId) -> Order {
        let order = self.reserved(user).await;
        self.knows_all_orders().await;
        order
    }

    /// An order of that person's, placed and reserved, of which the service can't hear yet.
    pub(crate) async fn reserved(&self, user: UserId) -> Order {
        let mut order = self.placed(user).await;
        order.becomes(self, OrderStatus::AwaitingPayment).await;
        order
    }

    /// An order of that person's that the tickets service has not answered yet.
    pub(crate) async fn placed(&self, user: UserId) -> Order {
        let money = |minor| Money::from_minor(minor, Currency::Usd).expect("in range");
        let snapshot = OrderSnapshot {
            id: self.clock.order_id(),
            version: Version::FIRST,
            user_id: user,
            status: OrderStatus::Created,
            reason: None,
            quantity: 2,
            total: money(2500),
            expires_at: self.clock.now().plus(Duration::from_secs(900)),
            created_at: self.clock.now(),
            ticket: OrderedTicket {
                id: self.clock.ticket_id(),
                version: Version::FIRST,
                seller_id: self.clock.user_id(),
                title: "Ü, \"a show\" & more".to_owned(),
                price: money(1250),
                venue: None,
                starts_at: None,
            },
        };
        say(&self.orders, &self.clock, Event::OrderCreated(snapshot.clone())).await;
        Order { snapshot }
    }

    /// Opens the payment of an order and answers its body. Where the service can't tell yet, it is asked again.
    pub(crate) async fn open(&self, person: &Client, order: &Order) -> Value {
        eventually("the order can be paid", SOON, || async {
            let body = json!({ "orderId": order.id() });
            let answer = person.post("/api/payments", &body).send().await;
            assert!(answer.status == 201 || answer.status == 503, "{answer:?}");
            (answer.status == 201).then(|| answer.json())
        })
        .await
    }

    /// The types of the events about a payment so far.
    pub(crate) async fn told(&self, opened: &Value) -> Vec<String> {
        let id = opened["id"].as_str().expect("an id");
        let answer = self
            .client
            .get(format!("/internal/events?subject={id}"))
            .expect(200)
            .await;
        let events = answer.json();
        let kind = |event: &Value| event["type"].as_str().expect("a type").to_owned();
        events.as_array().expect("a list").iter().map(kind).collect()
    }

    /// Waits until exactly these events were published about a payment.
    pub(crate) async fn tells(&self, opened: &Value, expected: &[&str]) {
        let mut told = Vec::new();
        let telling = async {
            loop {
                told = self.told(opened).await;
                if told == expected {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(SOON, telling).await.is_err() {
            panic!("told {told:?} and not {expected:?}");
        }
    }

    /// Waits until a payment is in this state. Reads it from the outside, as its buyer.
    pub(crate) async fn becomes(&self, person: &Client, opened: &Value, status: &str) -> Value {
        let path = format!("/api/payments/{}", opened["id"].as_str().expect("an id"));
        eventually(&format!("the payment is {status}"), SOON, || async {
            let body = person.get(&path).expect(200).await.json();
            (body["status"] == status).then_some(body)
        })
        .await
    }
}

/// An order, as the orders service would go on with it.
pub(crate) struct Order {
    snapshot: OrderSnapshot,
}

impl Order {
    pub(crate) fn id(&self) -> OrderId {
        self.snapshot.id
    }

    pub(crate) fn buyer(&self) -> UserId {
        self.snapshot.user_id
    }

    pub(crate) async fn becomes(&mut self, world: &World, status: OrderStatus) {
        self.snapshot.status = status;
        self.snapshot.version = self.snapshot.version.next();
        let snapshot = self.snapshot.clone();
        let event = match status {
            OrderStatus::Created => Event::OrderCreated(snapshot),
            OrderStatus::AwaitingPayment => Event::OrderAwaitingPayment(snapshot),
            OrderStatus::Accepted => Event::OrderAccepted(snapshot),
            OrderStatus::Complete => Event::OrderCompleted(snapshot),
            OrderStatus::Refunding => Event::OrderRefunding(snapshot),
            OrderStatus::Cancelled => Event::OrderCancelled(snapshot),
        };
        say(&world.orders, &world.clock, event).await;
    }

    pub(crate) async fn cancelled(&mut self, world: &World, reason: CancelReason) {
        self.snapshot.reason = Some(reason);
        self.becomes(world, OrderStatus::Cancelled).await;
    }
}

fn signing_key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

async fn listen(address: impl tokio::net::ToSocketAddrs + Copy) -> TcpListener {
    eventually("the address is free", SOON, || async {
        TcpListener::bind(address).await.ok()
    })
    .await
}

/// A store and a relay in the place of another service.
fn play(source: Source, redis: &RedisServer, dir: &TempDir, clock: &Clock) -> (Store<()>, Serving) {
    let options = store::Options::new(source, dir.path().join(source.as_str()));
    let store = Store::<()>::open(options).expect("the store opens");
    let now = clock.clone();
    let config = BusConfig {
        redis_url: redis.url(),
        prefix: String::new(),
        clock: Arc::new(move || now.now()),
    };
    let bus = Bus::new(config).expect("a good address");
    let relay = Relay::new(bus, store.clone(), source, Arc::new(()));
    let (trigger, shutdown) = ShutdownTrigger::new();
    let task = tokio::spawn(relay.run(shutdown.wait()));
    (store, Serving { trigger, task })
}

async fn say(store: &Store<()>, clock: &Clock, event: Event) {
    let said = store.transact::<(), Infallible>(Context::new(clock.now()), move |tx| {
        tx.emit(event);
        Ok(())
    });
    said.await.expect("the store of a test writes");
}
