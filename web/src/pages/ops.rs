//! `/ops`: how the services stand, what they could not apply, and one order's whole story. For operators
//! only; everyone else is told that there is nothing here.
//!
//! It is what one opens when something is wrong, so it shows what it can get and says "unknown" for the rest.

mod report;

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::Site;
use crate::problem::Failure;
use crate::session::Visit;
use crate::upstream::{Call, Service};
use crate::view::{self, Section, Shell};
use report::{LetterRow, ServiceRow, Status, StoryEvent, StoryRow, StreamRow};

/// What may stand behind the `?`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct OpsQuery {
    order: Option<String>,
}

struct Story {
    order: String,
    rows: Vec<StoryRow>,
    silent: Vec<&'static str>,
}

#[derive(Template)]
#[template(path = "ops.html")]
struct OpsPage {
    shell: Shell,
    services: Vec<ServiceRow>,
    streams: Vec<StreamRow>,
    letters: Vec<LetterRow>,
    letters_hidden: usize,
    asked: String,
    problem: Option<&'static str>,
    story: Option<Story>,
}

/// `GET /ops`
pub(crate) async fn show(
    State(site): State<Arc<Site>>,
    visit: Visit,
    Query(query): Query<OpsQuery>,
) -> Result<Response, Failure> {
    let person = visit.signed_in(&site).await?;
    if !site.settings.operators.contains(&person.email.to_lowercase()) {
        return Err(Failure::NotFound);
    }
    let asked = query.order.unwrap_or_default().trim().to_owned();
    let (order, problem) = match (asked.as_str(), asked.parse::<Uuid>()) {
        ("", _) => (None, None),
        (_, Ok(order)) => (Some(order), None),
        (_, Err(_)) => (
            None,
            Some("Enter an order's id, like 0193e5a0-0000-7000-8000-000000000000"),
        ),
    };
    let [auth, tickets, orders, expiration, payments] = Service::ALL;
    let (a, b, c, d, e, story) = tokio::join!(
        ask::<Status>(&site, &visit, auth, "/internal/status"),
        ask::<Status>(&site, &visit, tickets, "/internal/status"),
        ask::<Status>(&site, &visit, orders, "/internal/status"),
        ask::<Status>(&site, &visit, expiration, "/internal/status"),
        ask::<Status>(&site, &visit, payments, "/internal/status"),
        story(&site, &visit, order),
    );
    let statuses: Vec<(Service, Option<Status>)> = Service::ALL.into_iter().zip([a, b, c, d, e]).collect();
    let letters: Vec<LetterRow> = statuses
        .iter()
        .flat_map(|(service, status)| report::letters(*service, status))
        .collect();
    let letters_all: usize = statuses
        .iter()
        .filter_map(|(_, status)| status.as_ref()?.dead_letters.as_ref().map(Vec::len))
        .sum();
    let mut shell = Shell::new(&site, &visit, Some(&person), Section::Ops, "Operations");
    shell = shell.with_errors(problem.is_some());
    let page = OpsPage {
        shell,
        services: statuses
            .iter()
            .map(|(service, status)| report::service_row(*service, status.as_ref()))
            .collect(),
        streams: statuses
            .iter()
            .flat_map(|(service, status)| report::stream_rows(*service, status.as_ref()))
            .collect(),
        letters_hidden: letters_all - letters.len(),
        letters,
        asked,
        problem,
        story,
    };
    Ok(view::render(StatusCode::OK, &page))
}

/// Asks one service; what does not answer or cannot be read is unknown, and written down.
async fn ask<T: DeserializeOwned>(site: &Site, visit: &Visit, service: Service, path: &str) -> Option<T> {
    let answer = match site
        .upstream
        .send_to(service, visit.on_behalf(Call::get(path)))
        .await
    {
        Ok(answer) => answer,
        Err(error) => {
            tracing::warn!(%error, "a service did not tell how it stands");
            return None;
        }
    };
    // A service that is not ready may say so with 503 and still tell how it stands.
    answer
        .json()
        .inspect_err(|error| tracing::warn!(%error, service = service.name(), "a status cannot be read"))
        .ok()
}

async fn story(site: &Site, visit: &Visit, order: Option<Uuid>) -> Option<Story> {
    let order = order?;
    let path = format!("/internal/events?subject={order}");
    let [auth, tickets, orders, expiration, payments] = Service::ALL;
    let (a, b, c, d, e) = tokio::join!(
        ask::<Vec<StoryEvent>>(site, visit, auth, &path),
        ask::<Vec<StoryEvent>>(site, visit, tickets, &path),
        ask::<Vec<StoryEvent>>(site, visit, orders, &path),
        ask::<Vec<StoryEvent>>(site, visit, expiration, &path),
        ask::<Vec<StoryEvent>>(site, visit, payments, &path),
    );
    let mut silent = Vec::new();
    let mut events = Vec::new();
    for (service, answer) in Service::ALL.into_iter().zip([a, b, c, d, e]) {
        match answer {
            Some(told) => events.extend(told),
            None => silent.push(service.name()),
        }
    }
    Some(Story {
        order: order.to_string(),
        rows: report::in_order(events),
        silent,
    })
}
