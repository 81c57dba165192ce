//! The relay: from the outbox of a store to the stream of its source. It is the stream's only publisher.
//!
//! It keeps no mark of its own. The stream's last entry says how far it has come, and every append is refused
//! unless that entry is still the last one. Refused, it looks again: the stream may be further on (a reply
//! was lost), shorter (Redis lost what it had not synced), or gone (`FLUSHALL`), and in each case going on
//! after what is there is right, because the outbox keeps published events and consumers drop repeats.
//!
//! It never publishes what is not durable, never rewrites history, and publishes nothing while the stream or a reader
//! is ahead of the store: then the store was set back, and has to take back its own events first (`standing.rs`).
//! Readers that events can't help any more get snapshots (`snapshots.rs`).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use events::{Seq, Source};
use store::{Indexes, State, Store};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::answerer::Answerer;
use crate::backoff::Health;
use crate::bus::Bus;
use crate::instruments;
use crate::link::Link;
use crate::publisher::{LOOK_SECONDS, Publisher, RelayError, Relayed};
use crate::recovery::Recovery;
use crate::requests;
use crate::roll::Readers;
use crate::status::RelayNote;
use crate::stream::ANSWER_SECONDS_MAX;
use crate::topology::readers;
use crate::trim::{self, Keep};

/// How often the stream and the outbox are trimmed.
const TRIM_SECONDS: u64 = 60;
/// After how many events they are trimmed sooner: some twenty megabytes of Redis' memory, where a minute of ten thousand
/// events a second would be half a gigabyte more than is to be kept. One trimming takes out five times as many.
const TRIM_EVENTS: u64 = 20_000;
/// How long after its start a relay trims for the first time: soon, or one that never lives for a minute never would.
const FIRST_TRIM_SECONDS: u64 = 5;
/// How long one blocking wait for requests takes; it only saves the relay from looking more often.
const REQUESTS_BLOCK_MILLIS: u64 = 10_000;
/// How long a stopping relay may take to publish what is already durable. A service cuts off what does not
/// stop within one and a half seconds, and then it would not be said that events are left.
const STOP_MILLIS_MAX: u64 = 1_000;

/// What the status says while the relay's readers can't be asked how far they are.
const FULL: &str = "redis is full: the relay compares and reads, but can't call the roll of its readers";

/// What one trimming removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trimmed {
    /// How many entries of the stream.
    pub entries: u64,
    /// How many rows of the outbox.
    pub outbox_rows: usize,
}

/// Publishes the events of one store.
pub struct Relay<I: Indexes> {
    bus: Bus,
    store: Store<I>,
    source: Source,
    publisher: Publisher<I>,
    trim_at: Instant,
    /// How far the relay was when it trimmed last; at first, when it had looked for the first time.
    trimmed_at: Option<Seq>,
}

impl<I: Indexes> Relay<I> {
    /// The relay of `store`, which is `source`'s and recovers in this way. There must be only one.
    pub fn new(bus: Bus, store: Store<I>, source: Source, recovery: Arc<impl Recovery<I>>) -> Self {
        instruments::relay(source, readers(source));
        let publisher = Publisher::new(&bus, store.clone(), source, recovery);
        let relay = Self {
            bus,
            store,
            source,
            publisher,
            trim_at: Instant::now() + Duration::from_secs(FIRST_TRIM_SECONDS),
            trimmed_at: None,
        };
        relay.note(false, None);
        relay
    }

    /// Whose groups the stream must have before it is trimmed, and who must have spoken before a restored store serves,
    /// if not those of [`crate::readers`].
    #[must_use]
    pub fn with_readers(mut self, readers: Vec<Source>) -> Self {
        self.publisher.readers = Readers::new(self.source, readers);
        self
    }

    /// Resolves when the store was compared with its stream and its readers for the first time. It adopts then, if it
    /// lacks something, or refuses; before that, it may be older than it knows. Take it before [`Self::run`].
    pub fn compared(&self) -> impl Future<Output = ()> + Send + use<I> {
        let mut compared = self.publisher.standing.compared();
        async move {
            // An error means that the relay is gone, and then there is nothing to wait for.
            compared.wait_for(|compared| *compared).await.ok();
        }
    }

    /// One step: looks where it must, takes requests when it is time, appends one batch.
    ///
    /// Dropping it half-way does no harm: what it had not noted down it finds out again.
    ///
    /// # Errors
    /// When Redis or the store do not do their part, or when the store is old. All is well again when the
    /// next step succeeds.
    pub async fn relay_once(&mut self) -> Result<Relayed, RelayError> {
        let step = self.publisher.publish_once().await;
        match &step {
            Ok(_) if self.publisher.full => {
                self.make_room().await;
                self.note(true, Some(FULL.to_owned()));
            }
            Ok(_) => self.note(true, None),
            Err(error) => {
                metrics::counter!("bus_relay_errors_total", "source" => self.source.as_str()).increment(1);
                if matches!(error, RelayError::Bus(error) if error.is_full()) {
                    self.make_room().await;
                }
                self.note(!matches!(error, RelayError::Bus(_)), Some(error.to_string()));
            }
        }
        step
    }

    /// Trims once: the stream behind what every reader has acknowledged, keeping a day or 256 MiB beyond that
    /// and never the last entry; and the outbox by age and number, but only when all of it is published: while
    /// Redis is away, the outbox is where the events are.
    ///
    /// # Errors
    /// When Redis or the store do not do it.
    pub async fn trim_once(&mut self) -> Result<Trimmed, RelayError> {
        let entries = self.trim_stream(Keep::ForAWhile).await?;
        let mut trimmed = Trimmed {
            entries,
            outbox_rows: 0,
        };
        if self.publisher.is_done() {
            let rows = self.store.trim_outbox(self.bus.now()).await;
            trimmed.outbox_rows = rows.map_err(|error| RelayError::Trim(error.to_string()))?;
        }
        Ok(trimmed)
    }

