//! Paying: the page to pay on, what is known of a payment, and Stripe's notices.

use http::Method;
use ring::hmac;
use serde_json::{Value, json};

use crate::app::{App, NOBODYS_ID, Person};
use crate::checks::{blames, has_exactly, is_utc, problem, says};

const OPENED_FIELDS: [&str; 4] = ["id", "orderId", "status", "url"];

/// What the stand-in for Stripe signs its notices with.
const WEBHOOK_SECRET: &str = "whsec_boxoffice";

async fn open(person: &Person, order: &str) -> testkit::Answer {
    person
        .post("/api/payments", &json!({"orderId": order}))
        .patient()
        .send()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_paid_on_one_page() {
    let app = App::start();
    let (sal, bob, eve) = (
        app.person("sal").await,
        app.person("bob").await,
        app.person("eve").await,
    );
    let ticket = sal.lists(3).await;
    // At once after the order, before the tickets service may have answered: it waits.
    let order = bob.orders(&ticket, 2).await;
    let opened = open(&bob, &order).await;
    assert_eq!(opened.status, 201, "{}", opened.text());
    has_exactly(&opened.json(), &OPENED_FIELDS);
    assert_eq!(opened.field("orderId"), order);
    assert_eq!(opened.field("status"), "open");
    let url = opened.field("url");
    assert!(url.starts_with("http"), "{url}");
    // Asked again, by two at once: the same page.
    let (one, two) = tokio::join!(open(&bob, &order), open(&bob, &order));
    for again in [one, two] {
        assert_eq!(again.status, 201, "{}", again.text());
        assert_eq!(again.json(), opened.json());
    }
    let path = format!("/api/payments/{}", opened.field("id"));
    let payment = bob.get(&path).expect(200).await.json();
    has_exactly(
        &payment,
        &[
            &OPENED_FIELDS[..],
            &["amount", "currency", "createdAt", "updatedAt"],
        ]
        .concat(),
    );
    assert_eq!(payment["amount"], 40);
    assert_eq!(payment["currency"], "usd");
    assert_eq!(payment["status"], "open");
    assert!(is_utc(&payment["createdAt"]) && is_utc(&payment["updatedAt"]));
    // Nobody else has such an order or payment, the seller included.
    for other in [&sal, &eve] {
        problem(&open(other, &order).await, 404);
        problem(&other.get(&path).send().await, 404);
    }
    problem(&app.anyone().get(&path).send().await, 401);
    for id in [NOBODYS_ID, "nonsense", &order] {
        problem(&bob.get(format!("/api/payments/{id}")).send().await, 404);
    }

    app.pay(&url).await;
    bob.sees(&order, "complete").await;
    let paid = bob.get(&path).expect(200).await.json();
    assert_eq!(paid["status"], "captured");
    assert_eq!(paid["url"], Value::Null);
    // Paid: asked again it is no new payment.
    problem(&open(&bob, &order).await, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_paid_is_refused_with_its_reason() {
    let app = App::start();
    let (sal, bob) = (app.person("sal").await, app.person("bob").await);
    for (body, field) in [
        (json!({}), "orderId"),
        (json!({"orderId": null}), "orderId"),
        (json!({"orderId": ""}), "orderId"),
        (json!({"orderId": "nonsense"}), "orderId"),
        (json!({"orderId": 7}), "orderId"),
        (
            json!({"orderId": "5f2b0e9a-7f5c-4f0e-8f6a-0d8f4a1b2c3d"}),
            "orderId",
        ),
        (json!({"orderId": NOBODYS_ID, "amount": 1}), "amount"),
        (json!({"orderId": NOBODYS_ID, "token": "tok_visa"}), "token"),
    ] {
        blames(&bob.post("/api/payments", &body).send().await, &[field]);
    }
    problem(&open(&bob, NOBODYS_ID).await, 404);
    let ticket = sal.lists(2).await;
    let order = bob.reserves(&ticket, 1).await;
    // Cancelled before anything was opened, and with a page open.
    bob.delete(format!("/api/orders/{order}")).expect(204).await;
    testkit::eventually("payments has heard of it", crate::app::SOON, async || {
        let answer = open(&bob, &order).await;
        (answer.status == 409).then(|| says(&answer, 409, "The order is cancelled"))
    })
    .await;
    let order = bob.reserves(&ticket, 1).await;
    let opened = open(&bob, &order).await;
    assert_eq!(opened.status, 201, "{}", opened.text());
    bob.delete(format!("/api/orders/{order}")).expect(204).await;
    testkit::eventually("payments has heard of it", crate::app::SOON, async || {
        let answer = open(&bob, &order).await;
        (answer.status == 409).then(|| problem(&answer, 409))
    })
    .await;
    let path = format!("/api/payments/{}", opened.field("id"));
    testkit::eventually("its page is closed", crate::app::SOON, async || {
        let payment = bob.get(&path).expect(200).await.json();
        (payment["status"] == "closed" && payment["url"].is_null()).then_some(())
    })
    .await;
}

/// A `Stripe-Signature` over a body, as Stripe makes it.
fn signature(secret: &str, at: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mac = hmac::sign(&key, format!("{at}.{body}").as_bytes());
    let hex: String = mac.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at},v1={hex}")
}

/// The time by the server's own clock, from the `Date` of its answers: seconds since 1970.
async fn server_seconds(app: &App) -> u64 {
    // A token says when it was made, and one has just been made.
    let clock = app.person("clock").await;
    let claims = crate::forged_tokens::part(&clock.token(), 1);
    claims["iat"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_stripe_s_own_notices_are_taken() {
    let app = App::start();
    let now = server_seconds(&app).await;
    let event = json!({
        "id": "evt_1", "object": "event", "type": "checkout.session.completed",
        "data": {"object": {"id": "cs_1", "object": "checkout.session", "metadata": {"payment_id": NOBODYS_ID}}},
    })
    .to_string();
    let send = async |body: &str, signature: Option<String>| {
        let stripe = app.anyone();
        let mut request = stripe
            .request(Method::POST, "/api/payments/webhook")
            .body("application/json", body.to_owned());
        if let Some(signature) = signature {
            request = request.header("stripe-signature", signature);
        }
        request.send().await
    };
    let good = signature(WEBHOOK_SECRET, now, &event);
    for forged in [
        None,
        Some(String::new()),
        Some("nonsense".to_owned()),
        Some(format!("t={now}")),
        Some(format!("t={now},v1=")),
        Some(format!("t={now},v1=00")),
        Some(format!("t={now},v1={}", "z".repeat(64))),
        Some(good.replace("v1=", "v0=")),
        Some(good.replace("t=", "t=x")),
        Some(signature("whsec_another", now, &event)),
        Some(signature("", now, &event)),
        Some(signature(WEBHOOK_SECRET, now, &event.replace("evt_1", "evt_2"))),
        Some(good.replace(&format!("t={now}"), &format!("t={}", now + 1))),
        Some(signature(WEBHOOK_SECRET, now - 3_600, &event)),
    ] {
        problem(&send(&event, forged).await, 400);
    }
    for body in ["", "{", "null", "[]", "{}", "\"x\"", "{\"id\":1}"] {
        problem(&send(body, None).await, 400);
        // Signed, and still no event.
        problem(&send(body, Some(signature(WEBHOOK_SECRET, now, body))).await, 400);
    }
    // A good one is taken, again and again, of whatever it tells.
    for body in [
        event.as_str(),
        event.as_str(),
        r#"{"id":"evt_3","type":"customer.created","data":{"object":{"id":"cus_1","object":"customer"}}}"#,
        r#"{"id":"evt_4","type":"x","data":{"object":{"metadata":{"payment_id":"nonsense"}}}}"#,
    ] {
        let answer = send(body, Some(signature(WEBHOOK_SECRET, now, body))).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        assert_eq!(answer.json(), json!({"received": true}));
    }
}
