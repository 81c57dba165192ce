//! A service that looks at its own books: the invariants over its rows every minute, and now and then the whole store
//! against its checksums and indexes. What it finds is counted and said once; it repairs nothing.
//!
//! It sees one service's half of each invariant. The other half is for `boxoffice verify`, which has all the books.

use std::collections::BTreeSet;
use std::time::Duration;

use invariants::{Books, Invariant, Tolerance, Violation};
use store::{Indexes, RowKey, StoreError};
use tokio::time::{Instant, MissedTickBehavior};

use crate::Shutdown;
use crate::internal::{Inside, page};

/// How many rows are looked at once, beside everything else.
const ROWS_PER_PAGE: usize = 1_000;

/// With more rows than this the invariants are left to `boxoffice verify`: the books are held in memory as a whole.
pub const ROWS_CHECKED_MAX: u64 = 200_000;

/// With more rows than this the store is left to `boxoffice verify`, which an operator runs when there is time for it: a
/// check builds all indexes a second time, and nothing is written while it compares them.
pub const STORE_ROWS_CHECKED_MAX: u64 = 500_000;

/// How often the whole store is read and checked.
pub const STORE_CHECK_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The invariants of which one service's own books tell something.
const CHECKED: [Invariant; 5] = [
    Invariant::I1,
    Invariant::I2,
    Invariant::I4,
    Invariant::I5,
    Invariant::I7,
];

/// The checks of one service.
pub(crate) struct SelfCheck<I: Indexes> {
    inside: Inside<I>,
    /// What is broken, as of the last look: each thing is said once.
    broken: BTreeSet<Violation>,
    /// What was not right yet at the last look. What still is not at the next one has lasted.
    pending: BTreeSet<Violation>,
    store: StoreChecks,
}

impl<I: Indexes> SelfCheck<I> {
    pub(crate) fn new(inside: Inside<I>) -> Self {
        let source = inside.parts.source.as_str();
        for invariant in CHECKED {
            // There from the beginning, so that an alert on the first one has something to compare with.
            metrics::counter!("invariant_violations_total", "service" => source, "invariant" => invariant.to_string())
                .absolute(0);
            metrics::gauge!("invariant_pending", "service" => source, "invariant" => invariant.to_string())
                .set(0.0);
        }
        metrics::counter!("store_check_problems_total", "store" => source).absolute(0);
        Self {
            inside,
            broken: BTreeSet::new(),
            pending: BTreeSet::new(),
            store: StoreChecks::new(Instant::now()),
        }
    }

