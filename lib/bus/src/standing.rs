//! Whether a store is as new as what is known of it elsewhere, and what is done if it is not.
//!
//! A store that was set back (a restored backup, a lost disk, a truncated file) shows in that its stream goes on beyond
//! its head, or in that somebody has applied more of its events than it has. It then takes its own events back from the
//! stream, word for word, each with the rows that it tells of, and only then serves. That is possible only while they
//! are there, all of them, and only for a store that has written nothing else in their place; otherwise it refuses,
//! and says what to do. A store that is known to have been set back, because it comes out of a backup or has taken
//! something back, waits to hear from all of its readers before it serves: it would otherwise write what somebody else has
//! already read differently.
//!
//! It publishes nothing, and moves no cursor: others' events are read again from where the backup's cursor stands. What
//! they led to here stands in the events that were taken back, and the domains answer stale to what they know.

use std::sync::{Arc, Mutex, PoisonError};

use events::{Envelope, Position, Seq, Source};
use store::{Context, Indexes, OutboxEntry, State, Store, TransactError};
use tokio::sync::watch;

use crate::bus::Bus;
use crate::handler::Impossible;
use crate::history::{History, HistoryError, Seen, Told};
use crate::link::Link;
use crate::publisher::RelayError;
use crate::recovery::{Adopted, Recovery};
use crate::roll::Readers;
use crate::stream::Tail;

/// How many sentences about what could not come back are kept for the status; all are logged and counted.
const WITHOUT_KEPT_MAX: usize = 100;

/// Watches over how one store stands to what it has published.
pub(crate) struct Standing<I: Indexes> {
    bus: Bus,
    store: Store<I>,
    source: Source,
    recovery: Arc<dyn Recovery<I>>,
    /// The store came out of a backup, or was stopped while it took its events back, before this process began.
    restored: bool,
    /// All that is known elsewhere was in the store when it was last compared.
    settled: watch::Sender<bool>,
    compared: watch::Sender<bool>,
    /// The furthest position that was ever seen, and how: whoever had it may be gone before it is taken back.
    known: Option<(Position, String)>,
    /// The stream has something of this source at all.
    streamed: bool,
    /// What the operator was told, if nothing can be done.
    refused: Option<String>,
    taken: TakenBack,
}

/// What has come back since the start, and what has not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TakenBack {
    /// How many own events were adopted from the stream.
    pub events: u64,
    /// What never travels and is missing for good, in words for the operator; the first hundred.
    pub without: Vec<String>,
    /// How many such things there are.
    pub without_count: u64,
}

/// How a store stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has all that is known of it: publish.
    Current,
    /// It has just taken something back: look again.
    TookBack,
    /// It has to hear from somebody first.
    Waits,
}

impl<I: Indexes> Standing<I> {
    pub(crate) fn new(bus: &Bus, store: Store<I>, source: Source, recovery: Arc<dyn Recovery<I>>) -> Self {
        Self {
            bus: bus.clone(),
            restored: store.was_restored(),
            store,
            source,
            recovery,
            settled: watch::Sender::new(false),
            compared: watch::Sender::new(false),
            known: None,
            streamed: false,
            refused: None,
            taken: TakenBack::default(),
        }
    }

    /// Says when the store was first compared with what is known of it.
    pub(crate) fn compared(&self) -> watch::Receiver<bool> {
        self.compared.subscribe()
    }

    /// Whether the store had all that is known elsewhere when it was last compared.
    pub(crate) fn is_settled(&self) -> bool {
        *self.settled.borrow()
    }

    /// The same, as it changes.
    pub(crate) fn settled(&self) -> watch::Receiver<bool> {
        self.settled.subscribe()
    }

    pub(crate) fn taken(&self) -> &TakenBack {
        &self.taken
    }

