//! What a transaction can do: read, stage rows and events, move a cursor, remember an answer.
//!
//! A transaction runs inside the writer, after those before it and before those behind it. It does no I/O of
//! its own, awaits nothing, and reads no clock: the time is what its [`Context`] says.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use events::{Cause, Envelope, Event, Position, Source, Timestamp, Version};

use crate::batch::{Batch, Expected};
use crate::cursor::{self, Cursor};
use crate::dead_letter::DeadLetter;
use crate::engine::Engine;
use crate::errors::{CursorError, Panicked, StoreError, TxnError, panic_message};
use crate::idempotency::{Answered, AnsweredKey, IdempotencyKey, Remembered};
use crate::indexes::Indexes;
use crate::outbox::{OutboxEntry, OutboxRow};
use crate::record::Record;
use crate::state::Indexed;

/// What the edge passes in: the time, and whose request this is part of.
#[derive(Debug, Clone)]
pub struct Context {
    /// What time it is.
    pub now: Timestamp,
    /// The W3C trace context of the request, which travels on with the events.
    pub traceparent: Option<String>,
}

impl Context {
    /// A context without a trace.
    pub const fn new(now: Timestamp) -> Self {
        Self {
            now,
            traceparent: None,
        }
    }
}

/// One transaction, inside the writer.
pub struct Txn<'a, I> {
    batch: &'a mut Batch,
    engine: &'a dyn Engine,
    indexed: &'a RwLock<Indexed<I>>,
    source: Source,
    now: Timestamp,
    traceparent: Option<String>,
    cause: Option<Cause>,
}

impl<'a, I: Indexes> Txn<'a, I> {
    pub(crate) fn new(
        batch: &'a mut Batch,
        engine: &'a dyn Engine,
        indexed: &'a RwLock<Indexed<I>>,
        source: Source,
        context: Context,
    ) -> Self {
        Self {
            batch,
            engine,
            indexed,
            source,
            now: context.now,
            traceparent: context.traceparent,
            cause: None,
        }
    }

