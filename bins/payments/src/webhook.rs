//! Stripe's notices: verified, stored, answered, and only then acted upon, by looking at Stripe. What a notice
//! says of the state of things is not believed: it may be late, repeated, or overtaken by another one.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use errors::Problem;
use events::{OrderId, PaymentId, Source, Timestamp};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use service::OrProblem as _;
use std::convert::Infallible;
use store::TransactError;
use stripe_webhook::{Webhook, WebhookError};
use utoipa::ToSchema;

use crate::api::{RETRY_SECONDS, Shared};
use crate::domain::{Order, Payment};
use crate::store::{NOTICE_ID_CHARS_MAX, Notice};
use crate::stripe::{META_ORDER, META_PAYMENT};

/// Counts notices about payments that this store does not know.
const UNKNOWN: &str = "payments_unknown_notices_total";
const SIGNATURE: &str = "stripe-signature";
const SESSION_OBJECT: &str = "checkout.session";

/// That a notice has arrived.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Received {
    received: bool,
}

/// The part of an event that is read. The rest is looked up at Stripe.
#[derive(Debug, Deserialize)]
struct StripeEvent {
    id: String,
    r#type: String,
    data: StripeData,
}

#[derive(Debug, Deserialize)]
struct StripeData {
    object: StripeObject,
}

#[derive(Debug, Deserialize)]
struct StripeObject {
    id: Option<String>,
    object: Option<String>,
    metadata: Option<HashMap<String, String>>,
}

/// A notice that is about a payment, and what else it says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Noticed {
    notice: Notice,
    /// The payment's order, as a person would look for it at Stripe.
    order: Option<OrderId>,
}

/// What came of a notice.
enum Stored {
    New,
    Repeated,
    /// Its payment was lost, and is to be undone as far as is known of its order, or its order is not known yet.
    Losable,
    /// Its payment was lost, and is known again, to be undone.
    Lost,
    Unknown,
}

/// Counts from zero on: of a counter that begins with its first notice, an alert would not see that it has grown.
pub(crate) fn count_from_zero() {
    metrics::counter!(UNKNOWN).absolute(0);
}

/// A notice from Stripe
///
/// Signed by Stripe; what it is about is read anew from Stripe before anything happens.
#[utoipa::path(post, path = "/api/payments/webhook", tag = "payments", request_body = String,
    params(("Stripe-Signature" = String, Header)),
    responses((status = 200, body = Received), (status = 400, body = errors::ProblemBody),
        (status = 503, body = errors::ProblemBody)))]
