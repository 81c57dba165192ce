//! The envelope: an event with where, when and why it happened. JSON on the wire, with CloudEvents' names.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::catalog::UnknownEventType;
use crate::{Cause, Epoch, Event, EventType, Position, Schema, Seq, Source, Timestamp, Version};

/// An event with where, when and why it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Who published it.
    pub source: Source,
    /// Its place in that service's outbox.
    pub position: Position,
    /// When it was decided, by the publisher's clock.
    pub time: Timestamp,
    /// The W3C trace context of what led to it, if there is one.
    pub traceparent: Option<String>,
    /// The event that led to it, if one did.
    pub cause: Option<Cause>,
    /// What happened.
    pub event: Event,
}

/// The part of an envelope that tells whether it is next, read without reading what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct EnvelopeHead {
    /// The epoch of the publisher's store.
    pub epoch: Epoch,
    /// The number in the publisher's outbox.
    pub seq: Seq,
}

/// Why a text is not an envelope that this program can apply.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not JSON, or not of an envelope's shape.
    #[error("the envelope can't be read: {0}")]
    Malformed(#[source] serde_json::Error),
    /// No such type of event.
    #[error("`{0}` {UnknownEventType}")]
    UnknownType(String),
    /// A known type in a schema from the future: the reader must be upgraded first.
    #[error("{event_type} comes in schema {found:?}, newer than {known:?}: upgrade this service, it goes on by itself", known = .event_type.schema())]
    NewerSchema {
        /// The type.
        event_type: EventType,
        /// The schema that it came in.
        found: Schema,
    },
    /// A `dataschema` that is none of ours.
    #[error("`{0}` is no data schema of this system")]
    UnknownSchema(String),
    /// The payload does not fit its schema.
    #[error("the data of {event_type} can't be read: {cause}")]
    MalformedData {
        /// The type.
        event_type: EventType,
        /// What is wrong.
        #[source]
        cause: serde_json::Error,
    },
}

#[derive(Serialize)]
struct WireOut<'a, D> {
    id: String,
    source: Source,
    r#type: &'static str,
    subject: &'a str,
    time: Timestamp,
    dataschema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    epoch: Epoch,
    seq: Seq,
    entityversion: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
    data: D,
}

#[derive(Deserialize)]
struct WireIn<'a> {
    source: Source,
    #[serde(borrow)]
    r#type: std::borrow::Cow<'a, str>,
    time: Timestamp,
    #[serde(borrow)]
    dataschema: std::borrow::Cow<'a, str>,
    traceparent: Option<String>,
    epoch: Epoch,
    seq: Seq,
    cause: Option<Cause>,
    #[serde(borrow)]
    data: &'a RawValue,
}

const SCHEMA_PREFIX: &str = "urn:boxoffice:";

impl Envelope {
    /// The envelope's id, unique in the whole system: `orders-1-42`.
    pub fn id(&self) -> String {
        Cause::new(self.source, self.position).to_string()
    }

    /// The wire form.
    pub fn to_json(&self) -> String {
        let schema = self.event.event_type().schema();
        #[cfg(feature = "tomorrow")]
        if crate::tomorrow::Release::writes() {
            let data = crate::tomorrow::WithField {
                event: &self.event,
                seq: self.position.seq,
            };
            return self.to_json_in(crate::tomorrow::schema(self.event.event_type()), data);
        }
        self.to_json_in(schema, &self.event)
    }

    /// The wire form with this payload, which is of that schema.
    fn to_json_in(&self, schema: Schema, data: impl Serialize) -> String {
        let subject = self.event.subject();
        let event_type = self.event.event_type();
        let wire = WireOut {
            id: self.id(),
            source: self.source,
            r#type: event_type.as_str(),
            subject: &subject,
            time: self.time,
            dataschema: format!("{SCHEMA_PREFIX}{event_type}:{}", schema.0),
            traceparent: self.traceparent.as_deref(),
            epoch: self.position.epoch,
            seq: self.position.seq,
            entityversion: self.event.entity_version(),
            cause: self.cause,
            data,
        };
        serde_json::to_string(&wire).expect("strings, numbers and structs with text keys always serialize")
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// See [`EnvelopeError`]; only [`EnvelopeError::NewerSchema`] gets better by itself.
    pub fn from_json(text: &str) -> Result<Self, EnvelopeError> {
        let wire: WireIn<'_> = serde_json::from_str(text).map_err(EnvelopeError::Malformed)?;
        let event_type: EventType = wire
            .r#type
            .parse()
            .map_err(|UnknownEventType| EnvelopeError::UnknownType(wire.r#type.to_string()))?;
        let schema = wire
            .dataschema
            .strip_prefix(SCHEMA_PREFIX)
            .and_then(|rest| rest.strip_prefix(event_type.as_str()))
            .and_then(|rest| rest.strip_prefix(':'))
            .and_then(|number| number.parse().ok())
            .map(Schema)
            .filter(|schema| schema.0 > 0)
            .ok_or_else(|| EnvelopeError::UnknownSchema(wire.dataschema.to_string()))?;
        #[cfg(feature = "tomorrow")]
        let upcast = (schema == crate::tomorrow::schema(event_type) && crate::tomorrow::Release::reads())
            .then(|| crate::tomorrow::without_field(wire.data, wire.seq))
            .transpose()
            .map_err(|cause| EnvelopeError::MalformedData { event_type, cause })?;
        #[cfg(feature = "tomorrow")]
        let (schema, wire) = match &upcast {
            Some(data) => (event_type.schema(), WireIn { data, ..wire }),
            None => (schema, wire),
        };
        if schema > event_type.schema() {
            return Err(EnvelopeError::NewerSchema {
                event_type,
                found: schema,
            });
        }
        let event = Event::from_data(event_type, wire.data)
            .map_err(|cause| EnvelopeError::MalformedData { event_type, cause })?;
        Ok(Self {
            source: wire.source,
            position: Position {
                epoch: wire.epoch,
                seq: wire.seq,
            },
            time: wire.time,
            traceparent: wire.traceparent,
            cause: wire.cause,
            event,
        })
    }
}

impl EnvelopeHead {
    /// Reads only the position out of an envelope's wire form.
    ///
    /// # Errors
    /// When it is not JSON or has no position.
    pub fn from_json(text: &str) -> Result<Self, EnvelopeError> {
        serde_json::from_str(text).map_err(EnvelopeError::Malformed)
    }

    /// The position.
    pub const fn position(self) -> Position {
        Position {
            epoch: self.epoch,
            seq: self.seq,
        }
    }
}
