//! The consumer: from a source's stream to a service's handler. One group a service, one reader a group.
//!
//! What counts is the cursor in the store, which moves with the effect. Redis' own book-keeping (delivered,
//! pending, acknowledged) only saves work: whatever it forgets or repeats, an event that is not next is a
//! repeat, and dropped, or comes too early, and is dropped as well and asked for again. So nothing is skipped
//! and nothing is applied twice, whatever is killed, flushed, claimed or sent again.
//!
//! It is not a queue worker: there is no parallel reader of a stream, because events are in order.

mod missing;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use events::{Position, Source};
use failpoint::Point;
use store::{Context, Indexes, Store};
use tokio::time::{Instant, sleep, timeout};

use crate::apply::{Batch, Outcome, Sighting, Stop};
use crate::backoff::Health;
use crate::bus::Bus;
use crate::decode::Item;
use crate::entry::{Entry, StreamId};
use crate::errors::BusError;
use crate::group::{Group, READ_ENTRIES_MAX};
use crate::instruments;
use crate::recovery::Recovery;
use crate::restating::Restating;
use crate::status::{SourceState, SourceStatus};
use crate::topology::gathers;

/// How often an event that its handler calls impossible is tried before it is a dead letter.
pub const HANDLER_TRIES_MAX: u32 = 5;
/// The pause before the second try; it doubles with each. Together less than half a second.
const HANDLER_PAUSE_MILLIS: u64 = 25;
/// How long a resend may take before it is asked for again.
const RESEND_MILLIS_MAX: u64 = 2_000;
/// How long a consumer that has met a newer schema stands still before it looks again.
const STOPPED_SECONDS: u64 = 5;
/// How many undecodable entries are kept in mind until they are confirmed; more are met again later.
const SIGHTED_MAX: usize = 1_024;
/// How long a stopping consumer may take to acknowledge what it has applied.
const STOP_MILLIS_MAX: u64 = 500;

/// Applies the events of one source to one store.
pub struct Consumer<I: Indexes, H> {
    bus: Bus,
    store: Store<I>,
    source: Source,
    service: Source,
    handler: Arc<H>,
    group: Group,
    /// Read and not done with; its entries are pending in Redis as well.
    held: Option<Batch>,
    /// The snapshot that is being applied.
    restating: Option<Restating>,
    asked: Option<Asked>,
    sighted: BTreeMap<Position, Sighting>,
    /// The source's last event, as far as it was seen.
    head: Option<Position>,
    state: SourceState,
}

/// What one step of a consumer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Consumed {
    /// How many entries were read.
    pub read: usize,
    /// How many events were applied.
    pub applied: u64,
    /// How many did not concern the service.
    pub passed: u64,
    /// How many came too late to change anything.
    pub stale: u64,
    /// How many were dropped as repeats.
    pub duplicates: u64,
    /// How many were dropped because something before them is missing.
    pub gaps: u64,
    /// How many dead letters were written.
    pub buried: u64,
    /// How many entities of a snapshot were applied.
    pub restated: u64,
    /// How long to wait before the next step, if that is not to be at once.
    pub pause: Option<Duration>,
}

/// Why a step of a consumer failed. It is tried again; nothing was lost.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// Redis.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The store can't be written. What was read is kept.
    #[error("the store can't be written: {0}")]
    Store(String),
}

/// A resend that was asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// Of the request; entries with a later id were appended after it was made.
    id: StreamId,
    cursor: Position,
    at: Instant,
}

impl<I: Indexes, H: Recovery<I>> Consumer<I, H> {
    /// The consumer of `source`'s events for `service`, whose store this is. There must be only one.
    pub fn new(bus: Bus, store: Store<I>, source: Source, service: Source, handler: Arc<H>) -> Self {
        instruments::consumer(source, service);
        let own = store.clone();
        let group = Group::new(&bus, source, service, move || own.recollects());
        let consumer = Self {
            bus,
            store,
            source,
            service,
            handler,
            group,
            held: None,
            restating: None,
            asked: None,
            sighted: BTreeMap::new(),
            head: None,
            state: SourceState::Connecting,
        };
        consumer.note(false);
        consumer
    }

    /// How long one step waits for new entries, if not two seconds: for tests that take single steps.
    #[must_use]
    pub fn waiting_at_most(mut self, block: Duration) -> Self {
        self.group.wait_at_most(block);
        self
    }

    /// How often it looks, at rest, for entries that are pending without its knowledge, if not once a minute:
    /// for tests.
    #[must_use]
    pub fn looking_for_pending_every(mut self, interval: Duration) -> Self {
        self.group.look_for_pending_every(interval);
        self
    }

