//! PaymentIntents and refunds over the API.

use crate::support::{TestApp, eventually, text};

#[tokio::test]
async fn authorise_capture_and_refund() {
    let app = TestApp::start().await;
    let session = app.session().await;
    let id = text(&session["id"]);
    let paid = app.pay(&id, "4242 4242 4242 4242").await;
    assert_eq!(paid.status, 303);
    assert_eq!(
        paid.header("location"),
        Some(&*format!("http://shop.test/orders/1?session_id={id}"))
    );

    let path = format!("/v1/checkout/sessions/{id}?expand[]=payment_intent.latest_charge");
    let session = app.get(&path).await.json();
    assert_eq!(
        (&session["status"], &session["payment_status"]),
        (&"complete".into(), &"unpaid".into())
    );
    assert!(session["url"].is_null());
    let intent = &session["payment_intent"];
    assert_eq!(intent["status"], "requires_capture");
    assert_eq!(intent["amount_capturable"], 5_000);
    assert_eq!(intent["amount_received"], 0);
    assert_eq!(intent["capture_method"], "manual");
    assert_eq!(intent["metadata"]["order_id"], "order-1");
    assert_eq!(intent["latest_charge"]["captured"], false);
    assert_eq!(
        intent["latest_charge"]["payment_method_details"]["card"]["last4"],
        "4242"
    );

    let intent = text(&intent["id"]);
    let captured = app
        .post(&format!("/v1/payment_intents/{intent}/capture"), "")
        .await
        .json();
    assert_eq!(captured["status"], "succeeded");
    assert_eq!(
        (&captured["amount_received"], &captured["amount_capturable"]),
        (&5_000.into(), &0.into())
    );
    assert_eq!(app.get(&path).await.json()["payment_status"], "paid");
    assert_eq!(
        app.get(&format!("/v1/payment_intents/{intent}")).await.json(),
        captured
    );

    let part = app
        .post("/v1/refunds", &format!("payment_intent={intent}&amount=2000"))
        .await
        .json();
    assert_eq!(
        (&part["status"], &part["amount"]),
        (&"succeeded".into(), &2_000.into())
    );
    let too_much = app
        .post("/v1/refunds", &format!("payment_intent={intent}&amount=3001"))
        .await;
    assert_eq!(too_much.status, 400);
    assert!(
        too_much.error().1.contains("greater than unrefunded amount"),
        "{}",
        too_much.body
    );
    let form = format!("payment_intent={intent}&reason=requested_by_customer&metadata[order_id]=order-1");
    let rest = app.post("/v1/refunds", &form).await.json();
    assert_eq!(
        (&rest["amount"], &rest["metadata"]["order_id"]),
        (&3_000.into(), &"order-1".into())
    );
    let again = app.post("/v1/refunds", &form).await;
    assert_eq!(again.status, 400);
    assert_eq!(again.error().0.as_deref(), Some("charge_already_refunded"));

    assert_eq!(
        app.get(&format!("/v1/refunds/{}", text(&rest["id"])))
            .await
            .json(),
        rest
    );
    let list = app
        .get(&format!("/v1/refunds?payment_intent={intent}"))
        .await
        .json();
    assert_eq!(list["data"].as_array().expect("a list").len(), 2);
    assert_eq!(
        (&list["data"][0]["id"], &list["has_more"]),
        (&rest["id"], &false.into())
    );
    let first = app
        .get(&format!("/v1/refunds?payment_intent={intent}&limit=1"))
        .await
        .json();
    assert_eq!(
        (&first["data"][0]["id"], &first["has_more"]),
        (&rest["id"], &true.into())
    );
    let after = text(&rest["id"]);
    let second = app
        .get(&format!(
            "/v1/refunds?payment_intent={intent}&limit=1&starting_after={after}"
        ))
        .await
        .json();
    assert_eq!(
        (&second["data"][0]["id"], &second["has_more"]),
        (&part["id"], &false.into())
    );

    let charge = app.get(&path).await.json()["payment_intent"]["latest_charge"].clone();
    assert_eq!(
        (&charge["refunded"], &charge["amount_refunded"]),
        (&true.into(), &5_000.into())
    );
    let ledger = app.get("/stripe-fake/ledger?order=order-1").await.json();
    assert_eq!(ledger["intents"][0]["captured"], 5_000);
    assert_eq!(ledger["intents"][0]["refunded"], 5_000);
    assert_eq!(ledger["totals"]["usd"]["net"], 0);
}

#[tokio::test]
async fn capturing_twice_is_refused_and_shows_the_intent() {
    let app = TestApp::start().await;
    let intent = app.captured().await;
    let again = app
        .post(&format!("/v1/payment_intents/{intent}/capture"), "")
        .await;
    assert_eq!(again.status, 400);
    assert_eq!(
        again.error().0.as_deref(),
        Some("payment_intent_unexpected_state")
    );
    assert_eq!(again.json()["error"]["payment_intent"]["status"], "succeeded");
    let ledger = app.get("/stripe-fake/ledger").await.json();
    assert_eq!(ledger["totals"]["usd"]["captured"], 5_000, "one charge");
}

#[tokio::test]
async fn a_hundred_captures_at_once_take_the_money_once() {
    let app = TestApp::start().await;
    let intent = app.authorized().await;
    let path = format!("/v1/payment_intents/{intent}/capture");
    let mut succeeded = 0;
    let attempts: Vec<_> = (0..100).map(|_| app.post(&path, "")).collect();
    for attempt in futures_all(attempts).await {
        succeeded += usize::from(attempt.status == 200);
    }
    assert_eq!(succeeded, 1);
    assert_eq!(
        app.get("/stripe-fake/ledger").await.json()["totals"]["usd"]["captured"],
        5_000
    );
}

