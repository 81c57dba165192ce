//! What one write batch stages: rows, kept typed until the batch is written, and events.
//!
//! Nothing in here touches the disk, except to read a row that the batch has not seen yet.

mod scan;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use events::{Epoch, Position, Seq, Timestamp};

use crate::engine::{Engine, Write};
use crate::errors::{StoreError, TxnError};
use crate::head::Meta;
use crate::indexes::{Change, Indexes};
use crate::outbox::{self, OutboxEntry, Span};
use crate::reads::unreadable;
use crate::record::{self, RawKey, Record, Row, SharedRow};
use crate::state::Indexed;

/// One row as the batch sees it.
#[derive(Clone, Default)]
pub(crate) struct Slot {
    /// As it is on the disk.
    pub(crate) base: Option<SharedRow>,
    /// As it will be.
    pub(crate) now: Option<SharedRow>,
    /// Whether it was put or deleted, and not only read.
    pub(crate) staged: bool,
}

pub(crate) type Slots = HashMap<RawKey, Slot>;

/// A place in a batch to which it can be taken back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    undo: usize,
    events: usize,
}

struct Undo {
    key: RawKey,
    now: Option<SharedRow>,
    staged: bool,
}

/// What is staged so far. Reading fills in slots, too, hence the cell: the batch lives on one thread.
pub(crate) struct Batch {
    slots: RefCell<Slots>,
    undo: Vec<Undo>,
    events: Vec<(OutboxEntry, Timestamp)>,
    epoch: Epoch,
    seq: Seq,
}

/// A batch that is ready to be written.
pub(crate) struct Finished {
    pub(crate) writes: Vec<Write>,
    pub(crate) slots: Slots,
    pub(crate) spans: Vec<Span>,
    pub(crate) meta: Meta,
}

impl Finished {
    /// Takes back from the indexes what is staged: the batch is not written.
    pub(crate) fn take_back<I: Indexes>(&self, indexed: &RwLock<Indexed<I>>) {
        for slot in self.slots.values() {
            note(indexed, slot.now.as_ref(), slot.base.as_ref());
        }
    }
}

impl Batch {
    /// An empty batch on top of what is durable.
    pub(crate) fn new(durable: Meta) -> Self {
        Self {
            slots: RefCell::default(),
            undo: Vec::new(),
            events: Vec::new(),
            epoch: durable.epoch,
            seq: durable.seq,
        }
    }

    /// How many puts and deletes are staged.
    pub(crate) fn staged(&self) -> usize {
        self.undo.len()
    }

    /// A row, with what was staged before.
    pub(crate) fn get<R: Record>(&self, engine: &dyn Engine, key: &R::Key) -> Result<Option<R>, StoreError> {
        let raw = record::raw_key::<R>(key);
        self.load::<R>(engine, &raw)?;
        let slots = self.slots.borrow();
        let row = slots.get(&raw).and_then(|slot| slot.now.as_deref());
        Ok(row.map(record::downcast::<R>).cloned())
    }

    /// Stages a row where `expected` says what it replaces.
    pub(crate) fn put<I: Indexes, R: Record>(
        &mut self,
        engine: &dyn Engine,
        indexed: &RwLock<Indexed<I>>,
        expected: Expected,
        record: R,
    ) -> Result<(), TxnError> {
        let raw = record::raw_key::<R>(&record.key());
        self.load::<R>(engine, &raw)?;
        let present = {
            let slots = self.slots.borrow();
            let row = slots.get(&raw).and_then(|slot| slot.now.as_deref());
            row.map(Row::version)
        };
        let holds = match expected {
            Expected::Any => true,
            Expected::Absent => present.is_none(),
            Expected::Version(version) => present == Some(version),
        };
        if !holds {
            return Err(TxnError::Conflict);
        }
        self.stage(indexed, raw, Some(std::sync::Arc::new(record)));
        Ok(())
    }

    /// Stages the absence of a row.
    pub(crate) fn delete<I: Indexes, R: Record>(
        &mut self,
        engine: &dyn Engine,
        indexed: &RwLock<Indexed<I>>,
        key: &R::Key,
    ) -> Result<(), StoreError> {
        let raw = record::raw_key::<R>(key);
        self.load::<R>(engine, &raw)?;
        let absent = self
            .slots
            .get_mut()
            .get(&raw)
            .is_none_or(|slot| slot.now.is_none());
        if !absent {
            self.stage(indexed, raw, None);
        }
        Ok(())
    }

