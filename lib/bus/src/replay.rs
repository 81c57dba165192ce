//! Dead letters, once their cause is mended: applied late, past the cursor, or dropped.
//!
//! The cursor has passed a letter's event long ago, so that replaying it moves nothing. What keeps an old event from
//! undoing newer ones is the handler: it goes by the versions of entities, and answers stale to what it knows better.
//!
//! It does not change what is to be applied, and it never replays by itself.

use std::convert::Infallible;
use std::sync::Arc;

use events::{Cause, Envelope, EnvelopeError, Source, Timestamp};
use store::{Context, DeadLetter, Indexes, Record, Store, StoreError, TransactError, Txn};

use crate::apply::blame;
use crate::handler::{Applied, Handler};

/// What became of a dead letter that was replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// Its event is applied, and the letter is gone.
    Done,
    /// Its event changes nothing any more, for this reason, and the letter is gone.
    Stale(String),
    /// Its event still can't be applied, for this reason. The letter stays, with the reason and one more try.
    Impossible(String),
    /// What was kept of it is no event that this program can read, for this reason. The letter stays.
    Unreadable(String),
    /// There is no such letter.
    Missing,
}

/// Why a dead letter could not be replayed or dropped. It is as it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReplayError {
    /// The store can't be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// The store can't be written.
    #[error("the store can't be written: {0}")]
    Write(String),
}

/// Applies a dead letter's event in one transaction that also takes the letter away.
///
/// # Errors
/// When the store can't be used. Whether it was applied is then shown by whether the letter is still there.
pub async fn replay<I: Indexes, H: Handler<I>>(
    store: &Store<I>,
    handler: Arc<H>,
    source: Source,
    id: &str,
    now: Timestamp,
) -> Result<Replayed, ReplayError> {
    let Some(letter) = store.get::<DeadLetter>(&(source, id.to_owned()))? else {
        return Ok(Replayed::Missing);
    };
    let envelope = match read(&letter) {
        Ok(envelope) => envelope,
        Err(why) => return Ok(Replayed::Unreadable(why)),
    };
    let replayed = store
        .transact::<_, Infallible>(Context::new(now), move |tx| {
            // It may have been replayed or dropped since it was read.
            match tx.get::<DeadLetter>(&letter.key())? {
                Some(present) if present.entry == letter.entry => apply(tx, &*handler, present, &envelope),
                Some(_) | None => Ok(Replayed::Missing),
            }
        })
        .await
        .map_err(|error| ReplayError::Write(error.to_string()))?;
    tracing::info!(%source, id, ?replayed, "a dead letter was replayed");
    Ok(replayed)
}

/// Takes a dead letter away unapplied. Says whether it was there.
///
/// # Errors
/// When the store can't be used.
pub async fn drop_letter<I: Indexes>(
    store: &Store<I>,
    source: Source,
    id: &str,
    now: Timestamp,
) -> Result<bool, ReplayError> {
    let key = (source, id.to_owned());
    let dropped = store
        .transact::<_, Infallible>(Context::new(now), move |tx| {
            let there = tx.get::<DeadLetter>(&key)?.is_some();
            tx.delete::<DeadLetter>(&key)?;
            Ok(there)
        })
        .await
        .map_err(|error| ReplayError::Write(error.to_string()))?;
    tracing::info!(%source, id, dropped, "a dead letter was dropped");
    Ok(dropped)
}

fn apply<I: Indexes, H: Handler<I>>(
    tx: &mut Txn<'_, I>,
    handler: &H,
    letter: DeadLetter,
    envelope: &Envelope,
) -> Result<Replayed, TransactError<Infallible>> {
    let source = letter.source;
    if letter
        .position
        .is_some_and(|position| position > tx.cursor(source))
    {
        return Ok(Replayed::Unreadable(
            "it is not its turn yet: the events before it are still to come, and it will come again with them".to_owned(),
        ));
    }
    if envelope.position.epoch < tx.cursor(source).epoch {
        // Versions have begun anew with the epoch, so that no handler could tell that this is older.
        tx.delete::<DeadLetter>(&letter.key())?;
        let stated_anew = "its source has begun another epoch since, and has stated anew all that is left";
        return Ok(Replayed::Stale(stated_anew.to_owned()));
    }
    if !handler.concerns(envelope.event.event_type()) {
        if letter
            .position
            .is_some_and(|position| letter.id != position.to_string())
        {
            // Out of a snapshot: applied now, it would undo whatever has happened to its entity since.
            let reason = "it was stated in a snapshot, and as an event it would concern nobody here";
            return Ok(Replayed::Unreadable(reason.to_owned()));
        }
        tx.delete::<DeadLetter>(&letter.key())?;
        return Ok(Replayed::Stale("it does not concern this service".to_owned()));
    }
    let tried = tx.attempt_catching(|tx| {
        tx.caused_by(Some(Cause::new(source, envelope.position)));
        tx.traced_by(envelope.traceparent.clone());
        handler.apply(tx, envelope)
    });
    let reason = match tried {
        Ok(Ok(applied)) => {
            tx.delete::<DeadLetter>(&letter.key())?;
            return Ok(match applied {
                Applied::Done => Replayed::Done,
                Applied::Stale(reason) => Replayed::Stale(reason.to_owned()),
            });
        }
        Ok(Err(error)) => blame(error)?,
        Err(panicked) => format!("its handler {panicked}"),
    };
    tx.bury(DeadLetter {
        reason: reason.clone(),
        tries: letter.tries.saturating_add(1),
        ..letter
    })?;
    Ok(Replayed::Impossible(reason))
}

/// The event of a letter, or why there is none to be had.
fn read(letter: &DeadLetter) -> Result<Envelope, String> {
    let kept = letter.entry.len() as u64;
    if kept < letter.entry_bytes {
        return Err(format!(
            "it is cut: {kept} of its {} bytes were kept, and only its source could send it again",
            letter.entry_bytes
        ));
    }
    let envelope = Envelope::from_json(&letter.entry).map_err(|error| match error {
        error @ EnvelopeError::NewerSchema { .. } => error.to_string(),
        error @ (EnvelopeError::Malformed(_)
        | EnvelopeError::UnknownType(_)
        | EnvelopeError::UnknownSchema(_)
        | EnvelopeError::MalformedData { .. }) => {
            format!("it is no event that any of our programs writes: {error}")
        }
    })?;
    if envelope.source != letter.source {
        return Err(format!(
            "it says that it is from {}, but came in the stream of {}",
            envelope.source, letter.source
        ));
    }
    Ok(envelope)
}
