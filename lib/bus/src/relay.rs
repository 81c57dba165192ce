//! The relay: from the outbox of a store to the stream of its source. It is the stream's only publisher.
//!
//! It keeps no mark of its own. The stream's last entry says how far it has come, and every append is refused
//! unless that entry is still the last one. Refused, it looks again: the stream may be further on (a reply
//! was lost), shorter (Redis lost what it had not synced), or gone (`FLUSHALL`), and in each case going on
//! after what is there is right, because the outbox keeps published events and consumers drop repeats.
//!
//! It never publishes what is not durable, never rewrites history, and stops when the stream or a reader is
//! ahead of the store: then the store is an old one, and the events it would write are not those that were.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use events::{Epoch, Position, Seq, Source};
use store::{Indexes, Store, StoreError};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Health;
use crate::bus::Bus;
use crate::entry::StreamId;
use crate::errors::BusError;
use crate::link::Link;
use crate::requests::{self, Request, RequestKind};
use crate::stream::{self, ANSWER_SECONDS_MAX, Appended, Outgoing};
use crate::topology::readers;
use crate::trim;

/// How much of envelopes goes into one append: enough to be rare, too little to hold Redis up.
pub const RELAY_BYTES_MAX: usize = 1024 * 1024;
/// How many events go into one append.
pub const RELAY_EVENTS_MAX: usize = 1_024;
/// How often an idle relay looks whether the stream is still what it left, and for requests.
const LOOK_SECONDS: u64 = 1;
/// How often the stream is trimmed.
const TRIM_SECONDS: u64 = 60;
/// How long one blocking wait for requests takes; it only saves the relay from looking more often.
const REQUESTS_BLOCK_MILLIS: u64 = 10_000;
/// How long a stopping relay may take to publish what is already durable.
const STOP_MILLIS_MAX: u64 = 2_000;

/// Publishes the events of one store.
pub struct Relay<I: Indexes> {
    bus: Bus,
    store: Store<I>,
    source: Source,
    readers: Vec<Source>,
    link: Link,
    key: String,
    requests_key: String,
    /// Where the stream ends and what comes next; `None` when it must be looked at first.
    place: Option<Place>,
    requests_read: StreamId,
    /// Requests older than the relay itself were made to another one, and are repeated if still needed.
    requests_begun: bool,
    looked_at: Option<Instant>,
    trimmed_at: Instant,
    /// The last resend, to recognise requests that it has answered already.
    resent: Option<Resent>,
}

/// What one step of the relay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Relayed {
    /// How many events were appended.
    pub events: usize,
    /// Whether there may be more to append right away.
    pub more: bool,
}

/// Why a step of the relay failed. All of them are tried again.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Redis.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The outbox can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store has lost events that are known elsewhere; nothing may be published from it.
    #[error("{0}")]
    StoreOld(String),
}

#[derive(Debug, Clone, Copy)]
struct Place {
    last: Option<StreamId>,
    next: Seq,
}

#[derive(Debug, Clone, Copy)]
struct Resent {
    from: Seq,
    /// The id of the first append's last entry; not known before that append.
    begun: Option<StreamId>,
}

impl<I: Indexes> Relay<I> {
    /// The relay of `store`, which is `source`'s. There must be only one.
    pub fn new(bus: Bus, store: Store<I>, source: Source) -> Self {
        let link = Link::new(bus.clone(), Duration::from_secs(ANSWER_SECONDS_MAX));
        let (key, requests_key) = (bus.keys().events(source), bus.keys().requests(source));
        Self {
            bus,
            store,
            source,
            readers: readers(source).to_vec(),
            link,
            key,
            requests_key,
            place: None,
            requests_read: StreamId::default(),
            requests_begun: false,
            looked_at: None,
            trimmed_at: Instant::now(),
            resent: None,
        }
    }

    /// Whose groups the stream must have before it is trimmed, if not those of [`readers`].
    #[must_use]
    pub fn with_readers(mut self, readers: Vec<Source>) -> Self {
        self.readers = readers;
        self
    }

