//! Checkout Sessions over the API.

use crate::support::{KEY, TestApp, session_form, text};
use http::Request;
use http_body_util::Full;

#[tokio::test]
async fn a_session_has_what_the_client_reads() {
    let app = TestApp::start().await;
    let session = app.session().await;
    let id = text(&session["id"]);
    assert!(id.starts_with("cs_test_"));
    assert_eq!(session["object"], "checkout.session");
    assert_eq!(session["amount_total"], 5_000);
    assert_eq!(session["currency"], "usd");
    assert_eq!(session["status"], "open");
    assert_eq!(session["payment_status"], "unpaid");
    assert!(
        session["payment_intent"].is_null(),
        "the intent comes with the first attempt to pay"
    );
    assert_eq!(session["metadata"]["order_id"], "order-1");
    assert_eq!(session["client_reference_id"], "order-1");
    assert_eq!(
        text(&session["url"]),
        format!("{}/stripe-fake/pay/{id}", app.base)
    );
    let read = app.get(&format!("/v1/checkout/sessions/{id}")).await;
    assert_eq!(read.json(), session);
    assert!(read.header("request-id").expect("named").starts_with("req_"));
    let expanded = app
        .get(&format!("/v1/checkout/sessions/{id}?expand[0]=line_items"))
        .await
        .json();
    assert_eq!(
        expanded["line_items"]["data"][0]["description"],
        "Hamlet, front row"
    );
    assert_eq!(expanded["line_items"]["data"][0]["quantity"], 2);
    let items = app
        .get(&format!("/v1/checkout/sessions/{id}/line_items"))
        .await
        .json();
    assert_eq!(items, expanded["line_items"]);
}

#[tokio::test]
async fn wrong_parameters_are_refused_by_name() {
    let app = TestApp::start().await;
    let good = session_form(app.now(), 2_500);
    let expires = format!("expires_at={}", app.now() + 31 * 60);
    let table = [
        (good.replace("mode=payment", "mode=subscription"), "mode"),
        (good.replace("mode=payment", "x="), "x"),
        (
            good.replace("[currency]=usd", "[currency]=xyz"),
            "line_items[0][price_data][currency]",
        ),
        (
            good.replace("[unit_amount]=2500", "[unit_amount]=25.5"),
            "line_items[0][price_data][unit_amount]",
        ),
        (
            good.replace("[unit_amount]=2500", "[unit_amount]=-1"),
            "line_items[0][price_data][unit_amount]",
        ),
        (
            good.replace("[quantity]=2", "[quantity]=0"),
            "line_items[0][quantity]",
        ),
        (
            good.replace("&line_items[0][quantity]=2", ""),
            "line_items[0][quantity]",
        ),
        (
            good.replace("capture_method]=manual", "capture_method]=later"),
            "payment_intent_data[capture_method]",
        ),
        (
            good.replace(&expires, &format!("expires_at={}", app.now() + 1_799)),
            "expires_at",
        ),
        (
            good.replace(&expires, &format!("expires_at={}", app.now() + 86_401)),
            "expires_at",
        ),
        (good.replace(&expires, "expires_at=soon"), "expires_at"),
        (
            good.replace("http%3A%2F%2Fshop.test%2Forders%2F1%3F", "javascript%3A%2F%2F"),
            "success_url",
        ),
        (
            good.replace("cancel_url=http%3A%2F%2Fshop.test", "cancel_url=http%3A%2F%2F"),
            "cancel_url",
        ),
        (
            good.replace(
                "cancel_url=http%3A%2F%2Fshop.test",
                "cancel_url=http%3A%2F%2Fa%3Bb",
            ),
            "cancel_url",
        ),
        (format!("{good}&colour=red"), "colour"),
        (format!("{good}&customer_email=nobody"), "customer_email"),
        (format!("{good}&expand[]=customer"), "expand"),
        ("mode=payment&success_url=http://a".to_owned(), "line_items"),
    ];
    for (form, param) in table {
        let reply = app.post("/v1/checkout/sessions", &form).await;
        assert_eq!(reply.status, 400, "{form}: {}", reply.body);
        assert_eq!(reply.json()["error"]["param"], param, "{form}: {}", reply.body);
        assert_eq!(reply.json()["error"]["type"], "invalid_request_error");
    }
    for (amount, code) in [(24, "amount_too_small"), (50_000_000, "amount_too_large")] {
        let reply = app
            .post("/v1/checkout/sessions", &session_form(app.now(), amount))
            .await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.error().0.as_deref(), Some(code));
    }
    let json = app
        .post_json("/v1/checkout/sessions", r#"{"mode":"payment"}"#)
        .await;
    assert_eq!(json.status, 400, "{}", json.body);
    let large = app
        .post("/v1/checkout/sessions", &format!("mode={}", "x".repeat(300_000)))
        .await;
    assert_eq!(large.status, 413);
    assert_eq!(app.get("/stripe-fake/ledger").await.json()["sessions"], 0);
}

