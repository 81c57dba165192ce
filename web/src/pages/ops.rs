//! `/ops`: how the services stand, what they could not apply, and one order's whole story. For operators
//! only; everyone else is told that there is nothing here.
//!
//! It is what one opens when something is wrong, so it shows what it can get and says "unknown" for the rest.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::Site;
use crate::format::{self, Moment};
use crate::problem::Failure;
use crate::session::Visit;
use crate::upstream::{Call, Service};
use crate::view::{self, Section, Shell};

/// Dead letters that are shown of one service; the rest is counted.
const DEAD_LETTERS_SHOWN_MAX: usize = 50;
/// Events that are shown of one story.
const STORY_EVENTS_MAX: usize = 500;

/// What may stand behind the `?`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct OpsQuery {
    order: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    ready: Option<bool>,
    store: Option<StoreStatus>,
    bus: Option<BusStatus>,
    dead_letters: Option<Vec<DeadLetter>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StoreStatus {
    epoch: Option<u64>,
    head: Option<u64>,
    keys: Option<u64>,
    state: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BusStatus {
    connected: Option<bool>,
    relayed: Option<u64>,
    sources: Option<Vec<SourceStatus>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SourceStatus {
    source: Option<String>,
    epoch: Option<u64>,
    cursor: Option<u64>,
    head: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeadLetter {
    source: Option<String>,
    epoch: Option<u64>,
    seq: Option<u64>,
    #[serde(rename = "type")]
    kind: Option<String>,
    subject: Option<String>,
    reason: Option<String>,
    at: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StoryEvent {
    source: Option<String>,
    epoch: Option<u64>,
    seq: Option<u64>,
    #[serde(rename = "type")]
    kind: Option<String>,
    time: Option<String>,
    cause: Option<Value>,
    data: Option<Value>,
}

struct ServiceRow {
    name: &'static str,
    answered: bool,
    ready: &'static str,
    ready_tone: &'static str,
    epoch: String,
    head: String,
    keys: String,
    store_state: String,
    bus: &'static str,
    bus_tone: &'static str,
    unpublished: String,
}

struct StreamRow {
    consumer: &'static str,
    source: String,
    epoch: String,
    cursor: String,
    head: String,
    lag: String,
    behind: bool,
}

struct LetterRow {
    service: &'static str,
    place: String,
    kind: String,
    subject: String,
    reason: String,
    at: Option<Moment>,
}

struct StoryRow {
    time: Option<Moment>,
    seconds: String,
    kind: String,
    place: String,
    cause: String,
    data: String,
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
        .flat_map(|(service, status)| letters(*service, status))
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
            .map(|(service, status)| service_row(*service, status.as_ref()))
            .collect(),
        streams: statuses
            .iter()
            .flat_map(|(service, status)| stream_rows(*service, status.as_ref()))
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
        rows: in_order(events),
        silent,
    })
}

/// One story of events from many sources: by time, and where clocks agree to the millisecond, by source and seq.
fn in_order(mut events: Vec<StoryEvent>) -> Vec<StoryRow> {
    let time = |event: &StoryEvent| event.time.as_deref().and_then(Moment::parse);
    events.sort_by_cached_key(|event| {
        (
            time(event).map(|moment| moment.timestamp()),
            event.source.clone(),
            event.epoch,
            event.seq,
        )
    });
    let first = events.iter().find_map(time).map(|moment| moment.timestamp());
    events
        .into_iter()
        .take(STORY_EVENTS_MAX)
        .map(|event| {
            let moment = time(&event);
            let seconds = match (first, &moment) {
                (Some(first), Some(moment)) => {
                    let millis = moment.timestamp().as_millisecond() - first.as_millisecond();
                    format!("+{}.{:03} s", millis / 1_000, millis % 1_000)
                }
                (_, _) => unknown(),
            };
            StoryRow {
                seconds,
                place: place(event.source.as_ref(), event.epoch, event.seq),
                kind: event.kind.unwrap_or_else(unknown),
                cause: event.cause.as_ref().map(cause).unwrap_or_default(),
                data: event.data.map(|data| pretty(&data)).unwrap_or_default(),
                time: moment,
            }
        })
        .collect()
}

/// `cause` as `source epoch.seq` where it has these parts, else as it came.
fn cause(value: &Value) -> String {
    match (
        value.get("source").and_then(Value::as_str),
        value.get("epoch"),
        value.get("seq"),
    ) {
        (Some(source), epoch, Some(seq)) => place(
            Some(&source.to_owned()),
            epoch.and_then(Value::as_u64),
            seq.as_u64(),
        ),
        _ if value.is_null() => String::new(),
        _ => value.to_string(),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

fn letters(service: Service, status: &Option<Status>) -> Vec<LetterRow> {
    let letters = status
        .as_ref()
        .and_then(|status| status.dead_letters.as_deref())
        .unwrap_or_default();
    letters
        .iter()
        .take(DEAD_LETTERS_SHOWN_MAX)
        .map(|letter| LetterRow {
            service: service.name(),
            place: place(letter.source.as_ref(), letter.epoch, letter.seq),
            kind: letter.kind.clone().unwrap_or_else(unknown),
            subject: letter.subject.clone().unwrap_or_else(unknown),
            reason: letter.reason.clone().unwrap_or_else(unknown),
            at: letter.at.as_deref().and_then(Moment::parse),
        })
        .collect()
}

fn service_row(service: Service, status: Option<&Status>) -> ServiceRow {
    let store = status.and_then(|status| status.store.as_ref());
    let bus = status.and_then(|status| status.bus.as_ref());
    let (ready, ready_tone) = match status.and_then(|status| status.ready) {
        Some(true) => ("ready", "good"),
        Some(false) => ("not ready", "bad"),
        None => ("unknown", "muted"),
    };
    let (bus_word, bus_tone) = match bus.and_then(|bus| bus.connected) {
        Some(true) => ("connected", "good"),
        Some(false) => ("cut off", "bad"),
        None => ("unknown", "muted"),
    };
    let head = store.and_then(|store| store.head);
    ServiceRow {
        name: service.name(),
        answered: status.is_some(),
        ready,
        ready_tone,
        epoch: number(store.and_then(|store| store.epoch)),
        head: number(head),
        keys: number(store.and_then(|store| store.keys)),
        store_state: store
            .and_then(|store| store.state.clone())
            .unwrap_or_else(unknown),
        bus: bus_word,
        bus_tone,
        unpublished: number(match (head, bus.and_then(|bus| bus.relayed)) {
            (Some(head), Some(relayed)) => Some(head.saturating_sub(relayed)),
            (_, _) => None,
        }),
    }
}

fn stream_rows(service: Service, status: Option<&Status>) -> Vec<StreamRow> {
    let sources = status
        .and_then(|status| status.bus.as_ref())
        .and_then(|bus| bus.sources.as_deref())
        .unwrap_or_default();
    sources
        .iter()
        .map(|source| {
            let lag = match (source.head, source.cursor) {
                (Some(head), Some(cursor)) => Some(head.saturating_sub(cursor)),
                (_, _) => None,
            };
            StreamRow {
                consumer: service.name(),
                source: source.source.clone().unwrap_or_else(unknown),
                epoch: number(source.epoch),
                cursor: number(source.cursor),
                head: number(source.head),
                lag: number(lag),
                behind: lag.is_some_and(|lag| lag > 0),
            }
        })
        .collect()
}

fn place(source: Option<&String>, epoch: Option<u64>, seq: Option<u64>) -> String {
    let part = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    format!(
        "{} {}.{}",
        source.map_or("unknown", String::as_str),
        part(epoch),
        part(seq)
    )
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(unknown, format::grouped)
}

fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_told_in_the_order_of_time() {
        let events: Vec<StoryEvent> = serde_json::from_str(
            r#"[{"source":"tickets","epoch":1,"seq":9,"type":"ticket:reserved","time":"2027-01-01T00:00:00.020Z",
                 "cause":{"source":"orders","epoch":1,"seq":4}},
                {"source":"orders","epoch":1,"seq":4,"type":"order:created","time":"2027-01-01T00:00:00Z"},
                {"type":"lost"}]"#,
        )
        .unwrap();
        let rows = in_order(events);
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.kind.as_str(), row.seconds.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("lost", "unknown"),
                ("order:created", "+0.000 s"),
                ("ticket:reserved", "+0.020 s")
            ]
        );
        assert_eq!(rows[2].cause, "orders 1.4");
    }

    #[test]
    fn a_status_without_anything_is_unknown_everywhere() {
        let status: Status = serde_json::from_str("{}").unwrap();
        let row = service_row(Service::Orders, Some(&status));
        assert_eq!(
            (row.ready, row.bus, row.head.as_str()),
            ("unknown", "unknown", "unknown")
        );
    }
}