    /// One step: looks where it must, takes requests when it is time, appends one batch.
    ///
    /// Dropping it half-way does no harm: what it had not noted down it finds out again.
    ///
    /// # Errors
    /// When Redis or the store do not do their part, or when the store is old. All is well again when the
    /// next step succeeds.
    pub async fn relay_once(&mut self) -> Result<Relayed, RelayError> {
        let opened = self.link.opened();
        self.link.connection().await?;
        if self.link.opened() != opened {
            // Replies may have been lost with the connection before.
            self.place = None;
            self.looked_at = None;
        }
        let idle_check = self
            .looked_at
            .is_none_or(|at| at.elapsed() >= Duration::from_secs(LOOK_SECONDS));
        if self.place.is_none() {
            self.look().await?;
        }
        if idle_check {
            self.take_requests().await?;
            self.looked_at = Some(Instant::now());
        }
        let result = self.append_batch(idle_check).await;
        if result.is_err() {
            self.place = None;
        }
        result
    }

    /// Trims the stream once: behind what every reader has acknowledged, keeping a day or 256 MiB beyond
    /// that, and never the last entry. Gives how many entries went.
    ///
    /// # Errors
    /// When Redis does not do it.
    pub async fn trim_once(&mut self) -> Result<u64, BusError> {
        trim::trim(&mut self.link, &self.key, &self.readers).await
    }

