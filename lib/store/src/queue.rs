//! The transactions that wait for the writer, in order, and bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::txn::{Context, Txn};

/// How many transactions may wait; more are answered `Busy` at once.
pub const TRANSACTIONS_WAITING_MAX: usize = 16_384;

/// How a batch ended.
pub(crate) enum Outcome {
    Durable,
    /// It was not written at all.
    Refused(Arc<str>),
    Unknown(Arc<str>),
}

/// A transaction that has run: whether it was refused, and how its caller is told once the batch has ended.
pub(crate) struct Ran {
    pub(crate) refused: bool,
    pub(crate) answer: Box<dyn FnOnce(&Outcome) + Send>,
}

/// What runs a transaction.
pub(crate) type Run<I> = Box<dyn FnOnce(&mut Txn<'_, I>) -> Ran + Send>;

/// A transaction that waits. Dropped without having run, its caller learns that nothing was changed.
pub(crate) struct Job<I> {
    pub(crate) context: Context,
    /// Whether it brings back what was lost: such a one runs only while the store adopts, and no other one does then.
    pub(crate) adopts: bool,
    pub(crate) run: Run<I>,
}

pub(crate) struct Queue<I> {
    inner: Mutex<Inner<I>>,
    arrived: Condvar,
}

struct Inner<I> {
    jobs: VecDeque<Job<I>>,
    accepting: bool,
    closing: bool,
}

/// Why a transaction may not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushError {
    Full,
    Stopped,
}

impl<I> Queue<I> {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                jobs: VecDeque::new(),
                accepting: true,
                closing: false,
            }),
            arrived: Condvar::new(),
        }
    }

    pub(crate) fn push(&self, job: Job<I>) -> Result<(), PushError> {
        let mut inner = self.lock();
        if !inner.accepting || inner.closing {
            return Err(PushError::Stopped);
        }
        if inner.jobs.len() >= TRANSACTIONS_WAITING_MAX {
            return Err(PushError::Full);
        }
        inner.jobs.push_back(job);
        drop(inner);
        self.arrived.notify_one();
        Ok(())
    }

    /// Up to `max` of those that wait.
    pub(crate) fn take(&self, max: usize) -> VecDeque<Job<I>> {
        let mut inner = self.lock();
        if inner.jobs.len() <= max {
            return std::mem::take(&mut inner.jobs);
        }
        let rest = inner.jobs.split_off(max);
        std::mem::replace(&mut inner.jobs, rest)
    }

    pub(crate) fn put_back(&self, mut jobs: VecDeque<Job<I>>) {
        let mut inner = self.lock();
        jobs.append(&mut inner.jobs);
        inner.jobs = jobs;
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Accepts no more for now, and turns away all that wait.
    pub(crate) fn stop(&self) {
        let turned_away = {
            let mut inner = self.lock();
            inner.accepting = false;
            std::mem::take(&mut inner.jobs)
        };
        // Outside of the lock: each one wakes its caller.
        drop(turned_away);
    }

    /// Turns away all that wait, and goes on accepting.
    pub(crate) fn turn_away(&self) {
        let turned_away = std::mem::take(&mut self.lock().jobs);
        // Outside of the lock: each one wakes its caller.
        drop(turned_away);
    }

    /// Accepts again.
    pub(crate) fn start(&self) {
        self.lock().accepting = true;
    }

    /// Accepts no more for ever; what waits already is still written.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.arrived.notify_all();
    }

    /// Whether it was closed.
    pub(crate) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// Waits until there is a transaction, the queue is closing, or the time is over. Says whether it goes on.
    pub(crate) fn wait(&self, at_most: Option<Duration>) -> bool {
        let idle = |inner: &mut Inner<I>| inner.jobs.is_empty() && !inner.closing;
        let inner = self.lock();
        let inner = match at_most {
            None => self
                .arrived
                .wait_while(inner, idle)
                .unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                self.arrived
                    .wait_timeout_while(inner, time, idle)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        !(inner.closing && inner.jobs.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, Inner<I>> {
        // No code that could panic runs under this lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
