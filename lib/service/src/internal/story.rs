//! `/internal/events`: the published events that name a subject, for operators who follow one thing's whole story.

use axum::Json;
use axum::extract::State;
use errors::Problem;
use events::Seq;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use store::{Indexes, OutboxEntry, Store};

use super::Inside;
use crate::OrProblem as _;
use crate::http::Query;

/// How many events of one subject are shown, the newest.
const EVENTS_SHOWN_MAX: usize = 500;

/// How much of the outbox is read at once while it is searched.
const SEARCH_BYTES_PER_READ: usize = 1024 * 1024;

/// How long a subject may be: the longest is an id's 36 or a key's 43 characters.
const SUBJECT_BYTES_MAX: usize = 64;
const SUBJECT_BYTES_MIN: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    subject: String,
}

/// The published events that name the subject, as their own or anywhere in their data.
pub(super) async fn events<I: Indexes>(
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
