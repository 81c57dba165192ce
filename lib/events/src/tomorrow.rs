//! Versions of this program that do not exist yet, for the one test that replaces the one that ships by them and back again
//! (row 31 of the fault bench).
//!
//! The rule that it tests: a new shape is a new schema, and **readers ship one release before writers**, so that each
//! version reads what the one before it and the one after it write. A field more therefore takes two releases: tomorrow's
//! reads it and writes as ever, and the one after that writes it. Here every event has a field more, and in
//! `store::codec` every stored row.
//!
//! Compiled in by the feature `tomorrow` only, which no program that ships is built with; and without a call of
//! [`Release::begin`] a build with it does what every other does.

use std::sync::atomic::{AtomicU8, Ordering};

use serde::de::Error as _;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::{Event, EventType, Schema, Seq};

/// The name of the field that is new.
const FIELD: &str = "tomorrow";

/// The release that this process is.
static NOW: AtomicU8 = AtomicU8::new(Release::Today as u8);

/// A release of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Release {
    /// The one that ships.
    Today,
    /// Reads what the next one writes.
    Tomorrow,
    /// Writes it.
    Overmorrow,
}

impl Release {
    /// This process is of this release from now on. To be called before it writes or reads anything.
    pub fn begin(self) {
        NOW.store(self as u8, Ordering::Relaxed);
    }

    /// Whether this process knows the new shapes.
    pub fn reads() -> bool {
        NOW.load(Ordering::Relaxed) >= Self::Tomorrow as u8
    }

    /// Whether it writes them.
    pub fn writes() -> bool {
        NOW.load(Ordering::Relaxed) >= Self::Overmorrow as u8
    }
}

/// The schema in which the type is published after tomorrow.
pub(crate) const fn schema(event_type: EventType) -> Schema {
    Schema(event_type.schema().0 + 1)
}

/// What happened, in the new shape: with a field more, which is the number of the event itself, so that a reader can tell
/// whether it is the right one.
pub(crate) struct WithField<'a> {
    pub(crate) event: &'a Event,
    pub(crate) seq: Seq,
}

impl Serialize for WithField<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let known = serde_json::to_value(self.event).map_err(serde::ser::Error::custom)?;
        let known = known
            .as_object()
            .ok_or_else(|| serde::ser::Error::custom("a payload is an object"))?;
        let mut map = serializer.serialize_map(Some(known.len() + 1))?;
        for (name, value) in known {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry(FIELD, &self.seq)?;
        map.end()
    }
}

/// The payload in the shape that is known, out of the new one.
pub(crate) fn without_field(data: &RawValue, seq: Seq) -> Result<Box<RawValue>, serde_json::Error> {
    let mut known: Map<String, Value> = serde_json::from_str(data.get())?;
    let told = known.remove(FIELD).as_ref().and_then(Value::as_u64);
    if told != Some(seq.0) {
        return Err(serde_json::Error::custom(format!(
            "`{FIELD}` is {told:?} in the event numbered {}",
            seq.0
        )));
    }
    to_raw_value(&known)
}