pub(crate) async fn receive(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Received>, Problem> {
    let now = shared.parts.clock.now();
    let body = std::str::from_utf8(&body).map_err(|_| unsigned())?;
    let signature = headers
        .get(SIGNATURE)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(unsigned)?;
    verify(&shared.webhook_secrets, body, signature, now)?;
    let event: StripeEvent =
        serde_json::from_str(body).map_err(|error| Problem::bad_request(format!("Not an event: {error}")))?;
    metrics::counter!("payments_notices_total").increment(1);
    if let Some(noticed) = noticed(event, now) {
        let id = noticed.notice.payment_id;
        match stored(&shared, &noticed).await? {
            Stored::New => shared.looks.ask(id),
            Stored::Lost => {
                tracing::warn!(payment = %id, order = noticed.order.map(tracing::field::display),
                    "Stripe has a payment that this store has lost: what it has of it is undone");
                shared.looks.ask(id);
            }
            Stored::Repeated => {}
            Stored::Unknown | Stored::Losable => tell_unknown(&noticed),
        }
    }
    Ok(Json(Received { received: true }))
}

/// Checks the signature over the raw bytes, against each secret that may be in use.
fn verify(secrets: &[String], body: &str, signature: &str, now: Timestamp) -> Result<(), Problem> {
    for secret in secrets {
        match Webhook::construct_event_with_timestamp(body, signature, secret, now.as_seconds()) {
            // The signature is checked first: what can't be parsed may be of a kind that the client was built
            // without, and is read by ourselves.
            Ok(_) | Err(WebhookError::BadParse(_)) => return Ok(()),
            Err(WebhookError::BadTimestamp(at)) => {
                return Err(
                    Problem::bad_request("The signature is too old").because(format!("signed at {at}"))
                );
            }
            Err(WebhookError::BadKey | WebhookError::BadHeader(_) | WebhookError::BadSignature) => {}
        }
    }
    Err(unsigned())
}

fn unsigned() -> Problem {
    metrics::counter!("payments_notices_forged_total").increment(1);
    Problem::bad_request("The signature is missing or wrong")
}

/// What is to be remembered of an event; nothing if it is about no payment of ours.
fn noticed(event: StripeEvent, now: Timestamp) -> Option<Noticed> {
    let StripeObject { id, object, metadata } = event.data.object;
    let metadata = metadata?;
    let payment_id: PaymentId = metadata.get(META_PAYMENT)?.parse().ok()?;
    let order = metadata.get(META_ORDER).and_then(|order| order.parse().ok());
    let session = id.filter(|_| object.as_deref() == Some(SESSION_OBJECT));
    let bounded = |text: &str| text.len() <= NOTICE_ID_CHARS_MAX;
    let fits = bounded(&event.id) && bounded(&event.r#type) && session.as_deref().is_none_or(bounded);
    fits.then_some(Noticed {
        notice: Notice {
            id: event.id,
            kind: event.r#type,
            payment_id,
            session,
            received_at: now,
            read: false,
        },
        order,
    })
}

/// A payment is stored before Stripe hears of it. One that Stripe knows and this store does not was lost with a store that
/// was given up for an older one, or is another installation's that shares the account. Where it is not plain that its
/// money is owed to the buyer ([`Payment::lost`]), a person has to see to it.
fn tell_unknown(Noticed { notice, order }: &Noticed) {
    metrics::counter!(UNKNOWN).increment(1);
    let order = order.map_or_else(|| "not said".to_owned(), |order| order.to_string());
    tracing::warn!(order, payment = %notice.payment_id, session = notice.session.as_deref().unwrap_or_default(),
        notice = notice.id, kind = notice.kind,
        "Stripe has a payment that this store does not know: compare the order with Stripe");
}

/// Stores a notice, after all that the orders service has said of its order was heard if its payment may be undone for it:
/// the money of an order that was completed since would be given back.
async fn stored(shared: &Shared, noticed: &Noticed) -> Result<Stored, Problem> {
    let stored = store(shared, noticed.clone(), false).await?;
    if !matches!(stored, Stored::Losable) {
        return Ok(stored);
    }
    if !shared.parts.catches_up(Source::Orders).await {
        // Stripe sends it again.
        let message = "What became of the order is not known here yet, try again soon";
        return Err(Problem::unavailable(message, RETRY_SECONDS));
    }
    store(shared, noticed.clone(), true).await
}

/// Stores a notice, unless it came before or its payment is not known here. One that was lost is known from then on, if it
/// is `certain` how its order stands.
async fn store(
    shared: &Shared,
    Noticed { notice, order }: Noticed,
    certain: bool,
) -> Result<Stored, Problem> {
    let stored = shared.parts.transact::<_, Infallible>(move |tx| {
        let known = tx.get::<Payment>(&notice.payment_id)?;
        let stored = if known.is_some() {
            if tx.get::<Notice>(&notice.id)?.is_some() {
                return Ok(Stored::Repeated);
            }
            Stored::New
        } else {
            let (named, order) = match order {
                Some(order) => (true, tx.get::<Order>(&order)?),
                None => (false, None),
            };
            // A notice can overtake its order, of which nothing can be said before it is here.
            if !certain && named && order.is_none() && notice.session.is_some() {
                return Ok(Stored::Losable);
            }
            let lost = order.zip(notice.session.clone());
            let lost =
                lost.and_then(|(order, session)| Payment::lost(notice.payment_id, session, &order, tx.now()));
            let Some(lost) = lost else {
                return Ok(Stored::Unknown);
            };
            if !certain {
                return Ok(Stored::Losable);
            }
            tx.put_any(lost)?;
            Stored::Lost
        };
        tx.put_any(notice)?;
        Ok(stored)
    });
    let stored = stored
        .await
        .map_err(|error: TransactError<Infallible>| error.map_refused(|never| -> Problem { match never {} }));
    stored.or_problem()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn secrets(all: &[&str]) -> Vec<String> {
        all.iter().map(|secret| (*secret).to_owned()).collect()
    }

    fn event(object: &str) -> String {
        format!(r#"{{"id":"evt_1","type":"checkout.session.completed","data":{{"object":{object}}}}}"#)
    }

    #[test]
    fn a_signature_holds_for_its_body_its_secret_and_five_minutes() {
        let body = event("{}");
        let signed = |secret| Webhook::generate_test_header(&body, secret, Some(NOW.as_seconds()));
        let holds =
            |secrets: &[String], body: &str, header: &str, now| verify(secrets, body, header, now).is_ok();
        let one = secrets(&["whsec_a"]);
        assert!(holds(&one, &body, &signed("whsec_a"), NOW));
        assert!(!holds(&one, &body, &signed("whsec_b"), NOW));
        assert!(!holds(
            &one,
            &body.replace("evt_1", "evt_2"),
            &signed("whsec_a"),
            NOW
        ));
        // While a secret is replaced, both hold.
        let two = secrets(&["whsec_a", "whsec_b"]);
        assert!(holds(&two, &body, &signed("whsec_b"), NOW));
        for seconds in [-301, 301] {
            let now = Timestamp::from_seconds(NOW.as_seconds() + seconds);
            assert!(!holds(&one, &body, &signed("whsec_a"), now), "{seconds}");
        }
        for header in ["", "t=1", "v1=00", "t=x,v1=00", "nonsense"] {
            assert!(!holds(&one, &body, header, NOW), "{header}");
        }
    }

    #[test]
    fn only_what_names_a_payment_is_remembered() {
        let read_whole = |object: &str| noticed(serde_json::from_str(&event(object)).unwrap(), NOW);
        let read = |object: &str| read_whole(object).map(|noticed| noticed.notice);
        let id = "019394b6-0c00-7000-8000-000000000001";
        for (order, expected) in [(id, Some(id.parse().unwrap())), ("1", None)] {
            let object = format!(r#"{{"metadata":{{"payment_id":"{id}","order_id":"{order}"}}}}"#);
            assert_eq!(read_whole(&object).unwrap().order, expected, "{order}");
        }
        let session =
            format!(r#"{{"id":"cs_1","object":"checkout.session","metadata":{{"payment_id":"{id}"}}}}"#);
        let noticed = read(&session).unwrap();
        assert_eq!(
            (noticed.session.as_deref(), noticed.payment_id.to_string()),
            (Some("cs_1"), id.to_owned())
        );
        let charge = format!(r#"{{"id":"ch_1","object":"charge","metadata":{{"payment_id":"{id}"}}}}"#);
        assert_eq!(read(&charge).unwrap().session, None);
        for strange in [
            "{}",
            r#"{"id":"cs_1","metadata":null}"#,
            r#"{"id":"cs_1","metadata":{"payment_id":"1"}}"#,
        ] {
            assert_eq!(read(strange), None, "{strange}");
        }
        let long = format!(
            r#"{{"id":"{}","object":"checkout.session","metadata":{{"payment_id":"{id}"}}}}"#,
            "x".repeat(NOTICE_ID_CHARS_MAX + 1)
        );
        assert_eq!(read(&long), None);
    }
}