#[tokio::test]
async fn bounds_of_expires_at_are_inclusive() {
    let app = TestApp::start().await;
    for seconds in [30 * 60, 24 * 3_600] {
        let form = session_form(app.now() + seconds - 31 * 60, 2_500);
        let reply = app.post("/v1/checkout/sessions", &form).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.json()["expires_at"], app.now() + seconds);
    }
}

#[tokio::test]
async fn only_an_open_session_can_be_expired() {
    let app = TestApp::start().await;
    let id = text(&app.session().await["id"]);
    let expired = app.post(&format!("/v1/checkout/sessions/{id}/expire"), "").await;
    assert_eq!(expired.status, 200);
    assert_eq!(expired.json()["status"], "expired");
    assert!(expired.json()["url"].is_null());
    let again = app.post(&format!("/v1/checkout/sessions/{id}/expire"), "").await;
    assert_eq!(again.status, 400);
    assert!(
        again.error().1.contains("status of \"expired\""),
        "{}",
        again.body
    );
    let complete = text(&app.session().await["id"]);
    app.pay(&complete, "4242424242424242").await;
    let refused = app
        .post(&format!("/v1/checkout/sessions/{complete}/expire"), "")
        .await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.error().1.contains("status of \"complete\""),
        "{}",
        refused.body
    );
}

#[tokio::test]
async fn expiring_closes_an_attempt_that_failed_before() {
    let app = TestApp::start().await;
    let id = text(&app.session().await["id"]);
    assert_eq!(app.pay(&id, "4000000000000002").await.status, 402);
    let open = app
        .get(&format!("/v1/checkout/sessions/{id}?expand[]=payment_intent"))
        .await
        .json();
    assert_eq!(open["payment_intent"]["status"], "requires_payment_method");
    let expired = app
        .post(
            &format!("/v1/checkout/sessions/{id}/expire"),
            "expand[]=payment_intent",
        )
        .await
        .json();
    assert_eq!(expired["payment_intent"]["status"], "canceled");
}

#[tokio::test]
async fn sessions_expire_by_themselves() {
    let app = TestApp::start().await;
    let id = text(&app.session().await["id"]);
    app.pass(31 * 60 - 1);
    assert_eq!(app.fake.sweep_once(), 0);
    app.pass(1);
    // Nobody can pay any more, even before the sweep has come by.
    assert_eq!(app.pay(&id, "4242424242424242").await.status, 410);
    crate::support::eventually("the sweep", || async {
        let session = app.get(&format!("/v1/checkout/sessions/{id}")).await.json();
        (session["status"] == "expired").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_session_is_found_by_its_intent() {
    let app = TestApp::start().await;
    let intent = app.authorized().await;
    let list = app
        .get(&format!("/v1/checkout/sessions?payment_intent={intent}"))
        .await
        .json();
    assert_eq!(list["data"].as_array().expect("a list").len(), 1);
    assert_eq!(list["data"][0]["payment_intent"], intent.as_str());
    assert_eq!(
        app.get("/v1/checkout/sessions?payment_intent=pi_none")
            .await
            .status,
        404
    );
    assert_eq!(app.get("/v1/checkout/sessions").await.status, 400);
}

#[tokio::test]
async fn the_secret_key_opens_the_api_and_nothing_else_does() {
    let app = TestApp::start().await;
    let basic = "Basic c2tfdGVzdF9ib3hvZmZpY2U6"; // "sk_test_boxoffice:"
    let table = [
        (Some(format!("Bearer {KEY}")), 404),
        (Some(basic.to_owned()), 404),
        (Some("Bearer sk_test_other".to_owned()), 401),
        (Some("Bearer ".to_owned()), 401),
        (Some("Basic !!!".to_owned()), 401),
        (Some(KEY.to_owned()), 401),
        (None, 401),
    ];
    for (authorization, status) in table {
        let mut request = Request::builder().uri(format!("{}/v1/payment_intents/pi_none", app.base));
        if let Some(authorization) = &authorization {
            request = request.header("authorization", authorization);
        }
        let reply = app
            .send(request.body(Full::default()).expect("a request"))
            .await
            .expect("an answer");
        assert_eq!(reply.status, status, "{authorization:?}");
        assert!(!reply.body.contains(KEY), "the key is never repeated");
        reply.error();
    }
}

#[tokio::test]
async fn what_does_not_exist_is_said_in_stripes_words() {
    let app = TestApp::start().await;
    for path in [
        "/v1/checkout/sessions/cs_none",
        "/v1/payment_intents/pi_none",
        "/v1/refunds/re_none",
        "/v1/events/e",
    ] {
        let reply = app.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert_eq!(reply.error().0.as_deref(), Some("resource_missing"), "{path}");
    }
    for (method, path) in [
        ("GET", "/v1/customers"),
        ("PUT", "/v1/refunds"),
        ("GET", "/v1/"),
        ("GET", "/v1/refunds/a/b"),
    ] {
        let request = app
            .request(method, path)
            .body(Full::default())
            .expect("a request");
        let reply = app.send(request).await.expect("an answer");
        assert_eq!(reply.status, 404, "{path}");
        if path != "/v1/" {
            assert!(reply.error().1.starts_with("Unrecognized request URL"), "{path}");
        }
    }
}
