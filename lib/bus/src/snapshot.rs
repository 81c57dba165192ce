//! A snapshot as it travels: all that one source has, for one reader, in a stream of its own.
//!
//! The main stream is not used for it, so that nobody else sees any of it. Entries have the four fields of every other
//! stream, numbered from 0 without gaps: the first has the type [`BEGIN`] and says at which position of the source the
//! snapshot stands; then comes one entry per entity, whose envelope stands at that same position; the last has the type
//! [`END`]. Without it a snapshot is not complete, and is not applied.
//!
//! # Why the entities need not be of one moment
//! The position is taken *before* the entities are read. Whatever happened up to it is in what is read; an entity that
//! changed while it was read is newer than the position says, and the events that made it so come again afterwards.
//! Each event carries the full state of its entity and a version, and an entity that is as new already answers stale.
//! So after the last of those events a reader has what it would have had by hearing all of them, and before that it is
//! at no moment older than the position. What was made anew after the position, and too late to be met by the reading,
//! comes as an event.

use events::{Envelope, EnvelopeError, Epoch, Position, Seq, Source};
use redis::{Value, cmd};

use crate::entry::{Entry, StreamId, entries_ranged};
use crate::errors::BusError;
use crate::link::Link;

/// The type of the first entry.
pub(crate) const BEGIN: &str = "snapshot:begin";
/// The type of the last entry.
pub(crate) const END: &str = "snapshot:end";

/// A snapshot that stands in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// The position of the source that it stands at.
    pub(crate) at: Position,
    /// Whether its end is there.
    pub(crate) complete: bool,
}

/// One entry of a snapshot.
#[derive(Debug)]
pub(crate) enum Piece {
    Begin(Position),
    Entity {
        id: StreamId,
        event_type: String,
        /// As it came, for a dead letter.
        raw: String,
        envelope: Box<Envelope>,
    },
    End,
}

/// Why a snapshot can't be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Spoilt {
    /// It is not what a relay writes, or not all of it: another one is needed.
    #[error("{0}")]
    Broken(String),
    /// It is of a later version of this program.
    #[error("{0}")]
    Newer(String),
}

/// What stands at `key`, if it begins as a snapshot does.
pub(crate) async fn look(link: &mut Link, key: &str) -> Result<Option<Found>, BusError> {
    let mut first = cmd("XRANGE");
    first.arg(key).arg("-").arg("+").arg("COUNT").arg(1);
    let Some(at) = entries_ranged(link.run::<Value>(&first).await?)?
        .pop()
        .and_then(begin)
    else {
        return Ok(None);
    };
    let mut last = cmd("XREVRANGE");
    last.arg(key).arg("+").arg("-").arg("COUNT").arg(1);
    let last = entries_ranged(link.run::<Value>(&last).await?)?.pop();
    let complete = last.is_some_and(|mut entry| entry.take("type").as_deref() == Some(END));
    Ok(Some(Found { at, complete }))
}

/// Reads an entry, which must be number `number` of `source`'s snapshot at `at`; the position is not known before the
/// first entry is read.
pub(crate) fn read(
    mut entry: Entry,
    number: u64,
    source: Source,
    at: Option<Position>,
) -> Result<Piece, Spoilt> {
    let broken = |why: String| Spoilt::Broken(format!("entry {number} of the snapshot {why}"));
    let said: Option<u64> = entry.take("seq").and_then(|seq| seq.parse().ok());
    if said != Some(number) {
        return Err(broken(format!("has the number {said:?}")));
    }
    let id = entry.id;
    let event_type = entry.take("type").unwrap_or_default();
    match (event_type.as_str(), at) {
        (BEGIN, None) => position(&entry.take("subject").unwrap_or_default())
            .map(Piece::Begin)
            .ok_or_else(|| broken("does not say where it stands".to_owned())),
        (END, Some(_)) => Ok(Piece::End),
        (_, Some(at)) => {
            let raw = entry.take("envelope").unwrap_or_default();
            let envelope = match Envelope::from_json(&raw) {
                Ok(envelope) => Box::new(envelope),
                Err(error @ EnvelopeError::NewerSchema { .. }) => {
                    return Err(Spoilt::Newer(error.to_string()));
                }
                Err(
                    error @ (EnvelopeError::Malformed(_)
                    | EnvelopeError::UnknownType(_)
                    | EnvelopeError::UnknownSchema(_)
                    | EnvelopeError::MalformedData { .. }),
                ) => return Err(broken(format!("can't be read: {error}"))),
            };
            if envelope.source != source || envelope.position != at {
                return Err(broken(format!("is {}, not at {source}-{at}", envelope.id())));
            }
            Ok(Piece::Entity {
                id,
                event_type,
                raw,
                envelope,
            })
        }
        (_, None) => Err(broken("is no beginning".to_owned())),
    }
}

fn begin(mut entry: Entry) -> Option<Position> {
    let begins = entry.take("type").as_deref() == Some(BEGIN);
    begins
        .then(|| entry.take("subject"))
        .flatten()
        .and_then(|subject| position(&subject))
}

/// A position from its text, `2-500`.
fn position(text: &str) -> Option<Position> {
    let (epoch, seq) = text.split_once('-')?;
    Some(Position {
        epoch: Epoch(epoch.parse().ok()?),
        seq: Seq(seq.parse().ok()?),
    })
}
