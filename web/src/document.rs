//! `/api/...` as far as no service owns it: the document of the whole API, and a problem for everything else.
//!
//! Behind the ingress the site gets every path that is not a service's, so a program that has mistyped one asks here. It is
//! answered as a service would answer it, not with a page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use errors::Problem;
use utoipa::openapi::OpenApi;

use crate::Site;
use crate::description::describe;
use crate::upstream::{Call, Service, Upstream};

/// Where every service, and the whole API, describes itself.
const DOCUMENT: &str = "/api/openapi.json";

/// When to ask again for the document while a service does not answer.
const RETRY_SECONDS: u32 = 2;

/// The services with a public API.
const DESCRIBED: [Service; 4] = [
    Service::Auth,
    Service::Tickets,
    Service::Orders,
    Service::Payments,
];

/// These routes, with errors as programs expect them.
pub(crate) fn routes(site: Arc<Site>) -> Router {
    Router::new()
        .route(DOCUMENT, get(document))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::from_status(StatusCode::METHOD_NOT_ALLOWED))
        .with_state(site)
}

async fn document(State(site): State<Arc<Site>>) -> Result<Json<OpenApi>, Problem> {
    let [auth, tickets, orders, payments] = DESCRIBED.map(|service| of_service(&site.upstream, service));
    let (auth, tickets, orders, payments) = tokio::join!(auth, tickets, orders, payments);
    Ok(Json(describe([auth?, tickets?, orders?, payments?])))
}

/// What a service says of itself.
async fn of_service(upstream: &Upstream, service: Service) -> Result<OpenApi, Problem> {
    let unknown = |why: String| {
        let sentence = format!(
            "The {} service can't say now what it does, try again soon",
            service.name()
        );
        Problem::unavailable(sentence, RETRY_SECONDS).because(why)
    };
    let answer = upstream.send_to(service, Call::get(DOCUMENT)).await;
    let answer = answer.map_err(|error| unknown(error.to_string()))?;
    if !answer.status.is_success() {
        return Err(unknown(format!("it answers {}", answer.status)));
    }
    answer.json().map_err(|error| unknown(error.to_string()))
}
