//! What a relay appends, and what it makes of the stream that it finds.
//!
//! Every decision is taken from what stands in the stream and in the store at that moment. What is kept here
//! (the last entry, what comes next) is only a guess that saves a look; the guarded append finds out whether
//! it still holds.

use std::sync::Arc;
use std::time::Duration;

use events::{Position, Seq, Source};
use failpoint::Point;
use store::{Indexes, Store, StoreError};
use tokio::time::Instant;

use crate::bus::Bus;
use crate::entry::StreamId;
use crate::errors::BusError;
use crate::link::Link;
use crate::recovery::Recovery;
use crate::requests::{self, Request, RequestKind};
use crate::roll::Readers;
use crate::snapshots::Snapshots;
use crate::standing::{Standing, Verdict};
use crate::stream::{self, ANSWER_SECONDS_MAX, Appended, Outgoing, Tail};
use crate::topology::readers;

/// How much of envelopes goes into one append: enough to be rare, too little to hold Redis up.
pub const RELAY_BYTES_MAX: usize = 1024 * 1024;
/// How many events go into one append.
pub const RELAY_EVENTS_MAX: usize = 1_024;
/// How often an idle relay looks whether the stream is still what it left, and for requests.
pub(crate) const LOOK_SECONDS: u64 = 1;

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
    /// The outbox can't be trimmed.
    #[error("the outbox can't be trimmed: {0}")]
    Trim(String),
    /// The store has lost events that are known elsewhere, and they can't be taken back; nothing may be published.
    #[error("{0}")]
    StoreOld(String),
    /// The store has lost events, and could not take them back at this moment.
    #[error("what the store has lost could not be taken back: {0}")]
    Adopt(String),
}

/// Appends the events of one store to its stream.
pub(crate) struct Publisher<I: Indexes> {
    store: Store<I>,
    source: Source,
    pub(crate) link: Link,
    pub(crate) key: String,
    pub(crate) requests_key: String,
    roll_key: String,
    pub(crate) readers: Readers,
    pub(crate) standing: Standing<I>,
    pub(crate) snapshots: Snapshots<I>,
    /// Over which opening of the link the roll was called.
    called_over: u64,
    /// Redis was full when the last step called the roll, or showed it.
    pub(crate) full: bool,
    /// The end of the stream, from the look at it until the store was compared with it.
    tail: Option<Tail>,
    /// Where the stream ends and what comes next; `None` when it must be looked at first.
    place: Option<Place>,
    /// The last event that was in the stream when its place was lost.
    reached: Seq,
    requests_read: StreamId,
    /// While all requests are read from the first one on: resends up to this one were heard before, or asked of
    /// another relay, and are asked for again if they are still needed.
    requests_heard: Option<StreamId>,
    looked_at: Option<Instant>,
    /// The last resend, to recognise requests that it has answered already.
    resent: Option<Resent>,
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

impl Place {
    /// The last event that is in the stream.
    fn reached(self) -> Seq {
        Seq(self.next.0.saturating_sub(1))
    }
}

impl<I: Indexes> Publisher<I> {
    pub(crate) fn new(bus: &Bus, store: Store<I>, source: Source, recovery: Arc<dyn Recovery<I>>) -> Self {
        Self {
            standing: Standing::new(bus, store.clone(), source, Arc::clone(&recovery)),
            snapshots: Snapshots::new(bus, store.clone(), source, recovery),
            readers: Readers::new(source, readers(source).to_vec()),
            store,
            source,
            link: Link::new(bus.clone(), Duration::from_secs(ANSWER_SECONDS_MAX)),
            key: bus.keys().events(source),
            requests_key: bus.keys().requests(source),
            roll_key: bus.keys().roll(source),
            called_over: 0,
            full: false,
            tail: None,
            place: None,
            reached: Seq(0),
            requests_read: StreamId::default(),
            requests_heard: Some(StreamId::MAX),
            looked_at: None,
            resent: None,
        }
    }

    /// One step: looks where it must, takes requests when it is time, compares the store with all that, appends one
    /// batch, and makes a piece of a snapshot if one is needed.
    pub(crate) async fn publish_once(&mut self) -> Result<Relayed, RelayError> {
        let opened = self.link.opened();
        self.link.connection().await?;
        if self.link.opened() != opened {
            // Replies may have been lost with the connection before, and this one may lead to another Redis, or
            // to one that was emptied meanwhile, whose ids begin anew.
            self.lose_place();
            self.looked_at = None;
            self.requests_heard = Some(self.requests_heard.unwrap_or(self.requests_read));
            self.requests_read = StreamId::default();
        }
        self.full = false;
        if self.called_over != self.link.opened() {
            let head = self.head();
            match self.readers.call(&mut self.link, &self.requests_key, head).await {
                Ok(()) => self.called_over = self.link.opened(),
                Err(error) => self.put_off(error)?,
            }
        }
        let compare = self
            .looked_at
            .is_none_or(|at| at.elapsed() >= Duration::from_secs(LOOK_SECONDS));
        if self.place.is_none() {
            self.look().await?;
        }
        if compare {
            if let Err(error) = self.readers.show(&mut self.link, &self.roll_key).await {
                self.put_off(error)?;
            }
            self.take_requests().await?;
            self.looked_at = Some(Instant::now());
        }
        let result = self.go_on(compare).await;
        if result.is_err() {
            self.lose_place();
        }
        result
    }

