//! `/internal/dead-letters`: what could not be applied, for an operator to look at, to replay, or to drop.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use bus::{Handler, ReplayError, Replayed};
use errors::Problem;
use events::Source;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{DeadLetter, Indexes};

use super::Inside;
use super::operator::Operator;
use crate::http::Query;
use crate::{OrProblem as _, Parts};

/// How many letters a list has, and how many it may be asked for. Each is read whole, and may be large.
const LETTERS_LISTED_DEFAULT: usize = 50;
const LETTERS_LISTED_MAX: usize = 100;

/// When to look again after the store could not be used.
const RETRY_SECONDS: u32 = 1;

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
    let (source, id) = named(which)?;
    let store = &inside.parts.store;
    let dropped = bus::drop_letter(store, source, &id, inside.parts.clock.now())
        .await
        .map_err(|error| not_done(&error))?;
    if dropped {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(no_such_letter())
    }
}

/// Applies a letter once more, past the cursor, and takes it away if that is the end of it.
pub(super) async fn replay<I: Indexes>(
    State(inside): State<Inside<I>>,
    _operator: Operator,
    Path(which): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (source, id) = named(which)?;
    let replayed = (inside.replay)(source, id)
        .await
        .map_err(|error| not_done(&error))?;
    let (outcome, why) = match replayed {
        Replayed::Done => ("done", None),
        Replayed::Stale(why) => ("stale", Some(why)),
        Replayed::Impossible(why) => ("impossible", Some(why)),
        Replayed::Unreadable(why) => ("unreadable", Some(why)),
        Replayed::Missing => return Err(no_such_letter()),
    };
    Ok(Json(json!({ "outcome": outcome, "reason": why })))
}

/// How a letter of a service is replayed. It knows the type of the service's handler, so that nothing else needs to.
pub(crate) type Replay = Arc<dyn Fn(Source, String) -> Replaying + Send + Sync>;
type Replaying = Pin<Box<dyn Future<Output = Result<Replayed, ReplayError>> + Send>>;

/// Replays the letters of a service by its own handler.
pub(crate) fn replaying<I: Indexes, H: Handler<I>>(parts: &Parts<I>, handler: &Arc<H>) -> Replay {
    let (parts, handler) = (parts.clone(), Arc::clone(handler));
    Arc::new(move |source, id| {
        let (parts, handler) = (parts.clone(), Arc::clone(&handler));
        Box::pin(async move { bus::replay(&parts.store, handler, source, &id, parts.clock.now()).await })
    })
}

/// The letter that a path names. What is no source has no letters.
fn named((source, id): (String, String)) -> Result<(Source, String), Problem> {
    let source = source.parse().map_err(|_| no_such_letter())?;
    Ok((source, id))
}

fn not_done(error: &ReplayError) -> Problem {
    let sentence = "It is not known whether this was done: look whether the letter is still there";
    Problem::unavailable(sentence, RETRY_SECONDS).because(error.to_string())
}

fn no_such_letter() -> Problem {
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
