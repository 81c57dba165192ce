//! What a service says of its store as a whole.

use events::{Position, Source, Timestamp};
use serde::{Deserialize, Serialize};

use crate::VersionGap;

/// One service's store, at the moment of reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Whose.
    pub source: Source,
    /// Whether the store serves. The books of one that does not are not judged.
    pub serving: bool,
    /// How it stands, in words; why not, if it does not serve.
    pub state: String,
    /// When this was read, by the service's own clock.
    pub time: Timestamp,
    /// The last event in the outbox, and the epoch of the store.
    pub head: Position,
    /// The oldest event that the outbox still keeps; beyond the head when it keeps none.
    pub oldest: u64,
    /// The last event that the relay has put into the stream; nothing where no relay runs.
    pub relayed: Option<Position>,
    /// Why the relay does not publish, if it does not.
    pub relay_trouble: Option<String>,
    /// How far it has applied each source that it reads.
    pub readings: Vec<Reading>,
    /// How many dead letters it keeps.
    pub dead_letters: u64,
    /// How many keys the store has.
    pub keys: u64,
    /// A hash of the service's own rows, if it was computed.
    pub state_hash: Option<String>,
    /// Where the versions in the kept outbox do not go up by one.
    pub version_gaps: Vec<VersionGap>,
}

/// How far a service has read one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// Whose events.
    pub source: Source,
    /// The last event that was applied.
    pub cursor: Position,
    /// What the consumer does, in words; nothing where none runs.
    pub state: Option<String>,
}
