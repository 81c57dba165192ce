//! The dashboard: what was paid lately, and refunds by hand, as a merchant makes them at Stripe's.
//!
//! A browser signs in with the secret key as its user name.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{HOST, HeaderMap, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderName, StatusCode};

use crate::error::ApiError;
use crate::model::{Intent, Record};
use crate::params::Params;
use crate::refunds::{self, Wanted};
use crate::{StripeFake, api, html, money, render};

/// How many payments are shown.
const PAYMENTS_MAX: usize = 50;
const PATH: &str = "/stripe-fake/dashboard";

/// `GET /stripe-fake/dashboard`
pub(crate) async fn show(State(fake): State<StripeFake>, headers: HeaderMap) -> Response {
    if api::authenticate(&fake, &headers).is_err() {
        return challenge();
    }
    overview(&fake, StatusCode::OK, None)
}

/// `POST /stripe-fake/dashboard/refunds` with `payment_intent` and, for a part of it, `amount`.
pub(crate) async fn refund(State(fake): State<StripeFake>, headers: HeaderMap, body: Bytes) -> Response {
    if api::authenticate(&fake, &headers).is_err() {
        return challenge();
    }
    if is_from_elsewhere(&headers) {
        return overview(
            &fake,
            StatusCode::FORBIDDEN,
            Some("A refund has to be asked for on this page.".to_owned()),
        );
    }
    let number = {
        let mut books = fake.books();
        let moment = fake.moment(None, None);
        let decided = (|| {
            let params = Params::parse(&body)?;
            let id = params.required("payment_intent")?;
            let intent = books.book.intent(id);
            let intent = intent.ok_or_else(|| ApiError::missing("payment_intent", "payment_intent", id))?;
            let wanted = Wanted {
                amount: params.integer("amount")?,
                reason: Some("requested_by_customer"),
                ..Wanted::default()
            };
            refunds::refunded(intent, wanted, &moment).map(|(records, _, _): (Vec<Record>, _, _)| records)
        })();
        match decided {
            Ok(records) => fake.commit(&mut books, records),
            Err(error) => {
                drop(books);
                let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
                let message = error.body()["error"]["message"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                return overview(&fake, status, Some(message));
            }
        }
    };
    match fake.synced().wait(number).await {
        Ok(()) => html::see_other(PATH),
        Err(_) => overview(
            &fake,
            StatusCode::SERVICE_UNAVAILABLE,
            Some("The disk did not answer in time: reload to see whether the refund was made.".to_owned()),
        ),
    }
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct DashboardPage<'a> {
    nonce: &'a str,
    payments: Vec<Row>,
    alert: Option<String>,
}

struct Row {
    id: String,
    order: String,
    amount: String,
    captured: String,
    refunded: String,
    status: &'static str,
    refundable: bool,
}

fn overview(fake: &StripeFake, status: StatusCode, alert: Option<String>) -> Response {
    let nonce = fake.ids().object("");
    let payments = fake
        .books()
        .book
        .intents()
        .rev()
        .take(PAYMENTS_MAX)
        .map(row)
        .collect();
    html::page(
        status,
        &DashboardPage {
            nonce: &nonce,
            payments,
            alert,
        },
        &nonce,
        &[],
    )
}

fn row(intent: &Intent) -> Row {
    let shown = |amount| money::displayed(amount, &intent.currency);
    Row {
        id: intent.id.clone(),
        order: render::order_of(&intent.metadata).unwrap_or("–").to_owned(),
        amount: shown(intent.amount),
        captured: shown(intent.amount_received()),
        refunded: shown(intent.amount_refunded()),
        status: intent.status.as_str(),
        refundable: intent.amount_received() > intent.amount_refunded(),
    }
}

fn challenge() -> Response {
    let challenge = [(
        WWW_AUTHENTICATE,
        "Basic realm=\"stripe-fake: the secret key is the user name\"",
    )];
    (
        StatusCode::UNAUTHORIZED,
        challenge,
        "Sign in with the secret key as user name and no password.",
    )
        .into_response()
}

/// A browser sends the key along with any form that points here, so another site's form is refused.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(HeaderName::from_static("sec-fetch-site")), text(ORIGIN)) {
        (Some(site), _) => site != "same-origin" && site != "none",
        (None, Some(origin)) => origin.split_once("://").map(|(_, host)| host) != text(HOST),
        (None, None) => false,
    }
}
