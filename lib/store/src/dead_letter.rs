//! Events that could not be applied: kept, with the reason, for an operator to replay or drop.

use events::{Epoch, Position, Seq, Source, Timestamp, Version};

use crate::codec::{self, DecodeError};
use crate::record::{Record, Table};

/// How much of an entry is kept. Nothing that the system publishes comes near it; poison may be of any size.
pub const DEAD_LETTER_ENTRY_BYTES_MAX: usize = 256 * 1024;

/// An event that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Whose stream it came from.
    pub source: Source,
    /// Its name among that source's dead letters: its position as text (`1-42`), or, where that can't be
    /// read, the id of its stream entry.
    pub id: String,
    /// Its place in the source's outbox, where that can be read.
    pub position: Option<Position>,
    /// The type that it came under, known or not.
    pub event_type: String,
    /// Why it could not be applied.
    pub reason: String,
    /// How often that was tried.
    pub tries: u32,
    /// When it was given up.
    pub buried_at: Timestamp,
    /// What came; cut to [`DEAD_LETTER_ENTRY_BYTES_MAX`].
    pub entry: String,
    /// How long it was before it was cut.
    pub entry_bytes: u64,
}

impl DeadLetter {
    /// The letter with its entry cut to the bound, at a character's end.
    pub(crate) fn cut(mut self) -> Self {
        self.entry_bytes = self.entry_bytes.max(self.entry.len() as u64);
        if self.entry.len() > DEAD_LETTER_ENTRY_BYTES_MAX {
            self.entry
                .truncate(self.entry.floor_char_boundary(DEAD_LETTER_ENTRY_BYTES_MAX));
        }
        self
    }
}

#[derive(bincode::Encode, bincode::Decode)]
struct DeadLetterV1 {
    source: u8,
    id: String,
    position: Option<(u32, u64)>,
    event_type: String,
    reason: String,
    tries: u32,
    buried_at_micros: i64,
    entry: String,
    entry_bytes: u64,
}

impl Record for DeadLetter {
    const TABLE: Table = Table(b'D', "dead letter");
    const SCHEMA: u8 = 1;
    type Key = (Source, String);

    fn key(&self) -> Self::Key {
        (self.source, self.id.clone())
    }

    fn version(&self) -> Version {
        Version::FIRST
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&DeadLetterV1 {
            source: self.source.code(),
            id: self.id.clone(),
            position: self.position.map(|at| (at.epoch.0, at.seq.0)),
            event_type: self.event_type.clone(),
            reason: self.reason.clone(),
            tries: self.tries,
            buried_at_micros: self.buried_at.as_micros(),
            entry: self.entry.clone(),
            entry_bytes: self.entry_bytes,
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => {
                let row: DeadLetterV1 = codec::decode(bytes)?;
                Ok(Self {
                    source: Source::from_code(row.source)
                        .ok_or_else(|| DecodeError::Invalid(format!("{} is no source", row.source)))?,
                    id: row.id,
                    position: row.position.map(|(epoch, seq)| Position {
                        epoch: Epoch(epoch),
                        seq: Seq(seq),
                    }),
                    event_type: row.event_type,
                    reason: row.reason,
                    tries: row.tries,
                    buried_at: Timestamp::from_micros(row.buried_at_micros),
                    entry: row.entry,
                    entry_bytes: row.entry_bytes,
                })
            }
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}
