//! A store that was set back: nobody is served, and nothing is written, before it has taken back what it had lost.

use events::Source;
use serde_json::json;
use session::SigningKey;
use store::{RestoreOptions, restore};
use testkit::eventually;

use crate::example::{Notes, SignsIn};
use crate::world::{Running, SOON, World, ready, token};

const TOKEN: &str = "0123456789-operator";

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_takes_its_events_back_before_it_serves() {
    let world = World::new();
    let mut settings = world.settings();
    settings.operator_token = Some(TOKEN.to_owned().into());
    let auth = Running::start::<SignsIn>(&settings).await.unwrap();
    let publish = async |auth: &Running, seed: u8| {
        auth.client
            .post("/publish", &json!({"key_seed": seed}))
            .send()
            .await
            .status
    };
    assert_eq!(publish(&auth, 4).await, 200);
    let operator = auth.client.with_bearer(TOKEN);
    let backup = operator.get("/internal/backup").expect(200).await.body;

    // What comes after the backup reaches the stream, and a reader.
    assert_eq!(publish(&auth, 5).await, 200);
    let notes = Running::start::<Notes>(&world.settings()).await.unwrap();
    let ann = notes.client.with_bearer(token(&notes.clock).1);
    ready(&notes).await;
    eventually("the second key to be known", SOON, || async {
        let answer = ann.post("/notes", &json!({"text": "a"})).send().await;
        (answer.status == 201).then_some(())
    })
    .await;
    let now = auth.clock.now();
    auth.stop().await;
    let options = RestoreOptions::new(Source::Auth, now);
    restore(&backup[..], &settings.store_dir(Source::Auth), &options).unwrap();

    let auth = Running::start::<SignsIn>(&settings).await.unwrap();
    // It serves once it has heard from all of its readers.
    let status = auth.client.get("/internal/status").expect(200).await.json();
    let state = status["store"]["state"].as_str().unwrap();
    assert!(state.starts_with("adopting: "), "{state}");
    auth.client.get("/healthz").expect(200).await;
    let refused = auth.client.get("/readyz").expect(503).await;
    assert!(refused.text().contains("adopting"), "{}", refused.text());
    let early = auth
        .client
        .post("/publish", &json!({"key_seed": 6}))
        .expect(503)
        .await;
    assert!(early.header("retry-after").is_some());

    // One of them runs here and answers by itself. For the others the test speaks, again and again, since only what is
    // said after the relay has asked is an answer.
    eventually("it serves", SOON, || async {
        for group in ["orders", "expiration", "payments"] {
            let word = ["kind", "statement", "group", group, "epoch", "1", "seq", "2"];
            world
                .redis
                .command(&[&["XADD", "requests:auth", "*"], word.as_slice()].concat());
        }
        (auth.client.get("/readyz").send().await.status == 200).then_some(())
    })
    .await;
    let health = auth.client.get("/readyz").expect(200).await.json();
    assert_eq!(health["services"][0]["signingKeys"], 2, "{health}");
    let status = auth.client.get("/internal/status").expect(200).await.json();
    assert_eq!(status["bus"]["takenBack"]["events"], 1, "{status}");
    assert_eq!(publish(&auth, 6).await, 200);
    let kid = SigningKey::from_seed(&[6; 32]).kid().to_owned();
    eventually("the third key to reach the reader", SOON, || async {
        let story = auth
            .client
            .get(format!("/internal/events?subject={kid}"))
            .send()
            .await
            .json();
        let cursor = notes.client.get("/internal/status").send().await.json();
        let sources = cursor["bus"]["sources"].as_array().cloned().unwrap_or_default();
        let of_auth = sources.iter().find(|source| source["source"] == "auth")?;
        (story[0]["seq"] == 3 && of_auth["cursor"] == 3).then_some(())
    })
    .await;
    notes.stop().await;
    auth.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_it_serves_after_a_while_all_the_same() {
    let world = World::new();
    let mut settings = world.settings();
    settings.redis_url = "redis://127.0.0.1:1".into();
    let auth = Running::start::<SignsIn>(&settings).await.unwrap();
    let status = auth
        .client
        .post("/publish", &json!({"key_seed": 4}))
        .send()
        .await
        .status;
    assert_eq!(status, 200);
    auth.stop().await;
}
