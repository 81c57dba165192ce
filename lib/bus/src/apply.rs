//! A read batch, applied as one transaction of the store. This part runs inside the writer: no I/O, no clock.
//!
//! Each event is an attempt of its own inside that transaction, so that one that can't be applied harms none
//! of the others, and the cursor moves with the effect or not at all.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use events::{Cause, Position, Source};
use store::{CursorError, DeadLetter, Indexes, TransactError, Txn, TxnError};

use crate::decode::{Content, Item};
use crate::entry::StreamId;
use crate::handler::{Applied, Handler, Impossible};
use crate::head::Claim;

/// Items to apply, in order, beginning with one of them.
#[derive(Clone)]
pub(crate) struct Batch {
    pub(crate) source: Source,
    pub(crate) items: Arc<Vec<Item>>,
    /// Items before this one are done.
    pub(crate) start: usize,
    /// How often the first one was tried without success.
    pub(crate) tries: u32,
    /// The first one is not tried again but buried, for this reason.
    pub(crate) given_up: Option<String>,
    /// Entries after this one were sent because we had asked for it. An undecodable entry that comes again
    /// in answer to a request really is what its source has to say.
    pub(crate) asked: Option<StreamId>,
    /// Undecodable entries that were seen before, by the place that they claim.
    pub(crate) sighted: Arc<BTreeMap<Position, Sighting>>,
}

/// An undecodable entry at a place where an event is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) id: StreamId,
    /// Of what it said, to know it again.
    pub(crate) digest: u64,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Items before this one are done and can be acknowledged.
    pub(crate) done: usize,
    /// Why it went no further, if it did not.
    pub(crate) stop: Option<Stop>,
    /// The last entry that was dropped because what should come before it is missing, if it still is.
    pub(crate) gap: Option<StreamId>,
    /// Undecodable entries that were seen for the first time, by the place that they claim.
    pub(crate) sighted: Vec<(Position, Sighting)>,
    /// The last position that was seen, to know how far the source is.
    pub(crate) head: Option<Position>,
    pub(crate) applied: u64,
    pub(crate) passed: u64,
    pub(crate) stale: u64,
    pub(crate) duplicates: u64,
    pub(crate) gaps: u64,
    pub(crate) buried: u64,
}

impl Item {
    fn sighting(&self) -> Sighting {
        let mut hasher = DefaultHasher::new();
        (&self.event_type, &self.raw).hash(&mut hasher);
        Sighting {
            id: self.id,
            digest: hasher.finish(),
        }
    }
}

/// Why a batch was not applied to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The first item that is not done can't be applied, at least not now.
    Impossible(String),
    /// The first item that is not done is of a newer schema.
    Newer(String),
}

enum Step {
    Applied(Applied),
    Passed,
    Duplicate,
    Gap,
    Buried,
    /// Recorded as undecodable, and to be asked for again.
    Sighted(Position),
    Stop(Stop),
}

/// Why an attempt was taken back.
enum Failed {
    Cursor(CursorError),
    Stop(Stop),
    Store(TransactError<Impossible>),
}

impl From<CursorError> for Failed {
    fn from(error: CursorError) -> Self {
        Self::Cursor(error)
    }
}

impl From<TxnError> for Failed {
    fn from(error: TxnError) -> Self {
        match error {
            TxnError::Cursor(error) => Self::Cursor(error),
            error @ (TxnError::Conflict | TxnError::KeyReused | TxnError::Store(_)) => {
                Self::Store(error.into())
            }
        }
    }
}

