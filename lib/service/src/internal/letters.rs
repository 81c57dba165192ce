//! `/internal/dead-letters`: what could not be applied, for an operator to look at, to replay, or to drop.

use axum::Json;
use axum::extract::{Path, State};
use errors::Problem;
use events::Source;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{DeadLetter, Indexes, TransactError};

use super::Inside;
use super::operator::Operator;
use crate::OrProblem as _;
use crate::http::Query;

/// How many letters a list has, and how many it may be asked for. Each is read whole, and may be large.
const LETTERS_LISTED_DEFAULT: usize = 50;
const LETTERS_LISTED_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Behind which letter the list begins: `source/id`, as the one before gave it.
    after: Option<String>,
    limit: Option<usize>,
}

/// All letters, without what came: by source and id.
pub(super) async fn list<I: Indexes>(
    State(inside): State<Inside<I>>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, Problem> {
    let after = asked.after.as_deref().map(key).transpose()?;
    let limit = asked.limit.unwrap_or(LETTERS_LISTED_DEFAULT);
    if !(1..=LETTERS_LISTED_MAX).contains(&limit) {
        return Err(Problem::invalid_field(
            "limit",
            format!("Limit must be between 1 and {LETTERS_LISTED_MAX}"),
        ));
    }
    let store = &inside.parts.store;
    let letters = store.dead_letters(after.as_ref(), limit).or_problem()?;
    let next = letters
        .last()
        .filter(|_| letters.len() == limit)
        .map(|letter| format!("{}/{}", letter.source, letter.id));
    let shown: Vec<Value> = letters.iter().map(summary).collect();
    Ok(Json(json!({
        "service": inside.parts.source,
        "total": store.status().dead_letters,
        "deadLetters": shown,
        "next": next,
    })))
}

fn key(text: &str) -> Result<(Source, String), Problem> {
    let parsed = text
        .split_once('/')
        .and_then(|(source, id)| Some((source.parse().ok()?, id.to_owned())));
    parsed.ok_or_else(|| Problem::invalid_field("after", "After must be a source and an id: orders/1-42"))
}

/// One letter, with what came.
pub(super) async fn show<I: Indexes>(
    State(inside): State<Inside<I>>,
    Path(which): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let key = named(which)?;
    let letter: Option<DeadLetter> = inside.parts.store.get(&key).or_problem()?;
    let letter = letter.ok_or_else(no_such_letter)?;
    let mut shown = summary(&letter);
    shown["entry"] = json!(letter.entry);
    Ok(Json(shown))
}

/// Drops a letter for good: the event stays not applied.
pub(super) async fn drop_letter<I: Indexes>(
    State(inside): State<Inside<I>>,
    _operator: Operator,
    Path(which): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let key = named(which)?;
    let name = format!("{}/{}", key.0, key.1);
    inside
        .parts
        .transact(move |tx| {
            if tx.get::<DeadLetter>(&key)?.is_none() {
                return Err(TransactError::Refused(no_such_letter()));
            }
            tx.delete::<DeadLetter>(&key)?;
            Ok(())
        })
        .await
        .or_problem()?;
    tracing::warn!(service = %inside.parts.source, letter = name, "an operator dropped a dead letter");
    Ok(StatusCode::NO_CONTENT)
}

/// The letter that a path names. What is no source has no letters.
pub(super) fn named((source, id): (String, String)) -> Result<(Source, String), Problem> {
    let source = source.parse().map_err(|_| no_such_letter())?;
    Ok((source, id))
}

pub(super) fn no_such_letter() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is no such dead letter")
}

/// A letter without what came.
pub(super) fn summary(letter: &DeadLetter) -> Value {
    json!({
        "source": letter.source,
        "id": letter.id,
        "epoch": letter.position.map(|position| position.epoch),
        "seq": letter.position.map(|position| position.seq),
        "type": letter.event_type,
        // As the site's operator page has it.
        "subject": letter.id,
        "reason": letter.reason,
        "tries": letter.tries,
        "at": letter.buried_at,
        "entryBytes": letter.entry_bytes,
    })
}