    /// Checks every `interval` until it is time to stop.
    pub(crate) async fn run(mut self, interval: Duration, stop: Shutdown) {
        let mut interval = tokio::time::interval_at(Instant::now() + interval, interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = stop.clone().wait() => return,
            }
            tokio::select! {
                () = self.check_once() => {}
                () = stop.clone().wait() => return,
            }
        }
    }

    /// One look at the books, and at the store if it is time.
    pub(crate) async fn check_once(&mut self) {
        let source = self.inside.parts.source;
        match self.collect().await {
            Ok(Some(books)) => {
                let now = self.inside.parts.clock.now();
                self.judge(invariants::check(&books, now, Tolerance::USUAL));
            }
            Ok(None) => {
                tracing::debug!(service = %source, max = ROWS_CHECKED_MAX, "too many rows to check the invariants beside the service");
            }
            Err(error) => tracing::warn!(service = %source, %error, "the books can't be read to be checked"),
        }
        let rows = self.inside.parts.store.status().keys;
        match self.store.next(Instant::now(), rows) {
            Next::Check => self.check_store().await,
            Next::SayTooMany => {
                tracing::info!(service = %source, rows, max = STORE_ROWS_CHECKED_MAX, "too many rows to check the store beside the service: `boxoffice verify` checks it");
            }
            Next::Nothing => {}
        }
    }

    /// The service's own books; nothing if they are too many.
    async fn collect(&self) -> Result<Option<Books>, StoreError> {
        let mut books = Books::default();
        let mut after: Option<RowKey> = None;
        if self.inside.parts.store.status().keys > ROWS_CHECKED_MAX {
            return Ok(None);
        }
        loop {
            let inside = self.inside.clone();
            let page = tokio::task::spawn_blocking(move || page(&inside, after.as_ref(), ROWS_PER_PAGE))
                .await
                .map_err(|error| StoreError::Damaged(format!("a row can't be read: {error}").into()))??;
            after = page.next.as_deref().and_then(|next| next.parse().ok());
            books.add(page);
            if after.is_none() {
                return Ok(Some(books));
            }
        }
    }

    fn judge(&mut self, found: Vec<Violation>) {
        let source = self.inside.parts.source;
        let (broken, pending): (BTreeSet<_>, BTreeSet<_>) = found.into_iter().partition(Violation::is_broken);
        for new in broken.difference(&self.broken) {
            metrics::counter!(
                "invariant_violations_total",
                "service" => source.as_str(),
                "invariant" => new.invariant.to_string()
            )
            .increment(1);
            tracing::error!(service = %source, invariant = %new.invariant, "{new}");
        }
        for invariant in CHECKED {
            let lasting = pending
                .intersection(&self.pending)
                .filter(|violation| violation.invariant == invariant)
                .count();
            metrics::gauge!(
                "invariant_pending",
                "service" => source.as_str(),
                "invariant" => invariant.to_string()
            )
            .set(f64::from(u32::try_from(lasting).unwrap_or(u32::MAX)));
        }
        self.broken = broken;
        self.pending = pending;
    }

    async fn check_store(&self) {
        let source = self.inside.parts.source;
        match self.inside.parts.store.check().await {
            Ok(report) if report.is_good() => {
                tracing::info!(service = %source, rows = report.rows, state = %report.state_hash, "the store was checked and is good");
            }
            Ok(report) => {
                metrics::counter!("store_check_problems_total", "store" => source.as_str())
                    .increment(report.problems_count);
                for problem in &report.problems {
                    tracing::error!(service = %source, problem, "the store is not as it should be");
                }
            }
            Err(error) => tracing::warn!(service = %source, %error, "the store could not be checked"),
        }
    }
}

/// When the whole store is to be checked.
#[derive(Debug)]
struct StoreChecks {
    last: Instant,
    /// Whether it was said that there are too many rows. It is said again when there were fewer in between.
    said_too_many: bool,
}

/// What is to be done about the store now.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    Check,
    SayTooMany,
}

impl StoreChecks {
    /// Of a store that was opened now, for which every row was read and checked.
    const fn new(now: Instant) -> Self {
        Self {
            last: now,
            said_too_many: false,
        }
    }

    fn next(&mut self, now: Instant, rows: u64) -> Next {
        if now.duration_since(self.last) < STORE_CHECK_INTERVAL {
            return Next::Nothing;
        }
        self.last = now;
        if rows <= STORE_ROWS_CHECKED_MAX {
            self.said_too_many = false;
            return Next::Check;
        }
        if std::mem::replace(&mut self.said_too_many, true) {
            Next::Nothing
        } else {
            Next::SayTooMany
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_checked_every_hour_unless_it_is_too_big_which_is_said_once() {
        let opened = Instant::now();
        let mut store = StoreChecks::new(opened);
        let early = opened + STORE_CHECK_INTERVAL - Duration::from_secs(1);
        assert_eq!(store.next(early, 10), Next::Nothing, "it was just read");
        let mut after = (1..).map(|hours| opened + STORE_CHECK_INTERVAL * hours);
        let mut next = |rows| store.next(after.next().expect("they have no end"), rows);
        assert_eq!(next(STORE_ROWS_CHECKED_MAX), Next::Check);
        assert_eq!(next(STORE_ROWS_CHECKED_MAX + 1), Next::SayTooMany);
        assert_eq!(next(STORE_ROWS_CHECKED_MAX + 2), Next::Nothing);
        assert_eq!(next(10), Next::Check, "it has become smaller");
        assert_eq!(next(STORE_ROWS_CHECKED_MAX + 1), Next::SayTooMany);
    }
}
