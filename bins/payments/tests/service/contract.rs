//! What the contract says about payments, good and bad.

use serde_json::{Value, json};
use testkit::{Answer, eventually};

use crate::world::{SOON, World};

fn problem(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let body = answer.json();
    assert_eq!(body["status"], status);
    assert!(!body["errors"].as_array().expect("errors").is_empty());
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_said() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let order = world.order(user).await;
    let id = order.id().to_string();
    for (body, field) in [
        (json!({}), Some("orderId")),
        (json!({ "orderId": null }), Some("orderId")),
        (json!({ "orderId": 7 }), Some("orderId")),
        (json!({ "orderId": "7" }), Some("orderId")),
        (json!({ "orderId": "" }), Some("orderId")),
        (json!({ "orderId": "x".repeat(1000) }), Some("orderId")),
        (
            json!({ "orderId": "5f2b0e9a-7f5c-4f0e-8f6a-0d8f4a1b2c3d" }),
            Some("orderId"),
        ),
        (json!({ "orderId": id, "amount": 1 }), Some("amount")),
        (json!([]), None),
        (json!("x"), None),
    ] {
        let answer = ann.post("/api/payments", &body).send().await;
        let problem = problem(&answer, 400);
        if let Some(field) = field {
            assert_eq!(problem["errors"][0]["field"], field, "{body}: {problem}");
        }
    }
    let broken = ann
        .request(http::Method::POST, "/api/payments")
        .body("application/json", "{\"orderId\":");
    problem(&broken.send().await, 400);
    let text = ann
        .request(http::Method::POST, "/api/payments")
        .body("text/plain", "hello");
    problem(&text.send().await, 415);
    let huge = json!({ "orderId": "x".repeat(65 * 1024) });
    problem(&ann.post("/api/payments", &huge).send().await, 413);
    problem(&ann.put("/api/payments", &json!({})).send().await, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_buyer_knows_of_a_payment() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let (_, eve) = world.person();
    let order = world.order(user).await;
    let body = json!({ "orderId": order.id() });
    problem(&world.client.post("/api/payments", &body).send().await, 401);
    problem(
        &world
            .client
            .with_bearer("nonsense")
            .post("/api/payments", &body)
            .send()
            .await,
        401,
    );
    problem(&eve.post("/api/payments", &body).send().await, 404);
    let opened = world.open(&ann, &order).await;
    let keys: Vec<&String> = opened.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["id", "orderId", "status", "url"]);
    let path = format!("/api/payments/{}", opened["id"].as_str().unwrap());
    problem(&world.client.get(&path).send().await, 401);
    problem(&eve.get(&path).send().await, 404);
    assert_eq!(ann.get(&path).expect(200).await.json()["id"], opened["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_not_found() {
    let world = World::start().await;
    let (_, ann) = world.person();
    let old = "01900000-0000-7000-8000-000000000001";
    problem(
        &ann.post("/api/payments", &json!({ "orderId": old })).send().await,
        404,
    );
    // Whether a young one exists must be asked of the orders service: "come again" until it has answered.
    let young = json!({ "orderId": world.clock.order_id() });
    eventually("payments can tell", SOON, async || {
        let answer = ann.post("/api/payments", &young).send().await;
        (answer.status != 503).then(|| problem(&answer, 404))
    })
    .await;
    for id in [old, "1", "webhook"] {
        let answer = ann.get(format!("/api/payments/{id}")).send().await;
        assert!(answer.status == 404 || answer.status == 405, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_again_gets_the_same_answer() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let (order, other) = (world.order(user).await, world.order(user).await);
    let post = |id| {
        ann.post("/api/payments", &json!({ "orderId": id }))
            .header("Idempotency-Key", "once")
    };
    let first = post(order.id()).expect(201).await;
    let again = post(order.id()).expect(201).await;
    assert_eq!(first.json(), again.json());
    problem(&post(other.id()).send().await, 422);
    let (third, bob) = world.person();
    let his = world.order(third).await;
    let body = json!({ "orderId": his.id() });
    let answer = bob
        .post("/api/payments", &body)
        .header("Idempotency-Key", "once")
        .expect(201)
        .await;
    assert_eq!(answer.json()["orderId"], his.id().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_for_two_orders_at_once_is_answered_for_one() {
    let world = World::start().await;
    let (user, ann) = world.person();
    let orders = [world.order(user).await, world.order(user).await];
    let post = |n: usize| {
        ann.post("/api/payments", &json!({ "orderId": orders[n].id() }))
            .header("Idempotency-Key", "once")
    };
    let (one, two) = tokio::join!(post(0).send(), post(1).send());
    let (won, lost, answer, refusal) = if one.status == 201 {
        (0, 1, one, two)
    } else {
        (1, 0, two, one)
    };
    assert_eq!(answer.status, 201, "{answer:?}");
    problem(&refusal, 422);
    assert_eq!(post(won).expect(201).await.json(), answer.json());
    problem(&post(lost).send().await, 422);
    // Asked for rightly, the other order has its own page, and only that one.
    assert_eq!(world.open(&ann, &orders[lost]).await["status"], "open");
    assert_eq!(world.open_sessions().await.len(), 2);
}
