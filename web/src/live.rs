//! `GET /live?ticket=…&order=…`: server-sent events for an open page.
//!
//! Each stream asks the services by long polling: "tell me when this is no longer at version N". So a page
//! hears of a change as soon as the service has it, and no service needs to know of browsers. A stream ends
//! with its client, when the site stops, or after `STREAM_SECONDS_MAX`,
//! after which the browser opens a new one. Streams are few enough to be bounded by a simple count.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use service::Shutdown;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use crate::Site;
use crate::api::{Order, Ticket};
use crate::format;
use crate::problem::Failure;
use crate::session::Visit;
use crate::upstream::Call;

/// How long one question waits for news.
const WAIT_SECONDS: u64 = 25;
/// How long a stream lasts.
const STREAM_SECONDS_MAX: u64 = 30 * 60;
/// Pause between comments that keep proxies from closing a quiet stream.
const HEARTBEAT_SECONDS: u64 = 15;
/// Pause after a question that failed, doubled up to the longest.
const RETRY_MILLIS_MIN: u64 = 500;
const RETRY_MILLIS_MAX: u64 = 15_000;
/// A service that answers "nothing new" faster than this does not wait; then we do.
const QUIET_MILLIS_MIN: u64 = 1_000;
/// Events that wait for a slow browser; more of them wait in the service, as its state.
const EVENTS_QUEUED_MAX: usize = 4;
/// When a full site asks to be tried again.
const FULL_RETRY_SECONDS: u64 = 30;

/// What to watch.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct LiveQuery {
    ticket: Option<Uuid>,
    order: Option<Uuid>,
}

/// What a page hears of a ticket.
#[derive(Serialize)]
struct TicketNews {
    version: u64,
    available: u64,
    quantity: u64,
    price: String,
    now: String,
}

/// What a page hears of its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OrderNews {
    version: u64,
    status: &'static str,
    expires_at: Option<String>,
    now: String,
}

/// What a stream watches.
#[derive(Clone, Copy)]
enum Subject {
    Ticket(Uuid),
    Order(Uuid),
}

/// `GET /live`
pub(crate) async fn stream(
    State(site): State<Arc<Site>>,
    visit: Visit,
    query: Result<Query<LiveQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failure> {
    let Query(query) = query.map_err(|_| Failure::NotFound)?;
    let subjects: Vec<Subject> = [query.ticket.map(Subject::Ticket), query.order.map(Subject::Order)]
        .into_iter()
        .flatten()
        .collect();
    if subjects.is_empty() {
        return Err(Failure::NotFound);
    }
    let permit = Arc::clone(&site.live_streams)
        .try_acquire_owned()
        .map_err(|_| Failure::Unavailable(FULL_RETRY_SECONDS))?;
    let (sender, receiver) = mpsc::channel(EVENTS_QUEUED_MAX);
    let shutdown = site.settings.shutdown.clone();
    tokio::spawn(async move {
        let all = async {
            let mut watches = tokio::task::JoinSet::new();
            for subject in subjects {
                watches.spawn(watch(Arc::clone(&site), visit.clone(), subject, sender.clone()));
            }
            watches.join_all().await
        };
        // The client's going away drops the receiver; the watches, long questions included, end with it.
        tokio::select! {
            _ = all => {}
            () = sender.closed() => {}
            () = stopped(shutdown) => {}
            () = tokio::time::sleep(Duration::from_secs(STREAM_SECONDS_MAX)) => {}
        }
        drop(permit);
    });
    let heartbeat = KeepAlive::new()
        .interval(Duration::from_secs(HEARTBEAT_SECONDS))
        .text("still here");
    Ok(Sse::new(ReceiverStream::new(receiver))
        .keep_alive(heartbeat)
        .into_response())
}

/// Ends when the process stops; never, where nobody would say so.
async fn stopped(shutdown: Option<Shutdown>) {
    match shutdown {
        Some(shutdown) => shutdown.wait().await,
        None => std::future::pending().await,
    }
}

/// Tells of one thing until it is gone or nobody listens.
async fn watch(
    site: Arc<Site>,
    visit: Visit,
    subject: Subject,
    sender: mpsc::Sender<Result<Event, Infallible>>,
) {
    let mut known: Option<u64> = None;
    let mut retry_millis = RETRY_MILLIS_MIN;
    loop {
        let path = match subject {
            Subject::Ticket(id) => format!("/api/tickets/{id}"),
            Subject::Order(id) => format!("/api/orders/{id}"),
        };
        let call = match known {
            Some(version) => Call::get(path).changed_since(version, WAIT_SECONDS),
            None => Call::get(path),
        };
        let asked = tokio::time::Instant::now();
        let told = match site.send(&visit, call).await {
            Ok(answer) if answer.status == StatusCode::NOT_MODIFIED => Told::Nothing,
            Ok(answer) if answer.status.is_success() => read(&site, subject, &answer),
            Ok(answer)
                if answer.status.is_client_error() && answer.status != StatusCode::TOO_MANY_REQUESTS =>
            {
                Told::Gone
            }
            Ok(_) | Err(_) => Told::Silence,
        };
        match told {
            Told::News(version, event) => {
                retry_millis = RETRY_MILLIS_MIN;
                if known.replace(version) == Some(version) {
                    pause_after_nothing(asked).await;
                } else if sender.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            Told::Nothing => {
                retry_millis = RETRY_MILLIS_MIN;
                pause_after_nothing(asked).await;
            }
            Told::Gone => {
                let event = Event::default().event("gone").data(match subject {
                    Subject::Ticket(_) => "ticket",
                    Subject::Order(_) => "order",
                });
                // Whether somebody still listens makes no difference: this was the last word.
                let _ = sender.send(Ok(event)).await;
                return;
            }
            Told::Silence => {
                tokio::time::sleep(Duration::from_millis(retry_millis)).await;
                retry_millis = (retry_millis * 2).min(RETRY_MILLIS_MAX);
            }
        }
    }
}

enum Told {
    News(u64, Event),
    Nothing,
    Gone,
    Silence,
}

fn read(site: &Site, subject: Subject, answer: &crate::upstream::Answer) -> Told {
    let now = site.settings.clock.now().to_string();
    let event = match subject {
        Subject::Ticket(_) => answer.json::<Ticket>().map(|ticket| {
            let price = format::money(&ticket.price, &ticket.currency);
            let (version, available, quantity) = (ticket.version, ticket.available, ticket.quantity);
            (
                version,
                "ticket",
                serde_json::to_string(&TicketNews {
                    version,
                    available,
                    quantity,
                    price,
                    now,
                }),
            )
        }),
        Subject::Order(_) => answer.json::<Order>().map(|order| {
            let (version, status, expires_at) = (order.version, order.status.name(), order.expires_at);
            (
                version,
                "order",
                serde_json::to_string(&OrderNews {
                    version,
                    status,
                    expires_at,
                    now,
                }),
            )
        }),
    };
    match event {
        Ok((version, name, Ok(data))) => Told::News(version, Event::default().event(name).data(data)),
        Ok((_, _, Err(error))) | Err(error) => {
            tracing::warn!(%error, "news of a service cannot be read");
            Told::Silence
        }
    }
}

async fn pause_after_nothing(asked: tokio::time::Instant) {
    tokio::time::sleep_until(asked + Duration::from_millis(QUIET_MILLIS_MIN)).await;
}