    /// Publishes until `shutdown` resolves, and then what is durable by then; meanwhile it answers who asks how far the
    /// store is.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let settled = self.publisher.standing.settled();
        let answerer = Answerer::new(&self.bus, &self.store, self.source, settled);
        tokio::select! {
            () = self.publish(shutdown) => {}
            () = answerer.run() => {}
        }
    }

    async fn publish(mut self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = pin!(shutdown);
        let asked = Notify::new();
        let mut waiting = pin!(wait_for_requests(
            self.bus.clone(),
            self.publisher.requests_key.clone(),
            &asked
        ));
        let mut durable = self.store.durable();
        let mut health = Health::new(format!("relay of {}", self.source));
        loop {
            // Marked as seen before the outbox is read, so that a batch in between is not slept over.
            durable.borrow_and_update();
            let step = tokio::select! {
                biased;
                () = &mut shutdown => break,
                step = self.relay_once() => step,
            };
            let failed = match step {
                Ok(relayed) => {
                    health.worked();
                    // In a backlog most of all: that is when a stream grows.
                    tokio::select! {
                        biased;
                        () = &mut shutdown => break,
                        () = self.trim_when_due() => {}
                    }
                    if relayed.more {
                        continue;
                    }
                    None
                }
                Err(error) => Some(health.failed(&error)),
            };
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                () = sleep(failed.unwrap_or(Duration::from_secs(LOOK_SECONDS))) => {}
                () = asked.notified(), if failed.is_none() => self.publisher.look_next(),
                // An error means that the store is gone, and then nothing will ever be published again.
                changed = durable.changed(), if failed.is_none() => if changed.is_err() { break },
                () = &mut waiting => {}
            }
        }
        let drained = timeout(Duration::from_millis(STOP_MILLIS_MAX), async {
            while self.relay_once().await?.more {}
            Ok::<(), RelayError>(())
        });
        if !matches!(drained.await, Ok(Ok(()))) {
            tracing::info!(source = %self.source, "stopped with events left to publish at the next start");
        }
    }

    /// Redis is full: what every reader has acknowledged goes at once, because it stands in the outbox as well, while
    /// what is not in the stream yet can't be published without room. Unless it does not stand in the outbox: before the
    /// store was compared, the stream may have the only copy of what it has lost.
    async fn make_room(&mut self) {
        if !self.publisher.standing.is_settled() {
            return;
        }
        match self.trim_stream(Keep::Unread).await {
            Ok(0) => {}
            Ok(entries) => {
                tracing::warn!(source = %self.source, entries, "redis is full; what is read by all was taken out of the stream");
            }
            Err(error) => tracing::debug!(source = %self.source, %error, "no room could be made in redis"),
        }
    }

    async fn trim_stream(&mut self, keep: Keep) -> Result<u64, RelayError> {
        let state = self.store.status().state;
        if matches!(state, State::Adopting { .. } | State::Old { .. }) {
            // What is in the stream may be all that is left of it.
            return Ok(0);
        }
        let Publisher {
            link, key, readers, ..
        } = &mut self.publisher;
        Ok(trim::trim(link, key, self.source, readers.expected(), keep).await?)
    }

    async fn trim_when_due(&mut self) {
        let relayed = self.publisher.relayed().seq;
        let trimmed_at = *self.trimmed_at.get_or_insert(relayed);
        let many = relayed.0.saturating_sub(trimmed_at.0) >= TRIM_EVENTS;
        if Instant::now() < self.trim_at && !many {
            return;
        }
        self.trim_at = Instant::now() + Duration::from_secs(TRIM_SECONDS);
        self.trimmed_at = Some(relayed);
        match self.trim_once().await {
            Ok(trimmed) if trimmed == Trimmed::default() => {}
            Ok(trimmed) => tracing::debug!(source = %self.source, ?trimmed, "trimmed"),
            Err(error) => {
                tracing::warn!(source = %self.source, %error, "not trimmed; the next minute tries again")
            }
        }
    }

    fn note(&self, connected: bool, trouble: Option<String>) {
        let (head, relayed) = (self.publisher.head(), self.publisher.relayed());
        #[allow(clippy::cast_precision_loss, reason = "a gauge; exact up to 2^53 events")]
        metrics::gauge!("bus_unpublished_events", "source" => self.source.as_str())
            .set(head.seq.0.saturating_sub(relayed.seq.0) as f64);
        self.bus.board().relay(RelayNote {
            relayed,
            trouble,
            connected,
            taken_back: self.publisher.standing.taken().clone(),
            snapshots: self.publisher.snapshots.in_the_making(),
        });
    }
}

/// Wakes the relay when a consumer asks for something. Never ends, and may fail for as long as it likes: the
/// relay looks by itself every [`LOOK_SECONDS`].
async fn wait_for_requests(bus: Bus, key: String, asked: &Notify) {
    let mut link = Link::new(
        bus,
        Duration::from_millis(REQUESTS_BLOCK_MILLIS + ANSWER_SECONDS_MAX * 1_000),
    );
    let mut after = None;
    loop {
        match requests::wait(&mut link, &key, after, REQUESTS_BLOCK_MILLIS).await {
            Ok(Some(id)) => {
                after = Some(id);
                asked.notify_one();
            }
            Ok(None) => {}
            Err(_) => {
                // The next connection may lead to a Redis whose ids are smaller.
                after = None;
                sleep(Duration::from_secs(LOOK_SECONDS)).await;
            }
        }
    }
}
