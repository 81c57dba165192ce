//! Whether a store serves, and if not, why.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::errors::StoreError;

/// Whether a store serves.
#[derive(Debug, Clone)]
pub enum State {
    /// It does.
    Serving,
    /// Writing failed; the engine is being opened again.
    Reopening {
        /// Since when.
        since: Instant,
        /// What failed, last.
        error: Arc<str>,
    },
    /// It takes back what it had published and has lost, from its own stream; requests wait for the end of that.
    Adopting {
        /// How that showed.
        why: Arc<str>,
    },
    /// It is behind what it has published, and can't take it back: a lost disk, and a lost stream.
    Old {
        /// How that showed.
        why: Arc<str>,
    },
    /// It was closed.
    Closed,
}

/// On whose behalf the store is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Requests and events: they must see nothing of a store that has lost something.
    Requests,
    /// What brings back what was lost, and what looks after the store.
    Recovery,
}

/// Who may read, in a form that costs one load: every read asks.
const NOBODY: u8 = 0;
const RECOVERY: u8 = 1;
const EVERYBODY: u8 = 2;

#[derive(Debug)]
pub(crate) struct Health {
    open_to: AtomicU8,
    writer_died: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// Why the store adopts, as long as it does: a reopening in the middle of it comes back to it.
    adopting: Option<Arc<str>>,
}

impl Health {
    /// A store that has just been opened; with a reason to adopt, it does not serve before that is done.
    pub(crate) fn opened(adopting: Option<Arc<str>>) -> Self {
        let health = Self {
            open_to: AtomicU8::new(EVERYBODY),
            writer_died: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                state: State::Serving,
                adopting: None,
            }),
        };
        if let Some(why) = adopting {
            health.begin_adopting(why);
        }
        health
    }

    /// Nothing if this reader may read; otherwise why not.
    pub(crate) fn check(&self, reader: Reader) -> Result<(), StoreError> {
        let needed = match reader {
            Reader::Requests => EVERYBODY,
            Reader::Recovery => RECOVERY,
        };
        if self.open_to.load(Ordering::SeqCst) >= needed {
            Ok(())
        } else {
            Err(StoreError::Unavailable(self.why()))
        }
    }

    pub(crate) fn state(&self) -> State {
        self.lock().state.clone()
    }

    /// Changes the state. Closed is for ever, and old until the process ends: a reopened engine is as old.
    pub(crate) fn set(&self, new: State) {
        self.change(&mut self.lock(), new);
    }

    /// From now on the store adopts whenever it is open.
    pub(crate) fn begin_adopting(&self, why: Arc<str>) {
        let mut inner = self.lock();
        inner.adopting = Some(why);
        if let State::Serving | State::Adopting { .. } = inner.state {
            self.change(&mut inner, State::Serving);
        }
    }

    /// From now on the store serves whenever it is open.
    pub(crate) fn end_adopting(&self) {
        let mut inner = self.lock();
        inner.adopting = None;
        if let State::Adopting { .. } = inner.state {
            self.change(&mut inner, State::Serving);
        }
    }

    fn change(&self, inner: &mut Inner, new: State) {
        let stays = match (&inner.state, &new) {
            (State::Closed, _) => true,
            (State::Old { .. }, State::Closed) => false,
            (State::Old { .. }, _) => true,
            (State::Serving | State::Adopting { .. } | State::Reopening { .. }, _) => false,
        };
        if stays {
            return;
        }
        let new = match (&inner.adopting, new) {
            (Some(why), State::Serving) => State::Adopting { why: Arc::clone(why) },
            (_, new) => new,
        };
        let open_to = match new {
            State::Serving => EVERYBODY,
            State::Adopting { .. } => RECOVERY,
            State::Reopening { .. } | State::Old { .. } | State::Closed => NOBODY,
        };
        self.open_to.store(open_to, Ordering::SeqCst);
        inner.state = new;
    }

    /// The writer has ended, or can't ever go on, asked to or not. For ever.
    pub(crate) fn writer_ended(&self, asked: bool) {
        if !asked {
            self.writer_died.store(true, Ordering::SeqCst);
        }
        self.set(State::Closed);
    }

    /// Whether the writer has ended, or can't ever go on, although no one had asked it to.
    pub(crate) fn writer_died(&self) -> bool {
        self.writer_died.load(Ordering::SeqCst)
    }

    fn why(&self) -> Arc<str> {
        match self.state() {
            // It has come back this very moment; whoever asks may ask again.
            State::Serving => "it has just been reopened".into(),
            State::Reopening { error, .. } => format!("it is being reopened after an error: {error}").into(),
            State::Adopting { why } | State::Old { why } => why,
            State::Closed if self.writer_died() => "its writer has died; only a new start helps".into(),
            State::Closed => "it is closed".into(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code that could panic runs under this lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_read(health: &Health) -> (bool, bool) {
        let may = |reader| health.check(reader).is_ok();
        (may(Reader::Requests), may(Reader::Recovery))
    }

    #[test]
    fn a_reopening_comes_back_to_adopting() {
        let health = Health::opened(Some("restored".into()));
        assert_eq!(may_read(&health), (false, true));
        health.set(State::Reopening {
            since: Instant::now(),
            error: "a bad disk".into(),
        });
        assert_eq!(may_read(&health), (false, false));
        health.set(State::Serving);
        assert!(matches!(health.state(), State::Adopting { why } if &*why == "restored"));
        health.end_adopting();
        assert_eq!(may_read(&health), (true, true));
        health.begin_adopting("behind".into());
        assert_eq!(may_read(&health), (false, true));
    }

    #[test]
    fn an_old_store_neither_adopts_nor_serves() {
        let health = Health::opened(None);
        health.set(State::Old { why: "old".into() });
        health.begin_adopting("behind".into());
        assert!(matches!(health.state(), State::Old { .. }));
        health.end_adopting();
        assert!(matches!(health.state(), State::Old { .. }));
        assert_eq!(may_read(&health), (false, false));
    }
}
