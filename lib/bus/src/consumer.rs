//! The consumer: from a source's stream to a service's handler. One group a service, one reader a group.
//!
//! What counts is the cursor in the store, which moves with the effect. Redis' own book-keeping (delivered,
//! pending, acknowledged) only saves work: whatever it forgets or repeats, an event that is not next is a
//! repeat, and dropped, or comes too early, and is dropped as well and asked for again. So nothing is skipped
//! and nothing is applied twice, whatever is killed, flushed, claimed or sent again.
//!
//! It is not a queue worker: there is no parallel reader of a stream, because events are in order.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use events::{Position, Source};
use redis::{Value, cmd};
use store::{Context, Indexes, Store};
use tokio::time::{Instant, sleep, timeout};

use crate::apply::{Batch, Outcome, Sighting, Stop};
use crate::backoff::Health;
use crate::bus::Bus;
use crate::decode::Item;
use crate::entry::{Entry, StreamId, entries_read};
use crate::errors::BusError;
use crate::handler::Handler;
use crate::link::Link;
use crate::requests::{self, RequestKind};
use crate::status::{SourceState, SourceStatus};
use crate::stream::{self, ANSWER_SECONDS_MAX};

/// How many entries are read, and applied in one transaction, at a time.
pub const READ_ENTRIES_MAX: usize = 512;
/// How often an event that its handler calls impossible is tried before it is a dead letter.
pub const HANDLER_TRIES_MAX: u32 = 5;
/// The pause before the second try; it doubles with each. Together less than half a second.
const HANDLER_PAUSE_MILLIS: u64 = 25;
/// How long one read waits for new entries.
const READ_BLOCK_MILLIS: u64 = 2_000;
/// How long a resend may take before it is asked for again.
const RESEND_MILLIS_MAX: u64 = 2_000;
/// How often the end of the stream is looked at, for the lag and to see what does not come by itself.
const LOOK_SECONDS: u64 = 1;
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
    group: Source,
    handler: Arc<H>,
    link: Link,
    key: String,
    requests_key: String,
    block_millis: u64,
    phase: Phase,
    /// Which opening of the link the group was joined over.
    joined: u64,
    /// Read and not done with; its entries are pending in Redis as well.
    held: Option<Batch>,
    /// Done with, to be acknowledged with the next read.
    acks: Vec<StreamId>,
    asked: Option<Asked>,
    sighted: BTreeMap<Position, Sighting>,
    head: Option<Position>,
    looked_at: Option<Instant>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The group must be made sure of, and the cursor stated.
    Join,
    /// Entries that were delivered to this reader before and not acknowledged, after this one.
    Pending(StreamId),
    /// New entries.
    Live,
}

/// A resend that was asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// Of the request; entries with a later id were appended after it was made.
    id: StreamId,
    cursor: Position,
    at: Instant,
}

impl<I: Indexes, H: Handler<I>> Consumer<I, H> {
    /// The consumer of `source`'s events for the service `group`, whose store this is. There must be only one.
    pub fn new(bus: Bus, store: Store<I>, source: Source, group: Source, handler: Arc<H>) -> Self {
        let (key, requests_key) = (bus.keys().events(source), bus.keys().requests(source));
        let answer_max = Duration::from_millis(READ_BLOCK_MILLIS + ANSWER_SECONDS_MAX * 1_000);
        let link = Link::new(bus.clone(), answer_max);
        let consumer = Self {
            bus,
            store,
            source,
            group,
            handler,
            link,
            key,
            requests_key,
            block_millis: READ_BLOCK_MILLIS,
            phase: Phase::Join,
            joined: 0,
            held: None,
            acks: Vec::new(),
            asked: None,
            sighted: BTreeMap::new(),
            head: None,
            looked_at: None,
            state: SourceState::Connecting,
        };
        consumer.note(false);
        consumer
    }

