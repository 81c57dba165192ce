//! The hosted page: every card, every state, and what it never keeps.

use crate::support::{KEY, TestApp, session_form, text};
use http::Request;
use http_body_util::Full;

#[tokio::test]
async fn the_page_is_marked_and_filled_in() {
    let app = TestApp::start().await;
    let session = app.session().await;
    let id = text(&session["id"]);
    let page = app.get(&format!("/stripe-fake/pay/{id}")).await;
    assert_eq!(page.status, 200);
    for part in [
        "TEST MODE",
        "$50.00",
        "Hamlet, front row",
        "4242 4242 4242 4242",
        "4000 0000 0000 3220",
        "× 2",
    ] {
        assert!(page.body.contains(part), "{part} is missing");
    }
    assert!(!page.body.contains("<script"), "works without scripts");
    for field in ["number", "expiry", "cvc"] {
        assert!(
            page.body.contains(&format!("<label for=\"{field}\">")),
            "{field} has a label"
        );
    }
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("form-action 'self' http://shop.test;"),
        "{policy}"
    );
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(
        page.body.contains("href=\"http://shop.test/orders/1\""),
        "a way back"
    );
}

#[tokio::test]
async fn what_the_page_has_filled_in_pays_with_one_click() {
    let app = TestApp::start().await;
    let id = text(&app.session().await["id"]);
    let page = app.get(&format!("/stripe-fake/pay/{id}")).await.body;
    let value = |name: &str| {
        let field = page.split(&format!("name=\"{name}\"")).nth(1).expect("the field");
        field
            .split("value=\"")
            .nth(1)
            .expect("a value")
            .split('"')
            .next()
            .expect("its end")
            .to_owned()
    };
    let form = format!(
        "number={}&expiry={}&cvc={}",
        value("number"),
        value("expiry"),
        value("cvc")
    );
    assert_eq!(
        app.post(&format!("/stripe-fake/pay/{id}"), &form).await.status,
        303
    );
}

#[tokio::test]
async fn names_are_escaped() {
    let app = TestApp::start().await;
    let form = session_form(app.now(), 2_500).replace("Hamlet", "%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    let id = text(&app.post("/v1/checkout/sessions", &form).await.json()["id"]);
    let page = app.get(&format!("/stripe-fake/pay/{id}")).await;
    assert!(!page.body.contains("<script"), "{}", page.body);
}

#[tokio::test]
async fn declined_cards_say_why_and_another_may_be_tried() {
    let app = TestApp::start().await;
    let id = text(&app.session().await["id"]);
    let table = [
        (
            "4000000000000002",
            "Your card was declined.",
            "card_declined",
            Some("generic_decline"),
        ),
        (
            "4000000000009995",
            "insufficient funds",
            "card_declined",
            Some("insufficient_funds"),
        ),
        ("4000000000000069", "has expired", "expired_card", None),
        (
            "4000000000000127",
            "security code is incorrect",
            "incorrect_cvc",
            None,
        ),
        ("4000000000000119", "An error occurred", "processing_error", None),
        (
            "4111111111111111",
            "non test card",
            "card_declined",
            Some("test_mode_live_card"),
        ),
    ];
    let mut intents = Vec::new();
    for (card, words, code, decline_code) in table {
        let page = app.pay(&id, card).await;
        assert_eq!(page.status, 402, "{card}");
        assert!(
            page.body.contains(words) && page.body.contains("role=\"alert\""),
            "{card}"
        );
        assert!(page.body.contains("<title>Error:"), "{card}");
        let session = app
            .get(&format!("/v1/checkout/sessions/{id}?expand[]=payment_intent"))
            .await
            .json();
        assert_eq!(session["status"], "open");
        let intent = &session["payment_intent"];
        assert_eq!(intent["status"], "requires_payment_method");
        assert_eq!(intent["last_payment_error"]["code"], code, "{card}");
        assert_eq!(
            intent["last_payment_error"]["decline_code"].as_str(),
            decline_code,
            "{card}"
        );
        intents.push(text(&intent["id"]));
    }
    intents.dedup();
    assert_eq!(intents.len(), 1, "one intent for all attempts");
    assert_eq!(app.pay(&id, "4242424242424242").await.status, 303);
    let ledger = app.get("/stripe-fake/ledger").await.json();
    assert_eq!(ledger["intents"].as_array().expect("a list").len(), 1);
    assert_eq!(ledger["intents"][0]["status"], "requires_capture");
}

#[tokio::test]
async fn mistyped_fields_are_named_beside_the_field_and_reach_no_bank() {
    let app = TestApp::start().await;
    let id = text(&app.session().await["id"]);
    let path = format!("/stripe-fake/pay/{id}");
    for (form, field) in [
        ("number=1234&expiry=12/34&cvc=123", "number-wrong"),
        ("number=4242424242424242&expiry=12/20&cvc=123", "expiry-wrong"),
        ("number=4242424242424242&expiry=12/34&cvc=x", "cvc-wrong"),
        ("", "number-wrong"),
        ("%zz", "number-wrong"),
    ] {
        let page = app.post(&path, form).await;
        assert_eq!(page.status, 400, "{form}");
        assert!(page.body.contains(&format!("id=\"{field}\"")), "{form}");
    }
    assert!(app.get(&format!("/v1/checkout/sessions/{id}")).await.json()["payment_intent"].is_null());
}

#[tokio::test]
async fn three_d_secure_asks_first() {
    let app = TestApp::start().await;
    let id = text(&app.session().await["id"]);
    let confirm = format!("/stripe-fake/pay/{id}/confirm");
    assert_eq!(
        app.post(&confirm, "answer=confirm").await.status,
        303,
        "nothing to confirm: back to the page"
    );

    let asked = app.pay(&id, "4000000000003220").await;
    assert_eq!(
        (asked.status.as_u16(), asked.header("location")),
        (303, Some(&*confirm))
    );
    let session = app
        .get(&format!("/v1/checkout/sessions/{id}?expand[]=payment_intent"))
        .await
        .json();
    assert_eq!(session["payment_intent"]["status"], "requires_action");
    let page = app.get(&confirm).await;
    assert!(
        page.body.contains("3-D Secure") && page.body.contains("ending in 3220"),
        "{}",
        page.body
    );

    let refused = app.post(&confirm, "answer=refuse").await;
    assert_eq!(refused.status, 402);
    let session = app
        .get(&format!("/v1/checkout/sessions/{id}?expand[]=payment_intent"))
        .await
        .json();
    let intent = &session["payment_intent"];
    assert_eq!(
        intent["last_payment_error"]["code"],
        "payment_intent_authentication_failure"
    );
    assert_eq!(app.get(&confirm).await.status, 303, "nothing waits any more");

    app.pay(&id, "4000000000003220").await;
    let confirmed = app.post(&confirm, "answer=confirm").await;
    assert_eq!(confirmed.status, 303);
    assert!(
        confirmed
            .header("location")
            .expect("back to the shop")
            .starts_with("http://shop.test/")
    );
    let session = app
        .get(&format!("/v1/checkout/sessions/{id}?expand[]=payment_intent"))
        .await
        .json();
    assert_eq!(session["payment_intent"]["status"], "requires_capture");
    assert_eq!(session["status"], "complete");
}

#[tokio::test]
async fn closed_sessions_are_pages_with_a_next_step() {
    let app = TestApp::start().await;
    let id = text(&app.session().await["id"]);
    let path = format!("/stripe-fake/pay/{id}");
    app.pay(&id, "4242424242424242").await;
    let complete = app.get(&path).await;
    assert_eq!(complete.status, 200);
    assert!(complete.body.contains("complete") && complete.body.contains(&format!("session_id={id}")));
    let second_click = app.pay(&id, "4242424242424242").await;
    assert_eq!(
        second_click.status, 303,
        "a second click ends where the first did"
    );

    let id = text(&app.session().await["id"]);
    app.post(&format!("/v1/checkout/sessions/{id}/expire"), "").await;
    let expired = app.get(&format!("/stripe-fake/pay/{id}")).await;
    assert_eq!(expired.status, 410);
    assert!(expired.body.contains("has expired") && expired.body.contains("http://shop.test/orders/1"));
    assert_eq!(app.pay(&id, "4242424242424242").await.status, 410);

    let missing = app.get("/stripe-fake/pay/cs_test_nothing").await;
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("no such payment"));
    assert_eq!(app.pay("cs_test_nothing", "4242424242424242").await.status, 404);
}

