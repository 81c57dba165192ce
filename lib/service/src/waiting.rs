//! Waiting for a row: for what was just written elsewhere, and for a change that a client waits for.

use std::time::Duration;

use bus::Bus;
use errors::Problem;
use events::{Source, Timestamp};
use store::{Indexes, Record, Store};
use tokio::time::Instant;

use crate::http::{IfNoneMatch, Prefer};
use crate::places::Places;
use crate::{OrProblem as _, Shutdown};

/// How long a service waits for an event that tells of what another one has just acknowledged.
pub const READ_WAIT_MAX: Duration = Duration::from_secs(2);

/// An id that is older by this than what was last heard of its maker, and not known, does not exist.
pub const FRESH_ID_SECONDS_MAX: u64 = 60;

/// How many requests may wait so at once; more are told to come back.
pub const READ_WAITERS_MAX: usize = 1_024;

/// How many long polls (`Prefer: wait`) there may be at once; more are answered at once.
pub const LONG_POLLS_MAX: usize = 4_096;

/// When a client should try again who found too many waiting.
const RETRY_SECONDS: u32 = 1;

/// The places of those who wait in one service.
#[derive(Debug)]
pub(crate) struct Waiters {
    reading: Places,
    polling: Places,
}

impl Default for Waiters {
    fn default() -> Self {
        Self {
            reading: Places::new(READ_WAITERS_MAX),
            polling: Places::new(LONG_POLLS_MAX),
        }
    }
}

/// Reads a row until it is what `wanted` asks for, for at most [`READ_WAIT_MAX`]; what it was last, if it is there at all.
///
/// # Errors
/// A 503 when too many wait already or the store does not serve.
pub(crate) async fn until<I: Indexes, R: Record>(
    store: &Store<I>,
    waiters: &Waiters,
    key: &R::Key,
    wanted: impl Fn(&R) -> bool,
) -> Result<Option<R>, Problem> {
    let row = store.get::<R>(key).or_problem()?;
    if row.as_ref().is_some_and(&wanted) {
        return Ok(row);
    }
    let _place = waiters.reading.take().ok_or_else(|| {
        Problem::unavailable("Too many requests wait already, try again soon", RETRY_SECONDS)
    })?;
    follow(store, key, READ_WAIT_MAX, |row: Option<&R>| {
        row.is_some_and(&wanted)
    })
    .await
}

/// Resolves when everything is applied here that `from` had acknowledged before this was called: when it has said how far
/// it is, and the cursor stands there. Until it can be asked, and for as long as something is missing, it does not.
pub(crate) async fn caught_up<I: Indexes>(store: &Store<I>, bus: &Bus, from: Source) {
    let applied = store.cursor(from);
    let head = bus.head(from).await;
    if head < applied {
        // It has lost what it once told us, and whatever else; it does not know yet, or nobody has put that right.
        return std::future::pending().await;
    }
    loop {
        // The watch begins before the look, so that no step falls between the two.
        let changed = store.cursor_changed(from);
        if store.cursor(from) >= head {
            return;
        }
        changed.wait().await;
    }
}

/// Whether it is worth waiting for the thing with an id that was made at `made_at`: not if its event must have arrived
/// long ago.
///
/// The id tells the time of the clock that made it. `heard` is the newest event that was heard from there, by the same
/// clock: an id that is older than that by more than the bound was told of before it. Our own clock may be an hour off
/// and is never a reason not to wait. It is a reason to wait, though, for when the other's was put back meanwhile.
pub(crate) fn worth_waiting(made_at: Timestamp, heard: Option<Timestamp>, now: Timestamp) -> bool {
    let fresh = Duration::from_secs(FRESH_ID_SECONDS_MAX);
    let told_long_ago = heard.is_some_and(|heard| heard.since(made_at) >= fresh);
    !(told_long_ago && now.since(made_at) >= fresh)
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
    let Some(_place) = waiters.polling.take() else {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_clock_that_is_an_hour_off_makes_nothing_disappear() {
        const NOW: i64 = 1_000_000;
        const HOUR: i64 = 3_600;
        // (made, last heard, now, worth waiting)
        for (made, heard, now, worth) in [
            (NOW, Some(NOW - 5), NOW, true),
            (NOW - 300, Some(NOW - 5), NOW, false),
            // Nothing was heard since it was made, by whichever clock it is that is wrong.
            (NOW, Some(NOW - 5), NOW + HOUR, true),
            (NOW, Some(NOW - 5), NOW - HOUR, true),
            (NOW, Some(NOW - 2 * HOUR), NOW + HOUR, true),
            (NOW, None, NOW + HOUR, true),
            // Their clock was an hour ahead, and has been put right.
            (NOW, Some(NOW + HOUR), NOW, true),
            // Told of long ago, by both clocks.
            (NOW - 300, Some(NOW - 5), NOW + HOUR, false),
        ] {
            let waits = worth_waiting(at(made), heard.map(at), at(now));
            assert_eq!(waits, worth, "{made} {heard:?} {now}");
        }
    }
}
