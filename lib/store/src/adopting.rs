//! Taking back what was published and then lost: the store's side of an adoption.
//!
//! A store that comes out of a backup, or that has lost its end, is behind its own stream. While it adopts, it answers
//! no request; own events come back in order, verbatim, each together with the rows that it tells of. What an event
//! tells of is the service's business; where the events come from is the bus's.

use std::sync::Arc;

use crate::errors::TransactError;
use crate::health::Reader;
use crate::indexes::Indexes;
use crate::marks::Mark;
use crate::outbox::OutboxEntry;
use crate::store::Store;
use crate::txn::{Context, Txn};

/// What stands in the marks of a store that was set back without anybody's doing.
const SET_BACK: &str = "it takes back what it has lost, and has not ended";

impl<I: Indexes> Store<I> {
    /// Stops serving, and begins to take back own events. Requests are answered `Unavailable` with this reason from now
    /// on, what waits is turned away. A batch that is being written at this moment is finished first: the head may still
    /// move by it, before the first [`Store::adopt`] runs. A store that is old or closed stays so.
    pub fn begin_adopting(&self, why: impl Into<Arc<str>>) {
        let why = why.into();
        tracing::warn!(store = %self.shared.options.source, %why, "the store takes back what it has lost");
        self.shared.health.begin_adopting(why);
        self.shared.queue.turn_away();
        self.shared.watchers.wake_all();
    }

    /// Takes back own events: they go into the outbox as they are, together with what `f` stages, which are the rows that
    /// they tell of. Only while the store adopts. Returns when all of it is durable.
    ///
    /// # Errors
    /// [`TransactError::Cursor`] when the entries do not follow the head without a gap, `Panicked` when `f` emits an
    /// event, and otherwise as [`Store::transact`]; nothing was changed then.
    pub async fn adopt<E>(
        &self,
        context: Context,
        entries: Vec<OutboxEntry>,
        f: impl FnOnce(&mut Txn<'_, I>) -> Result<(), TransactError<E>> + Send + 'static,
    ) -> Result<(), TransactError<E>>
    where
        E: Send + 'static,
    {
        self.shared.health.check(Reader::Recovery)?;
        self.mark_unfinished()?;
        self.hand_in(context, true, move |txn| {
            txn.adopt(entries)?;
            let head = txn.head();
            f(txn)?;
            assert!(
                txn.head() == head,
                "an adoption emits nothing: what it tells of is published already"
            );
            Ok(())
        })?
        .await
        // Turned away: the store serves, or is closed.
        .unwrap_or_else(|_| Err(self.not_adopting().into()))
    }

    /// The store has everything that it has ever published, and serves from now on, also after the next start.
    ///
    /// # Errors
    /// When the mark of a restoration can't be taken away; the store then goes on adopting.
    pub fn end_adopting(&self) -> std::io::Result<()> {
        Mark::Restored.unset(&self.shared.options.dir)?;
        self.shared.health.end_adopting();
        self.shared.queue.turn_away();
        self.shared.watchers.wake_all();
        tracing::info!(store = %self.shared.options.source, "the store has everything that it has ever published");
        Ok(())
    }

    /// Whether the store comes out of a backup and has not ended adopting since. One that can't be told apart counts as
    /// restored: adopting nothing does no harm.
    pub fn was_restored(&self) -> bool {
        Mark::Restored.is_set(&self.shared.options.dir).unwrap_or(true)
    }

    /// Whether its cursors are only as new as a backup, or as what was left of a store that was set back. One that can't be
    /// told apart counts as such.
    pub fn recollects(&self) -> bool {
        self.was_restored() || Mark::Cursors.is_set(&self.shared.options.dir).unwrap_or(true)
    }

    /// The store was found to be set back, without a mark that says so yet: from now on its cursors are only as new as what
    /// was left of it, over every restart.
    ///
    /// # Errors
    /// When it can't be marked.
    pub fn begin_recollecting(&self) -> std::io::Result<()> {
        let dir = &self.shared.options.dir;
        if Mark::Cursors.is_set(dir)? {
            return Ok(());
        }
        Mark::Cursors.set(dir, SET_BACK)
    }

    /// The store has caught up with all whose events it reads: its cursors are as good as anybody's from now on.
    ///
    /// # Errors
    /// When the mark can't be taken away; it then goes on to recollect.
    pub fn end_recollecting(&self) -> std::io::Result<()> {
        Mark::Cursors.unset(&self.shared.options.dir)
    }

    /// From the first event that is taken back until the last, the store is one that was set back, however that came
    /// about: killed in between, it must not serve after the next start only because Redis has been emptied meanwhile.
    fn mark_unfinished(&self) -> Result<(), crate::StoreError> {
        let dir = &self.shared.options.dir;
        let marked = Mark::Restored.is_set(dir).and_then(|set| match set {
            true => Ok(()),
            false => {
                Mark::Cursors.set(dir, SET_BACK)?;
                Mark::Restored.set(dir, SET_BACK)
            }
        });
        marked.map_err(|error| {
            crate::StoreError::Unavailable(
                format!("it can't be marked as one that was set back: {error}").into(),
            )
        })
    }

    fn not_adopting(&self) -> crate::StoreError {
        match self.shared.health.check(Reader::Recovery) {
            Err(error) => error,
            Ok(()) => crate::StoreError::Unavailable("it does not adopt, or was just reopened".into()),
        }
    }
}