    /// Compares, and takes back what is missing. `tail` is the end of the stream at `key` if it was just looked at.
    ///
    /// Dropping it half-way does no harm: what was taken back is in the store, and the next time goes on from there.
    pub(crate) async fn mind(
        &mut self,
        link: &mut Link,
        key: &str,
        tail: Option<&Tail>,
        readers: &Readers,
    ) -> Result<Verdict, RelayError> {
        if let Some(why) = &self.refused {
            return Err(RelayError::StoreOld(why.clone()));
        }
        // Read after all that it is compared with: what others know was durable here before they heard of it.
        let head = *self.store.durable().borrow();
        if let Some(tail) = tail {
            self.streamed |= tail.position.is_some();
            self.compare_tail(tail, head)?;
        }
        let stream_ends = tail.and_then(|tail| tail.position);
        let source = self.source;
        self.learn(stream_ends, |at| {
            format!("the stream of {source} goes on to {at}")
        });
        if let Some((group, position)) = readers.furthest() {
            self.learn(Some(position), |at| {
                format!("{group} has applied the events of {source} up to {at}")
            });
        }
        if let Some((known, whose)) = self.known.clone().filter(|(known, _)| *known > head) {
            self.settled.send_replace(false);
            // Before anything is looked up: whoever writes now would write in the place of what was lost.
            self.adopting(format!(
                "{whose}, but its store ends at {head}: it takes back what it has lost"
            ));
            // And before its readers speak: how far they have come is what was left, too.
            self.store.begin_recollecting().map_err(|error| {
                RelayError::Adopt(format!("it can't be marked as one that was set back: {error}"))
            })?;
            self.compared.send_replace(true);
            return self.take_back(link, key, head, known, &whose).await;
        }
        if !self.is_settled() {
            let verdict = self.settle(readers);
            self.compared.send_replace(true);
            return verdict;
        }
        Ok(Verdict::Current)
    }

    /// Takes note of a position that somebody has, if it is the furthest.
    fn learn(&mut self, position: Option<Position>, whose: impl FnOnce(Position) -> String) {
        let known = self.known.as_ref().map(|(known, _)| *known);
        if let Some(position) = position.filter(|position| known.is_none_or(|known| *position > known)) {
            self.known = Some((position, whose(position)));
        }
    }

    /// Nothing is missing that is known of. A store that does not serve yet does so now, or waits for its readers.
    fn settle(&mut self, readers: &Readers) -> Result<Verdict, RelayError> {
        // The stream need not have had all that was lost, if Redis has lost its end as well: a reader that does not speak
        // yet may have applied more, and would drop what is written in its place for repeats.
        let set_back = self.restored || self.taken.events > 0;
        if set_back || matches!(self.store.status().state, State::Adopting { .. }) {
            let missing = readers.missing();
            if set_back && !missing.is_empty() {
                let names: Vec<&str> = missing.iter().map(|reader| reader.as_str()).collect();
                self.adopting(format!(
                    "it was set back, and waits to hear from {} how far its events were applied",
                    names.join(", ")
                ));
                return Ok(Verdict::Waits);
            }
            if self.restored && !self.streamed && readers.only_recollect() && self.store.status().head.0 > 0 {
                return Err(self.refuse(&format!(
                    "the store of {} comes out of a backup, its stream is gone, and all who read it come out of one as well, \
                     so that nobody can tell what it has published since",
                    self.source
                )));
            }
            self.store.end_adopting().map_err(|error| {
                RelayError::Adopt(format!(
                    "the mark of the restoration can't be taken away: {error}"
                ))
            })?;
            self.restored = false;
        }
        self.settled.send_replace(true);
        Ok(Verdict::Current)
    }

    /// The stream's last event must be the one that the store has there. If not, the store was set back and has gone on
    /// by itself: two histories, of which neither can be continued.
    fn compare_tail(&mut self, tail: &Tail, head: Position) -> Result<(), RelayError> {
        let (Some(position), Some(envelope)) = (tail.position, &tail.envelope) else {
            return Ok(());
        };
        if position.epoch != head.epoch || position > head || position.seq.0 == 0 {
            return Ok(());
        }
        match self.own(position)? {
            Some(own) if own.envelope != *envelope => Err(self.fork(position)),
            Some(_) | None => Ok(()),
        }
    }

    /// The store's own event at that position, if it still keeps it.
    fn own(&self, position: Position) -> Result<Option<OutboxEntry>, RelayError> {
        let before = Seq(position.seq.0.saturating_sub(1));
        let first = self.store.outbox(before, 1)?.into_iter().next();
        Ok(first.filter(|entry| entry.seq == position.seq))
    }

    /// Takes back the events after `head` up to `known` at least, if all of them are there.
    async fn take_back(
        &mut self,
        link: &mut Link,
        key: &str,
        head: Position,
        known: Position,
        whose: &str,
    ) -> Result<Verdict, RelayError> {
        if known.epoch != head.epoch {
            return Err(self.refuse(&format!(
                "{whose}, which is a later epoch than that of its store, which ends at {head}"
            )));
        }
        // First only read, so that a store for which it can't end well is left as it was.
        let own = self.own(head)?;
        let mut history = History::after(key, self.source, head, own);
        while self.next_told(&mut history, link).await?.is_some() {}
        match history.own() {
            Some(Seen::Other) => return Err(self.fork(head)),
            // A store with the mark of a restoration can't have gone on by itself.
            Some(Seen::Nowhere) if !self.restored => {
                return Err(self.refuse(&format!(
                    "{whose}, but its store ends at {head}, and the stream does not have that event any more, so that it \
                     can't be told whether they belong together"
                )));
            }
            Some(Seen::Nowhere | Seen::Same) | None => {}
        }
        if history.reached() < known {
            let missing = history.reached().seq.next();
            return Err(self.refuse(&format!(
                "{whose}, but its store ends at {head}, and the stream does not have all that came after it any more: \
                 number {missing} is missing"
            )));
        }
        let mut history = History::after(key, self.source, head, None);
        while let Some(told) = self.next_told(&mut history, link).await? {
            if !told.is_empty() {
                self.adopt(told).await?;
            }
        }
        let head = *self.store.durable().borrow();
        tracing::info!(source = %self.source, %head, "the store has taken back its own events");
        Ok(Verdict::TookBack)
    }

