//! Entries of a stream as they come from Redis, still unread.

use std::fmt;
use std::str::FromStr;

use redis::Value;

use crate::errors::BusError;

/// The id that Redis gave an entry: its server's time in milliseconds, and a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct StreamId {
    pub(crate) millis: u64,
    pub(crate) counter: u64,
}

impl StreamId {
    /// As large as an id can be.
    pub(crate) const MAX: Self = Self {
        millis: u64::MAX,
        counter: u64::MAX,
    };
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.counter)
    }
}

impl FromStr for StreamId {
    type Err = BusError;
    fn from_str(text: &str) -> Result<Self, BusError> {
        let parse = || {
            let (millis, counter) = text.split_once('-')?;
            Some(Self {
                millis: millis.parse().ok()?,
                counter: counter.parse().ok()?,
            })
        };
        parse().ok_or(BusError::Shape("not the id of a stream entry"))
    }
}

/// An entry of an event stream or of a request stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: StreamId,
    /// Names and values in order; empty if the entry was deleted while it was pending.
    pub(crate) fields: Vec<(String, String)>,
}

impl Entry {
    /// Takes the value of a field out of the entry.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let (_, value) = self.fields.iter_mut().find(|(field, _)| field == name)?;
        Some(std::mem::take(value))
    }
}

/// The entries in a reply to `XREAD` or `XREADGROUP` of one stream; none if the time was over.
///
/// Read by hand: the client library's own reading makes a map per entry, which costs as much as applying it.
pub(crate) fn entries_read(reply: Value) -> Result<Vec<Entry>, BusError> {
    const SHAPE: BusError = BusError::Shape("not a list of streams");
    if reply == Value::Nil {
        return Ok(Vec::new());
    }
    let stream = list(reply).ok_or(SHAPE)?.into_iter().next().ok_or(SHAPE)?;
    let entries = list(stream).ok_or(SHAPE)?.into_iter().nth(1).ok_or(SHAPE)?;
    list(entries).ok_or(SHAPE)?.into_iter().map(entry).collect()
}

/// The entries in a reply to `XRANGE` or `XREVRANGE`.
pub(crate) fn entries_ranged(reply: Value) -> Result<Vec<Entry>, BusError> {
    const SHAPE: BusError = BusError::Shape("not a list of entries");
    list(reply).ok_or(SHAPE)?.into_iter().map(entry).collect()
}

fn entry(value: Value) -> Result<Entry, BusError> {
    const SHAPE: BusError = BusError::Shape("not a stream entry");
    let mut parts = list(value).ok_or(SHAPE)?.into_iter();
    let id = parts.next().and_then(text).ok_or(SHAPE)?.parse()?;
    let mut fields = Vec::new();
    match parts.next() {
        // Deleted while it was pending: its id is all that is left.
        None | Some(Value::Nil) => {}
        Some(values) => {
            let mut values = list(values).ok_or(SHAPE)?.into_iter();
            while let (Some(name), Some(value)) = (values.next(), values.next()) {
                fields.push((text(name).ok_or(SHAPE)?, text(value).ok_or(SHAPE)?));
            }
        }
    }
    Ok(Entry { id, fields })
}

pub(crate) fn list(value: Value) -> Option<Vec<Value>> {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the client library's enum, of which one shape is meant"
    )]
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

/// A string; bytes that are not UTF-8 are replaced, and what is then no JSON any more is a dead letter.
pub(crate) fn text(value: Value) -> Option<String> {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the client library's enum, of which two shapes are meant"
    )]
    match value {
        Value::BulkString(bytes) => Some(
            String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        ),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn ids_order_as_redis_orders_them() {
        let id = |text: &str| text.parse::<StreamId>().expect("an id");
        assert!(id("9-10") > id("9-9") && id("10-0") > id("9-10"));
        assert_eq!(id("1700000000000-3").to_string(), "1700000000000-3");
        assert!("1700".parse::<StreamId>().is_err());
    }

    #[test]
    fn a_reply_is_read_whole_and_a_deleted_entry_keeps_its_id() {
        let whole = Value::Array(vec![bulk("1-0"), Value::Array(vec![bulk("seq"), bulk("7")])]);
        let deleted = Value::Array(vec![bulk("1-1"), Value::Nil]);
        let reply = Value::Array(vec![Value::Array(vec![
            bulk("events:a"),
            Value::Array(vec![whole, deleted]),
        ])]);
        let mut entries = entries_read(reply).expect("a reply");
        assert_eq!(entries[0].take("seq").as_deref(), Some("7"));
        assert_eq!(entries[0].take("envelope"), None);
        assert!(entries[1].fields.is_empty());
        assert_eq!(entries_read(Value::Nil).expect("nothing"), Vec::new());
        assert!(entries_read(Value::Int(1)).is_err());
    }
}
