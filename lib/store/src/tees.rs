//! What the writer tells of each batch: to a backup that is being taken, and to a check that is under way.
//!
//! The lock around it is held while a batch is told and applied, and while a chunk of rows is read: so both are told in
//! the order in which they happened to the engine.

use crate::backup::Backups;
use crate::batch::Finished;
use crate::check::Shadow;
use crate::engine::Write;
use crate::errors::StoreError;
use crate::indexes::Indexes;
use crate::shared::Shared;

/// Who listens to the writer.
pub(crate) struct Tees<I> {
    pub(crate) backups: Backups,
    pub(crate) shadow: Option<Shadow<I>>,
}

impl<I> Default for Tees<I> {
    fn default() -> Self {
        Self {
            backups: Backups::default(),
            shadow: None,
        }
    }
}

impl<I: Indexes> Tees<I> {
    /// A batch is about to be applied.
    pub(crate) fn batch(&mut self, shared: &Shared<I>, writes: &[Write], finished: &Finished) {
        self.backups.batch(writes);
        if let Some(shadow) = &mut self.shadow {
            shadow.batch(shared, finished);
        }
    }

    /// A batch could not be written, and no one knows what is left of it.
    pub(crate) fn fail(&mut self, why: &str) {
        self.backups.fail(why);
        if let Some(shadow) = &mut self.shadow {
            shadow.fail(why);
        }
    }

    /// The check that is under way, as long as it can be completed.
    pub(crate) fn shadow(&mut self) -> Result<&mut Shadow<I>, StoreError> {
        let shadow = self
            .shadow
            .as_mut()
            .ok_or_else(|| StoreError::Unavailable("the check was broken off".into()))?;
        match shadow.failed() {
            None => Ok(shadow),
            Some(error) => Err(error),
        }
    }
}