impl Batch {
    /// Applies what can be applied. An error means that the store can't be used: nothing of it is the fault
    /// of an event, and nothing of the batch is staged.
    pub(crate) fn apply<I: Indexes, H: Handler<I>>(
        &self,
        tx: &mut Txn<'_, I>,
        handler: &H,
    ) -> Result<Outcome, TransactError<Impossible>> {
        let mut outcome = Outcome {
            done: self.start,
            ..Outcome::default()
        };
        for (index, item) in self.items.iter().enumerate().skip(self.start) {
            let given_up = self.given_up.as_deref().filter(|_| index == self.start);
            let cursor = tx.cursor(self.source);
            let step = self.step(tx, handler, item, given_up)?;
            if tx.cursor(self.source) > cursor {
                // What was missing before has come, in this very batch.
                outcome.gap = None;
            }
            match step {
                Step::Applied(Applied::Done) => outcome.applied += 1,
                Step::Applied(Applied::Stale(reason)) => {
                    tracing::debug!(source = %self.source, event = item.event_type, reason, "came too late");
                    outcome.stale += 1;
                }
                Step::Passed => outcome.passed += 1,
                Step::Duplicate => outcome.duplicates += 1,
                Step::Gap => {
                    outcome.gaps += 1;
                    outcome.gap = Some(item.id);
                }
                Step::Buried => outcome.buried += 1,
                Step::Sighted(position) => {
                    outcome.buried += 1;
                    outcome.gap = Some(item.id);
                    outcome.sighted.push((position, item.sighting()));
                }
                Step::Stop(stop) => {
                    outcome.stop = Some(stop);
                    break;
                }
            }
            outcome.head = outcome.head.max(item.position());
            outcome.done = index + 1;
        }
        Ok(outcome)
    }

    fn step<I: Indexes, H: Handler<I>>(
        &self,
        tx: &mut Txn<'_, I>,
        handler: &H,
        item: &Item,
        given_up: Option<&str>,
    ) -> Result<Step, TransactError<Impossible>> {
        let source = self.source;
        let tried = match &item.content {
            Content::Deleted | Content::Repeat(_) => return Ok(Step::Duplicate),
            Content::Undecodable { claims, why } => return self.undecodable(tx, item, *claims, why),
            Content::Passing(position) => tx.attempt(|tx| {
                self.advance(tx, *position)?;
                Ok(Step::Passed)
            }),
            Content::Newer { position, why } => tx.attempt(|tx| {
                // Only if it is next does it stop anything; the attempt takes the step back.
                self.advance(tx, *position)?;
                Err(Failed::Stop(Stop::Newer(why.clone())))
            }),
            Content::Event(envelope) => {
                let position = envelope.position;
                if let Some(reason) = given_up {
                    tx.attempt(|tx| {
                        self.advance(tx, position)?;
                        tx.bury(self.letter(tx, item, position.to_string(), Some(position), reason))?;
                        Ok(Step::Buried)
                    })
                } else {
                    let caught = tx.attempt_catching(|tx| {
                        self.advance(tx, position)?;
                        tx.caused_by(Some(Cause::new(source, position)));
                        tx.traced_by(envelope.traceparent.clone());
                        handler.apply(tx, envelope).map(Step::Applied).map_err(failed)
                    });
                    caught.unwrap_or_else(|panicked| {
                        Err(Failed::Stop(Stop::Impossible(format!("its handler {panicked}"))))
                    })
                }
            }
        };
        settled(tried)
    }

    /// Moves the cursor to an event that is about to be applied, within an epoch only: what a new epoch begins with is
    /// told by a snapshot, and its first events alone would not make up for what the source has lost.
    fn advance<I: Indexes>(&self, tx: &mut Txn<'_, I>, position: Position) -> Result<(), CursorError> {
        let cursor = tx.cursor(self.source);
        if position.epoch > cursor.epoch {
            return Err(CursorError::Gap {
                expected: Position {
                    epoch: cursor.epoch,
                    seq: cursor.seq.next(),
                },
            });
        }
        tx.advance(self.source, position)
    }

