//! Auth in this process over real sockets, and another service that knows people only by auth's events.

use std::time::Duration;

use auth::{App, Options};
use base64::Engine as _;
use bus::{Applied, Handler, Impossible, NotRecovering};
use clap::Parser as _;
use events::{Envelope, Event, EventType, KeyPublished, Source};
use invariants::Fact;
use serde_json::{Value, json};
use service::{Built, Clock, Parts, Service, Settings, ShutdownTrigger, StartError, health_router};
use session::{CurrentUser, SigningKey};
use store::{Change, Context, Indexes, Store, StoredRow, Tables, TransactError, Txn};
use testkit::{Answer, Client, RedisServer, TempDir, eventually, temp_dir};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use utoipa_axum::router::OpenApiRouter;

pub(crate) const SOON: Duration = Duration::from_secs(20);
/// Ten times what is promised, which the fault bench holds all services to on a machine that has nothing else to do
/// (`./scripts/faults 32`).
pub(crate) const REVOKED_WITHIN: Duration = Duration::from_secs(20);
pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct Running {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    base: String,
    trigger: ShutdownTrigger,
    serving: JoinHandle<()>,
}

impl Running {
    async fn start<S: Service>(settings: &Settings, options: S::Options) -> Self {
        service::metrics();
        let (trigger, shutdown) = ShutdownTrigger::new();
        let started = service::start::<S>(settings, options, shutdown.clone())
            .await
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = started
            .api
            .clone()
            .merge(health_router(vec![started.probe.clone()]));
        let clock = started.clock.clone();
        let serving = tokio::spawn(async move {
            service::serve(listener, service::http::edge(router), shutdown).await;
            started.stop().await;
        });
        let running = Self {
            client: Client::new(&base),
            clock,
            base,
            trigger,
            serving,
        };
        eventually("ready", SOON, || async {
            (running.client.get("/readyz").send().await.status == 200).then_some(())
        })
        .await;
        running
    }

    /// A client without cookies.
    pub(crate) fn anonymous(&self) -> Client {
        Client::new(&self.base)
    }

    pub(crate) async fn stop(self) {
        self.trigger.begin();
        tokio::time::timeout(SOON, self.serving).await.unwrap().unwrap();
    }
}

pub(crate) struct World {
    pub(crate) auth: Running,
    redis: RedisServer,
    dir: TempDir,
}

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    options: Options,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(flags: &[&str]) -> Self {
        let (redis, dir) = (RedisServer::start(), temp_dir());
        let options = Flags::parse_from([&["auth"], flags].concat()).options;
        let settings = Settings::new(dir.path(), redis.url(), "http://localhost");
        let auth = Running::start::<App>(&settings, options).await;
        Self { auth, redis, dir }
    }

    /// On a store that has published a key whose private half it does not have, as one that comes out of a backup.
    pub(crate) async fn with_half_a_key(seed: u8) -> Self {
        let (redis, dir) = (RedisServer::start(), temp_dir());
        let settings = Settings::new(dir.path(), redis.url(), "http://localhost");
        let key = SigningKey::from_seed(&[seed; 32]);
        let now = Clock::new().now();
        let published = Event::KeyPublished(KeyPublished {
            kid: key.kid().to_owned(),
            public_key: key.public_key().to_owned(),
            usable_from: now,
        });
        let dir_of_auth = settings.store_dir(Source::Auth);
        let store = Store::<NoIndexes>::open(store::Options::new(Source::Auth, dir_of_auth)).unwrap();
        let staged = store.transact(Context::new(now), move |tx| {
            service::stage(tx, &published)?;
            tx.emit(published);
            Ok::<_, TransactError<()>>(())
        });
        staged.await.unwrap();
        store.close();
        let auth = Running::start::<App>(&settings, Flags::parse_from(["auth"]).options).await;
        Self { auth, redis, dir }
    }

    /// A service that knows people only by auth's events.
    pub(crate) async fn start_other(&self) -> Running {
        let settings = Settings::new(self.dir.path(), self.redis.url(), "http://localhost");
        Running::start::<Other>(&settings, NoOptions {}).await
    }

    /// Time passes, for both.
    pub(crate) fn both_clocks(&self, other: &Running, by: Duration) {
        self.auth.clock.advance(by);
        other.clock.advance(by);
    }

    pub(crate) async fn stop(self) {
        self.auth.stop().await;
    }
}

/// The problem that an answer is.
pub(crate) fn is_problem(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}: {}", answer.request, answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let body = answer.json();
    assert!(!body["errors"].as_array().unwrap().is_empty());
    body
}

/// Field and text of a problem's first message.
pub(crate) fn message(answer: &Answer, status: u16) -> (Value, Value) {
    let body = is_problem(answer, status);
    (
        body["errors"][0]["field"].clone(),
        body["errors"][0]["message"].clone(),
    )
}

/// Who auth says is signed in.
pub(crate) async fn who(client: &Client) -> Value {
    client.get("/api/users/currentuser").expect(200).await.json()["currentUser"].clone()
}

/// Someone new, signed in by cookie.
pub(crate) async fn sign_up(auth: &Running, email: &str) -> Client {
    let client = auth.anonymous();
    let body = json!({"email": email, "password": PASSWORD});
    client.post("/api/users/signup", &body).expect(201).await;
    client
}

pub(crate) fn base64url(text: &str) -> Vec<u8> {
    base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub(crate) fn to_base64url(text: &str) -> String {
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text)
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NoOptions {}

struct Other;

#[derive(Debug, Default, PartialEq, Eq)]
struct NoIndexes;

impl Indexes for NoIndexes {
    fn apply(&mut self, _: &Change<'_>) {}

    fn tables() -> Tables {
        service::tables()
    }
}

struct Nothing;

impl Handler<NoIndexes> for Nothing {
    fn concerns(&self, _: EventType) -> bool {
        false
    }

    fn apply(&self, _: &mut Txn<'_, NoIndexes>, _: &Envelope) -> Result<Applied, TransactError<Impossible>> {
        Ok(Applied::Done)
    }
}

impl Service for Other {
    const SOURCE: Source = Source::Tickets;
    const ABOUT: &'static str = "Knows who is asking";
    type Indexes = NoIndexes;
    type Options = NoOptions;
    type Handler = NotRecovering<Nothing>;

    fn fact(_: &StoredRow) -> Option<Fact> {
        None
    }

    async fn build(parts: Parts<NoIndexes>, _: NoOptions) -> Result<Built<Self::Handler>, StartError> {
        let api = OpenApiRouter::new()
            .route("/me", axum::routing::get(async |user: CurrentUser| user.email))
            .with_state(parts);
        Ok(Built::new(api, NotRecovering(Nothing)))
    }
}
