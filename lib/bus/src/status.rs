//! How the parts of the bus are doing, for readiness, `/internal/status` and operators.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use events::{Position, Source};

use crate::standing::TakenBack;

/// How the bus of one service is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusStatus {
    /// Every part that runs has reached Redis at its last try. False before the first part has connected.
    pub connected: bool,
    /// The last event that the relay has put into the stream, as far as it knows.
    pub relayed: Position,
    /// Why the relay does not publish, if it does not.
    pub relay_trouble: Option<String>,
    /// What the store has taken back from its stream since the start, if it was set back.
    pub taken_back: TakenBack,
    /// For which readers the relay makes a snapshot at the moment.
    pub snapshots: Vec<Source>,
    /// The sources whose events this service reads.
    pub sources: Vec<SourceStatus>,
}

/// How one consumer is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// Whose events it reads.
    pub source: Source,
    /// The last event that it has applied.
    pub cursor: Position,
    /// The stream's last event, when it was last seen.
    pub head: Option<Position>,
    /// What it does.
    pub state: SourceState,
}

impl SourceStatus {
    /// How many events it is behind, as far as it knows.
    pub fn lag(&self) -> u64 {
        match self.head {
            Some(head) if head.epoch == self.cursor.epoch => head.seq.0.saturating_sub(self.cursor.seq.0),
            Some(head) if head.epoch > self.cursor.epoch => head.seq.0,
            Some(_) | None => 0,
        }
    }
}

/// What a consumer does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SourceState {
    /// It has not reached Redis yet, or not again.
    #[default]
    Connecting,
    /// It reads.
    Reading,
    /// Events are missing; it has asked for them and drops what comes after them.
    AwaitingResend,
    /// It applies a snapshot: what its source has takes the place of what was heard of it before.
    Restating,
    /// Its own store can't be written; it holds what it has read and tries again.
    StoreUnavailable(String),
    /// It stands still, loudly: what comes next is of a schema that this program does not know yet.
    Stopped(String),
}

impl fmt::Display for SourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::Reading => f.write_str("reading"),
            Self::AwaitingResend => f.write_str("awaiting a resend"),
            Self::Restating => f.write_str("applying a snapshot"),
            Self::StoreUnavailable(why) => write!(f, "the store can't be written: {why}"),
            Self::Stopped(why) => write!(f, "stopped: {why}"),
        }
    }
}

/// Where the parts write down how they are doing.
#[derive(Default)]
pub(crate) struct Board {
    parts: Mutex<Parts>,
}

#[derive(Default)]
struct Parts {
    relay: Option<RelayNote>,
    sources: BTreeMap<Source, SourceNote>,
}

/// How a relay is doing.
#[derive(Debug, Clone, Default)]
pub(crate) struct RelayNote {
    pub(crate) relayed: Position,
    pub(crate) trouble: Option<String>,
    pub(crate) connected: bool,
    pub(crate) taken_back: TakenBack,
    pub(crate) snapshots: Vec<Source>,
}

struct SourceNote {
    status: SourceStatus,
    connected: bool,
}

impl Board {
    pub(crate) fn relay(&self, note: RelayNote) {
        self.lock().relay = Some(note);
    }

    pub(crate) fn source(&self, status: SourceStatus, connected: bool) {
        self.lock()
            .sources
            .insert(status.source, SourceNote { status, connected });
    }

    pub(crate) fn status(&self) -> BusStatus {
        let parts = self.lock();
        let some_part_runs = parts.relay.is_some() || !parts.sources.is_empty();
        let connected = some_part_runs
            && parts.relay.as_ref().is_none_or(|relay| relay.connected)
            && parts.sources.values().all(|note| note.connected);
        let relay = parts.relay.clone().unwrap_or_default();
        BusStatus {
            connected,
            relayed: relay.relayed,
            relay_trouble: relay.trouble,
            taken_back: relay.taken_back,
            snapshots: relay.snapshots,
            sources: parts.sources.values().map(|note| note.status.clone()).collect(),
        }
    }

    /// Each note is replaced whole, so that a panic elsewhere can't have left one half written.
    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use events::{Epoch, Seq};

    use super::*;

    fn at(epoch: u32, seq: u64) -> Position {
        Position {
            epoch: Epoch(epoch),
            seq: Seq(seq),
        }
    }

    #[test]
    fn connected_means_every_part_that_runs() {
        let board = Board::default();
        assert!(!board.status().connected, "nothing runs yet");
        board.relay(RelayNote {
            relayed: at(1, 5),
            connected: true,
            ..RelayNote::default()
        });
        assert!(board.status().connected);
        let status = |head| SourceStatus {
            source: Source::Auth,
            cursor: at(1, 2),
            head,
            state: SourceState::Reading,
        };
        board.source(status(None), false);
        assert!(!board.status().connected);
        board.source(status(None), true);
        assert!(board.status().connected);
        assert_eq!(board.status().relayed, at(1, 5));
        assert_eq!(status(None).lag(), 0);
        assert_eq!(status(Some(at(1, 7))).lag(), 5);
        assert_eq!(status(Some(at(2, 7))).lag(), 7);
    }
}