    /// An entry that is not what our programs write. It is recorded at once, under the id of its stream entry.
    /// If it stands where something is still to come, that is asked for again: the answer is the true event,
    /// or the very same nonsense, and only then may the cursor pass it.
    fn undecodable<I: Indexes>(
        &self,
        tx: &mut Txn<'_, I>,
        item: &Item,
        claims: Claim,
        why: &str,
    ) -> Result<Step, TransactError<Impossible>> {
        let cursor = tx.cursor(self.source);
        let position = match claims {
            Claim::Position(position) => Some(position),
            Claim::Seq(seq) => Some(Position {
                epoch: cursor.epoch,
                seq,
            }),
            Claim::Nowhere => None,
        };
        if let Some(position) = position {
            let seen = self.sighted.get(&position).copied();
            if let Some(seen) = seen.filter(|seen| self.is_answer(item, *seen)) {
                let letter = self.letter(tx, item, position.to_string(), Some(position), why);
                let passed = tx.attempt(|tx| {
                    self.advance(tx, position)?;
                    tx.bury(letter)?;
                    // One letter is enough: this one says where the event belongs.
                    tx.delete::<DeadLetter>(&(self.source, seen.id.to_string()))?;
                    Ok(Step::Buried)
                });
                return settled(passed);
            }
            if position <= cursor
                && tx
                    .get::<DeadLetter>(&(self.source, position.to_string()))?
                    .is_some()
            {
                return Ok(Step::Duplicate);
            }
        }
        tx.bury(self.letter(tx, item, item.id.to_string(), position, why))?;
        Ok(match position {
            Some(position) if position > cursor => Step::Sighted(position),
            Some(_) | None => Step::Buried,
        })
    }

    /// Whether an undecodable entry is what its source answered when it was asked for what was seen there.
    fn is_answer(&self, item: &Item, seen: Sighting) -> bool {
        // The request has its id from another stream: within a millisecond the counters say nothing.
        let asked_between = self
            .asked
            .is_some_and(|asked| seen.id.millis <= asked.millis && asked.millis <= item.id.millis);
        asked_between && seen.id < item.id && seen.digest == item.sighting().digest
    }

    fn letter<I: Indexes>(
        &self,
        tx: &Txn<'_, I>,
        item: &Item,
        id: String,
        position: Option<Position>,
        reason: &str,
    ) -> DeadLetter {
        DeadLetter {
            source: self.source,
            id,
            position,
            event_type: item.event_type.clone(),
            reason: reason.to_owned(),
            tries: self.tries.max(1),
            buried_at: tx.now(),
            entry_bytes: item.raw.len() as u64,
            entry: item.raw.clone(),
        }
    }
}

/// What an attempt comes to: only a store that can't be used is an error.
fn settled(attempt: Result<Step, Failed>) -> Result<Step, TransactError<Impossible>> {
    match attempt {
        Ok(step) => Ok(step),
        Err(Failed::Cursor(CursorError::Duplicate)) => Ok(Step::Duplicate),
        Err(Failed::Cursor(CursorError::Gap { .. })) => Ok(Step::Gap),
        Err(Failed::Stop(stop)) => Ok(Step::Stop(stop)),
        Err(Failed::Store(error)) => Err(error),
    }
}

fn failed(error: TransactError<Impossible>) -> Failed {
    match blame(error) {
        Ok(reason) => Failed::Stop(Stop::Impossible(reason)),
        Err(error) => Failed::Store(error),
    }
}

/// What a handler's refusal means: the reason, if it is the fault of what was to be applied. Only what the handler says
/// of that itself counts as such; all else is the store's, which can't be used.
pub(crate) fn blame<E>(error: TransactError<Impossible>) -> Result<String, TransactError<E>> {
    match error {
        TransactError::Refused(Impossible(reason)) => Ok(reason),
        error @ (TransactError::Conflict
        | TransactError::Cursor(_)
        | TransactError::KeyReused
        | TransactError::Panicked(_)) => Ok(error.to_string()),
        TransactError::Busy => Err(TransactError::Busy),
        TransactError::Unknown(why) => Err(TransactError::Unknown(why)),
        TransactError::Unavailable(why) => Err(TransactError::Unavailable(why)),
        TransactError::Damaged(what) => Err(TransactError::Damaged(what)),
    }
}
