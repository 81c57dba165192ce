//! A source's own events, as they stand in its stream: each once and in order, whatever else stands between them.
//!
//! A stream may hold an event several times (after a resend), leave out some that come again further back, and hold
//! entries of older epochs and of nobody. Read from its beginning, what comes next is taken and all else is passed
//! over; where that left something out, it is read again from the beginning.

use events::{Envelope, EnvelopeError, Position, Seq, Source};
use store::OutboxEntry;

use crate::entry::{Entry, StreamId};
use crate::errors::BusError;
use crate::head;
use crate::link::Link;
use crate::stream::{self, ENVELOPE_BYTES_MAX};

/// How many entries are read, and how many events are adopted in one transaction, at a time.
const PAGE_ENTRIES_MAX: usize = 512;

/// An event of the stream's own source.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// As the outbox keeps it, the envelope to the letter.
    pub(crate) entry: OutboxEntry,
    pub(crate) envelope: Envelope,
}

/// Reads a stream for the events after one.
pub(crate) struct History {
    key: String,
    source: Source,
    /// The last event that was found.
    reached: Position,
    /// How far the present pass has come.
    after: StreamId,
    /// Whether this pass has found something: then another one may find more.
    found: bool,
    /// The event at which it begins, as its store has it, and whether the stream has it too.
    own: Option<(OutboxEntry, Seen)>,
}

/// Whether an event stands in the stream as its store has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was not met.
    Nowhere,
    /// It was, and says the same.
    Same,
    /// Something else stands in its place.
    Other,
}

/// What can't be read although it is an event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    #[error(transparent)]
    Bus(#[from] BusError),
    /// It was written by a later version of this program.
    #[error("{0}")]
    Newer(String),
}

impl History {
    /// The events of `source` after `reached`, from the stream at `key`. `own` is the event at `reached`, to be
    /// compared with what stands there.
    pub(crate) fn after(key: &str, source: Source, reached: Position, own: Option<OutboxEntry>) -> Self {
        Self {
            key: key.to_owned(),
            source,
            reached,
            after: StreamId::default(),
            found: false,
            own: own.map(|entry| (entry, Seen::Nowhere)),
        }
    }

    /// How the event at which it begins has turned out, if there is one.
    pub(crate) fn own(&self) -> Option<Seen> {
        self.own.as_ref().map(|(_, seen)| *seen)
    }

    /// The last event that was found.
    pub(crate) fn reached(&self) -> Position {
        self.reached
    }

    /// The next events, in order; `None` at the end, when another look from the beginning would find no more.
    pub(crate) async fn next(&mut self, link: &mut Link) -> Result<Option<Vec<Told>>, HistoryError> {
        let entries = stream::page(link, &self.key, self.after, PAGE_ENTRIES_MAX).await?;
        let Some(last) = entries.last().map(|entry| entry.id) else {
            if !self.found {
                return Ok(None);
            }
            self.found = false;
            self.after = StreamId::default();
            return Ok(Some(Vec::new()));
        };
        let mut told = Vec::new();
        for entry in entries {
            if let Some(next) = self.read(entry)? {
                self.reached = next.envelope.position;
                self.found = true;
                told.push(next);
            }
        }
        self.after = last;
        Ok(Some(told))
    }

    /// The entry, if it is the event that comes next.
    fn read(&mut self, mut entry: Entry) -> Result<Option<Told>, HistoryError> {
        let event_type = entry.take("type").unwrap_or_default();
        let seq = entry.take("seq").and_then(|seq| seq.parse().ok()).map(Seq);
        let envelope = entry.take("envelope").unwrap_or_default();
        if envelope.len() > ENVELOPE_BYTES_MAX {
            return Ok(None);
        }
        let Ok(head) = head::read(seq, &event_type, &envelope, self.source) else {
            return Ok(None);
        };
        if head.position.epoch != self.reached.epoch {
            return Ok(None);
        }
        if let Some((own, seen)) = &mut self.own
            && own.seq == head.position.seq
            && *seen != Seen::Other
        {
            *seen = if own.envelope == envelope {
                Seen::Same
            } else {
                Seen::Other
            };
        }
        if head.position.seq != self.reached.seq.next() {
            return Ok(None);
        }
        match Envelope::from_json(&envelope) {
            Ok(read) => Ok(Some(Told {
                entry: OutboxEntry {
                    seq: head.position.seq,
                    event_type: head.event_type,
                    subject: read.event.subject(),
                    envelope,
                },
                envelope: read,
            })),
            Err(error @ EnvelopeError::NewerSchema { .. }) => Err(HistoryError::Newer(error.to_string())),
            // It may stand there again, further back and whole.
            Err(
                EnvelopeError::Malformed(_)
                | EnvelopeError::UnknownType(_)
                | EnvelopeError::UnknownSchema(_)
                | EnvelopeError::MalformedData { .. },
            ) => Ok(None),
        }
    }
}
