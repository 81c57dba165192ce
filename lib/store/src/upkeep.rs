//! What is removed in the course of time: events that were published long ago, answers that are not repeated any more.
//!
//! It removes a bounded number of rows at a time, through the writer like everyone else. When it runs is decided by
//! whoever calls.

use std::convert::Infallible;
use std::sync::PoisonError;

use events::Timestamp;

use crate::errors::TransactError;
use crate::indexes::Indexes;
use crate::outbox::Kept;
use crate::store::Store;
use crate::txn::Context;

impl<I: Indexes> Store<I> {
    /// Removes events that are older than is kept, or more than are kept; the newest always stay. Says how
    /// many rows of the outbox went.
    ///
    /// # Errors
    /// When the store can't write.
    pub async fn trim_outbox(&self, now: Timestamp) -> Result<usize, TransactError<Infallible>> {
        let mut trimmed = 0;
        loop {
            let options = &self.shared.options;
            let rows = self.shared.durable().spans.trimmable(Kept {
                since: now.minus(options.outbox_age_max),
                events_max: options.outbox_events_max,
                bytes_max: options.outbox_bytes_max,
            });
            if rows.is_empty() {
                return Ok(trimmed);
            }
            trimmed += rows.len();
            self.transact(Context::new(now), move |txn| Ok(txn.trim(&rows)?))
                .await?;
        }
    }

    /// Forgets the answers of requests whose time is over. Says how many.
    ///
    /// # Errors
    /// When the store can't write.
    pub async fn sweep(&self, now: Timestamp) -> Result<usize, TransactError<Infallible>> {
        let mut swept = 0;
        loop {
            let due = {
                let indexed = self.shared.indexed.read().unwrap_or_else(PoisonError::into_inner);
                indexed.answers_due(now)
            };
            if due.is_empty() {
                return Ok(swept);
            }
            swept += due.len();
            self.transact(Context::new(now), move |txn| Ok(txn.forget(&due)?))
                .await?;
        }
    }
}