    /// What time it is, by the clock of whoever asked for the transaction.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// A row, as earlier transactions of the batch and this one have left it.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn get<R: Record>(&self, key: &R::Key) -> Result<Option<R>, StoreError> {
        self.batch.get(self.engine, key)
    }

    /// Rows in the order of their keys, from behind `after` on, with what is staged; fewer than `limit` only at the end.
    /// For what is done once, after a loss: whoever needs to find rows every day keeps an index.
    ///
    /// # Errors
    /// When a row can't be read.
    pub fn scan<R: Record>(&self, after: Option<&R::Key>, limit: usize) -> Result<Vec<R>, StoreError> {
        self.batch.scan(self.engine, after, limit)
    }

    /// Stages a row by compare-and-swap: with `None` there must be none yet, with a version there must be one
    /// of that version.
    ///
    /// # Errors
    /// [`TxnError::Conflict`] when it is otherwise; nothing is staged then.
    pub fn put<R: Record>(&mut self, expected: Option<Version>, record: R) -> Result<(), TxnError> {
        let expected = expected.map_or(Expected::Absent, Expected::Version);
        self.batch.put(self.engine, self.indexed, expected, record)
    }

    /// Stages a row, whatever was there.
    ///
    /// # Errors
    /// When the row that was there can't be read.
    pub fn put_any<R: Record>(&mut self, record: R) -> Result<(), TxnError> {
        self.batch.put(self.engine, self.indexed, Expected::Any, record)
    }

    /// Stages the absence of a row; none there is fine.
    ///
    /// # Errors
    /// When the row that is there can't be read.
    pub fn delete<R: Record>(&mut self, key: &R::Key) -> Result<(), TxnError> {
        Ok(self.batch.delete::<I, R>(self.engine, self.indexed, key)?)
    }

    /// The service's indexes, with all that is staged. Ends before the next row is staged.
    pub fn indexes(&self) -> impl Deref<Target = I> + '_ {
        ServiceIndexes(self.indexed.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stages an event: it is published if and when the transaction is durable.
    pub fn emit(&mut self, event: Event) {
        let position = self.batch.next_position();
        let envelope = Envelope {
            source: self.source,
            position,
            time: self.now,
            traceparent: self.traceparent.clone(),
            cause: self.cause,
            event,
        };
        let entry = OutboxEntry {
            seq: position.seq,
            event_type: envelope.event.event_type(),
            subject: envelope.event.subject(),
            envelope: envelope.to_json(),
        };
        self.batch.emit(entry, self.now);
    }

    /// The event that leads to the events emitted from now on.
    pub fn caused_by(&mut self, cause: Option<Cause>) {
        self.cause = cause;
    }

    /// The trace that the events emitted from now on belong to.
    pub fn traced_by(&mut self, traceparent: Option<String>) {
        self.traceparent = traceparent;
    }

    /// Moves the cursor of a source to an event that is about to be applied.
    ///
    /// # Errors
    /// When it is not the next one; nothing is staged then.
    pub fn advance(&mut self, source: Source, position: Position) -> Result<(), CursorError> {
        let known = {
            let indexed = self.indexed.read().unwrap_or_else(PoisonError::into_inner);
            indexed.cursors.get(source)
        };
        cursor::check(known.unwrap_or_default(), position)?;
        self.set_cursor(source, position);
        Ok(())
    }

    /// Sets the cursor of a source, wherever it stands: at the end of a snapshot of that source, which tells in one
    /// piece what the events up to there would have told.
    pub fn set_cursor(&mut self, source: Source, position: Position) {
        let known = {
            let indexed = self.indexed.read().unwrap_or_else(PoisonError::into_inner);
            indexed.cursors.get(source)
        };
        let known = known.map(|position| Cursor { source, position });
        self.batch
            .put_known(self.indexed, known, Cursor { source, position });
    }

    /// The cursor of a source, with what is staged.
    pub fn cursor(&self, source: Source) -> Position {
        let indexed = self.indexed.read().unwrap_or_else(PoisonError::into_inner);
        indexed.cursors.get(source).unwrap_or_default()
    }

    /// Runs a part of the transaction; if that fails, what the part staged is taken back, and the rest stays.
    ///
    /// # Errors
    /// What the part answers.
    pub fn attempt<T, E>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let mark = self.batch.mark();
        let result = f(self);
        if result.is_err() {
            self.batch.roll_back(self.indexed, mark);
        }
        result
    }

    /// [`Self::attempt`] that survives a panic of the part, so that one event can't take a whole read batch down.
    ///
    /// # Errors
    /// When the part panicked; what it had staged is taken back.
    pub fn attempt_catching<T, E>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<Result<T, E>, Panicked> {
        let mark = self.batch.mark();
        match catch_unwind(AssertUnwindSafe(|| f(self))) {
            Ok(Ok(value)) => Ok(Ok(value)),
            Ok(Err(error)) => {
                self.batch.roll_back(self.indexed, mark);
                Ok(Err(error))
            }
            Err(panic) => {
                self.batch.roll_back(self.indexed, mark);
                Err(Panicked(panic_message(&*panic)))
            }
        }
    }

    /// Keeps an event that can't be applied; an entry that is too long is cut.
    ///
    /// # Errors
    /// When the letter of the same id that is there can't be read.
    pub fn bury(&mut self, letter: DeadLetter) -> Result<(), TxnError> {
        self.put_any(letter.cut())
    }

    /// The answer that was given to the same request before, if it is still remembered.
    ///
    /// # Errors
    /// [`TxnError::KeyReused`] when the key came with another body.
    pub fn remembered(&self, key: &IdempotencyKey) -> Result<Option<Remembered>, TxnError> {
        match self.get::<Answered>(&AnsweredKey::from(key))? {
            Some(answered) if answered.forgotten_at <= self.now => Ok(None),
            Some(answered) if answered.body_digest != key.body_digest => Err(TxnError::KeyReused),
            Some(answered) => Ok(Some(answered.answer)),
            None => Ok(None),
        }
    }

    /// Remembers the answer to a request, for [`crate::IDEMPOTENCY_HOURS`].
    ///
    /// # Errors
    /// When the answer that is there can't be read.
    pub fn remember(&mut self, key: IdempotencyKey, answer: Remembered) -> Result<(), TxnError> {
        self.put_any(Answered::new(key, answer, self.now))
    }

    /// Forgets answers that are over.
    pub(crate) fn forget(&mut self, keys: &[AnsweredKey]) -> Result<(), TxnError> {
        keys.iter().try_for_each(|key| self.delete::<Answered>(key))
    }

    /// Removes rows of the outbox.
    pub(crate) fn trim(&mut self, rows: &[u64]) -> Result<(), TxnError> {
        rows.iter().try_for_each(|first| self.delete::<OutboxRow>(first))
    }

    /// Stages own events that were published and then lost, as they were: they follow the head without a gap.
    pub(crate) fn adopt(&mut self, entries: Vec<OutboxEntry>) -> Result<(), CursorError> {
        for entry in entries {
            let head = self.batch.head();
            let seq = entry.seq;
            cursor::check(head, Position { seq, ..head })?;
            // Kept from now on for as long as any other: no one may have read it yet.
            self.batch.emit(entry, self.now);
        }
        Ok(())
    }

    /// The last event, with those that are staged.
    pub(crate) fn head(&self) -> Position {
        self.batch.head()
    }

    /// Runs the whole of a transaction: what a failure or a panic leaves staged is taken back.
    pub(crate) fn run<T, E>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<T, crate::TransactError<E>>,
    ) -> Result<T, crate::TransactError<E>> {
        self.attempt_catching(f)
            .unwrap_or_else(|Panicked(message)| Err(crate::TransactError::Panicked(message)))
    }
}

struct ServiceIndexes<'a, I>(RwLockReadGuard<'a, Indexed<I>>);

impl<I> Deref for ServiceIndexes<'_, I> {
    type Target = I;
    fn deref(&self) -> &I {
        &self.0.service
    }
}
