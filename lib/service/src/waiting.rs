//! Waiting for a row: for what was just written elsewhere, and for a change that a client waits for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use errors::Problem;
use events::Timestamp;
use store::{Indexes, Record, Store};
use tokio::time::Instant;

use crate::http::{IfNoneMatch, Prefer};
use crate::{OrProblem as _, Shutdown};

/// How long a service waits for an event that tells of what another one has just acknowledged.
pub const READ_WAIT_MAX: Duration = Duration::from_secs(2);

/// An id older than this that is not known does not exist: its event has long arrived.
pub const FRESH_ID_SECONDS_MAX: u64 = 60;

/// How many requests may wait so at once; more are told to come back.
pub const READ_WAITERS_MAX: usize = 1_024;

/// How many long polls (`Prefer: wait`) there may be at once; more are answered at once.
pub const LONG_POLLS_MAX: usize = 4_096;

/// When a client should try again who found too many waiting.
const RETRY_SECONDS: u32 = 1;

/// The places of those who wait in one service.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    reading: AtomicUsize,
    polling: AtomicUsize,
}

struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(taken: &'a AtomicUsize, max: usize) -> Option<Self> {
        let fits = |count: usize| (count < max).then_some(count + 1);
        taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .ok()
            .map(|_| Self(taken))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads a row until it is what `wanted` asks for, for at most `wait`; what it was last, if it is there at all.
///
/// # Errors
/// A 503 when too many wait already or the store does not serve.
pub(crate) async fn until<I: Indexes, R: Record>(
    store: &Store<I>,
    waiters: &Waiters,
    key: &R::Key,
    wait: Duration,
    wanted: impl Fn(&R) -> bool,
) -> Result<Option<R>, Problem> {
    let row = store.get::<R>(key).or_problem()?;
    if row.as_ref().is_some_and(&wanted) || wait.is_zero() {
        return Ok(row);
    }
    let _place = Place::take(&waiters.reading, READ_WAITERS_MAX).ok_or_else(|| {
        Problem::unavailable("Too many requests wait already, try again soon", RETRY_SECONDS)
    })?;
    follow(store, key, wait, |row: Option<&R>| row.is_some_and(&wanted)).await
}

/// How long it is worth waiting for the thing with an id that was made at `made_at`: not at all if its event
/// must have arrived long ago.
pub(crate) fn worth_waiting(made_at: Timestamp, now: Timestamp) -> Duration {
    if now.since(made_at) < Duration::from_secs(FRESH_ID_SECONDS_MAX) {
        READ_WAIT_MAX
    } else {
        Duration::ZERO
    }
}

/// Answers a long poll: waits while the client has what there is. Nothing if the row does not exist (any more).
///
/// # Errors
/// A 503 when the store does not serve.
pub(crate) async fn poll<I: Indexes, R: Record>(
    store: &Store<I>,
    waiters: &Waiters,
    shutdown: &Shutdown,
    key: &R::Key,
    known: &IfNoneMatch,
    prefer: Prefer,
) -> Result<Option<R>, Problem> {
    let is_news = |row: Option<&R>| row.is_none_or(|row| !known.matches(row.version()));
    let row = store.get::<R>(key).or_problem()?;
    let Some(wait) = prefer.wait.filter(|_| known.is_given() && !is_news(row.as_ref())) else {
        return Ok(row);
    };
    // Waiting is a preference: where there is no place for it, the answer comes at once.
    let Some(_place) = Place::take(&waiters.polling, LONG_POLLS_MAX) else {
        return Ok(row);
    };
    tokio::select! {
        row = follow(store, key, wait, is_news) => row,
        () = shutdown.clone().wait() => Ok(row),
    }
}

async fn follow<I: Indexes, R: Record>(
    store: &Store<I>,
    key: &R::Key,
    wait: Duration,
    done: impl Fn(Option<&R>) -> bool,
) -> Result<Option<R>, Problem> {
    let deadline = Instant::now() + wait;
    loop {
        // The watch begins before the read, so that no change falls between the two.
        let changed = store.changed::<R>(key);
        let row = store.get::<R>(key).or_problem()?;
        if done(row.as_ref()) || tokio::time::timeout_at(deadline, changed.wait()).await.is_err() {
            return Ok(row);
        }
    }
}
