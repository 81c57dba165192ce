//! Services that serve, in this process, over real sockets, a real store and a real Redis.

use std::time::Duration;

use serde_json::json;
use service::{Clock, Service, Settings, Shutdown, ShutdownTrigger, StartError, Started, health_router};
use session::{Claims, SigningKey};
use testkit::{Client, RedisServer, TempDir, eventually, temp_dir};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::example::{NoOptions, Notes, SignsIn};

pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A service that serves, in this process.
pub(crate) struct Running {
    pub(crate) client: Client,
    pub(crate) address: String,
    pub(crate) clock: Clock,
    pub(crate) trigger: ShutdownTrigger,
    pub(crate) serving: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start<S: Service<Options = NoOptions>>(
        settings: &Settings,
    ) -> Result<Self, StartError> {
        let (trigger, shutdown) = ShutdownTrigger::new();
        let started: Started = service::start::<S>(settings, NoOptions {}, shutdown.clone()).await?;
        Ok(Self::serve(started, trigger, shutdown).await)
    }

    pub(crate) async fn serve(started: Started, trigger: ShutdownTrigger, shutdown: Shutdown) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = started
            .api
            .clone()
            .merge(started.internal.clone())
            .merge(health_router(vec![started.probe.clone()]));
        let clock = started.clock.clone();
        let serving = tokio::spawn(async move {
            service::serve(listener, service::http::edge(router), shutdown).await;
            started.stop().await;
        });
        Self {
            client: Client::new(format!("http://{address}")),
            address,
            clock,
            trigger,
            serving,
        }
    }

    pub(crate) async fn stop(self) {
        self.trigger.begin();
        tokio::time::timeout(SOON, self.serving).await.unwrap().unwrap();
    }
}

pub(crate) struct World {
    pub(crate) redis: RedisServer,
    pub(crate) dir: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        service::metrics();
        Self {
            redis: RedisServer::start(),
            dir: temp_dir(),
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::new(self.dir.path(), self.redis.url(), "http://localhost")
    }
}

pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed(&[5; 32])
}

/// Someone who signed in just now.
pub(crate) fn token(clock: &Clock) -> (Claims, String) {
    let claims = Claims::new(
        clock.user_id(),
        "ann@example.org",
        clock.session_id(),
        clock.now(),
    );
    let token = key().sign(&claims);
    (claims, token)
}

pub(crate) async fn ready(service: &Running) {
    eventually("ready", SOON, || async {
        (service.client.get("/readyz").send().await.status == 200).then_some(())
    })
    .await;
}

pub(crate) async fn with_key(world: &World) -> (Running, Running) {
    with_key_and(world, &world.settings()).await
}

/// As [`with_key`], with other settings for the notes.
pub(crate) async fn with_key_and(world: &World, settings: &Settings) -> (Running, Running) {
    let auth = Running::start::<SignsIn>(&world.settings()).await.unwrap();
    let notes = Running::start::<Notes>(settings).await.unwrap();
    auth.client
        .post("/publish", &json!({"key_seed": 5}))
        .expect(200)
        .await;
    ready(&notes).await;
    (auth, notes)
}
