//! What every service gets from this crate, on a day on which nothing goes wrong.

use std::time::Duration;

use events::{SessionRevoked, Timestamp};
use serde_json::json;
use testkit::{Client, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::example::{Notes, Places, SignsIn};
use crate::unheard::{does_not_exist, hears_of};
use crate::world::{Running, SOON, World, ready, token, with_key};

/// Ten times what is promised, which the fault bench holds all services to on a machine that has nothing else to do
/// (`./scripts/faults 32`).
const REVOKED_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_key_arrives_and_a_revoked_session_ends_everywhere() {
    let world = World::new();
    let auth = Running::start::<SignsIn>(&world.settings()).await.unwrap();
    let notes = Running::start::<Notes>(&world.settings()).await.unwrap();
    let (claims, token) = token(&notes.clock);
    let ann = notes.client.with_bearer(&token);
    let note = json!({"text": "hello"});

    assert_eq!(
        notes.client.get("/readyz").send().await.status,
        503,
        "no key is known yet"
    );
    assert_eq!(notes.client.get("/healthz").send().await.status, 200);
    notes.client.post("/notes", &note).expect(401).await;
    ann.post("/notes", &note).expect(503).await;

    auth.client
        .post("/publish", &json!({"key_seed": 5}))
        .expect(200)
        .await;
    ready(&notes).await;
    ann.post("/notes", &note).expect(201).await;

    let revoked = SessionRevoked {
        user_id: claims.sub,
        session_id: Some(claims.sid),
        except: None,
        before: notes.clock.now(),
        until: Timestamp::from_seconds(claims.exp),
    };
    auth.client
        .post("/publish", &json!({"revoke": revoked}))
        .expect(200)
        .await;
    eventually("the session to end", REVOKED_WITHIN, || async {
        (ann.post("/notes", &note).send().await.status == 401).then_some(())
    })
    .await;

    // Both are known again after a restart, without the bus.
    notes.stop().await;
    let mut offline = world.settings();
    offline.redis_url = "redis://127.0.0.1:1".into();
    let notes = Running::start::<Notes>(&offline).await.unwrap();
    ready(&notes).await;
    notes
        .client
        .with_bearer(&token)
        .post("/notes", &note)
        .expect(401)
        .await;
    let (_, other) = crate::world::token(&notes.clock);
    notes
        .client
        .with_bearer(other)
        .post("/notes", &note)
        .expect(201)
        .await;
    notes.stop().await;
    auth.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_again_has_one_effect_and_one_answer() {
    let world = World::new();
    let (auth, notes) = with_key(&world).await;
    let ann = notes.client.with_bearer(token(&notes.clock).1);
    let bob = notes.client.with_bearer(token(&notes.clock).1);
    let post = async |client: &Client, key: &str, text: &str| {
        let request = client.post("/notes", &json!({ "text": text }));
        request.header("idempotency-key", key).send().await
    };

    let first = post(&ann, "one", "a").await;
    assert_eq!(first.status, 201);
    let again = post(&ann, "one", "a").await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(post(&ann, "one", "b").await.status, 422);
    assert_ne!(post(&ann, "two", "a").await.body, first.body);
    assert_ne!(
        post(&bob, "one", "a").await.body,
        first.body,
        "a key is its person's own"
    );
    assert_eq!(post(&ann, "with space", "a").await.status, 400);

    // What was refused is not stored: the corrected request may use the same key.
    assert_eq!(post(&ann, "three", "").await.status, 400);
    assert_eq!(post(&ann, "three", "now").await.status, 201);

    // At once: one effect all the same.
    let bodies = futures(20, |_| async { post(&ann, "many", "a").await.body }).await;
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    notes.stop().await;
    auth.stop().await;
}

async fn futures<T: Send + 'static, F: Future<Output = T>>(count: usize, f: impl Fn(usize) -> F) -> Vec<T> {
    let mut all = Vec::with_capacity(count);
    let mut running: Vec<_> = (0..count).map(|n| Box::pin(f(n))).collect();
    std::future::poll_fn(|cx| {
        running.retain_mut(|future| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(value) => {
                all.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if running.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_matched_and_a_change_is_waited_for() {
    let world = World::new();
    let (auth, notes) = with_key(&world).await;
    let ann = notes.client.with_bearer(token(&notes.clock).1);
    let created = ann.post("/notes", &json!({"text": "a"})).expect(201).await;
    let path = format!("/notes/{}", created.field("id"));

    let read = notes.client.get(&path).expect(200).await;
    assert_eq!(read.header("etag"), Some("\"1\""));
    notes
        .client
        .get(&path)
        .header("if-none-match", "\"1\"")
        .expect(304)
        .await;
    let lost = ann
        .put(&path, &json!({"text": "b"}))
        .header("if-match", "\"7\"")
        .expect(412)
        .await;
    assert!(
        lost.header("content-type")
            .unwrap()
            .starts_with("application/problem+json")
    );

    let waiting = notes
        .client
        .get(&path)
        .header("if-none-match", "\"1\"")
        .header("prefer", "wait=10")
        .send();
    let changing = async {
        ann.put(&path, &json!({"text": "b"}))
            .header("if-match", "\"1\"")
            .expect(200)
            .await
    };
    let (news, _) = tokio::join!(waiting, changing);
    assert_eq!((news.status.as_u16(), news.header("etag")), (200, Some("\"2\"")));

    let nothing = notes
        .client
        .get(&path)
        .header("if-none-match", "\"2\"")
        .header("prefer", "wait=1");
    nothing.expect(304).await;
    notes.client.get("/notes/nonsense").expect(404).await;
    notes.stop().await;
    auth.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_service_has_just_written_is_waited_for() {
    let world = World::new();
    let orders = Running::start::<Places>(&world.settings()).await.unwrap();
    let notes = Running::start::<Notes>(&world.settings()).await.unwrap();
    let order = orders.clock.order_id();
    let path = format!("/orders/{order}");
    let writing = orders.client.post("/publish", &json!({"not_due": order}));
    writing.expect(200).await;
    hears_of(&notes.client, &path).await;

    let unknown = format!("/orders/{}", orders.clock.order_id());
    does_not_exist(&notes.client, &unknown).await;

    let story = orders
        .client
        .get(format!("/internal/events?subject={order}"))
        .expect(200)
        .await
        .json();
    assert_eq!(story[0]["type"], "order:notdue");
    assert_eq!(story[0]["data"]["orderId"], order.to_string());
    orders
        .client
        .get("/internal/events?subject=a%22b")
        .expect(400)
        .await;

    // Without the bus it does not know, and says so.
    let mut redis = world.redis;
    redis.kill();
    eventually("the service to know that it is cut off", SOON, || async {
        let unknown = format!("/orders/{}", orders.clock.order_id());
        (notes.client.get(unknown).send().await.status == 503).then_some(())
    })
    .await;
    notes.client.get(&path).expect(200).await;
    notes.stop().await;
    orders.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_on_the_same_store_is_refused_in_a_sentence() {
    let world = World::new();
    let first = Running::start::<Notes>(&world.settings()).await.unwrap();
    let refused = Running::start::<Notes>(&world.settings())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(refused.starts_with("the tickets store in "), "{refused}");
    assert!(refused.contains("in use"), "{refused}");
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_requests_finish_and_takes_no_new_ones() {
    let world = World::new();
    let (auth, notes) = with_key(&world).await;
    let token = token(&notes.clock).1;
    let mut half = TcpStream::connect(&notes.address).await.unwrap();
    let head = format!(
        "POST /notes HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 12\r\nexpect: 100-continue\r\n\r\n"
    );
    half.write_all(head.as_bytes()).await.unwrap();
    // The server says so once it has read the headers and waits for the body: then the request is accepted.
    let mut going_on = [0; 25];
    half.read_exact(&mut going_on).await.unwrap();
    assert_eq!(&going_on, b"HTTP/1.1 100 Continue\r\n\r\n");

    let Running {
        address,
        trigger,
        serving,
        ..
    } = notes;
    trigger.begin();
    eventually("the listener to close", SOON, || async {
        TcpStream::connect(&address).await.err()
    })
    .await;
    half.write_all(br#"{"text":"a"}"#).await.unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    tokio::time::timeout(SOON, serving).await.unwrap().unwrap();
    auth.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_traces_are_there() {
    let world = World::new();
    let (auth, notes) = with_key(&world).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let answer = notes
        .client
        .get("/notes/nonsense")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .expect(404)
        .await;
    assert_eq!(answer.header("x-trace-id"), Some(trace));
    let metrics = notes.client.get("/metrics").expect(200).await.text();
    assert!(metrics.contains("http_request_seconds_bucket"), "{metrics}");
    assert!(metrics.contains("route=\"/notes/{id}\""), "{metrics}");
    notes.stop().await;
    auth.stop().await;
}
