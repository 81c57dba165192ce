//! Deliveries: signed, complete, repeated until taken, and not lost.

use ring::hmac;

use crate::support::{Endpoint, Received, START, TestApp, WEBHOOK_SECRET, eventually, text};

async fn app_with(endpoint: &Endpoint) -> TestApp {
    let url = endpoint.url.clone();
    TestApp::with(|config| config.webhook_url = Some(url)).await
}

fn assert_signed(received: &Received) {
    let (time, signature) = received.signature.split_once(",v1=").expect("t=..,v1=..");
    let time = time.strip_prefix("t=").expect("a time");
    let bytes: Vec<u8> = (0..signature.len() / 2)
        .map(|n| u8::from_str_radix(&signature[2 * n..2 * n + 2], 16).expect("hexadecimal"))
        .collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_SECRET.as_bytes());
    hmac::verify(&key, format!("{time}.{}", received.body).as_bytes(), &bytes).expect("a good signature");
    assert!(time.parse::<i64>().expect("seconds") >= START);
}

#[tokio::test]
async fn each_step_of_a_purchase_is_told_and_signed() {
    let endpoint = Endpoint::start().await;
    let app = app_with(&endpoint).await;
    let session = text(&app.session().await["id"]);
    app.pay(&session, "4000000000000002").await;
    let failed = endpoint.wait_for("payment_intent.payment_failed").await;
    assert_eq!(
        failed.event()["data"]["object"]["last_payment_error"]["code"],
        "card_declined"
    );
    app.pay(&session, "4242424242424242").await;
    let completed = endpoint.wait_for("checkout.session.completed").await;
    assert_eq!(completed.event()["data"]["object"]["id"], session.as_str());
    assert_eq!(completed.event()["data"]["object"]["payment_status"], "unpaid");
    let capturable = endpoint
        .wait_for("payment_intent.amount_capturable_updated")
        .await
        .event();
    let intent = text(&capturable["data"]["object"]["id"]);
    assert_eq!(capturable["data"]["object"]["amount_capturable"], 5_000);
    assert!(
        capturable["request"]["id"].is_null(),
        "a person did it, not a request"
    );

    app.post_with_key(&format!("/v1/payment_intents/{intent}/capture"), "", "cap:1")
        .await;
    let succeeded = endpoint.wait_for("payment_intent.succeeded").await.event();
    assert_eq!(succeeded["request"]["idempotency_key"], "cap:1");
    assert!(text(&succeeded["request"]["id"]).starts_with("req_"));
    assert_eq!(succeeded["object"], "event");
    assert!(succeeded["api_version"].is_string() && succeeded["created"].is_i64());

    app.post(
        "/stripe-fake/dashboard/refunds",
        &format!("payment_intent={intent}"),
    )
    .await;
    let refunded = endpoint.wait_for("charge.refunded").await.event();
    assert_eq!(refunded["data"]["object"]["payment_intent"], intent.as_str());
    assert_eq!(refunded["data"]["object"]["refunded"], true);
    let refund = endpoint.wait_for("refund.created").await;
    assert_eq!(refund.event()["data"]["object"]["amount"], 5_000);

    for received in endpoint.received() {
        assert_signed(&received);
    }
    assert_eq!(
        app.get(&format!("/v1/events/{}", refund.id())).await.json(),
        refund.event()
    );
    eventually("nothing waits", || async {
        (app.get("/stripe-fake/ledger").await.json()["pendingEvents"] == 0).then_some(())
    })
    .await;
    assert_eq!(endpoint.received().len(), 6, "each once: {:?}", endpoint.kinds());
}

#[tokio::test]
async fn expiry_and_cancellation_are_told() {
    let endpoint = Endpoint::start().await;
    let app = app_with(&endpoint).await;
    let session = text(&app.session().await["id"]);
    let intent = app.authorized().await;
    app.post(&format!("/v1/payment_intents/{intent}/cancel"), "")
        .await;
    let canceled = endpoint.wait_for("payment_intent.canceled").await;
    assert_eq!(canceled.event()["data"]["object"]["id"], intent.as_str());
    app.pass(31 * 60);
    let expired = endpoint.wait_for("checkout.session.expired").await;
    assert_eq!(expired.event()["data"]["object"]["id"], session.as_str());
}

#[tokio::test]
async fn what_the_endpoint_does_not_take_is_sent_again() {
    let endpoint = Endpoint::start().await;
    endpoint.answer(500);
    let app = app_with(&endpoint).await;
    app.authorized().await;
    endpoint.wait_for_count(6).await;
    endpoint.answer(200);
    eventually("all delivered", || async {
        (app.get("/stripe-fake/ledger").await.json()["pendingEvents"] == 0).then_some(())
    })
    .await;
    let mut ids: Vec<_> = endpoint.received().iter().map(Received::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2, "the same two events, again and again");
}

#[tokio::test]
async fn deliveries_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = Endpoint::start().await;
    endpoint.answer(503);
    let (data_dir, url) = (folder.path().to_owned(), endpoint.url.clone());
    let config = |config: &mut stripe_fake::Config| {
        config.data_dir = Some(data_dir.clone());
        config.webhook_url = Some(url.clone());
    };
    let app = TestApp::with(config).await;
    app.authorized().await;
    endpoint.wait_for_count(2).await;
    app.stop().await;
    let before = endpoint.received().len();
    endpoint.answer(200);
    let app = TestApp::with(config).await;
    endpoint.wait_for_count(before + 2).await;
    eventually("all delivered", || async {
        (app.get("/stripe-fake/ledger").await.json()["pendingEvents"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nothing_waits_where_nobody_listens() {
    let app = TestApp::start().await;
    app.captured().await;
    assert_eq!(app.get("/stripe-fake/ledger").await.json()["pendingEvents"], 0);
}
