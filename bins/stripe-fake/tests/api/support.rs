//! A stand-in on a free port, a client for it, and an endpoint for its webhooks.

use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use stripe_fake::{Clock, Config, StripeFake};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) const KEY: &str = "sk_test_boxoffice";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_boxoffice";
/// When the tests' clock starts.
pub(crate) const START: i64 = 1_800_000_000;
const DEADLINE: Duration = Duration::from_secs(40);

/// A stand-in that serves on a free port until this is dropped or stopped.
pub(crate) struct TestApp {
    pub(crate) base: String,
    pub(crate) fake: StripeFake,
    clock: Arc<AtomicI64>,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: watch::Sender<bool>,
    serving: Option<JoinHandle<()>>,
    working: Option<JoinHandle<()>>,
}

impl TestApp {
    /// With books in memory and no webhook.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let clock = Arc::new(AtomicI64::new(START));
        let mut config = Config {
            public_url: base.clone(),
            faults_enabled: true,
            webhook_retry: Duration::from_millis(20),
            clock: Clock::Manual(Arc::clone(&clock)),
            ..Config::default()
        };
        change(&mut config);
        let fake = StripeFake::open(config).expect("opens");
        let (stop, mut stopped) = watch::channel(false);
        let mut told = stop.subscribe();
        let router = fake.router();
        let serving = tokio::spawn(async move {
            let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
            axum::serve(listener, router)
                .with_graceful_shutdown(until)
                .await
                .expect("serves");
        });
        let background = fake.clone();
        let working = tokio::spawn(async move {
            background
                .run_background(async move { drop(told.wait_for(|stop| *stop).await) })
                .await;
        });
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            base,
            fake,
            clock,
            client,
            stop,
            serving: Some(serving),
            working: Some(working),
        }
    }

    /// Moves the stand-in's clock.
    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// Stops and lets go of the books.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in [self.serving.take(), self.working.take()].into_iter().flatten() {
            task.await.expect("ends well");
        }
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Reply, String> {
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| error.to_string())?;
        let (parts, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("text");
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {KEY}"))
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        let request = self
            .request("GET", path)
            .body(Full::default())
            .expect("a request");
        self.send(request).await.expect("an answer")
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        let request = self
            .request("DELETE", path)
            .body(Full::default())
            .expect("a request");
        self.send(request).await.expect("an answer")
    }

    pub(crate) async fn post(&self, path: &str, form: &str) -> Reply {
        self.try_post(path, form, None).await.expect("an answer")
    }

    pub(crate) async fn post_with_key(&self, path: &str, form: &str, key: &str) -> Reply {
        self.try_post(path, form, Some(key)).await.expect("an answer")
    }

    pub(crate) async fn try_post(&self, path: &str, form: &str, key: Option<&str>) -> Result<Reply, String> {
        let mut request = self
            .request("POST", path)
            .header("content-type", "application/x-www-form-urlencoded");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.send(request.body(Full::from(form.to_owned())).expect("a request"))
            .await
    }

    pub(crate) async fn post_json(&self, path: &str, json: &str) -> Reply {
        let request = self
            .request("POST", path)
            .body(Full::from(json.to_owned()))
            .expect("a request");
        self.send(request).await.expect("an answer")
    }

    /// A new session as Boxoffice makes it: manual capture, 31 minutes.
    pub(crate) async fn session(&self) -> Value {
        let reply = self
            .post("/v1/checkout/sessions", &session_form(self.now(), 2_500))
            .await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    }

    /// A session whose page was paid with this card; its id.
    pub(crate) async fn pay(&self, session: &str, card: &str) -> Reply {
        self.post(
            &format!("/stripe-fake/pay/{session}"),
            &format!("number={card}&expiry=12/34&cvc=123"),
        )
        .await
    }

    /// A session that was authorised; its intent's id.
    pub(crate) async fn authorized(&self) -> String {
        let session = self.session().await;
        let id = text(&session["id"]);
        assert_eq!(self.pay(&id, "4242424242424242").await.status, 303);
        let session = self.get(&format!("/v1/checkout/sessions/{id}")).await.json();
        text(&session["payment_intent"])
    }

    /// An intent that was captured.
    pub(crate) async fn captured(&self) -> String {
        let intent = self.authorized().await;
        let reply = self
            .post(&format!("/v1/payment_intents/{intent}/capture"), "")
            .await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        intent
    }
}

/// The parameters of a session, as async-stripe encodes them.
pub(crate) fn session_form(now: i64, unit_amount: i64) -> String {
    format!(
        "mode=payment&line_items[0][price_data][currency]=usd&line_items[0][price_data][unit_amount]={unit_amount}\
         &line_items[0][price_data][product_data][name]=Hamlet%2C+front+row&line_items[0][quantity]=2\
         &payment_intent_data[capture_method]=manual&payment_intent_data[metadata][order_id]=order-1\
         &metadata[order_id]=order-1&client_reference_id=order-1&expires_at={}\
         &success_url=http%3A%2F%2Fshop.test%2Forders%2F1%3Fsession_id%3D%7BCHECKOUT_SESSION_ID%7D\
         &cancel_url=http%3A%2F%2Fshop.test%2Forders%2F1",
        now + 31 * 60
    )
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// The error's code and message.
    pub(crate) fn error(&self) -> (Option<String>, String) {
        let error = &self.json()["error"];
        assert!(
            error["type"].is_string() && error["message"].is_string(),
            "not Stripe's shape: {}",
            self.body
        );
        (error["code"].as_str().map(str::to_owned), text(&error["message"]))
    }
}

pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}

/// Asks again and again until there is an answer, with a deadline.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    testkit::eventually(what, DEADLINE, async || ask().await).await
}

/// An endpoint that keeps what it is sent.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    inbox: Arc<Inbox>,
}

struct Inbox {
    received: Mutex<Vec<Received>>,
    status: AtomicU16,
}

#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) signature: String,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn event(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub(crate) fn kind(&self) -> String {
        text(&self.event()["type"])
    }

    pub(crate) fn id(&self) -> String {
        text(&self.event()["id"])
    }
}

impl Endpoint {
    pub(crate) async fn start() -> Self {
        let inbox = Arc::new(Inbox {
            received: Mutex::default(),
            status: AtomicU16::new(200),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
        let router = Router::new()
            .route("/hook", post(receive))
            .with_state(Arc::clone(&inbox));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, inbox }
    }

    /// What it answers from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.inbox.status.store(status, Ordering::SeqCst);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.inbox.received.lock().expect("not poisoned").clone()
    }

    pub(crate) fn kinds(&self) -> Vec<String> {
        self.received().iter().map(Received::kind).collect()
    }

    /// The first event of this type, once it has come.
    pub(crate) async fn wait_for(&self, kind: &str) -> Received {
        eventually(kind, || async {
            self.received()
                .into_iter()
                .find(|received| received.kind() == kind)
        })
        .await
    }

    /// Waits until so many deliveries have come.
    pub(crate) async fn wait_for_count(&self, count: usize) {
        eventually("deliveries", || async {
            (self.received().len() >= count).then_some(())
        })
        .await;
    }
}

async fn receive(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, body: String) -> StatusCode {
    let signature = headers
        .get("stripe-signature")
        .expect("signed")
        .to_str()
        .expect("text")
        .to_owned();
    inbox
        .received
        .lock()
        .expect("not poisoned")
        .push(Received { signature, body });
    StatusCode::from_u16(inbox.status.load(Ordering::SeqCst)).expect("a status")
}