    /// Stages a row whose stored form is known without reading it.
    pub(crate) fn put_known<I: Indexes, R: Record>(
        &mut self,
        indexed: &RwLock<Indexed<I>>,
        known: Option<R>,
        record: R,
    ) {
        let raw = record::raw_key::<R>(&record.key());
        self.slots.get_mut().entry(raw.clone()).or_insert_with(|| {
            let base = known.map(|row| std::sync::Arc::new(row) as SharedRow);
            Slot {
                now: base.clone(),
                base,
                staged: false,
            }
        });
        self.stage(indexed, raw, Some(std::sync::Arc::new(record)));
    }

    /// The place of the next event.
    pub(crate) fn next_position(&self) -> Position {
        Position {
            epoch: self.epoch,
            seq: self.seq.next(),
        }
    }

    /// Stages an event, which must have been given [`Self::next_position`].
    pub(crate) fn emit(&mut self, entry: OutboxEntry, time: Timestamp) {
        debug_assert_eq!(entry.seq, self.seq.next(), "events are numbered without gaps");
        self.seq = entry.seq;
        self.events.push((entry, time));
    }

    /// The last event, with those that are staged.
    pub(crate) fn head(&self) -> Position {
        Position {
            epoch: self.epoch,
            seq: self.seq,
        }
    }

    /// Where the batch stands now.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            undo: self.undo.len(),
            events: self.events.len(),
        }
    }

    /// Takes back all that was staged since the mark, the indexes included.
    pub(crate) fn roll_back<I: Indexes>(&mut self, indexed: &RwLock<Indexed<I>>, mark: Mark) {
        let slots = self.slots.get_mut();
        for undo in self.undo.drain(mark.undo..).rev() {
            let slot = slots
                .get_mut(&undo.key)
                .expect("what has been staged has a slot for the rest of the batch");
            note(indexed, slot.now.as_ref(), undo.now.as_ref());
            slot.now = undo.now;
            slot.staged = undo.staged;
        }
        let dropped = self.events.drain(mark.events..).count() as u64;
        self.seq = Seq(self.seq.0 - dropped);
    }

    /// The bytes of all that is staged; nothing if that is nothing. The engine is not asked again.
    pub(crate) fn finish(self, durable: Meta) -> Option<Finished> {
        let mut slots = self.slots.into_inner();
        slots.retain(|_, slot| slot.staged && (slot.base.is_some() || slot.now.is_some()));
        if slots.is_empty() && self.events.is_empty() {
            return None;
        }
        let mut meta = Meta {
            seq: self.seq,
            batch: durable.batch + 1,
            ..durable
        };
        let mut writes: Vec<Write> = Vec::with_capacity(slots.len() + 8);
        for (key, slot) in &slots {
            meta.keys = meta.keys + u64::from(slot.now.is_some()) - u64::from(slot.base.is_some());
            writes.push((key.clone(), slot.now.as_ref().map(|row| row.seal(key))));
        }
        let rows = outbox::rows(self.events);
        let spans = rows.iter().map(Span::of).collect();
        for row in rows {
            meta.keys += 1;
            writes.push(sealed(&row));
        }
        writes.push(sealed(&meta));
        Some(Finished {
            writes,
            slots,
            spans,
            meta,
        })
    }

    fn load<R: Record>(&self, engine: &dyn Engine, raw: &RawKey) -> Result<(), StoreError> {
        if self.slots.borrow().contains_key(raw) {
            return Ok(());
        }
        let value = engine.get(raw).map_err(|error| unreadable(&error))?;
        let base = match value {
            Some(value) => Some(std::sync::Arc::new(record::read_row::<R>(raw, &value)?) as SharedRow),
            None => None,
        };
        let slot = Slot {
            now: base.clone(),
            base,
            staged: false,
        };
        self.slots.borrow_mut().insert(raw.clone(), slot);
        Ok(())
    }

    fn stage<I: Indexes>(&mut self, indexed: &RwLock<Indexed<I>>, key: RawKey, row: Option<SharedRow>) {
        let slot = self
            .slots
            .get_mut()
            .get_mut(&key)
            .expect("a row is read before it is staged");
        note(indexed, slot.now.as_ref(), row.as_ref());
        let undo = Undo {
            key,
            now: std::mem::replace(&mut slot.now, row),
            staged: std::mem::replace(&mut slot.staged, true),
        };
        self.undo.push(undo);
    }
}

/// What a put replaces.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    Any,
    Absent,
    Version(events::Version),
}

/// Key and stored value of a row.
pub(crate) fn sealed<R: Record>(row: &R) -> Write {
    let key = record::raw_key::<R>(&row.key());
    let value = Row::seal(row, &key);
    (key, Some(value))
}

fn note<I: Indexes>(indexed: &RwLock<Indexed<I>>, before: Option<&SharedRow>, after: Option<&SharedRow>) {
    if let Some(change) = Change::between(before, after) {
        // If an index panics, the lock is poisoned; the writer sees that and has all indexes rebuilt.
        indexed
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .apply(&change);
    }
}
