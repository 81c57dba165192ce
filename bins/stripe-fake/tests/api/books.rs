//! The books survive being closed and opened again, as Stripe's would.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use stripe_fake::{Config, OpenError, StripeFake};

use crate::support::{TestApp, session_form, text};

async fn app_in(folder: &Path) -> TestApp {
    let folder = folder.to_owned();
    TestApp::with(|config| config.data_dir = Some(folder)).await
}

fn open(folder: &Path) -> Result<StripeFake, OpenError> {
    StripeFake::open(Config {
        data_dir: Some(folder.to_owned()),
        ..Config::default()
    })
}

#[tokio::test]
async fn everything_is_there_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let app = app_in(folder.path()).await;
    let form = session_form(app.now(), 2_500);
    let open_session = app.post_with_key("/v1/checkout/sessions", &form, "k").await;
    let intent = app.captured().await;
    app.post("/v1/refunds", &format!("payment_intent={intent}&amount=700"))
        .await;
    let ledger = app.get("/stripe-fake/ledger").await.json();
    let shown = app
        .get(&format!("/v1/payment_intents/{intent}?expand[]=latest_charge"))
        .await
        .json();
    app.stop().await;

    for round in 0..2 {
        let app = app_in(folder.path()).await;
        assert_eq!(
            app.get("/stripe-fake/ledger").await.json(),
            ledger,
            "round {round}"
        );
        let again = app
            .get(&format!("/v1/payment_intents/{intent}?expand[]=latest_charge"))
            .await
            .json();
        assert_eq!(again, shown);
        let refunds = app
            .get(&format!("/v1/refunds?payment_intent={intent}"))
            .await
            .json();
        assert_eq!(refunds["data"][0]["amount"], 700);
        let replayed = app.post_with_key("/v1/checkout/sessions", &form, "k").await;
        assert_eq!(
            (replayed.header("idempotent-replayed"), &replayed.body),
            (Some("true"), &open_session.body)
        );
        app.stop().await;
    }

    // And the purchase goes on.
    let app = app_in(folder.path()).await;
    let session = text(&open_session.json()["id"]);
    assert_eq!(app.pay(&session, "4242424242424242").await.status, 303);
    app.stop().await;
}

#[tokio::test]
async fn a_torn_last_line_is_dropped_and_the_rest_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let app = app_in(folder.path()).await;
    let intent = app.captured().await;
    app.stop().await;
    let journal = folder.path().join("journal.jsonl");
    let mut file = OpenOptions::new().append(true).open(&journal).expect("opens");
    file.write_all(b"0123abcd [{\"session\":{\"id\":\"cs_te")
        .expect("writes");
    drop(file);
    let app = app_in(folder.path()).await;
    assert_eq!(
        app.get(&format!("/v1/payment_intents/{intent}")).await.json()["status"],
        "succeeded"
    );
    app.captured().await;
    app.stop().await;
    let app = app_in(folder.path()).await;
    assert_eq!(
        app.get("/stripe-fake/ledger").await.json()["totals"]["usd"]["captured"],
        10_000
    );
    app.stop().await;
}

#[tokio::test]
async fn a_damaged_line_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let app = app_in(folder.path()).await;
    app.captured().await;
    app.stop().await;
    let journal = folder.path().join("journal.jsonl");
    let mut bytes = std::fs::read(&journal).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&journal, bytes).expect("writes");
    let error = open(folder.path()).expect_err("damaged").to_string();
    assert!(
        error.contains("is damaged") && error.contains("journal.jsonl") && error.contains("backup"),
        "{error}"
    );
}

#[tokio::test]
async fn a_second_one_on_the_same_books_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let app = app_in(folder.path()).await;
    let error = open(folder.path()).expect_err("in use").to_string();
    assert!(error.contains("in use by another process"), "{error}");
    app.stop().await;
}

#[test]
fn a_configuration_that_can_not_work_is_refused() {
    let table = [
        (
            Config {
                secret_key: "sk_live_1".to_owned(),
                ..Config::default()
            },
            "live key",
        ),
        (
            Config {
                secret_key: String::new(),
                ..Config::default()
            },
            "must not be empty",
        ),
        (
            Config {
                webhook_url: Some("https://a/b".to_owned()),
                ..Config::default()
            },
            "plain http",
        ),
        (
            Config {
                public_url: "shop.test".to_owned(),
                ..Config::default()
            },
            "public URL",
        ),
    ];
    for (config, words) in table {
        let error = StripeFake::open(config).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let fake = StripeFake::open(Config::default()).expect("opens");
    let shown = format!("{fake:?}");
    assert!(!shown.contains("sk_test") && !shown.contains("whsec"), "{shown}");
}