#[tokio::test]
async fn a_part_can_be_captured_and_no_more_than_all() {
    let app = TestApp::start().await;
    let intent = app.authorized().await;
    let path = format!("/v1/payment_intents/{intent}/capture");
    assert_eq!(
        app.post(&path, "amount_to_capture=5001")
            .await
            .error()
            .0
            .as_deref(),
        Some("amount_too_large")
    );
    assert_eq!(app.post(&path, "amount_to_capture=0").await.status, 400);
    let part = app.post(&path, "amount_to_capture=1500").await.json();
    assert_eq!(
        (&part["status"], &part["amount_received"]),
        (&"succeeded".into(), &1_500.into())
    );
    let refund = app
        .post("/v1/refunds", &format!("payment_intent={intent}"))
        .await
        .json();
    assert_eq!(refund["amount"], 1_500, "only what was taken can go back");
}

#[tokio::test]
async fn a_cancelled_authorisation_is_gone_for_good() {
    let app = TestApp::start().await;
    let intent = app.authorized().await;
    let path = format!("/v1/payment_intents/{intent}");
    assert_eq!(
        app.post(&format!("{path}/cancel"), "cancellation_reason=boredom")
            .await
            .status,
        400
    );
    let canceled = app
        .post(&format!("{path}/cancel"), "cancellation_reason=abandoned")
        .await
        .json();
    assert_eq!(canceled["status"], "canceled");
    assert_eq!(
        (&canceled["cancellation_reason"], &canceled["canceled_at"]),
        (&"abandoned".into(), &app.now().into())
    );
    for action in ["cancel", "capture"] {
        let refused = app.post(&format!("{path}/{action}"), "").await;
        assert_eq!(refused.status, 400, "{action}");
        assert_eq!(
            refused.error().0.as_deref(),
            Some("payment_intent_unexpected_state"),
            "{action}"
        );
    }
    let refund = app.post("/v1/refunds", &format!("payment_intent={intent}")).await;
    assert_eq!(refund.status, 400);
    assert_eq!(
        app.get("/stripe-fake/ledger").await.json()["totals"]["usd"]["captured"],
        0
    );
}

#[tokio::test]
async fn what_was_captured_or_is_still_open_can_not_be_cancelled() {
    let app = TestApp::start().await;
    let intent = app.captured().await;
    let refused = app
        .post(&format!("/v1/payment_intents/{intent}/cancel"), "")
        .await;
    assert_eq!(
        refused.error().0.as_deref(),
        Some("payment_intent_unexpected_state")
    );

    let session = text(&app.session().await["id"]);
    app.pay(&session, "4000000000000002").await;
    let open = text(&app.get(&format!("/v1/checkout/sessions/{session}")).await.json()["payment_intent"]);
    let refused = app.post(&format!("/v1/payment_intents/{open}/cancel"), "").await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.error().1.contains("Expire the Checkout Session"),
        "{}",
        refused.body
    );
}

#[tokio::test]
async fn an_authorisation_lapses_after_seven_days() {
    let app = TestApp::start().await;
    let intent = app.authorized().await;
    app.pass(7 * 24 * 3_600);
    eventually("the lapse", || async {
        let shown = app.get(&format!("/v1/payment_intents/{intent}")).await.json();
        (shown["status"] == "canceled" && shown["cancellation_reason"] == "automatic").then_some(())
    })
    .await;
    assert_eq!(
        app.post(&format!("/v1/payment_intents/{intent}/capture"), "")
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn a_capture_that_the_bank_refuses_takes_nothing() {
    let app = TestApp::start().await;
    let session = text(&app.session().await["id"]);
    assert_eq!(app.pay(&session, "4000000000000341").await.status, 303);
    let intent = text(&app.get(&format!("/v1/checkout/sessions/{session}")).await.json()["payment_intent"]);
    let path = format!("/v1/payment_intents/{intent}");
    assert_eq!(app.get(&path).await.json()["status"], "requires_capture");
    let refused = app.post_with_key(&format!("{path}/capture"), "", "cap").await;
    assert_eq!(refused.status, 402);
    assert_eq!(refused.json()["error"]["type"], "card_error");
    assert_eq!(refused.error().0.as_deref(), Some("card_declined"));
    assert_eq!(refused.json()["error"]["payment_intent"]["status"], "canceled");
    assert_eq!(app.get(&path).await.json()["status"], "canceled");
    let again = app.post_with_key(&format!("{path}/capture"), "", "cap").await;
    assert_eq!((again.status, &again.body), (refused.status, &refused.body));
    assert_eq!(
        app.get("/stripe-fake/ledger").await.json()["totals"]["usd"]["captured"],
        0
    );
}

#[tokio::test]
async fn without_manual_capture_the_money_is_taken_at_once() {
    let app = TestApp::start().await;
    let form =
        crate::support::session_form(app.now(), 2_500).replace("capture_method]=manual", "capture_method]=");
    let session = text(&app.post("/v1/checkout/sessions", &form).await.json()["id"]);
    app.pay(&session, "5555555555554444").await;
    let session = app
        .get(&format!(
            "/v1/checkout/sessions/{session}?expand[]=payment_intent"
        ))
        .await
        .json();
    assert_eq!(
        (&session["status"], &session["payment_status"]),
        (&"complete".into(), &"paid".into())
    );
    assert_eq!(session["payment_intent"]["amount_received"], 5_000);
}

/// All of them at once.
async fn futures_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut pinned: Vec<_> = futures
        .into_iter()
        .map(|future| (Box::pin(future), None))
        .collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, output) in &mut pinned {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(ready) => *output = Some(ready),
                    std::task::Poll::Pending => waiting = true,
                }
            }
        }
        if waiting {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
    pinned
        .into_iter()
        .map(|(_, output)| output.expect("ready"))
        .collect()
}
