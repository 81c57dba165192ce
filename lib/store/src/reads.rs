//! Reading rows: direct, beside the writer, and only what is durable.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::PoisonError;

use events::Seq;

use crate::engine::{Engine, EngineError};
use crate::errors::StoreError;
use crate::health::Reader;
use crate::outbox::{OutboxEntry, OutboxRow};
use crate::record::{self, RawKey, Record, SharedRow};
use crate::shared::Shared;

/// How many outbox rows one read looks at, whatever its bound on bytes is.
const OUTBOX_ROWS_PER_READ_MAX: usize = 1_024;

/// Rows by their keys, and the last key that was looked at, if there are more.
type Page<T> = (Vec<(RawKey, T)>, Option<RawKey>);

impl<I> Shared<I> {
    pub(crate) fn get<R: Record>(&self, reader: Reader, key: &R::Key) -> Result<Option<R>, StoreError> {
        let raw = record::raw_key::<R>(key);
        self.reading(reader, |engine| {
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
            let stored = |key: &[u8], value: &[u8]| record::read_row::<R>(key, value);
            let hidden = |row: &SharedRow| record::downcast::<R>(&**row).clone();
            let (found, end) = self.reading(Reader::Requests, |engine| {
                self.scan_some(engine, &from, limit - rows.len(), stored, hidden)
            })?;
            rows.extend(found.into_iter().map(|(_, row)| row));
            match end {
                Some(end) => from = behind(&end),
                None => break,
            }
        }
        rows.truncate(limit);
        Ok(rows)
    }

    /// Rows of all kinds that the service has, by their keys, from behind `after` on; fewer than `limit` only at the
    /// end.
    pub(crate) fn rows(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(RawKey, SharedRow)>, StoreError> {
        let mut rows = Vec::new();
        for table in self.tables.bytes() {
            let mut from = match after {
                Some([last, ..]) if *last > table => continue,
                Some(after) if after.first() == Some(&table) => behind(after),
                Some(_) | None => vec![table],
            };
            while rows.len() < limit {
                let stored = |key: &[u8], value: &[u8]| self.tables.read_row(key, value);
                let (found, end) = self.reading(Reader::Recovery, |engine| {
                    self.scan_some(engine, &from, limit - rows.len(), stored, SharedRow::clone)
                })?;
                rows.extend(found);
                match end {
                    Some(end) => from = behind(&end),
                    None => break,
                }
            }
        }
        rows.truncate(limit);
        Ok(rows)
    }

    /// The rows of one table in the next `limit` keys of the engine, and the last of these keys if there are more.
    /// They can be fewer than `limit`, by what the batch being written adds, and more, by what it deletes.
    fn scan_some<T>(
        &self,
        engine: &dyn Engine,
        from: &[u8],
        limit: usize,
        stored: impl Fn(&[u8], &[u8]) -> Result<T, StoreError>,
        hidden: impl Fn(&SharedRow) -> T,
    ) -> Result<Page<T>, StoreError> {
        let table = from.first();
        let mut found: BTreeMap<RawKey, Found> = BTreeMap::new();
        let mut more = false;
        engine
            .scan(from, &mut |key, value| {
                if key.first() != table {
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
            let changing = self.hidden.read().unwrap_or_else(PoisonError::into_inner);
            let here = |key: &RawKey| {
                key.first() == table && **key >= *from && end.as_ref().is_none_or(|end| key <= end)
            };
            for (key, slot) in changing.iter().filter(|(key, _)| here(key)) {
                match &slot.base {
                    Some(row) => found.insert(key.clone(), Found::Hidden(row.clone())),
                    None => found.remove(key),
                };
            }
        }
        let rows = found
            .into_iter()
            .map(|(key, found)| {
                let row = match found {
                    Found::Stored(value) => stored(&key, &value)?,
                    Found::Hidden(row) => hidden(&row),
                };
                Ok((key, row))
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
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
            let Some(row) = self.get::<OutboxRow>(Reader::Recovery, &first)? else {
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

    /// Runs a read while the engine can't be given up, and only if the store is open to the reader from first to last.
    pub(crate) fn reading<T>(
        &self,
        reader: Reader,
        read: impl FnOnce(&dyn Engine) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.health.check(reader)?;
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        let Some(engine) = engine.as_deref() else {
            self.health.check(reader)?;
            return Err(StoreError::Unavailable("it is being reopened".into()));
        };
        let answer = read(engine)?;
        self.health.check(reader)?;
        Ok(answer)
    }
}

/// The first key after `key`.
pub(crate) fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

enum Found {
    Stored(Vec<u8>),
    Hidden(SharedRow),
}

pub(crate) fn unreadable(error: &EngineError) -> StoreError {
    let what = error.to_string().into();
    if error.is_outside() {
        StoreError::Unavailable(what)
    } else {
        StoreError::Damaged(what)
    }
}
