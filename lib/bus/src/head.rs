//! The head of an entry: what tells that it is an event of this stream, and which.
//!
//! The relay believes the last such entry to be its own work, and the consumer goes by it, so that both read
//! it here and in the same way. Whatever does not agree with itself was written by none of our programs: it is
//! garbage, however well formed. It reads no payload.

use std::borrow::Cow;

use events::{Cause, Epoch, EventType, Position, Seq, Source};
use serde::Deserialize;

/// What an entry is, before what happened is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) position: Position,
    pub(crate) event_type: EventType,
}

/// What an undecodable entry says of its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The envelope's head can be read.
    Position(Position),
    /// Only the entry's own number can be read; the epoch must be guessed.
    Seq(Seq),
    /// Nothing.
    Nowhere,
}

/// Why an entry is no event of its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Garbage {
    pub(crate) claims: Claim,
    pub(crate) why: String,
}

/// The part of an envelope's wire form that says whose event it is, and which.
#[derive(Deserialize)]
struct WireHead<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    source: Source,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    epoch: Epoch,
    seq: Seq,
}

impl Garbage {
    /// An entry of which no more can be read than, perhaps, its own number.
    pub(crate) fn unread(seq: Option<Seq>, why: impl Into<String>) -> Self {
        Self {
            claims: seq.map_or(Claim::Nowhere, Claim::Seq),
            why: why.into(),
        }
    }
}

/// Where an envelope of `source` says that it stands, read off its beginning without reading the rest: our programs write
/// its id first. `None` if it does not begin as they begin it, whatever it is.
pub(crate) fn glance(envelope: &str, source: Source) -> Option<Position> {
    let id = envelope.strip_prefix("{\"id\":\"")?;
    let place = id.strip_prefix(source.as_str())?.strip_prefix('-')?;
    let (place, _) = place.split_once('"')?;
    let (epoch, seq) = place.split_once('-')?;
    Some(Position {
        epoch: Epoch(epoch.parse().ok()?),
        seq: Seq(seq.parse().ok()?),
    })
}

/// Reads the head of an entry of `source`'s stream: its number, its type, and its envelope must agree.
pub(crate) fn read(
    seq: Option<Seq>,
    event_type: &str,
    envelope: &str,
    source: Source,
) -> Result<Head, Garbage> {
    let head: WireHead<'_> = serde_json::from_str(envelope)
        .map_err(|error| Garbage::unread(seq, format!("the envelope can't be read: {error}")))?;
    if seq != Some(head.seq) {
        let why = format!("its envelope says that it is number {}", head.seq);
        return Err(Garbage::unread(seq, why));
    }
    let position = Position {
        epoch: head.epoch,
        seq: head.seq,
    };
    let garbage = |why: String| {
        Err(Garbage {
            claims: Claim::Position(position),
            why,
        })
    };
    let known = match event_type.parse::<EventType>() {
        Ok(known) if known.source() == source => known,
        Ok(_) => return garbage(format!("{source} does not publish `{event_type}`")),
        Err(error) => return garbage(format!("`{event_type}` {error}")),
    };
    if head.source != source {
        return garbage(format!("it says that it is from {}", head.source));
    }
    if head.r#type != event_type {
        let inner = &head.r#type;
        return garbage(format!("it came as {event_type}, but its envelope says {inner}"));
    }
    if head.id != Cause::new(source, position).to_string() {
        return garbage(format!("its id is {}, but it stands at {position}", head.id));
    }
    Ok(Head {
        position,
        event_type: known,
    })
}
