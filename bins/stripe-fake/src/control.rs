//! What only tests and checks use: the ledger, and the switches for faults.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::faults::Wanted;
use crate::model::{Intent, IntentStatus, Metadata};
use crate::{StripeFake, api, render};

/// Which part of the ledger is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    order: Option<String>,
}

/// One payment in the ledger; amounts are in the currency's smallest unit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    id: &'a str,
    session: &'a str,
    order: Option<&'a str>,
    client_reference_id: Option<&'a str>,
    metadata: &'a Metadata,
    created: i64,
    currency: &'a str,
    amount: i64,
    captured: i64,
    refunded: i64,
    status: &'static str,
}

/// The sums over one currency.
#[derive(Debug, Default, Serialize)]
struct Totals {
    /// Authorised, neither captured nor released.
    authorized: i64,
    captured: i64,
    refunded: i64,
    /// Captured minus refunded.
    net: i64,
}

/// `GET /stripe-fake/ledger`, or `?order=` for the payments of one order.
pub(crate) async fn ledger(
    State(fake): State<StripeFake>,
    filter: Result<Query<Filter>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Response {
    if !fake.config().faults_enabled
        && let Err(error) = api::authenticate(&fake, &headers)
    {
        return refusal(StatusCode::UNAUTHORIZED, &error.body());
    }
    let Ok(Query(filter)) = filter else {
        return refusal(
            StatusCode::BAD_REQUEST,
            &sentence("the only parameter of the ledger is order"),
        );
    };
    let (body, number) = {
        let books = fake.books();
        let mut totals: BTreeMap<&str, Totals> = BTreeMap::new();
        let mut lines = Vec::new();
        for intent in books.book.intents() {
            let session = books.book.session(&intent.session);
            let reference = session.and_then(|session| session.client_reference_id.as_deref());
            let order = render::order_of(&intent.metadata)
                .or_else(|| session.and_then(|session| render::order_of(&session.metadata)))
                .or(reference);
            if filter.order.is_some() && filter.order.as_deref() != order {
                continue;
            }
            add(totals.entry(&intent.currency).or_default(), intent);
            lines.push(Line {
                id: &intent.id,
                session: &intent.session,
                order,
                client_reference_id: reference,
                metadata: &intent.metadata,
                created: intent.created,
                currency: &intent.currency,
                amount: intent.amount,
                captured: intent.amount_received(),
                refunded: intent.amount_refunded(),
                status: intent.status.as_str(),
            });
        }
        let body = json!({
            "intents": lines,
            "totals": totals,
            "sessions": books.book.session_count(),
            "pendingEvents": books.book.pending_events().count(),
        });
        (body, books.last())
    };
    match fake.synced().wait(number).await {
        Ok(()) => Json(body).into_response(),
        Err(_) => refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            &sentence("the disk did not answer in time"),
        ),
    }
}

/// `POST /stripe-fake/faults`
pub(crate) async fn set_fault(State(fake): State<StripeFake>, body: Bytes) -> Response {
    if !fake.config().faults_enabled {
        return disabled();
    }
    let set = serde_json::from_slice::<Wanted>(&body)
        .map_err(|error| error.to_string())
        .and_then(|wanted| fake.faults().set(wanted));
    match set {
        Ok(fault) => (StatusCode::CREATED, Json(fault)).into_response(),
        Err(message) => refusal(StatusCode::BAD_REQUEST, &sentence(&message)),
    }
}

/// `GET /stripe-fake/faults`: what is set, and how often each has acted.
pub(crate) async fn list_faults(State(fake): State<StripeFake>) -> Response {
    if !fake.config().faults_enabled {
        return disabled();
    }
    Json(json!({ "faults": fake.faults().all() })).into_response()
}

/// `DELETE /stripe-fake/faults`: all is well again, and what was kept back is sent.
pub(crate) async fn clear_faults(State(fake): State<StripeFake>) -> Response {
    if !fake.config().faults_enabled {
        return disabled();
    }
    let cleared = fake.faults().clear();
    fake.wake_deliveries();
    Json(json!({ "cleared": cleared })).into_response()
}

fn add(totals: &mut Totals, intent: &Intent) {
    if intent.status == IntentStatus::RequiresCapture {
        totals.authorized += intent.amount;
    }
    totals.captured += intent.amount_received();
    totals.refunded += intent.amount_refunded();
    totals.net = totals.captured - totals.refunded;
}

fn disabled() -> Response {
    let message = "faults are off: start with --faults (STRIPE_FAKE_FAULTS=true) to use them";
    refusal(StatusCode::NOT_FOUND, &sentence(message))
}

fn sentence(message: &str) -> Value {
    ApiError::invalid(message.to_owned()).body()
}

fn refusal(status: StatusCode, body: &Value) -> Response {
    (status, Json(body)).into_response()
}
