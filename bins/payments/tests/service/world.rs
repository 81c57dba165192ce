//! The world around the service: who signs in, what becomes of orders, and Stripe.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
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
use stripe_fake::{Config, StripeFake};
use testkit::{Client, RedisServer, TempDir, eventually, temp_dir};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) const SOON: Duration = Duration::from_secs(20);
pub(crate) const SITE: &str = "http://site.test";
pub(crate) const GOOD_CARD: &str = "4242424242424242";
pub(crate) const CARD_FAILING_AT_CAPTURE: &str = "4000000000000341";
const STRIPE_KEY: &str = "sk_test_boxoffice";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_boxoffice";

/// Something that serves until it is stopped.
pub(crate) struct Serving {
    trigger: ShutdownTrigger,
    task: JoinHandle<()>,
}

impl Serving {
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
    address: SocketAddr,
    stripe_base: String,
    auth: Store<()>,
    orders: Store<()>,
    payments: Option<Serving>,
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
        let (stripe_base, stripe) = play_stripe(address, dir.path().join("stripe"), change).await;
        let (auth, auth_relay) = play(Source::Auth, &redis, &dir, &clock);
        let (orders, orders_relay) = play(Source::Orders, &redis, &dir, &clock);
        let mut world = Self {
            client: Client::new(format!("http://{address}")),
            stripe: Client::new(stripe_base.clone()),
            clock,
            address,
            stripe_base,
            auth,
            orders,
            payments: None,
            _playing: vec![stripe, auth_relay, orders_relay],
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

    pub(crate) async fn stop(&mut self) {
        if let Some(payments) = self.payments.take() {
            payments.stop().await;
        }
    }

    async fn serve(&self, listener: TcpListener) -> Serving {
        let options = Options {
            stripe_secret_key: STRIPE_KEY.to_owned(),
            stripe_webhook_secret: vec!["whsec_another".to_owned(), WEBHOOK_SECRET.to_owned()],
            stripe_api_base: Some(self.stripe_base.clone()),
            stripe_reconcile_seconds: 1,
        };
        let (trigger, shutdown) = ShutdownTrigger::new();
        let settings = Settings::new(self.dir.path(), self.redis.url(), SITE);
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
        let claims = Claims::new(user, "ann@example.org", self.clock.session_id(), self.clock.now());
        (user, self.client.with_bearer(signing_key().sign(&claims)))
    }

    /// An order of that person's, placed and reserved.
    pub(crate) async fn order(&self, user: UserId) -> Order {
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

    /// Opens the payment of an order and answers its body.
    pub(crate) async fn open(&self, person: &Client, order: &Order) -> Value {
        person
            .post("/api/payments", &json!({ "orderId": order.id() }))
            .expect(201)
            .await
            .json()
    }

    /// Pays on Stripe's page, as a browser would.
    pub(crate) async fn pay(&self, opened: &Value, card: &str) -> u16 {
        let url = opened["url"].as_str().expect("an open page has an address");
        self.pay_session(url.rsplit('/').next().expect("a session at the end"), card)
            .await
    }

    /// Pays a session whose address nobody was given.
    pub(crate) async fn pay_session(&self, session: &str, card: &str) -> u16 {
        let page = format!("/stripe-fake/pay/{session}");
        let form = [("number", card), ("expiry", "12/34"), ("cvc", "123")];
        self.stripe.form(page, &form).send().await.status.as_u16()
    }

    /// Makes Stripe do something wrong.
    pub(crate) async fn fault(&self, fault: Value) {
        let answer = self.stripe.post("/stripe-fake/faults", &fault).send().await;
        assert!(answer.status.is_success(), "{answer:?}");
    }

    pub(crate) async fn heal(&self) {
        let answer = self.stripe.delete("/stripe-fake/faults").send().await;
        assert!(answer.status.is_success(), "{answer:?}");
    }

    /// What Stripe's books say of an order: (status, captured, refunded) of each PaymentIntent that came to anything.
    pub(crate) async fn ledger(&self, order: &Order) -> Vec<(String, i64, i64)> {
        let answer = self
            .stripe
            .get(format!("/stripe-fake/ledger?order={}", order.id()))
            .expect(200)
            .await;
        let books = answer.json();
        let intents = books["intents"].as_array().expect("a list").iter();
        let minor = |value: &Value| value.as_i64().expect("an amount");
        intents
            .filter(|intent| intent["status"] != "requires_payment_method")
            .map(|intent| {
                let status = intent["status"].as_str().expect("a status").to_owned();
                (status, minor(&intent["captured"]), minor(&intent["refunded"]))
            })
            .collect()
    }

    /// Waits until the books say this of the order's one PaymentIntent.
    pub(crate) async fn settles(&self, order: &Order, expected: (&str, i64, i64)) {
        let mut seen = Vec::new();
        let settled = async {
            loop {
                seen = self.ledger(order).await;
                if seen == [(expected.0.to_owned(), expected.1, expected.2)] {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(SOON, settled).await.is_err() {
            panic!("the books say {seen:?} and not {expected:?}");
        }
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

    /// Where a session stands at Stripe.
    pub(crate) async fn session_status(&self, opened: &Value) -> String {
        let url = opened["url"].as_str().expect("an address");
        let session = url.rsplit('/').next().expect("a session at the end");
        let stripe = self.stripe.with_bearer(STRIPE_KEY);
        let body = stripe
            .get(format!("/v1/checkout/sessions/{session}"))
            .expect(200)
            .await
            .json();
        body["status"].as_str().expect("a status").to_owned()
    }

    /// The sessions that can be paid, those that nobody was told of included: they stand in Stripe's books.
    pub(crate) async fn open_sessions(&self) -> Vec<String> {
        let stripe = self.stripe.with_bearer(STRIPE_KEY);
        let mut open = Vec::new();
        for session in self.sessions_in_books() {
            let body = stripe
                .get(format!("/v1/checkout/sessions/{session}"))
                .expect(200)
                .await
                .json();
            if body["status"] == "open" {
                open.push(session);
            }
        }
        open
    }

    fn sessions_in_books(&self) -> BTreeSet<String> {
        let mut sessions = BTreeSet::new();
        for file in std::fs::read_dir(self.dir.path().join("stripe")).expect("the books are there") {
            let books = std::fs::read_to_string(file.expect("it can be listed").path()).unwrap_or_default();
            let words = books.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            sessions.extend(
                words
                    .filter(|word| word.starts_with("cs_test_"))
                    .map(str::to_owned),
            );
        }
        sessions
    }

    /// The PaymentIntent of an opened payment.
    pub(crate) async fn intent_of(&self, opened: &Value) -> String {
        let order = opened["orderId"].as_str().expect("an order");
        let books = self
            .stripe
            .get(format!("/stripe-fake/ledger?order={order}"))
            .expect(200)
            .await
            .json();
        books["intents"][0]["id"].as_str().expect("an intent").to_owned()
    }

    /// A call with the secret key, as someone at Stripe's dashboard makes it.
    pub(crate) async fn at_stripe(&self, path: &str, form: &[(&str, &str)]) {
        let stripe = self.stripe.with_bearer(STRIPE_KEY);
        let answer = stripe.form(path, form).send().await;
        assert!(
            answer.status.is_success() || answer.status.is_redirection(),
            "{answer:?}"
        );
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
    let relay = Relay::new(bus, store.clone(), source);
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

async fn play_stripe(
    payments: SocketAddr,
    books: PathBuf,
    change: impl FnOnce(&mut Config),
) -> (String, Serving) {
    let listener = listen("127.0.0.1:0").await;
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    let mut config = Config {
        data_dir: Some(books),
        public_url: base.clone(),
        webhook_url: Some(format!("http://{payments}/api/payments/webhook")),
        faults_enabled: true,
        webhook_retry: Duration::from_millis(50),
        ..Config::default()
    };
    change(&mut config);
    let fake = StripeFake::open(config).expect("the stand-in opens");
    let (trigger, shutdown) = ShutdownTrigger::new();
    let router: Router = fake.router();
    let stop = shutdown.clone();
    let background = async move { fake.run_background(stop.wait()).await };
    let serving = service::serve(listener, router, shutdown);
    (
        base,
        Serving {
            trigger,
            task: tokio::spawn(both(background, serving)),
        },
    )
}

async fn both(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::join!(one, other);
}
