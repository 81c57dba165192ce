//! How far a service has applied each source's events. A cursor moves in the transaction of the effect.

use events::{Epoch, Position, Seq, Source, Version};

use crate::codec::{self, DecodeError};
use crate::errors::CursorError;
use crate::record::{Record, Table};

/// The row that keeps one source's cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) source: Source,
    pub(crate) position: Position,
}

#[derive(bincode::Encode, bincode::Decode)]
struct CursorV1 {
    source: u8,
    epoch: u32,
    seq: u64,
}

impl Record for Cursor {
    const TABLE: Table = Table(b'C', "cursor");
    const SCHEMA: u8 = 1;
    type Key = Source;

    fn key(&self) -> Source {
        self.source
    }

    fn version(&self) -> Version {
        Version::FIRST
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&CursorV1 {
            source: self.source.code(),
            epoch: self.position.epoch.0,
            seq: self.position.seq.0,
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => {
                let row: CursorV1 = codec::decode(bytes)?;
                let source = Source::from_code(row.source)
                    .ok_or_else(|| DecodeError::Invalid(format!("{} is no source", row.source)))?;
                Ok(Self {
                    source,
                    position: Position {
                        epoch: Epoch(row.epoch),
                        seq: Seq(row.seq),
                    },
                })
            }
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

/// The cursors of all sources, in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cursors([Option<Position>; Source::ALL.len()]);

impl Cursors {
    /// The cursor of a source, if it has ever moved.
    pub(crate) fn get(&self, source: Source) -> Option<Position> {
        self.0.get(slot(source)).copied().flatten()
    }

    /// Sets the cursor of a source.
    pub(crate) fn set(&mut self, source: Source, position: Option<Position>) {
        if let Some(cursor) = self.0.get_mut(slot(source)) {
            *cursor = position;
        }
    }
}

fn slot(source: Source) -> usize {
    usize::from(source.code() - 1)
}

/// Whether the event at `position` is the next one after `cursor`.
///
/// A source that begins a new epoch counts from 1 again; its first event follows whatever came before.
pub(crate) fn check(cursor: Position, position: Position) -> Result<(), CursorError> {
    if position <= cursor {
        return Err(CursorError::Duplicate);
    }
    let expected = if position.epoch == cursor.epoch {
        Position {
            epoch: cursor.epoch,
            seq: cursor.seq.next(),
        }
    } else {
        Position {
            epoch: position.epoch,
            seq: Seq(1),
        }
    };
    if position == expected {
        Ok(())
    } else {
        Err(CursorError::Gap { expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(epoch: u32, seq: u64) -> Position {
        Position {
            epoch: Epoch(epoch),
            seq: Seq(seq),
        }
    }

    #[test]
    fn only_the_next_event_is_applied() {
        let gap = |epoch, seq| {
            Err(CursorError::Gap {
                expected: at(epoch, seq),
            })
        };
        for (cursor, event, answer) in [
            (Position::default(), at(1, 1), Ok(())),
            (Position::default(), at(1, 2), gap(1, 1)),
            (at(1, 5), at(1, 6), Ok(())),
            (at(1, 5), at(1, 5), Err(CursorError::Duplicate)),
            (at(1, 5), at(1, 1), Err(CursorError::Duplicate)),
            (at(1, 5), at(1, 8), gap(1, 6)),
            (at(1, 5), at(2, 1), Ok(())),
            (at(1, 5), at(2, 6), gap(2, 1)),
            (at(2, 1), at(1, 9), Err(CursorError::Duplicate)),
        ] {
            assert_eq!(check(cursor, event), answer, "{event} after {cursor}");
        }
    }

    #[test]
    fn every_source_has_a_slot_of_its_own() {
        let mut cursors = Cursors::default();
        for (number, source) in (1_u64..).zip(Source::ALL) {
            cursors.set(source, Some(at(1, number)));
        }
        for (number, source) in (1_u64..).zip(Source::ALL) {
            assert_eq!(cursors.get(source), Some(at(1, number)));
        }
    }
}
