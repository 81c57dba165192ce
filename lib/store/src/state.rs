//! Indexes and positions in memory: what is rebuilt when a store is opened.

use events::{Source, Timestamp};

use crate::codec::DecodeError;
use crate::cursor::{Cursor, Cursors};
use crate::dead_letter::DeadLetter;
use crate::head::Meta;
use crate::idempotency::{Answered, AnsweredKey, Forgetting};
use crate::indexes::{Change, Indexes, Tables};
use crate::outbox::{OutboxRow, Span, Spans};
use crate::record::{SharedRow, downcast};

/// All indexes, the store's own beside the service's. They follow what is staged, not what is durable.
#[derive(Debug, Default)]
pub(crate) struct Indexed<I> {
    pub(crate) service: I,
    pub(crate) cursors: Cursors,
    pub(crate) forgetting: Forgetting,
    pub(crate) dead_letters: u64,
}

impl<I: Indexes> Indexed<I> {
    /// Takes note of a change, or, given its reverse, takes it back.
    pub(crate) fn apply(&mut self, change: &Change<'_>) {
        if let Some((before, after)) = change.of::<Cursor>() {
            if let Some(cursor) = after.or(before) {
                self.cursors
                    .set(cursor.source, after.map(|cursor| cursor.position));
            }
        } else if let Some((before, after)) = change.of::<Answered>() {
            self.forgetting.apply(before, after);
        } else if let Some((before, after)) = change.of::<DeadLetter>() {
            self.dead_letters = self.dead_letters + u64::from(after.is_some()) - u64::from(before.is_some());
        } else if change.of::<OutboxRow>().is_none() {
            self.service.apply(change);
        }
    }

    pub(crate) fn answers_due(&self, now: Timestamp) -> Vec<AnsweredKey> {
        self.forgetting.due(now)
    }
}

/// What is known of the durable state, without reading the engine.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    pub(crate) meta: Meta,
    pub(crate) cursors: Cursors,
    pub(crate) spans: Spans,
    pub(crate) dead_letters: u64,
}

impl Durable {
    pub(crate) fn cursor(&self, source: Source) -> events::Position {
        self.cursors.get(source).unwrap_or_default()
    }
}

/// What is gathered while every row of a store is read.
#[derive(Debug)]
pub(crate) struct Gathered<I> {
    pub(crate) indexed: Indexed<I>,
    pub(crate) durable: Durable,
    pub(crate) meta: Option<Meta>,
    tables: Tables,
    rows: u64,
}

impl<I: Indexes> Gathered<I> {
    pub(crate) fn new() -> Self {
        let tables = I::tables()
            .with::<Meta>()
            .with::<OutboxRow>()
            .with::<Cursor>()
            .with::<DeadLetter>()
            .with::<Answered>();
        Self {
            indexed: Indexed::default(),
            durable: Durable::default(),
            meta: None,
            tables,
            rows: 0,
        }
    }

    /// The name of the table that a key belongs to.
    pub(crate) fn table(&self, key: &[u8]) -> &'static str {
        self.tables.name(key)
    }

    /// Takes note of one stored row, and returns it.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<SharedRow, DecodeError> {
        let row: SharedRow = self.tables.open_row(key, value)?;
        let Some(change) = Change::between(None, Some(&row)) else {
            return Ok(row);
        };
        if change.of::<Meta>().is_some() {
            self.meta = Some(*downcast::<Meta>(&*row));
            return Ok(row);
        }
        if change.of::<OutboxRow>().is_some() {
            self.durable.spans.push(Span::of(downcast::<OutboxRow>(&*row)))?;
        }
        self.indexed.apply(&change);
        self.rows += 1;
        Ok(row)
    }

    /// Takes note of a row that has changed since it was added.
    pub(crate) fn change(&mut self, before: Option<&SharedRow>, after: Option<&SharedRow>) {
        let Some(change) = Change::between(before, after) else {
            return;
        };
        if let Some((Some(row), None)) = change.of::<OutboxRow>() {
            self.durable.spans.remove(Span::of(row).first);
        }
        self.indexed.apply(&change);
        self.rows = self.rows + u64::from(after.is_some()) - u64::from(before.is_some());
    }

    /// Takes note of a row that was appended to the outbox.
    pub(crate) fn append(&mut self, span: Span) -> Result<(), DecodeError> {
        self.rows += 1;
        self.durable.spans.push(span)
    }

    /// How many rows there were, `meta` left out.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }
}