#[tokio::test]
async fn no_card_number_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().to_owned();
    let app = TestApp::with(|config| config.data_dir = Some(data_dir)).await;
    let id = text(&app.session().await["id"]);
    for card in ["4000000000000002", "4000000000003220", "4242424242424242"] {
        app.pay(&id, card).await;
    }
    app.stop().await;
    let journal = std::fs::read_to_string(folder.path().join("journal.jsonl")).expect("a journal");
    assert!(journal.contains("\"last4\":\"4242\""));
    for card in ["4000000000000002", "4000000000003220", "4242424242424242"] {
        assert!(!journal.contains(card), "{card}");
    }
}

#[tokio::test]
async fn the_dashboard_refunds_for_who_has_the_key() {
    let app = TestApp::start().await;
    let intent = app.captured().await;
    let form = format!("payment_intent={intent}&amount=1000");
    let stranger = Request::post(format!("{}/stripe-fake/dashboard/refunds", app.base));
    let reply = app
        .send(stranger.body(Full::from(form.clone())).expect("a request"))
        .await
        .expect("an answer");
    assert_eq!(reply.status, 401);
    assert!(reply.header("www-authenticate").is_some());
    let foreign = Request::post(format!("{}/stripe-fake/dashboard/refunds", app.base))
        .header("authorization", format!("Bearer {KEY}"))
        .header("origin", "http://evil.test");
    let reply = app
        .send(foreign.body(Full::from(form.clone())).expect("a request"))
        .await
        .expect("an answer");
    assert_eq!(reply.status, 403);
    assert_eq!(
        app.post("/stripe-fake/dashboard/refunds", &form).await.status,
        303
    );
    let overview = app.get("/stripe-fake/dashboard").await;
    assert!(
        overview.body.contains(&intent) && overview.body.contains("$10.00"),
        "{}",
        overview.body
    );
    assert_eq!(
        app.post(
            "/stripe-fake/dashboard/refunds",
            &format!("payment_intent={intent}")
        )
        .await
        .status,
        303
    );
    let again = app
        .post(
            "/stripe-fake/dashboard/refunds",
            &format!("payment_intent={intent}"),
        )
        .await;
    assert_eq!(again.status, 400);
    assert!(again.body.contains("already been refunded"));
    let ledger = app.get("/stripe-fake/ledger").await.json();
    assert_eq!(ledger["totals"]["usd"]["refunded"], 5_000);
}