    /// One step: reads a batch unless one is held, and applies it in one transaction.
    ///
    /// Dropping it half-way does no harm: what was read is pending in Redis, and what was applied is known by
    /// the cursor.
    ///
    /// # Errors
    /// When Redis or the store do not do their part; the next step goes on where this one failed.
    pub async fn consume_once(&mut self) -> Result<Consumed, ConsumeError> {
        let result = self.step().await;
        match &result {
            Ok(_) => self.note(true),
            Err(ConsumeError::Bus(_)) => {
                self.state = SourceState::Connecting;
                self.note(false);
            }
            Err(ConsumeError::Store(why)) => {
                self.state = SourceState::StoreUnavailable(why.clone());
                self.answer_all_the_same().await;
                self.note(true);
            }
        }
        result
    }

    /// Reads and applies until `shutdown` resolves, and then acknowledges what it has applied.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = pin!(shutdown);
        let mut health = Health::new(format!("consumer of {} for {}", self.source, self.service));
        loop {
            let step = tokio::select! {
                biased;
                () = &mut shutdown => break,
                step = self.consume_once() => step,
            };
            let pause = match step {
                Ok(consumed) => {
                    health.worked();
                    if let (None, Some(time)) = (consumed.pause, self.gathers_after(&consumed)) {
                        tokio::select! {
                            biased;
                            () = &mut shutdown => break,
                            () = self.store.cursor_wanted(self.source) => {}
                            () = sleep(time) => {}
                        }
                    }
                    consumed.pause
                }
                Err(error) => {
                    self.count("bus_consumer_errors_total", 1);
                    Some(health.failed(&error))
                }
            };
            if let Some(pause) = pause {
                tokio::select! {
                    biased;
                    () = &mut shutdown => break,
                    () = sleep(pause) => {}
                }
            }
        }
        let acknowledged = timeout(Duration::from_millis(STOP_MILLIS_MAX), self.group.acknowledge()).await;
        if !matches!(acknowledged, Ok(Ok(()))) {
            tracing::debug!(
                source = %self.source, group = %self.service,
                "stopped with entries unacknowledged; they come again at the next start, and are dropped"
            );
        }
    }

    /// How long to let events gather after a step: a full batch says that there are enough.
    fn gathers_after(&self, consumed: &Consumed) -> Option<Duration> {
        let some = (1..READ_ENTRIES_MAX).contains(&consumed.read) && self.held.is_none();
        gathers(self.source, self.service).filter(|_| some)
    }

    async fn step(&mut self) -> Result<Consumed, ConsumeError> {
        let mut entries_read = 0;
        if self.held.is_none() {
            if self.restating.is_some() {
                return self.restate().await;
            }
            let cursor = self.store.cursor(self.source);
            let awaited = self.state == SourceState::AwaitingResend;
            let read = self.group.read(cursor, awaited).await?;
            if read.joined {
                // Whoever asked a Redis that has lost everything since has to ask again.
                self.asked = None;
                self.state = SourceState::Reading;
            }
            if let Some(look) = read.looked {
                self.head = self.head.max(look.tail);
                if read.at_rest {
                    self.mind_rest(look.tail).await?;
                }
                let older_epoch = look.epoch.is_some_and(|epoch| epoch > cursor.epoch);
                if older_epoch || self.state == SourceState::AwaitingResend {
                    self.mind_snapshot(cursor).await?;
                }
            }
            if read.entries.is_empty() {
                return Ok(Consumed::default());
            }
            entries_read = read.entries.len();
            self.hold(read.entries);
            // A slow disk may take long over these: until then this consumer knows that it is behind.
            self.note(true);
        }
        let mut consumed = self.settle().await?;
        consumed.read = entries_read;
        Ok(consumed)
    }

    /// The store can't be written, and nothing is read meanwhile. The source's relay must hear from this reader all the
    /// same: it may not serve before it has, and this store may be waiting for that one in turn.
    async fn answer_all_the_same(&mut self) {
        let cursor = self.store.cursor(self.source);
        match self.group.look(cursor).await {
            Ok(Some(look)) => self.head = self.head.max(look.tail),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(source = %self.source, group = %self.service, %error, "the stream's end can't be looked at");
            }
        }
    }

    fn hold(&mut self, entries: Vec<Entry>) {
        // It only moves on, so that what is a repeat now is one when it is applied.
        let cursor = self.store.cursor(self.source);
        let concerns = |event_type| self.handler.concerns(event_type);
        let items: Vec<Item> = entries
            .into_iter()
            .map(|entry| Item::read(entry, self.source, cursor, concerns))
            .collect();
        self.head = self.head.max(items.iter().filter_map(Item::position).max());
        self.held = Some(Batch {
            source: self.source,
            items: Arc::new(items),
            start: 0,
            tries: 0,
            given_up: None,
            asked: self.asked.map(|asked| asked.id),
            sighted: Arc::new(self.sighted.clone()),
        });
    }

    /// Applies what is held, as far as it goes.
    async fn settle(&mut self) -> Result<Consumed, ConsumeError> {
        let Some(batch) = self.held.clone() else {
            return Ok(Consumed::default());
        };
        let handler = Arc::clone(&self.handler);
        let context = Context::new(self.bus.now());
        failpoint::reach(Point::BeforeCommit);
        let outcome = self
            .store
            .transact(context, move |tx| batch.apply(tx, &*handler))
            .await
            .map_err(|error| ConsumeError::Store(error.to_string()))?;
        failpoint::reach(Point::AfterCommit);
        let mut consumed = self.tally(&outcome);
        consumed.pause = self.go_on(&outcome);
        if let Some(gap) = outcome.gap {
            self.mind_gap(gap).await?;
        }
        Ok(consumed)
    }

    /// Decides what comes after an outcome, and whether to wait before it.
    fn go_on(&mut self, outcome: &Outcome) -> Option<Duration> {
        let mut batch = self.held.take()?;
        let done = batch.items.get(batch.start..outcome.done).unwrap_or_default();
        self.group.done(done.iter().map(|item| item.id));
        let cursor = self.store.cursor(self.source);
        self.head = self.head.max(outcome.head);
        self.sighted.extend(outcome.sighted.iter().copied());
        self.sighted.retain(|position, _| *position > cursor);
        while self.sighted.len() > SIGHTED_MAX {
            self.sighted.pop_last();
        }
        if self.asked.is_some_and(|asked| asked.cursor != cursor) {
            self.asked = None;
            // What was missing may have been taken by a read of ours that was given up: it is pending then, and
            // no new entry. Now that it was sent again, nobody else would ever acknowledge it.
            self.group.begin_with_pending();
        }
        let before = std::mem::take(&mut self.state);
        self.state = match (&outcome.stop, outcome.gap) {
            (Some(Stop::Newer(why)), _) => SourceState::Stopped(why.clone()),
            (_, Some(_)) => SourceState::AwaitingResend,
            (_, None) => SourceState::Reading,
        };
        match &outcome.stop {
            None => None,
            Some(Stop::Newer(why)) => {
                if self.state != before {
                    tracing::error!(source = %self.source, group = %self.service, %why, "this consumer stands still");
                }
                // What is left of the batch stays pending and is read again.
                self.group.begin_with_pending();
                Some(Duration::from_secs(STOPPED_SECONDS))
            }
            Some(Stop::Impossible(reason)) => {
                let tries = if outcome.done == batch.start {
                    batch.tries + 1
                } else {
                    1
                };
                batch.start = outcome.done;
                batch.tries = tries;
                batch.given_up = (tries >= HANDLER_TRIES_MAX).then(|| reason.clone());
                let pause = match batch.given_up {
                    Some(_) => {
                        tracing::error!(source = %self.source, group = %self.service, tries, reason, "an event can't be applied; it becomes a dead letter");
                        None
                    }
                    None => {
                        self.count("bus_handler_retries_total", 1);
                        Some(Duration::from_millis(HANDLER_PAUSE_MILLIS << (tries - 1)))
                    }
                };
                self.held = Some(batch);
                pause
            }
        }
    }

    fn tally(&self, outcome: &Outcome) -> Consumed {
        self.count("bus_applied_total", outcome.applied);
        self.count("bus_passed_total", outcome.passed);
        self.count("bus_stale_total", outcome.stale);
        self.count("bus_duplicates_total", outcome.duplicates);
        self.count("bus_gaps_total", outcome.gaps);
        self.count("bus_dead_letters_total", outcome.buried);
        Consumed {
            read: 0,
            applied: outcome.applied,
            passed: outcome.passed,
            stale: outcome.stale,
            duplicates: outcome.duplicates,
            gaps: outcome.gaps,
            buried: outcome.buried,
            restated: 0,
            pause: None,
        }
    }

    fn count(&self, name: &'static str, number: u64) {
        if number > 0 {
            metrics::counter!(name, "source" => self.source.as_str(), "group" => self.service.as_str())
                .increment(number);
        }
    }

    fn note(&self, connected: bool) {
        let status = SourceStatus {
            source: self.source,
            cursor: self.store.cursor(self.source),
            head: self.head,
            state: self.state.clone(),
        };
        #[allow(clippy::cast_precision_loss, reason = "a gauge; exact up to 2^53 events")]
        metrics::gauge!("bus_lag_events", "source" => self.source.as_str(), "group" => self.service.as_str())
            .set(status.lag() as f64);
        self.bus.board().source(status, connected);
    }
}
