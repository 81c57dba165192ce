//! Stripe in the tests' world: the stand-in on a socket of its own, its page, its books, and what it does wrong.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use serde_json::Value;
use service::ShutdownTrigger;
use stripe_fake::{Config, StripeFake};
use testkit::eventually;

use super::{Order, SOON, STRIPE_KEY, Serving, World, listen};

impl World {
    /// Pays on Stripe's page, as a browser would.
    pub(crate) async fn pay(&self, opened: &Value, card: &str) -> u16 {
        let url = opened["url"].as_str().expect("an open page has an address");
        self.pay_session(url.rsplit('/').next().expect("a session at the end"), card)
            .await
    }

    /// Pays a session whose address nobody was given.
    pub(crate) async fn pay_session(&self, session: &str, card: &str) -> u16 {
        let page = format!("/stripe-fake/pay/{session}");
        let form = [("number", card), ("expiry", "12/34"), ("cvc", "123")];
        self.stripe.form(page, &form).send().await.status.as_u16()
    }

    /// Makes Stripe do something wrong.
    pub(crate) async fn fault(&self, fault: Value) {
        let answer = self.stripe.post("/stripe-fake/faults", &fault).send().await;
        assert!(answer.status.is_success(), "{answer:?}");
    }

    pub(crate) async fn heal(&self) {
        let answer = self.stripe.delete("/stripe-fake/faults").send().await;
        assert!(answer.status.is_success(), "{answer:?}");
    }

    /// What Stripe's books say of an order: (status, captured, refunded) of each PaymentIntent that came to anything.
    pub(crate) async fn ledger(&self, order: &Order) -> Vec<(String, i64, i64)> {
        let answer = self
            .stripe
            .get(format!("/stripe-fake/ledger?order={}", order.id()))
            .expect(200)
            .await;
        let books = answer.json();
        let intents = books["intents"].as_array().expect("a list").iter();
        let minor = |value: &Value| value.as_i64().expect("an amount");
        intents
            .filter(|intent| intent["status"] != "requires_payment_method")
            .map(|intent| {
                let status = intent["status"].as_str().expect("a status").to_owned();
                (status, minor(&intent["captured"]), minor(&intent["refunded"]))
            })
            .collect()
    }

    /// Waits until the books say this of the order's one PaymentIntent.
    pub(crate) async fn settles(&self, order: &Order, expected: (&str, i64, i64)) {
        let mut seen = Vec::new();
        let settled = async {
            loop {
                seen = self.ledger(order).await;
                if seen == [(expected.0.to_owned(), expected.1, expected.2)] {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(SOON, settled).await.is_err() {
            panic!("the books say {seen:?} and not {expected:?}");
        }
    }

    /// Waits until a fault has acted so often.
    pub(crate) async fn acted(&self, count: u64) {
        eventually("the fault acts", SOON, || async {
            let faults = self.stripe.get("/stripe-fake/faults").expect(200).await.json();
            let served = faults["faults"]
                .as_array()?
                .iter()
                .filter_map(|fault| fault["served"].as_u64());
            (served.sum::<u64>() >= count).then_some(())
        })
        .await;
    }

    /// Stripe is not there any more.
    pub(crate) async fn stripe_goes(&mut self) {
        if let Some(stripe) = self.stripe_serving.take() {
            stripe.stop().await;
        }
    }

    /// Where a session stands at Stripe.
    pub(crate) async fn session_status(&self, opened: &Value) -> String {
        let url = opened["url"].as_str().expect("an address");
        let session = url.rsplit('/').next().expect("a session at the end");
        let stripe = self.stripe.with_bearer(STRIPE_KEY);
        let body = stripe
            .get(format!("/v1/checkout/sessions/{session}"))
            .expect(200)
            .await
            .json();
        body["status"].as_str().expect("a status").to_owned()
    }

    /// The sessions that can be paid, those that nobody was told of included: they stand in Stripe's books.
    pub(crate) async fn open_sessions(&self) -> Vec<String> {
        let stripe = self.stripe.with_bearer(STRIPE_KEY);
        let mut open = Vec::new();
        for session in self.sessions_in_books() {
            let body = stripe
                .get(format!("/v1/checkout/sessions/{session}"))
                .expect(200)
                .await
                .json();
            if body["status"] == "open" {
                open.push(session);
            }
        }
        open
    }

    fn sessions_in_books(&self) -> BTreeSet<String> {
        let mut sessions = BTreeSet::new();
        for file in std::fs::read_dir(self.dir.path().join("stripe")).expect("the books are there") {
            let books = std::fs::read_to_string(file.expect("it can be listed").path()).unwrap_or_default();
            let words = books.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            sessions.extend(
                words
                    .filter(|word| word.starts_with("cs_test_"))
                    .map(str::to_owned),
            );
        }
        sessions
    }

    /// The PaymentIntent of an opened payment.
    pub(crate) async fn intent_of(&self, opened: &Value) -> String {
        let order = opened["orderId"].as_str().expect("an order");
        let books = self
            .stripe
            .get(format!("/stripe-fake/ledger?order={order}"))
            .expect(200)
            .await
            .json();
        books["intents"][0]["id"].as_str().expect("an intent").to_owned()
    }

    /// A call with the secret key, as someone at Stripe's dashboard makes it.
    pub(crate) async fn at_stripe(&self, path: &str, form: &[(&str, &str)]) {
        let stripe = self.stripe.with_bearer(STRIPE_KEY);
        let answer = stripe.form(path, form).send().await;
        assert!(
            answer.status.is_success() || answer.status.is_redirection(),
            "{answer:?}"
        );
    }
}

/// The stand-in, on a socket of its own: its address and what serves it.
pub(crate) async fn play_stripe(
    payments: SocketAddr,
    books: PathBuf,
    change: impl FnOnce(&mut Config),
) -> (String, Serving) {
    let listener = listen("127.0.0.1:0").await;
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    let mut config = Config {
        data_dir: Some(books),
        public_url: base.clone(),
        webhook_url: Some(format!("http://{payments}/api/payments/webhook")),
        faults_enabled: true,
        webhook_retry: Duration::from_millis(50),
        ..Config::default()
    };
    change(&mut config);
    let fake = StripeFake::open(config).expect("the stand-in opens");
    let (trigger, shutdown) = ShutdownTrigger::new();
    let router: Router = fake.router();
    let stop = shutdown.clone();
    let background = async move { fake.run_background(stop.wait()).await };
    let serving = service::serve(listener, router, shutdown);
    (
        base,
        Serving {
            trigger,
            task: tokio::spawn(both(background, serving)),
        },
    )
}

async fn both(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::join!(one, other);
}
