//! From a stream entry to something that can be applied: everything that needs no store.
//!
//! It is done before the transaction, so that the one writer of the store parses nothing.

use events::{Envelope, EnvelopeError, EventType, Position, Seq, Source};

use crate::entry::{Entry, StreamId};
use crate::head::{self, Claim, Garbage};
use crate::stream::ENVELOPE_BYTES_MAX;

/// An entry, read as far as it concerns the reader.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) id: StreamId,
    /// The type that it came under, known or not.
    pub(crate) event_type: String,
    /// The envelope as it came, for a dead letter.
    pub(crate) raw: String,
    pub(crate) content: Content,
}

/// What an entry turned out to be.
#[derive(Debug)]
pub(crate) enum Content {
    /// An event that concerns the reader.
    Event(Box<Envelope>),
    /// An event that does not: only the cursor moves.
    Passing(Position),
    /// It says that it is an event that was applied before. Whatever else it says, it is dropped unread: after a loss all
    /// that an outbox keeps comes again, to every reader.
    Repeat(Position),
    /// A known type in a newer schema: nobody may pass before the program is upgraded.
    Newer {
        /// Where it stands.
        position: Position,
        /// What the operator is told.
        why: String,
    },
    /// Not what any of our programs writes.
    Undecodable {
        /// Where it claims to stand. `None`: not even that can be read.
        claims: Claim,
        /// What is wrong with it.
        why: String,
    },
    /// Deleted while it was pending: only its id is left.
    Deleted,
}

impl Item {
    /// Reads an entry of `source`'s stream, of which everything up to `cursor` is applied. `concerns` says which types
    /// must be read whole.
    pub(crate) fn read(
        mut entry: Entry,
        source: Source,
        cursor: Position,
        concerns: impl Fn(EventType) -> bool,
    ) -> Self {
        let id = entry.id;
        let event_type = entry.take("type").unwrap_or_default();
        let seq = entry.take("seq").and_then(|seq| seq.parse().ok()).map(Seq);
        let content = match entry.take("envelope") {
            None if entry.fields.is_empty() => (Content::Deleted, String::new()),
            None => (Garbage::unread(seq, "it has no envelope").into(), String::new()),
            Some(raw) if let Some(position) = repeated(&raw, seq, source, cursor) => {
                (Content::Repeat(position), String::new())
            }
            Some(raw) => (content(&raw, seq, &event_type, source, concerns), raw),
        };
        Self {
            id,
            event_type,
            raw: content.1,
            content: content.0,
        }
    }

    /// Where it stands, if it can be read.
    pub(crate) fn position(&self) -> Option<Position> {
        match &self.content {
            Content::Event(envelope) => Some(envelope.position),
            Content::Passing(position) | Content::Repeat(position) | Content::Newer { position, .. } => {
                Some(*position)
            }
            Content::Undecodable { .. } | Content::Deleted => None,
        }
    }
}

/// Where it stands, if both its number and its envelope say that it was applied before. An entry that only says so can be
/// dropped as well: in that place nothing is missing.
fn repeated(raw: &str, seq: Option<Seq>, source: Source, cursor: Position) -> Option<Position> {
    head::glance(raw, source).filter(|position| Some(position.seq) == seq && *position <= cursor)
}

fn content(
    raw: &str,
    seq: Option<Seq>,
    event_type: &str,
    source: Source,
    concerns: impl Fn(EventType) -> bool,
) -> Content {
    if raw.len() > ENVELOPE_BYTES_MAX {
        return Garbage::unread(seq, format!("it is {} bytes long", raw.len())).into();
    }
    let head = match head::read(seq, event_type, raw, source) {
        Ok(head) => head,
        Err(garbage) => return garbage.into(),
    };
    if !concerns(head.event_type) {
        return Content::Passing(head.position);
    }
    match Envelope::from_json(raw) {
        Ok(envelope) => Content::Event(Box::new(envelope)),
        Err(error @ EnvelopeError::NewerSchema { .. }) => Content::Newer {
            position: head.position,
            why: error.to_string(),
        },
        Err(
            error @ (EnvelopeError::Malformed(_)
            | EnvelopeError::UnknownType(_)
            | EnvelopeError::UnknownSchema(_)
            | EnvelopeError::MalformedData { .. }),
        ) => Content::Undecodable {
            claims: Claim::Position(head.position),
            why: error.to_string(),
        },
    }
}

impl From<Garbage> for Content {
    fn from(Garbage { claims, why }: Garbage) -> Self {
        Self::Undecodable { claims, why }
    }
}

#[cfg(test)]
mod tests {
    use events::{Epoch, Event, OrderExpired, OrderId, Timestamp};

    use super::*;

    /// Everything before the event of these tests is applied.
    const CURSOR: Position = Position {
        epoch: Epoch(1),
        seq: Seq(6),
    };

