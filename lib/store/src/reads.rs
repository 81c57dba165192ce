//! Reading rows: direct, beside the writer, and only what is durable.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::PoisonError;

use events::Seq;

use crate::engine::{Engine, EngineError};
use crate::errors::StoreError;
use crate::outbox::{OutboxEntry, OutboxRow};
use crate::record::{self, RawKey, Record, SharedRow};
use crate::shared::Shared;

/// How many outbox rows one read looks at, whatever its bound on bytes is.
const OUTBOX_ROWS_PER_READ_MAX: usize = 1_024;

impl<I> Shared<I> {
    pub(crate) fn get<R: Record>(&self, key: &R::Key) -> Result<Option<R>, StoreError> {
        let raw = record::raw_key::<R>(key);
        self.reading(|engine| {
            // The engine first, then what is hidden: a row that a batch changes after this read is hidden before
            // it is changed, and one that is no longer hidden has become durable.
            let value = engine.get(&raw).map_err(|error| unreadable(&error))?;
            let hidden = self.hidden.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(slot) = hidden.get(&raw) {
                return Ok(slot.base.as_deref().map(record::downcast::<R>).cloned());
            }
            drop(hidden);
            value.map(|value| record::read_row(&raw, &value)).transpose()
        })
    }

    pub(crate) fn scan<R: Record>(&self, after: Option<&R::Key>, limit: usize) -> Result<Vec<R>, StoreError> {
        let mut from = match after {
            Some(key) => behind(&record::raw_key::<R>(key)),
            None => vec![R::TABLE.0],
        };
        let mut rows = Vec::new();
        while rows.len() < limit {
            let (found, end) =
                self.reading(|engine| self.scan_some::<R>(engine, &from, limit - rows.len()))?;
            rows.extend(found);
            match end {
                Some(end) => from = behind(&end),
                None => break,
            }
        }
        rows.truncate(limit);
        Ok(rows)
    }

    /// The rows in the next `limit` keys of the engine, and the last of these keys if there are more. They can
    /// be fewer than `limit`, by what the batch being written adds, and more, by what it deletes.
    fn scan_some<R: Record>(
        &self,
        engine: &dyn Engine,
        from: &[u8],
        limit: usize,
    ) -> Result<(Vec<R>, Option<RawKey>), StoreError> {
        let mut found: BTreeMap<RawKey, Found> = BTreeMap::new();
        let mut more = false;
        engine
            .scan(from, &mut |key, value| {
                if key.first() != Some(&R::TABLE.0) {
                    return ControlFlow::Break(());
                }
                if found.len() == limit {
                    more = true;
                    return ControlFlow::Break(());
                }
                found.insert(key.into(), Found::Stored(value.to_vec()));
                ControlFlow::Continue(())
            })
            .map_err(|error| unreadable(&error))?;
        let end = found
            .last_key_value()
            .filter(|_| more)
            .map(|(key, _)| key.clone());
        {
            let hidden = self.hidden.read().unwrap_or_else(PoisonError::into_inner);
            let here = |key: &RawKey| {
                key.first() == Some(&R::TABLE.0)
                    && **key >= *from
                    && end.as_ref().is_none_or(|end| key <= end)
            };
            for (key, slot) in hidden.iter().filter(|(key, _)| here(key)) {
                match &slot.base {
                    Some(row) => found.insert(key.clone(), Found::Hidden(row.clone())),
                    None => found.remove(key),
                };
            }
        }
        let rows = found
            .into_iter()
            .map(|(key, found)| match found {
                Found::Stored(value) => record::read_row::<R>(&key, &value),
                Found::Hidden(row) => Ok(record::downcast::<R>(&*row).clone()),
            })
            .collect::<Result<Vec<R>, StoreError>>()?;
        Ok((rows, end))
    }

    /// Events after `after`, in order, up to about `bytes_max` (and always the first one).
    pub(crate) fn outbox(&self, after: Seq, bytes_max: usize) -> Result<Vec<OutboxEntry>, StoreError> {
        let rows: Vec<u64> = {
            let durable = self.durable();
            durable
                .spans
                .after(after)
                .take(OUTBOX_ROWS_PER_READ_MAX)
                .collect()
        };
        let mut entries: Vec<OutboxEntry> = Vec::new();
        let mut bytes = 0;
        for first in rows {
            // A row that was trimmed meanwhile ends this read: what follows would leave a hole.
            let Some(row) = self.get::<OutboxRow>(&first)? else {
                break;
            };
            for entry in row.entries {
                if entry.seq <= after {
                    continue;
                }
                let entry_bytes = entry.envelope.len() + entry.subject.len();
                if !entries.is_empty() && bytes + entry_bytes > bytes_max {
                    return Ok(entries);
                }
                bytes += entry_bytes;
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// Runs a read while the engine can't be given up, and only if the store serves from first to last.
    fn reading<T>(&self, read: impl FnOnce(&dyn Engine) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.health.check()?;
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        let Some(engine) = engine.as_deref() else {
            self.health.check()?;
            return Err(StoreError::Unavailable("it is being reopened".into()));
        };
        let answer = read(engine)?;
        self.health.check()?;
        Ok(answer)
    }
}

/// The first key after `key`.
fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

enum Found {
    Stored(Vec<u8>),
    Hidden(SharedRow),
}

fn unreadable(error: &EngineError) -> StoreError {
    let what = error.to_string().into();
    if error.is_outside() {
        StoreError::Unavailable(what)
    } else {
        StoreError::Damaged(what)
    }
}