    /// Publishes until `shutdown` resolves, and then what is durable by then.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = pin!(shutdown);
        let asked = Notify::new();
        let mut waiting = pin!(wait_for_requests(
            self.bus.clone(),
            self.requests_key.clone(),
            &asked
        ));
        let mut durable = self.store.durable();
        let mut health = Health::new(format!("relay {}", self.source));
        loop {
            // Marked as seen before the outbox is read, so that a batch in between is not slept over.
            durable.borrow_and_update();
            let step = tokio::select! {
                biased;
                () = &mut shutdown => break,
                step = self.relay_once() => step,
            };
            self.note(&step);
            let pause = match step {
                Ok(Relayed { more: true, .. }) => {
                    health.worked();
                    continue;
                }
                Ok(_) => {
                    health.worked();
                    self.trim_when_due().await;
                    None
                }
                Err(error) => Some(health.failed(&error)),
            };
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                () = sleep(pause.unwrap_or(Duration::from_secs(LOOK_SECONDS))) => {}
                () = asked.notified(), if pause.is_none() => self.looked_at = None,
                // An error means that the store is gone, and then nothing will ever be published again.
                changed = durable.changed(), if pause.is_none() => if changed.is_err() { break },
                () = &mut waiting => {}
            }
        }
        let drained = timeout(Duration::from_millis(STOP_MILLIS_MAX), async {
            while self.relay_once().await?.more {}
            Ok::<(), RelayError>(())
        });
        match drained.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::info!(source = %self.source, %error, "stopped with events left for the next start")
            }
            Err(_) => tracing::info!(source = %self.source, "stopped with events left for the next start"),
        }
    }

    /// Finds out where the stream ends, and decides what comes next.
    async fn look(&mut self) -> Result<(), RelayError> {
        let tail = stream::look(&mut self.link, &self.key).await?;
        let head = self.head();
        let next = match tail.position {
            Some(position) if position > head => {
                return Err(self.old(format!(
                    "the stream of {} goes on to {position}, but its store ends at {head}: the store is older than \
                     what it has published",
                    self.source
                )));
            }
            Some(position) if position.epoch == head.epoch => position.seq.next(),
            // Nothing of this epoch is there: all that is kept is published.
            Some(_) | None => self.oldest(),
        };
        // What the outbox does not keep any more can't be published again; readers that lack it need a snapshot.
        let next = next.max(self.oldest());
        self.place = Some(Place {
            last: tail.last,
            next,
        });
        Ok(())
    }

    /// Reads what consumers ask, and goes back where one of them needs it.
    async fn take_requests(&mut self) -> Result<(), RelayError> {
        loop {
            let (requests, last) =
                requests::read(&mut self.link, &self.requests_key, self.requests_read).await?;
            if last == self.requests_read {
                self.requests_begun = true;
                return Ok(());
            }
            for request in requests {
                self.take(request)?;
            }
            self.requests_read = last;
        }
    }

    fn take(&mut self, request: Request) -> Result<(), RelayError> {
        let head = self.head();
        if request.cursor > head {
            return Err(self.old(format!(
                "{} has applied the events of {} up to {}, but its store ends at {head}: the store is older than \
                 what it has published",
                request.group, self.source, request.cursor
            )));
        }
        if request.kind == RequestKind::Statement || !self.requests_begun {
            return Ok(());
        }
        let from = if request.cursor.epoch == head.epoch {
            request.cursor.seq.next()
        } else {
            Seq(1)
        };
        if from < self.oldest() {
            metrics::counter!("bus_resends_refused_total", "source" => self.source.as_str()).increment(1);
            tracing::error!(
                source = %self.source, group = %request.group, cursor = %request.cursor,
                "a consumer lacks events that the outbox does not keep any more; it needs a snapshot"
            );
            return Ok(());
        }
        let answered = self.resent.is_some_and(|resent| {
            from >= resent.from && resent.begun.is_none_or(|begun| request.id.millis < begun.millis)
        });
        if let Some(place) = &mut self.place
            && place.next > from
            && !answered
        {
            tracing::info!(
                source = %self.source, group = %request.group, from = %from, next = %place.next, "sending events again"
            );
            metrics::counter!("bus_resends_total", "source" => self.source.as_str()).increment(1);
            place.next = from;
            self.resent = Some(Resent { from, begun: None });
        }
        Ok(())
    }

    /// Appends what comes next, if there is something; otherwise, when asked to, only compares.
    async fn append_batch(&mut self, compare: bool) -> Result<Relayed, RelayError> {
        let Some(place) = self.place else {
            return Ok(Relayed {
                events: 0,
                more: true,
            });
        };
        let before = Seq(place.next.0.saturating_sub(1));
        let mut entries = self.store.outbox(before, RELAY_BYTES_MAX)?;
        let more = entries.len() >= RELAY_EVENTS_MAX || !entries.is_empty();
        entries.truncate(RELAY_EVENTS_MAX);
        if entries.is_empty() && !compare {
            return Ok(Relayed::default());
        }
        let outgoing = entries.iter().map(|entry| Outgoing {
            seq: entry.seq,
            event_type: entry.event_type.as_str(),
            subject: &entry.subject,
            envelope: &entry.envelope,
        });
        match stream::append(&mut self.link, &self.key, place.last, outgoing).await? {
            Appended::All(last) => {
                let next = entries.last().map_or(place.next, |entry| entry.seq.next());
                self.place = Some(Place { last, next });
                if let Some(resent) = &mut self.resent
                    && !entries.is_empty()
                {
                    resent.begun = resent.begun.or(last);
                }
                metrics::counter!("bus_relayed_total", "source" => self.source.as_str())
                    .increment(entries.len() as u64);
                Ok(Relayed {
                    events: entries.len(),
                    more,
                })
            }
            Appended::Mismatch => {
                tracing::info!(source = %self.source, "the stream is not as it was left; looking again");
                metrics::counter!("bus_relay_mismatches_total", "source" => self.source.as_str())
                    .increment(1);
                self.place = None;
                Ok(Relayed {
                    events: 0,
                    more: true,
                })
            }
        }
    }

    async fn trim_when_due(&mut self) {
        if self.trimmed_at.elapsed() < Duration::from_secs(TRIM_SECONDS) {
            return;
        }
        self.trimmed_at = Instant::now();
        match self.trim_once().await {
            Ok(0) => {}
            Ok(entries) => tracing::debug!(source = %self.source, entries, "trimmed the stream"),
            Err(error) => tracing::warn!(source = %self.source, %error, "the stream could not be trimmed"),
        }
    }

    fn head(&self) -> Position {
        *self.store.durable().borrow()
    }

    fn oldest(&self) -> Seq {
        self.store.oldest_outbox_seq().max(Seq(1))
    }

    fn old(&self, why: String) -> RelayError {
        self.store.mark_old(why.clone());
        RelayError::StoreOld(why)
    }

    fn note(&self, step: &Result<Relayed, RelayError>) {
        let epoch = self.store.durable().borrow().epoch;
        let relayed = self.place.map_or(Position { epoch, seq: Seq(0) }, |place| {
            relayed(epoch, place.next)
        });
        let (connected, trouble) = match step {
            Ok(_) => (true, None),
            Err(error) => {
                metrics::counter!("bus_relay_errors_total", "source" => self.source.as_str()).increment(1);
                (!matches!(error, RelayError::Bus(_)), Some(error.to_string()))
            }
        };
        self.bus.board().relay(relayed, connected, trouble);
    }
}

fn relayed(epoch: Epoch, next: Seq) -> Position {
    Position {
        epoch,
        seq: Seq(next.0.saturating_sub(1)),
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
            Err(_) => sleep(Duration::from_secs(LOOK_SECONDS)).await,
        }
    }
}