    /// How long one step waits for new entries, if not two seconds: for tests that take single steps.
    #[must_use]
    pub fn waiting_at_most(mut self, block: Duration) -> Self {
        // Redis takes 0 for "for ever".
        self.block_millis = u64::try_from(block.as_millis())
            .unwrap_or(u64::MAX)
            .clamp(1, READ_BLOCK_MILLIS);
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
                self.note(true);
            }
        }
        result
    }

    /// Reads and applies until `shutdown` resolves, and then acknowledges what it has applied.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = pin!(shutdown);
        let mut health = Health::new(format!("consumer of {} for {}", self.source, self.group));
        loop {
            let step = tokio::select! {
                biased;
                () = &mut shutdown => break,
                step = self.consume_once() => step,
            };
            let pause = match step {
                Ok(consumed) => {
                    health.worked();
                    consumed.pause
                }
                Err(error) => {
                    metrics::counter!("bus_consumer_errors_total", "source" => self.source.as_str(), "group" => self.group.as_str())
                        .increment(1);
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
        // A step that was cut off may have left its read on the connection: acknowledge over another one.
        self.link.close();
        if timeout(Duration::from_millis(STOP_MILLIS_MAX), self.acknowledge())
            .await
            .is_err()
        {
            tracing::debug!(source = %self.source, group = %self.group, "stopped with entries unacknowledged; they are repeated and dropped");
        }
    }

    async fn step(&mut self) -> Result<Consumed, ConsumeError> {
        let mut read = 0;
        if self.held.is_none() {
            let entries = self.fetch().await?;
            read = entries.len();
            if entries.is_empty() {
                return Ok(Consumed::default());
            }
            self.hold(entries);
        }
        let mut consumed = self.settle().await?;
        consumed.read = read;
        Ok(consumed)
    }

    /// Reads the next entries, and acknowledges what is done. No entries: there are none, or the group had to
    /// be made anew and the next step reads from its beginning.
    async fn fetch(&mut self) -> Result<Vec<Entry>, BusError> {
        self.link.connection().await?;
        if self.link.opened() != self.joined {
            self.phase = Phase::Join;
        }
        if self.phase == Phase::Join {
            self.join().await?;
        }
        let looked = self
            .looked_at
            .is_none_or(|at| at.elapsed() >= Duration::from_secs(LOOK_SECONDS));
        if looked {
            let tail = stream::look(&mut self.link, &self.key).await?;
            self.head = tail.position.or(self.head);
            self.looked_at = Some(Instant::now());
        }
        let entries = match self.read().await {
            Ok(entries) => entries,
            Err(error) if matches!(error.code(), Some("NOGROUP" | "UNBLOCKED")) => {
                tracing::info!(source = %self.source, group = %self.group, %error, "the stream or the group is gone; joining again");
                self.phase = Phase::Join;
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        if let Some(last) = entries.last() {
            if self.phase != Phase::Live {
                self.phase = Phase::Pending(last.id);
            }
        } else if self.phase != Phase::Live {
            self.phase = Phase::Live;
        } else if looked {
            self.at_rest().await?;
        }
        Ok(entries)
    }

    /// Makes sure of the group and states the cursor.
    async fn join(&mut self) -> Result<(), BusError> {
        // From the very first entry on: at `$` it would miss what waits already.
        let mut create = cmd("XGROUP");
        create
            .arg("CREATE")
            .arg(&self.key)
            .arg(self.group.as_str())
            .arg(0)
            .arg("MKSTREAM");
        match self.link.run::<Value>(&create).await {
            Ok(_) => {}
            Err(error) if error.code() == Some("BUSYGROUP") => {}
            Err(error) => return Err(error),
        }
        let cursor = self.store.cursor(self.source);
        requests::ask(
            &mut self.link,
            &self.requests_key,
            RequestKind::Statement,
            self.group,
            cursor,
        )
        .await?;
        // Whoever asked Redis before it lost everything has to ask again.
        self.asked = None;
        self.joined = self.link.opened();
        self.phase = Phase::Pending(StreamId::default());
        self.state = SourceState::Reading;
        Ok(())
    }

    async fn read(&mut self) -> Result<Vec<Entry>, BusError> {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP")
            .arg(self.group.as_str())
            .arg(self.group.as_str())
            .arg("COUNT")
            .arg(READ_ENTRIES_MAX);
        match self.phase {
            Phase::Live => {
                read.arg("BLOCK")
                    .arg(self.block_millis)
                    .arg("STREAMS")
                    .arg(&self.key)
                    .arg(">");
            }
            Phase::Join | Phase::Pending(_) => {
                let after = match self.phase {
                    Phase::Pending(after) => after,
                    Phase::Join | Phase::Live => StreamId::default(),
                };
                read.arg("STREAMS").arg(&self.key).arg(after.to_string());
            }
        }
        let mut connection = self.link.connection().await?;
        let reply: Result<Value, BusError> = if self.acks.is_empty() {
            read.query_async(&mut connection).await.map_err(BusError::from)
        } else {
            // Both are on their way before either is answered: one round trip.
            let xack = xack(&self.key, self.group, &self.acks);
            let mut same = connection.clone();
            let (acked, reply) = tokio::join!(
                xack.query_async::<Value>(&mut same),
                read.query_async::<Value>(&mut connection)
            );
            // After a FLUSHALL this answers 0 without an error, and what is acknowledged in vain comes again.
            if acked.is_ok() {
                self.acks.clear();
            }
            reply.map_err(BusError::from)
        };
        entries_read(self.link.seen(reply)?)
    }

    /// All that the stream holds has been read. If it ends beyond the cursor, what is missing will not come by
    /// itself.
    async fn at_rest(&mut self) -> Result<(), BusError> {
        let cursor = self.store.cursor(self.source);
        if self.head.is_none_or(|head| head <= cursor) {
            return Ok(());
        }
        let asked_lately = self.asked.is_some_and(|asked| {
            asked.cursor == cursor && asked.at.elapsed() < Duration::from_millis(RESEND_MILLIS_MAX)
        });
        if asked_lately {
            Ok(())
        } else {
            self.ask_resend(cursor).await
        }
    }

    async fn ask_resend(&mut self, cursor: Position) -> Result<(), BusError> {
        let asked = requests::ask(
            &mut self.link,
            &self.requests_key,
            RequestKind::Resend,
            self.group,
            cursor,
        )
        .await;
        let id = asked?;
        tracing::info!(source = %self.source, group = %self.group, %cursor, "events are missing; asked for them");
        metrics::counter!("bus_resend_requests_total", "source" => self.source.as_str(), "group" => self.group.as_str())
            .increment(1);
        self.asked = Some(Asked {
            id,
            cursor,
            at: Instant::now(),
        });
        self.state = SourceState::AwaitingResend;
        Ok(())
    }

    fn hold(&mut self, entries: Vec<Entry>) {
        let items = entries
            .into_iter()
            .map(|entry| Item::read(entry, self.source, |event_type| self.handler.concerns(event_type)))
            .collect();
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
        let outcome = self
            .store
            .transact(context, move |tx| batch.apply(tx, &*handler))
            .await
            .map_err(|error| ConsumeError::Store(error.to_string()))?;
        let mut consumed = self.count(&outcome);
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
        self.acks.extend(done.iter().map(|item| item.id));
        let cursor = self.store.cursor(self.source);
        self.head = self.head.max(outcome.head);
        self.sighted.extend(outcome.sighted.iter().copied());
        self.sighted.retain(|position, _| *position > cursor);
        while self.sighted.len() > SIGHTED_MAX {
            self.sighted.pop_last();
        }
        if self.asked.is_some_and(|asked| asked.cursor != cursor) {
            self.asked = None;
        }
        if outcome.gap.is_none() {
            self.state = SourceState::Reading;
        }
        match &outcome.stop {
            None => None,
            Some(Stop::Newer(why)) => {
                if self.state != SourceState::Stopped(why.clone()) {
                    tracing::error!(source = %self.source, group = %self.group, %why, "this consumer stands still");
                }
                self.state = SourceState::Stopped(why.clone());
                // What is left of the batch stays pending and is read again.
                self.phase = Phase::Pending(StreamId::default());
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
                        tracing::error!(source = %self.source, group = %self.group, tries, reason, "an event can't be applied; it becomes a dead letter");
                        None
                    }
                    None => Some(Duration::from_millis(HANDLER_PAUSE_MILLIS << (tries - 1))),
                };
                self.held = Some(batch);
                pause
            }
        }
    }

    /// An entry was dropped because something before it is missing: asks for that, but not again for what is
    /// already on its way. `gap` is the last such entry of the batch.
    async fn mind_gap(&mut self, gap: StreamId) -> Result<(), BusError> {
        let cursor = self.store.cursor(self.source);
        match self.asked {
            // What was appended so long after the request, and still is not what was asked for, says that the
            // request was lost. Entries of before the request say nothing, however long they take to read.
            Some(asked) if asked.cursor == cursor && gap.millis < asked.id.millis + RESEND_MILLIS_MAX => {
                Ok(())
            }
            Some(_) | None => self.ask_resend(cursor).await,
        }
    }

    fn count(&self, outcome: &Outcome) -> Consumed {
        let count = |name: &'static str, number: u64| {
            if number > 0 {
                metrics::counter!(name, "source" => self.source.as_str(), "group" => self.group.as_str())
                    .increment(number);
            }
        };
        count("bus_applied_total", outcome.applied);
        count("bus_passed_total", outcome.passed);
        count("bus_stale_total", outcome.stale);
        count("bus_duplicates_total", outcome.duplicates);
        count("bus_gaps_total", outcome.gaps);
        count("bus_dead_letters_total", outcome.buried);
        Consumed {
            read: 0,
            applied: outcome.applied,
            passed: outcome.passed,
            stale: outcome.stale,
            duplicates: outcome.duplicates,
            gaps: outcome.gaps,
            buried: outcome.buried,
            pause: None,
        }
    }

    async fn acknowledge(&mut self) {
        if self.acks.is_empty() {
            return;
        }
        let xack = xack(&self.key, self.group, &self.acks);
        match self.link.run::<Value>(&xack).await {
            Ok(_) => self.acks.clear(),
            // They are repeated at the next start, and dropped.
            Err(error) => tracing::debug!(source = %self.source, %error, "not acknowledged"),
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
        metrics::gauge!("bus_lag_events", "source" => self.source.as_str(), "group" => self.group.as_str())
            .set(status.lag() as f64);
        self.bus.board().source(status, connected);
    }
}

fn xack(key: &str, group: Source, ids: &[StreamId]) -> redis::Cmd {
    let mut xack = cmd("XACK");
    xack.arg(key).arg(group.as_str());
    for id in ids {
        xack.arg(id.to_string());
    }
    xack
}
