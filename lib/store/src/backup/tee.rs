//! What of a backup is known to the writer: where it hands over what it writes. It knows nothing of where the bytes go.

use crate::codec;
use crate::engine::Write;
use crate::head::Meta;
use crate::indexes::Tables;
use crate::record;

use super::format::Encoder;
use super::{BACKUP_BEHIND_BYTES_MAX, BackupError};

/// The backup that is being taken, if one is.
#[derive(Debug, Default)]
pub(crate) struct Backups {
    tee: Option<Tee>,
    last_id: u64,
}

impl Backups {
    /// Begins a backup; it is told from others by the number.
    pub(super) fn attach(&mut self, encoder: impl FnOnce() -> Encoder) -> Result<u64, BackupError> {
        // One that has failed may still wait for its taker to notice; it does not stand in the way.
        if self.tee.as_ref().is_some_and(|tee| tee.failed.is_none()) {
            return Err(BackupError::Busy);
        }
        self.last_id += 1;
        self.tee = Some(Tee {
            id: self.last_id,
            encoder: encoder(),
            sealed: None,
            failed: None,
        });
        Ok(self.last_id)
    }

    /// The backup of that number, as long as nothing is wrong with it.
    pub(super) fn of(&mut self, id: u64) -> Result<&mut Tee, BackupError> {
        match &mut self.tee {
            Some(tee) if tee.id == id => match &tee.failed {
                None => Ok(tee),
                Some(error) => Err(error.clone()),
            },
            // Only a failed one is replaced by another, and only having been too slow goes unnoticed for so long.
            Some(_) | None => Err(BackupError::TooSlow),
        }
    }

    pub(super) fn detach(&mut self, id: u64) {
        if self.tee.as_ref().is_some_and(|tee| tee.id == id) {
            self.tee = None;
        }
    }

    /// A batch is about to be applied.
    pub(crate) fn batch(&mut self, writes: &[Write]) {
        if let Some(tee) = &mut self.tee {
            tee.batch(writes);
        }
    }

    /// A batch could not be written, and no one knows what is left of it.
    pub(crate) fn fail(&mut self, why: &str) {
        if let Some(tee) = &mut self.tee {
            tee.fail(BackupError::Unavailable(why.into()));
        }
    }
}

/// A backup that is being taken.
#[derive(Debug)]
pub(super) struct Tee {
    id: u64,
    encoder: Encoder,
    /// All rows are read, and what is told ends with this batch.
    sealed: Option<Meta>,
    failed: Option<BackupError>,
}

impl Tee {
    /// A row, as the engine has it. One that is damaged ends the backup: better now than when it is needed.
    pub(super) fn scanned(&mut self, tables: &Tables, key: &[u8], value: &[u8]) {
        match codec::unseal(key, value) {
            Ok(_) => self.encoder.op(key, Some(value)),
            Err(cause) => {
                let what = record::describe(tables.name(key), key, &cause);
                self.fail(BackupError::Damaged(what.into()));
            }
        }
    }

    /// All rows were read; the engine has come this far.
    pub(super) fn seal(&mut self, meta: Meta) {
        self.sealed = Some(meta);
    }

    /// What was told so far, to be sent.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.encoder.take()
    }

    /// The last bytes, once its last batch is durable.
    pub(super) fn end(&mut self, durable_batch: u64) -> Option<Vec<u8>> {
        let meta = self.sealed.filter(|meta| meta.batch <= durable_batch)?;
        self.encoder.end(meta);
        Some(self.encoder.take())
    }

    fn batch(&mut self, writes: &[Write]) {
        if self.sealed.is_some() || self.failed.is_some() {
            return;
        }
        for (key, value) in writes {
            self.encoder.op(key, value.as_deref());
        }
        if self.encoder.len() > BACKUP_BEHIND_BYTES_MAX {
            self.fail(BackupError::TooSlow);
        }
    }

    fn fail(&mut self, error: BackupError) {
        if self.failed.is_none() {
            self.failed = Some(error);
            // What no one will take need not be kept.
            drop(self.encoder.take());
        }
    }
}
