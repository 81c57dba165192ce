//! Walking over a table inside a batch: what the engine has, with what is staged on top.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::Batch;
use crate::engine::Engine;
use crate::errors::StoreError;
use crate::record::{self, RawKey, Record};

impl Batch {
    /// Rows of one table behind `after`, as the batch sees them, at most `limit`.
    pub(crate) fn scan<R: Record>(
        &self,
        engine: &dyn Engine,
        after: Option<&R::Key>,
        limit: usize,
    ) -> Result<Vec<R>, StoreError> {
        let behind = after.map(record::raw_key::<R>);
        let from = behind.as_deref().unwrap_or(&[R::TABLE.0]);
        let is_next = |key: &[u8]| {
            key.first() == Some(&R::TABLE.0) && behind.as_deref().is_none_or(|behind| key > behind)
        };
        let slots = self.slots.borrow();
        let mut rows: BTreeMap<RawKey, R> = BTreeMap::new();
        for (key, slot) in slots.iter().filter(|(key, _)| is_next(key)) {
            if let Some(row) = &slot.now {
                rows.insert(key.clone(), record::downcast::<R>(&**row).clone());
            }
        }
        // Keys that the batch knows are told by it alone: it may have changed or deleted what the engine has.
        let mut stored: Vec<(RawKey, Vec<u8>)> = Vec::new();
        engine
            .scan(from, &mut |key, value| {
                if key.first() != Some(&R::TABLE.0) || stored.len() == limit {
                    return ControlFlow::Break(());
                }
                if is_next(key) && !slots.contains_key(key) {
                    stored.push((key.into(), value.to_vec()));
                }
                ControlFlow::Continue(())
            })
            .map_err(|error| StoreError::Damaged(error.to_string().into()))?;
        for (key, value) in stored {
            let row = record::read_row::<R>(&key, &value)?;
            rows.insert(key, row);
        }
        Ok(rows.into_values().take(limit).collect())
    }
}
