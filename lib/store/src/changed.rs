//! Waiting for a row to change: who waits is woken when a durable batch has put or deleted that row.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::record::RawKey;

/// Who waits for a row, and the number that tells them apart.
type ByKey = HashMap<RawKey, Vec<(u64, oneshot::Sender<()>)>>;

/// Everyone who waits, by row. Costs the writer one load when nobody does.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    waiting: AtomicUsize,
    next_id: AtomicU64,
    by_key: Mutex<ByKey>,
}

impl Watchers {
    pub(crate) fn watch(self: &Arc<Self>, key: RawKey) -> Changed {
        let (sender, receiver) = oneshot::channel();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.lock().entry(key.clone()).or_default().push((id, sender));
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Changed {
            watchers: Arc::clone(self),
            key,
            id,
            receiver,
        }
    }

    pub(crate) fn wake<'a>(&self, keys: impl Iterator<Item = &'a RawKey>) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut by_key = self.lock();
        for key in keys {
            // A dropped sender wakes its receiver; nothing needs to be said.
            by_key.remove(key);
        }
    }

    /// After a reopening any row may be another one.
    pub(crate) fn wake_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, ByKey> {
        // No code that could panic runs under this lock.
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watch on one row, from the moment at which it was asked for.
#[derive(Debug)]
pub struct Changed {
    watchers: Arc<Watchers>,
    key: RawKey,
    id: u64,
    receiver: oneshot::Receiver<()>,
}

impl Changed {
    /// Resolves when the row was put or deleted, durably, since the watch began (or may have been: after the
    /// store was reopened). Bound the wait with a timeout; for the next change ask for a new watch.
    pub async fn wait(mut self) {
        // Either way of ending means "look again".
        let (Ok(()) | Err(_)) = (&mut self.receiver).await;
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        self.watchers.waiting.fetch_sub(1, Ordering::SeqCst);
        let mut by_key = self.watchers.lock();
        if let Some(watching) = by_key.get_mut(&self.key) {
            watching.retain(|(id, _)| *id != self.id);
            if watching.is_empty() {
                by_key.remove(&self.key);
            }
        }
    }
}
