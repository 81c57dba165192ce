//! Whether a store serves, and if not, why.

use std::sync::atomic::{AtomicBool, Ordering};
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
    /// It is behind what it has published: a restored backup, a lost disk.
    Old {
        /// How that showed.
        why: Arc<str>,
    },
    /// It was closed.
    Closed,
}

#[derive(Debug)]
pub(crate) struct Health {
    serving: AtomicBool,
    writer_died: AtomicBool,
    state: Mutex<State>,
}

impl Health {
    pub(crate) fn serving() -> Self {
        Self {
            serving: AtomicBool::new(true),
            writer_died: AtomicBool::new(false),
            state: Mutex::new(State::Serving),
        }
    }

    /// Nothing if the store serves; otherwise why not.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.serving.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(StoreError::Unavailable(self.why()))
        }
    }

    pub(crate) fn state(&self) -> State {
        self.lock().clone()
    }

    /// Changes the state. Closed is for ever, and old until the process ends: a reopened engine is as old.
    pub(crate) fn set(&self, new: State) {
        let mut state = self.lock();
        let stays = match (&*state, &new) {
            (State::Closed, _) => true,
            (State::Old { .. }, State::Closed) => false,
            (State::Old { .. }, _) => true,
            (State::Serving | State::Reopening { .. }, _) => false,
        };
        if !stays {
            self.serving
                .store(matches!(new, State::Serving), Ordering::SeqCst);
            *state = new;
        }
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
            State::Old { why } => why,
            State::Closed if self.writer_died() => "its writer has died; only a new start helps".into(),
            State::Closed => "it is closed".into(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that could panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
