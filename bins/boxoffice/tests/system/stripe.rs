//! Stripe as a test sees it: the buyer's payment page, the books, and the switches that make it fail.

use std::time::Duration;

use serde_json::Value;
use testkit::{Answer, Client, eventually};

use crate::harness::System;

/// How long money may take to come to rest: payments asks again every minute at the most.
const SETTLED_MAX: Duration = Duration::from_secs(30);

/// The stand-in for Stripe of one system.
pub(crate) struct Stripe {
    client: Client,
}

/// One payment in Stripe's books, in the smallest unit of its currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) status: String,
    pub(crate) captured: i64,
    pub(crate) refunded: i64,
}

impl Charge {
    /// Paid, and the money is kept.
    pub(crate) fn captured(cents: i64) -> Self {
        Self::new("succeeded", cents, 0)
    }

    /// Paid, and the money is back.
    pub(crate) fn refunded(cents: i64) -> Self {
        Self::new("succeeded", cents, cents)
    }

    /// Authorised once, and let go without taking anything.
    pub(crate) fn voided() -> Self {
        Self::new("canceled", 0, 0)
    }

    fn new(status: &str, captured: i64, refunded: i64) -> Self {
        Self {
            status: status.to_owned(),
            captured,
            refunded,
        }
    }
}

impl System {
    /// Its stand-in for Stripe.
    pub(crate) fn stripe(&self) -> Stripe {
        Stripe {
            client: Client::new(&self.ingress.stripe),
        }
    }
}

impl Stripe {
    /// What stands in Stripe's books for an order.
    pub(crate) async fn charges(&self, order: &str) -> Vec<Charge> {
        let path = format!("/stripe-fake/ledger?order={order}");
        let ledger = self.client.get(path).expect(200).await.json();
        let intents = ledger["intents"].as_array().expect("the ledger lists intents");
        let cents = |value: &Value| value.as_i64().expect("amounts are whole cents");
        intents
            .iter()
            .map(|intent| Charge {
                status: intent["status"]
                    .as_str()
                    .expect("an intent has a status")
                    .to_owned(),
                captured: cents(&intent["captured"]),
                refunded: cents(&intent["refunded"]),
            })
            .collect()
    }

    /// Waits until exactly this stands in the books for an order.
    pub(crate) async fn settles(&self, order: &str, expected: &[Charge]) {
        let what = format!("Stripe's books say {expected:?} about order {order}");
        eventually(&what, SETTLED_MAX, async || {
            (self.charges(order).await == expected).then_some(())
        })
        .await;
    }

    /// Makes something go wrong until [`Self::heal`].
    pub(crate) async fn fails(&self, fault: Value) {
        self.client.post("/stripe-fake/faults", &fault).expect(201).await;
    }

    /// All is well again, and events that were kept back are sent.
    pub(crate) async fn heal(&self) {
        self.client.delete("/stripe-fake/faults").expect(200).await;
    }
}

/// Fills in a payment page with the card that always works, and answers what Stripe said.
pub(crate) async fn pay(page: &str) -> Answer {
    let path_at = page
        .find("/stripe-fake/")
        .expect("the payment page is the stand-in's");
    let (base, path) = page.split_at(path_at);
    let card = [
        ("number", "4242424242424242"),
        ("expiry", "12/34"),
        ("cvc", "123"),
    ];
    Client::new(base).form(path, &card).send().await
}
