//! The switches for faults do what they say, and only where they are allowed.

use crate::support::{Endpoint, Received, TestApp, eventually, session_form};

const SESSIONS: &str = "/v1/checkout/sessions";

async fn set(app: &TestApp, json: &str) {
    let reply = app.post_json("/stripe-fake/faults", json).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
}

async fn sessions(app: &TestApp) -> i64 {
    app.get("/stripe-fake/ledger").await.json()["sessions"]
        .as_i64()
        .expect("a number")
}

#[tokio::test]
async fn faults_that_do_the_work_and_hide_it() {
    let app = TestApp::start().await;
    let form = session_form(app.now(), 2_500);
    set(
        &app,
        r#"{"fault":"answer_lost","route":"POST /v1/checkout/sessions","count":1}"#,
    )
    .await;
    let lost = app.try_post(SESSIONS, &form, Some("a")).await;
    assert!(lost.is_err(), "the connection breaks: {lost:?}");
    assert_eq!(sessions(&app).await, 1, "but the work was done");
    let replayed = app.post_with_key(SESSIONS, &form, "a").await;
    assert_eq!(replayed.header("idempotent-replayed"), Some("true"));

    set(&app, r#"{"fault":"garbage","count":1}"#).await;
    let garbage = app.post_with_key(SESSIONS, &form, "b").await;
    assert_eq!(garbage.status, 200);
    assert!(serde_json::from_str::<serde_json::Value>(&garbage.body).is_err());
    assert_eq!(sessions(&app).await, 2);

    set(&app, r#"{"fault":"error_after","count":1}"#).await;
    let error = app.post_with_key(SESSIONS, &form, "c").await;
    assert_eq!(
        (error.status.as_u16(), error.json()["error"]["type"].as_str()),
        (500, Some("api_error"))
    );
    assert_eq!(sessions(&app).await, 3);
}

#[tokio::test]
async fn faults_that_do_not_do_the_work() {
    let app = TestApp::start().await;
    let form = session_form(app.now(), 2_500);
    for (fault, status) in [("error_before", 500), ("rate_limited", 429), ("conflict", 409)] {
        set(&app, &format!(r#"{{"fault":"{fault}","count":1}}"#)).await;
        let reply = app.post_with_key(SESSIONS, &form, fault).await;
        assert_eq!(reply.status, status, "{fault}");
        reply.error();
        assert_eq!(sessions(&app).await, 0, "{fault}");
    }
    for (fault, n) in [("error_before", 1), ("rate_limited", 2), ("conflict", 3)] {
        assert_eq!(
            app.post_with_key(SESSIONS, &form, fault).await.status,
            200,
            "the key is still free: {fault}"
        );
        assert_eq!(sessions(&app).await, n);
    }
    set(&app, r#"{"fault":"error_stored","count":1}"#).await;
    assert_eq!(app.post_with_key(SESSIONS, &form, "s").await.status, 500);
    let again = app.post_with_key(SESSIONS, &form, "s").await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotent-replayed")),
        (500, Some("true"))
    );
    assert_eq!(sessions(&app).await, 3);
}

/// Asks for a session, and goes away once Stripe has read it and been served with a fault.
async fn gives_up(app: &TestApp, form: &str) {
    let served = eventually("the fault is served", async || {
        let list = app.get("/stripe-fake/faults").await.json();
        (list["faults"][0]["served"] == 1).then_some(())
    });
    tokio::select! {
        reply = app.post_with_key(SESSIONS, form, "h") => panic!("no answer comes, and not {}", reply.body),
        () = served => {}
    }
}

#[tokio::test]
async fn a_hanging_answer_has_done_its_work() {
    let app = TestApp::start().await;
    let form = session_form(app.now(), 2_500);
    set(
        &app,
        r#"{"fault":"hang","route":"/v1/checkout/sessions","count":1,"seconds":600}"#,
    )
    .await;
    gives_up(&app, &form).await;
    let replayed = eventually("Stripe knows the answer", async || {
        let reply = app.post_with_key(SESSIONS, &form, "h").await;
        // Until the work is done it is still being done.
        (reply.status != 409).then_some(reply)
    })
    .await;
    assert_eq!(
        replayed.header("idempotent-replayed"),
        Some("true"),
        "{}",
        replayed.body
    );
    assert_eq!(sessions(&app).await, 1);
}

#[tokio::test]
async fn work_goes_on_when_the_client_goes_away() {
    let app = TestApp::start().await;
    let form = session_form(app.now(), 2_500);
    set(&app, r#"{"fault":"hang_before","count":1,"seconds":10}"#).await;
    gives_up(&app, &form).await;
    assert_eq!(
        app.post_with_key(SESSIONS, &form, "h").await.status,
        409,
        "it still runs"
    );
    eventually("the work", || async { (sessions(&app).await == 1).then_some(()) }).await;
}

#[tokio::test]
async fn switches_are_listed_cleared_and_refused() {
    let app = TestApp::start().await;
    set(&app, r#"{"fault":"error_before","route":"GET /v1/refunds/*"}"#).await;
    assert_eq!(app.get("/v1/refunds/re_1").await.status, 500);
    assert_eq!(
        app.get("/v1/refunds/re_1").await.status,
        500,
        "without a count: until cleared"
    );
    assert_eq!(
        app.get("/v1/payment_intents/pi_1").await.status,
        404,
        "other routes are well"
    );
    let list = app.get("/stripe-fake/faults").await.json();
    assert_eq!(list["faults"][0]["served"], 2);
    assert_eq!(app.delete("/stripe-fake/faults").await.json()["cleared"], 1);
    assert_eq!(app.get("/v1/refunds/re_1").await.status, 404);
    for wrong in [
        "",
        "{}",
        r#"{"fault":"boom"}"#,
        r#"{"fault":"hang","seconds":999999}"#,
    ] {
        let reply = app.post_json("/stripe-fake/faults", wrong).await;
        assert_eq!(reply.status, 400, "{wrong}");
        reply.error();
    }
}

#[tokio::test]
async fn without_leave_there_are_no_faults_and_the_ledger_needs_the_key() {
    let app = TestApp::with(|config| config.faults_enabled = false).await;
    assert_eq!(
        app.post_json("/stripe-fake/faults", r#"{"fault":"hang"}"#)
            .await
            .status,
        404
    );
    assert_eq!(app.get("/stripe-fake/faults").await.status, 404);
    assert_eq!(app.delete("/stripe-fake/faults").await.status, 404);
    assert_eq!(app.get("/stripe-fake/ledger").await.status, 200);
    let stranger = http::Request::get(format!("{}/stripe-fake/ledger", app.base));
    let reply = app
        .send(stranger.body(http_body_util::Full::default()).expect("a request"))
        .await;
    assert_eq!(reply.expect("an answer").status, 401);
}

async fn with_endpoint() -> (TestApp, Endpoint) {
    let endpoint = Endpoint::start().await;
    let url = endpoint.url.clone();
    (
        TestApp::with(|config| config.webhook_url = Some(url)).await,
        endpoint,
    )
}

#[tokio::test]
async fn held_events_come_when_the_switches_are_cleared() {
    let (app, endpoint) = with_endpoint().await;
    set(&app, r#"{"fault":"hold","route":"checkout.session.*"}"#).await;
    app.authorized().await;
    endpoint
        .wait_for("payment_intent.amount_capturable_updated")
        .await;
    assert_eq!(endpoint.received().len(), 1, "{:?}", endpoint.kinds());
    app.delete("/stripe-fake/faults").await;
    endpoint.wait_for("checkout.session.completed").await;
}

#[tokio::test]
async fn doubled_events_come_several_times() {
    let (app, endpoint) = with_endpoint().await;
    set(
        &app,
        r#"{"fault":"double","route":"checkout.session.completed","copies":5}"#,
    )
    .await;
    app.authorized().await;
    endpoint.wait_for_count(6).await;
    let ids: Vec<_> = endpoint
        .received()
        .iter()
        .filter(|r| r.kind() == "checkout.session.completed")
        .map(Received::id)
        .collect();
    assert_eq!(ids.len(), 5);
    assert!(ids.iter().all(|id| *id == ids[0]), "one event, five times");
}

#[tokio::test]
async fn reordered_events_come_backwards() {
    let (app, endpoint) = with_endpoint().await;
    set(&app, r#"{"fault":"reorder","count":3}"#).await;
    app.captured().await;
    endpoint.wait_for_count(3).await;
    let expected = [
        "payment_intent.succeeded",
        "checkout.session.completed",
        "payment_intent.amount_capturable_updated",
    ];
    assert_eq!(endpoint.kinds(), expected);
}

#[tokio::test]
async fn dropped_events_never_come() {
    let (app, endpoint) = with_endpoint().await;
    set(&app, r#"{"fault":"drop","route":"checkout.session.completed"}"#).await;
    app.captured().await;
    endpoint.wait_for("payment_intent.succeeded").await;
    eventually("nothing waits", || async {
        (app.get("/stripe-fake/ledger").await.json()["pendingEvents"] == 0).then_some(())
    })
    .await;
    assert!(
        !endpoint
            .kinds()
            .contains(&"checkout.session.completed".to_owned())
    );
}
