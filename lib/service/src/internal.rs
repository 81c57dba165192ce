//! `/internal/status` and `/internal/events`: how a service stands and what it has published, for operators.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use errors::Problem;
use events::Seq;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use store::{Indexes, OutboxEntry, Store};

use crate::health::Probe;
use crate::http::Query;
use crate::{OrProblem as _, Parts};

/// How many dead letters are shown.
const DEAD_LETTERS_SHOWN_MAX: usize = 100;

/// How many events of one subject are shown, the newest.
const EVENTS_SHOWN_MAX: usize = 500;

/// How much of the outbox is read at once while it is searched.
const SEARCH_BYTES_PER_READ: usize = 1024 * 1024;

/// How long a subject may be: the longest is an id's 36 or a key's 43 characters.
const SUBJECT_BYTES_MAX: usize = 64;
const SUBJECT_BYTES_MIN: usize = 8;

pub(crate) fn router<I: Indexes>(parts: Parts<I>, probe: Probe) -> Router {
    Router::new()
        .route("/internal/status", get(status::<I>))
        .route("/internal/events", get(events::<I>))
        .with_state(Inside { parts, probe })
}

struct Inside<I: Indexes> {
    parts: Parts<I>,
    probe: Probe,
}

impl<I: Indexes> Clone for Inside<I> {
    fn clone(&self) -> Self {
        Self {
            parts: self.parts.clone(),
            probe: self.probe.clone(),
        }
    }
}

async fn status<I: Indexes>(State(inside): State<Inside<I>>) -> Json<Value> {
    let store = inside.parts.store.status();
    let bus = inside.parts.bus.status();
    let sources: Vec<Value> = bus
        .sources
        .iter()
        .map(|source| {
            json!({
                "source": source.source,
                "epoch": source.cursor.epoch,
                "cursor": source.cursor.seq,
                "head": source.head.map(|head| head.seq),
                "state": source.state.to_string(),
            })
        })
        .collect();
    let letters = inside.parts.store.dead_letters(None, DEAD_LETTERS_SHOWN_MAX);
    // A store that does not serve says so above; its dead letters are not known then, which is not the same as none.
    let dead_letters: Option<Vec<Value>> = letters.ok().map(|letters| {
        letters
            .iter()
            .map(|letter| {
                json!({
                    "source": letter.source,
                    "epoch": letter.position.map(|position| position.epoch),
                    "seq": letter.position.map(|position| position.seq),
                    "type": letter.event_type,
                    "subject": letter.id,
                    "reason": letter.reason,
                    "at": letter.buried_at,
                })
            })
            .collect()
    });
    Json(json!({
        "service": inside.parts.source,
        "ready": (inside.probe)().is_ready(),
        "store": {
            "epoch": store.epoch,
            "head": store.head,
            "keys": store.keys,
            "state": state_in_words(&store.state),
        },
        "bus": {
            "connected": bus.connected,
            "relayed": bus.relayed.seq,
            "trouble": bus.relay_trouble,
            "sources": sources,
        },
        "deadLetters": dead_letters,
    }))
}

/// A store's state as an operator reads it.
pub(crate) fn state_in_words(state: &store::State) -> String {
    match state {
        store::State::Serving => "serving".to_owned(),
        store::State::Reopening { since, error } => {
            format!("reopening for {} s: {error}", since.elapsed().as_secs())
        }
        store::State::Adopting { why } => format!("adopting: {why}"),
        store::State::Old { why } => format!("old: {why}"),
        store::State::Closed => "closed".to_owned(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    subject: String,
}

/// The published events that name the subject, as their own or anywhere in their data.
async fn events<I: Indexes>(
    State(inside): State<Inside<I>>,
    Query(search): Query<Search>,
) -> Result<Json<Vec<Value>>, Problem> {
    let plain = search
        .subject
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if !plain || !(SUBJECT_BYTES_MIN..=SUBJECT_BYTES_MAX).contains(&search.subject.len()) {
        return Err(Problem::invalid_field(
            "subject",
            "Subject must be the id of something",
        ));
    }
    let store = inside.parts.store.clone();
    let found = tokio::task::spawn_blocking(move || find(&store, &search.subject))
        .await
        .map_err(|error| Problem::internal(format!("searching the outbox: {error}")))??;
    Ok(Json(found))
}

fn find<I: Indexes>(store: &Store<I>, subject: &str) -> Result<Vec<Value>, Problem> {
    let mut found: Vec<OutboxEntry> = Vec::new();
    let mut after = Seq(store.oldest_outbox_seq().0.saturating_sub(1));
    loop {
        let entries = store.outbox(after, SEARCH_BYTES_PER_READ).or_problem()?;
        let Some(last) = entries.last() else {
            break;
        };
        after = last.seq;
        found.extend(
            entries
                .into_iter()
                .filter(|entry| entry.envelope.contains(subject)),
        );
        if found.len() > EVENTS_SHOWN_MAX {
            found.drain(..found.len() - EVENTS_SHOWN_MAX);
        }
    }
    found.iter().map(|entry| shown(&entry.envelope)).collect()
}

#[derive(Deserialize)]
struct Shown<'a> {
    source: &'a str,
    epoch: u64,
    seq: u64,
    r#type: &'a str,
    time: &'a str,
    cause: Option<Value>,
    #[serde(borrow)]
    data: &'a RawValue,
}

fn shown(envelope: &str) -> Result<Value, Problem> {
    let unreadable = |error| Problem::internal(format!("an envelope of ours can't be read: {error}"));
    let event: Shown<'_> = serde_json::from_str(envelope).map_err(unreadable)?;
    let data: Value = serde_json::from_str(event.data.get()).map_err(unreadable)?;
    Ok(json!({
        "source": event.source,
        "epoch": event.epoch,
        "seq": event.seq,
        "type": event.r#type,
        "time": event.time,
        "cause": event.cause,
        "data": data,
    }))
}
