//! Idempotency keys by Stripe's rules.

use crate::support::{TestApp, eventually, session_form, text};

#[tokio::test]
async fn the_same_key_gets_the_same_answer() {
    let app = TestApp::start().await;
    let form = session_form(app.now(), 2_500);
    let first = app.post_with_key("/v1/checkout/sessions", &form, "cs:1:1").await;
    assert_eq!(
        (first.status.as_u16(), first.header("idempotent-replayed")),
        (200, None)
    );
    app.pass(60);
    let second = app.post_with_key("/v1/checkout/sessions", &form, "cs:1:1").await;
    assert_eq!(second.body, first.body);
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(second.header("original-request"), first.header("request-id"));
    assert_eq!(app.get("/stripe-fake/ledger").await.json()["sessions"], 1);
}

#[tokio::test]
async fn another_request_with_the_same_key_is_refused() {
    let app = TestApp::start().await;
    let form = session_form(app.now(), 2_500);
    app.post_with_key("/v1/checkout/sessions", &form, "k").await;
    let other = app
        .post_with_key("/v1/checkout/sessions", &session_form(app.now(), 2_600), "k")
        .await;
    assert_eq!(other.status, 400);
    assert_eq!(other.json()["error"]["type"], "idempotency_error");
    assert!(other.error().1.contains("same parameters"), "{}", other.body);
    let elsewhere = app.post_with_key("/v1/refunds", &form, "k").await;
    assert_eq!(elsewhere.json()["error"]["type"], "idempotency_error");
    assert!(
        elsewhere.error().1.contains("same endpoint"),
        "{}",
        elsewhere.body
    );
    let long = app
        .post_with_key("/v1/checkout/sessions", &form, &"k".repeat(256))
        .await;
    assert_eq!(long.status, 400);
}

#[tokio::test]
async fn refusals_of_parameters_are_not_stored_and_others_are() {
    let app = TestApp::start().await;
    let broken = app
        .post_with_key("/v1/checkout/sessions", "mode=payment", "a")
        .await;
    assert_eq!(broken.status, 400);
    let fixed = app
        .post_with_key("/v1/checkout/sessions", &session_form(app.now(), 2_500), "a")
        .await;
    assert_eq!(fixed.status, 200, "the key is still free: {}", fixed.body);

    let intent = app.captured().await;
    let path = format!("/v1/payment_intents/{intent}/capture");
    let refused = app.post_with_key(&path, "", "cap").await;
    assert_eq!(refused.status, 400);
    let again = app.post_with_key(&path, "", "cap").await;
    assert_eq!(
        (again.header("idempotent-replayed"), &again.body),
        (Some("true"), &refused.body)
    );
}

#[tokio::test]
async fn a_stored_500_is_repeated_too() {
    let app = TestApp::start().await;
    let intent = app.authorized().await;
    let path = format!("/v1/payment_intents/{intent}/capture");
    app.post_json(
        "/stripe-fake/faults",
        r#"{"fault":"error_after","route":"POST *capture","count":1}"#,
    )
    .await;
    let first = app.post_with_key(&path, "", "cap").await;
    assert_eq!(
        (first.status.as_u16(), first.header("idempotent-replayed")),
        (500, None)
    );
    let second = app.post_with_key(&path, "", "cap").await;
    assert_eq!(
        (second.status.as_u16(), second.header("idempotent-replayed")),
        (500, Some("true"))
    );
    assert_eq!(
        app.get(&format!("/v1/payment_intents/{intent}")).await.json()["status"],
        "succeeded"
    );
}

#[tokio::test]
async fn while_the_first_runs_the_second_is_a_conflict() {
    let app = TestApp::start().await;
    let set = r#"{"fault":"hang_before","route":"POST /v1/checkout/sessions","count":1,"seconds":1}"#;
    assert_eq!(app.post_json("/stripe-fake/faults", set).await.status, 201);
    let form = session_form(app.now(), 2_500);
    let (first, second) = tokio::join!(app.post_with_key("/v1/checkout/sessions", &form, "k"), async {
        eventually("the first has begun", || async {
            (app.get("/stripe-fake/faults").await.json()["faults"][0]["served"] == 1).then_some(())
        })
        .await;
        // The fault is counted just before the key is taken, so the very first look may come too early;
        // then it is this one that runs, and the other one that is refused.
        app.post_with_key("/v1/checkout/sessions", &form, "k").await
    });
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{} {}", first.body, second.body);
    let refused = if first.status == 409 { first } else { second };
    assert_eq!(refused.error().0.as_deref(), Some("idempotency_key_in_use"));
    let third = app.post_with_key("/v1/checkout/sessions", &form, "k").await;
    assert_eq!(third.header("idempotent-replayed"), Some("true"));
    assert_eq!(app.get("/stripe-fake/ledger").await.json()["sessions"], 1);
}

#[tokio::test]
async fn keys_are_forgotten_after_a_day() {
    let app = TestApp::start().await;
    let intent = app.captured().await;
    let form = format!("payment_intent={intent}&amount=100");
    let first = text(&app.post_with_key("/v1/refunds", &form, "ref").await.json()["id"]);
    app.pass(24 * 3_600 - 1);
    assert_eq!(
        text(&app.post_with_key("/v1/refunds", &form, "ref").await.json()["id"]),
        first
    );
    app.pass(1);
    let second = app.post_with_key("/v1/refunds", &form, "ref").await;
    assert_eq!(second.header("idempotent-replayed"), None);
    assert_ne!(
        text(&second.json()["id"]),
        first,
        "the same key acts again, which is why one must look first"
    );
}

#[tokio::test]
async fn keys_mean_nothing_for_reads() {
    let app = TestApp::start().await;
    let id = text(&app.session().await["id"]);
    let path = format!("/v1/checkout/sessions/{id}");
    let read = |key: &'static str| {
        let request = app.request("GET", &path).header("idempotency-key", key);
        app.send(request.body(http_body_util::Full::default()).expect("a request"))
    };
    assert_eq!(read("k").await.expect("an answer").json()["status"], "open");
    app.post(&format!("{path}/expire"), "").await;
    assert_eq!(read("k").await.expect("an answer").json()["status"], "expired");
}