    /// A full Redis takes no call, and shows none; the next step tries again. To look and to compare needs no room, and
    /// the consumers of this service, which wait for that, are who makes some.
    fn put_off(&mut self, error: BusError) -> Result<(), BusError> {
        if error.is_full() {
            self.full = true;
            Ok(())
        } else {
            Err(error)
        }
    }

    /// Publishes if the store is as new as all that is known of it.
    async fn go_on(&mut self, compare: bool) -> Result<Relayed, RelayError> {
        let verdict = self
            .standing
            .mind(&mut self.link, &self.key, self.tail.as_ref(), &self.readers)
            .await?;
        self.tail = None;
        match verdict {
            Verdict::Current => {}
            Verdict::TookBack => {
                self.lose_place();
                return Ok(Relayed {
                    events: 0,
                    more: true,
                });
            }
            Verdict::Waits => return Ok(Relayed::default()),
        }
        let mut relayed = self.append_batch(compare).await?;
        if compare {
            self.snapshots.attend(&mut self.link, &self.readers).await?;
        }
        relayed.more |= self.snapshots.step(&mut self.link).await?;
        Ok(relayed)
    }

    /// The next step looks where the stream ends and goes on from there. A resend that has not begun would
    /// never begin, so that whoever asked for it must be heard when he asks again.
    fn lose_place(&mut self) {
        self.reached = self.place.take().map_or(self.reached, Place::reached);
        self.tail = None;
        self.resent = self.resent.filter(|resent| resent.begun.is_some());
    }

    /// The next step looks for requests, and at the end of the stream, whenever the last look was.
    pub(crate) fn look_next(&mut self) {
        self.looked_at = None;
    }

    /// The last event that is in the stream, as far as is known.
    pub(crate) fn relayed(&self) -> Position {
        Position {
            epoch: self.head().epoch,
            seq: self.place.map_or(self.reached, Place::reached),
        }
    }

    /// Whether everything durable is in the stream, as far as is known.
    pub(crate) fn is_done(&self) -> bool {
        self.place.is_some() && self.relayed() >= self.head()
    }

    /// The last event that is durable.
    pub(crate) fn head(&self) -> Position {
        *self.store.durable().borrow()
    }

    /// Finds out where the stream ends, and decides what comes next.
    async fn look(&mut self) -> Result<(), RelayError> {
        let tail = stream::look(&mut self.link, &self.key, self.source).await?;
        let head = self.head();
        let next = match tail.position {
            // Beyond the head it is not gone on from, but taken back first.
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
        self.tail = Some(tail);
        Ok(())
    }

    /// Reads what consumers ask, and goes back where one of them needs it.
    async fn take_requests(&mut self) -> Result<(), RelayError> {
        loop {
            let (requests, last) =
                requests::read(&mut self.link, &self.requests_key, self.requests_read).await?;
            if last == self.requests_read {
                self.requests_heard = None;
                return Ok(());
            }
            for request in requests {
                self.take(request);
            }
            self.requests_read = last;
        }
    }

    fn take(&mut self, request: Request) {
        self.readers.hear(&request);
        let heard = self.requests_heard.is_some_and(|heard| request.id <= heard);
        if request.kind != RequestKind::Resend || heard {
            return;
        }
        let from = request.cursor.seq.next();
        if request.cursor.epoch != self.head().epoch || from < self.oldest() {
            // What it lacks is not there: it gets a snapshot.
            return;
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
    }

    /// Appends what comes next, if there is something; otherwise, when asked to, only compares.
    async fn append_batch(&mut self, compare: bool) -> Result<Relayed, RelayError> {
        let Some(place) = self.place else {
            return Ok(Relayed {
                events: 0,
                more: true,
            });
        };
        let before = place.reached();
        let mut entries = self.store.outbox(before, RELAY_BYTES_MAX)?;
        entries.truncate(RELAY_EVENTS_MAX);
        // While this batch is on its way, the next one may become durable.
        let more = !entries.is_empty();
        if entries.is_empty() && !compare {
            return Ok(Relayed::default());
        }
        let outgoing = entries.iter().map(|entry| Outgoing {
            seq: entry.seq,
            event_type: entry.event_type.as_str(),
            subject: &entry.subject,
            envelope: &entry.envelope,
        });
        if more {
            failpoint::reach(Point::BeforeAppend);
        }
        match stream::append(&mut self.link, &self.key, place.last, outgoing).await? {
            Appended::All(last) => {
                if more {
                    failpoint::reach(Point::AfterAppend);
                }
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
                self.lose_place();
                Ok(Relayed {
                    events: 0,
                    more: true,
                })
            }
        }
    }

    fn oldest(&self) -> Seq {
        self.store.oldest_outbox_seq().max(Seq(1))
    }
}
