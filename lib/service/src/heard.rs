//! How late it is at the others, as their own events tell: the clock by which they make ids.

use std::sync::{Mutex, MutexGuard, PoisonError};

use events::{Position, Source, Timestamp};

/// The time of the newest event that was applied, for each source. Forgotten at a restart, which makes reads wait where
/// they need not, and never the other way round.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    sources: Mutex<[Newest; Source::ALL.len()]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Newest {
    /// The newest that is surely durable.
    durable: Option<Timestamp>,
    /// The newest that a transaction has staged. A read may count on it only once the cursor has come so far.
    staged: Option<(Position, Timestamp)>,
}

impl Newest {
    /// What was staged is durable when the cursor stands there or beyond.
    fn settle(&mut self, cursor: Position) {
        if let Some((_, time)) = self.staged.take_if(|(position, _)| *position <= cursor) {
            self.durable = Some(time);
        }
    }
}

impl Heard {
    /// Notes an event that a transaction applies; `cursor` is how far the source's events are durable.
    pub(crate) fn note(&self, source: Source, position: Position, time: Timestamp, cursor: Position) {
        let mut sources = self.lock();
        let newest = &mut sources[source as usize];
        newest.settle(cursor);
        newest.staged = Some((position, time));
    }

    /// The time of the newest durable event of a source; `cursor` as for [`Self::note`].
    pub(crate) fn newest(&self, source: Source, cursor: Position) -> Option<Timestamp> {
        let mut sources = self.lock();
        let newest = &mut sources[source as usize];
        newest.settle(cursor);
        newest.durable
    }

    fn lock(&self) -> MutexGuard<'_, [Newest; Source::ALL.len()]> {
        // Each note is replaced whole, so that a panic elsewhere can't have left one half written.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use events::{Epoch, Seq};

    use super::*;

    #[test]
    fn only_what_is_durable_counts() {
        let heard = Heard::default();
        let at = |seq| Position {
            epoch: Epoch(1),
            seq: Seq(seq),
        };
        let time = Timestamp::from_seconds;
        let newest = |cursor| heard.newest(Source::Orders, at(cursor));
        assert_eq!(newest(0), None);
        heard.note(Source::Orders, at(1), time(10), at(0));
        heard.note(Source::Orders, at(2), time(20), at(0));
        assert_eq!(newest(0), None, "the batch is not on the disk yet");
        assert_eq!(newest(2), Some(time(20)));
        heard.note(Source::Orders, at(3), time(30), at(2));
        assert_eq!(newest(2), Some(time(20)));
        // A clock that was put back is followed.
        heard.note(Source::Orders, at(4), time(5), at(3));
        assert_eq!(newest(4), Some(time(5)));
        assert_eq!(heard.newest(Source::Tickets, at(9)), None);
    }
}