    async fn next_told(
        &mut self,
        history: &mut History,
        link: &mut Link,
    ) -> Result<Option<Vec<Told>>, RelayError> {
        match history.next(link).await {
            Ok(told) => Ok(told),
            Err(HistoryError::Bus(error)) => Err(error.into()),
            Err(HistoryError::Newer(why)) => Err(self.refuse(&format!(
                "its store has lost events, and what stands in its stream can't be read: {why}"
            ))),
        }
    }

    /// Takes back one page of events in one transaction.
    async fn adopt(&mut self, told: Vec<Told>) -> Result<(), RelayError> {
        let (first, events) = (told.first().map(|told| told.entry.seq), told.len() as u64);
        let (entries, envelopes): (Vec<OutboxEntry>, Vec<Envelope>) =
            told.into_iter().map(|told| (told.entry, told.envelope)).unzip();
        let recovery = Arc::clone(&self.recovery);
        let without = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&without);
        let context = Context::new(self.bus.now());
        let adopted = self
            .store
            .adopt(context, entries, move |tx| {
                let mut without = Vec::new();
                for envelope in &envelopes {
                    let adopted = recovery.adopt(tx, envelope).map_err(|error| {
                        error.map_refused(|Impossible(why)| Impossible(format!("{}: {why}", envelope.id())))
                    })?;
                    if let Adopted::Without(what) = adopted {
                        without.push(what);
                    }
                }
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = without;
                Ok(())
            })
            .await;
        match adopted {
            Ok(()) => {
                let without = std::mem::take(&mut *without.lock().unwrap_or_else(PoisonError::into_inner));
                self.note(events, without);
                Ok(())
            }
            Err(
                error @ (TransactError::Refused(_)
                | TransactError::Conflict
                | TransactError::KeyReused
                | TransactError::Panicked(_)
                | TransactError::Damaged(_)),
            ) => Err(self.refuse(&format!(
                "its store has lost events, and what it has published since {} can't be taken back: {error}",
                first.unwrap_or_default()
            ))),
            // The head has moved since it was read, or the store is busy with itself: the next look finds out.
            Err(
                error @ (TransactError::Cursor(_)
                | TransactError::Busy
                | TransactError::Unknown(_)
                | TransactError::Unavailable(_)),
            ) => Err(RelayError::Adopt(error.to_string())),
        }
    }

    fn note(&mut self, events: u64, without: Vec<String>) {
        let source = self.source.as_str();
        metrics::counter!("bus_adopted_events_total", "source" => source).increment(events);
        metrics::counter!("bus_adopted_without_total", "source" => source).increment(without.len() as u64);
        self.taken.events += events;
        self.taken.without_count += without.len() as u64;
        for what in without {
            tracing::warn!(source, what, "something that never travels is missing for good");
            if self.taken.without.len() < WITHOUT_KEPT_MAX {
                self.taken.without.push(what);
            }
        }
    }

    /// The store does not serve, for this reason, until it is settled.
    fn adopting(&self, why: String) {
        // Said once: this is found again at every step.
        let said = matches!(self.store.status().state, State::Adopting { why: said } if *said == *why);
        if !said {
            self.store.begin_adopting(why);
        }
    }

    fn fork(&mut self, at: Position) -> RelayError {
        self.refuse(&format!(
            "the store of {source} and its stream tell different things of {source}-{at}: the store was set back and has \
             gone on by itself since",
            source = self.source
        ))
    }

    /// Nothing can be done from here: says so, once, and for as long as the process lives.
    fn refuse(&mut self, why: &str) -> RelayError {
        let source = self.source;
        let why = format!(
            "{why}; put back newer data, or accept the loss: `boxoffice restore --service {source} --from BACKUP \
             --accept-loss`, or, if this is meant to be a new system, give it a Redis of its own"
        );
        self.store.mark_old(why.as_str());
        self.compared.send_replace(true);
        self.refused = Some(why.clone());
        RelayError::StoreOld(why)
    }
}