    fn envelope() -> Envelope {
        let millis = [0x01, 0x9a, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 1];
        Envelope {
            source: Source::Expiration,
            position: Position {
                epoch: Epoch(1),
                seq: Seq(7),
            },
            time: Timestamp::from_seconds(1),
            traceparent: None,
            cause: None,
            event: Event::OrderExpired(OrderExpired {
                order_id: OrderId::from_bytes(millis),
                expires_at: Timestamp::from_seconds(1),
            }),
        }
    }

    fn read(seq: &str, event_type: &str, envelope: &str) -> Content {
        let fields = [
            ("seq", seq),
            ("type", event_type),
            ("subject", "x"),
            ("envelope", envelope),
        ];
        let fields = fields
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        let entry = Entry {
            id: StreamId::default(),
            fields,
        };
        Item::read(entry, Source::Expiration, CURSOR, |event_type| {
            event_type == EventType::OrderExpired
        })
        .content
    }

    #[test]
    fn what_was_applied_before_is_known_by_its_beginning() {
        for seq in [1, 5, 6] {
            let position = Position {
                epoch: Epoch(1),
                seq: Seq(seq),
            };
            let again = Envelope {
                position,
                ..envelope()
            };
            let content = read(&seq.to_string(), "order:expired", &again.to_json());
            assert!(
                matches!(content, Content::Repeat(at) if at == position),
                "{content:?}"
            );
        }
        // Where the entry's number says otherwise, or it does not begin as our programs begin it, it is read whole.
        let again = envelope().to_json().replace("expiration-1-7", "expiration-1-6");
        for (seq, envelope) in [("7", again.as_str()), ("6", &again.replace("{\"id", "{ \"id"))] {
            let content = read(seq, "order:expired", envelope);
            assert!(matches!(content, Content::Undecodable { .. }), "{content:?}");
        }
        for nothing in [
            "",
            "{",
            "{\"id\":\"expiration-1\"",
            "{\"id\":\"orders-1-1\"",
            "{\"id\":\"expiration--1-1\"",
        ] {
            assert_eq!(head::glance(nothing, Source::Expiration), None, "{nothing}");
        }
    }

    #[test]
    fn what_is_well_formed_is_read_as_far_as_it_concerns() {
        let good = envelope().to_json();
        assert!(matches!(read("7", "order:expired", &good), Content::Event(read) if *read == envelope()));
        let entry = Entry {
            id: StreamId::default(),
            fields: Vec::new(),
        };
        assert!(matches!(
            Item::read(entry, Source::Expiration, CURSOR, |_| true).content,
            Content::Deleted
        ));
        let newer = good.replace("order:expired:1", "order:expired:2");
        assert!(matches!(
            read("7", "order:expired", &newer),
            Content::Newer { .. }
        ));
    }

    #[test]
    fn every_kind_of_nonsense_is_named() {
        let good = envelope().to_json();
        let long = format!("{good}{}", " ".repeat(ENVELOPE_BYTES_MAX));
        let elsewhere = good.replace("\"source\":\"expiration\"", "\"source\":\"orders\"");
        let at = Claim::Position(envelope().position);
        for (seq, event_type, envelope, claim, word) in [
            ("7", "order:expired", "{", Claim::Seq(Seq(7)), "can't be read"),
            ("7", "order:expired", "{}", Claim::Seq(Seq(7)), "missing field"),
            ("seven", "order:expired", "{", Claim::Nowhere, "can't be read"),
            (
                "8",
                "order:expired",
                good.as_str(),
                Claim::Seq(Seq(8)),
                "number 7",
            ),
            (
                "7",
                "order:expired",
                long.as_str(),
                Claim::Seq(Seq(7)),
                "bytes long",
            ),
            ("7", "order:lost", good.as_str(), at, "no known type"),
            ("7", "order:created", good.as_str(), at, "does not publish"),
            ("7", "order:expired", elsewhere.as_str(), at, "from orders"),
            (
                "7",
                "order:expired",
                &good.replace("expiration-1-7", "expiration-1-8"),
                at,
                "expiration-1-8, but it stands at 1-7",
            ),
            (
                "7",
                "nonsense",
                r#"{"epoch":1,"seq":7}"#,
                Claim::Seq(Seq(7)),
                "missing field",
            ),
            (
                "7",
                "order:expired",
                &good.replace("orderId", "order"),
                at,
                "can't be read",
            ),
            (
                "7",
                "order:expired",
                &good.replace("expired:1", "expired:0"),
                at,
                "no data schema",
            ),
            (
                "7",
                "order:expired",
                &good.replace("order:expired\"", "order:created\""),
                at,
                "its envelope says order:created",
            ),
        ] {
            let Content::Undecodable { claims, why } = read(seq, event_type, envelope) else {
                panic!("{envelope} as {event_type} was read");
            };
            assert_eq!(claims, claim, "{why}");
            assert!(why.contains(word), "{why} does not say {word}");
        }
    }
}
