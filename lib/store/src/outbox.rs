//! The events that a service has decided, kept until the relay has published them, and for a while after.
//!
//! The events of a batch are written beside its effects, in as few rows as their size allows. A row's key is
//! the number of its first event; the numbers of all rows together have no gaps.

use std::collections::VecDeque;

use events::{EventType, Seq, Timestamp, Version};

use crate::codec::{self, DecodeError};
use crate::record::{Record, Table};

/// How much of events one row holds before the next one is begun (an event of any size is in one row).
/// Sixteen and more rows share a page of the engine, and a page beyond 128 KiB costs a file of its own.
const OUTBOX_ROW_BYTES_MAX: usize = 6 * 1024;

/// How long published events are kept.
pub const OUTBOX_DAYS: u64 = 7;

/// How many events are kept, at least those of the last batch; older ones go before [`OUTBOX_DAYS`] are over.
pub const OUTBOX_EVENTS_MAX: u64 = 200_000;

/// How many bytes of events are kept, at least those of the last batch; older ones go before [`OUTBOX_DAYS`] are over.
/// On the disk they take somewhat more: a row's header, and the engine's own.
pub const OUTBOX_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How many outbox rows one transaction of the trimming removes.
pub(crate) const TRIMMED_ROWS_PER_TRANSACTION_MAX: usize = 1_000;

/// One event as the relay publishes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Its number.
    pub seq: Seq,
    /// Its type.
    pub event_type: EventType,
    /// The id of the entity that it is about, as text.
    pub subject: String,
    /// The envelope, as JSON.
    pub envelope: String,
}

impl OutboxEntry {
    /// How much of the outbox's bound it takes.
    fn bytes(&self) -> u64 {
        (self.event_type.as_str().len() + self.subject.len() + self.envelope.len()) as u64
    }
}

/// One row: consecutive events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutboxRow {
    pub(crate) entries: Vec<OutboxEntry>,
    /// When the newest of them was decided.
    pub(crate) time: Timestamp,
    first: Seq,
}

/// Generic only so that it is written from borrowed texts, which have the same bytes as owned ones: this row
/// is written with every batch.
#[derive(bincode::Encode, bincode::Decode)]
struct OutboxRowV1<Text> {
    first: u64,
    time_micros: i64,
    /// Type, subject, envelope.
    entries: Vec<(Text, Text, Text)>,
}

impl Record for OutboxRow {
    const TABLE: Table = Table(b'O', "outbox");
    const SCHEMA: u8 = 1;
    type Key = u64;

    fn key(&self) -> u64 {
        self.first.0
    }

    fn version(&self) -> Version {
        Version::FIRST
    }

    fn encode(&self) -> Vec<u8> {
        fn texts(entry: &OutboxEntry) -> (&str, &str, &str) {
            (entry.event_type.as_str(), &entry.subject, &entry.envelope)
        }
        codec::encode(&OutboxRowV1 {
            first: self.first.0,
            time_micros: self.time.as_micros(),
            entries: self.entries.iter().map(texts).collect(),
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => {
                let row: OutboxRowV1<String> = codec::decode(bytes)?;
                let entries = (row.first..)
                    .zip(row.entries)
                    .map(|(seq, (event_type, subject, envelope))| {
                        let event_type = event_type
                            .parse()
                            .map_err(|error| DecodeError::Invalid(format!("{event_type} {error}")))?;
                        Ok(OutboxEntry {
                            seq: Seq(seq),
                            event_type,
                            subject,
                            envelope,
                        })
                    })
                    .collect::<Result<Vec<_>, DecodeError>>()?;
                if entries.is_empty() {
                    return Err(DecodeError::Invalid("it holds no event".to_owned()));
                }
                Ok(Self {
                    first: Seq(row.first),
                    entries,
                    time: Timestamp::from_micros(row.time_micros),
                })
            }
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

/// The rows of a batch's events.
pub(crate) fn rows(entries: Vec<(OutboxEntry, Timestamp)>) -> Vec<OutboxRow> {
    let mut rows: Vec<OutboxRow> = Vec::new();
    let mut bytes = 0;
    for (entry, time) in entries {
        let entry_bytes = entry.subject.len() + entry.envelope.len();
        match rows.last_mut() {
            Some(row) if bytes + entry_bytes <= OUTBOX_ROW_BYTES_MAX => {
                bytes += entry_bytes;
                row.time = row.time.max(time);
                row.entries.push(entry);
            }
            Some(_) | None => {
                bytes = entry_bytes;
                rows.push(OutboxRow {
                    first: entry.seq,
                    time,
                    entries: vec![entry],
                });
            }
        }
    }
    rows
}

/// Where one row of the outbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: Seq,
    pub(crate) count: u32,
    pub(crate) bytes: u64,
    pub(crate) time: Timestamp,
}

impl Span {
    pub(crate) fn of(row: &OutboxRow) -> Self {
        Self {
            first: row.first,
            count: u32::try_from(row.entries.len()).unwrap_or(u32::MAX),
            bytes: row.entries.iter().map(OutboxEntry::bytes).sum(),
            time: row.time,
        }
    }

    /// The number after the row's last event.
    fn end(self) -> u64 {
        self.first.0 + u64::from(self.count)
    }
}

/// The durable rows of the outbox, in order, in memory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans {
    rows: VecDeque<Span>,
    bytes: u64,
}

/// How much of the outbox is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    /// Nothing that is older.
    pub(crate) since: Timestamp,
    pub(crate) events_max: u64,
    pub(crate) bytes_max: u64,
}

impl Spans {
    /// The next row; it must follow the last one.
    pub(crate) fn push(&mut self, span: Span) -> Result<(), DecodeError> {
        match self.rows.back() {
            Some(last) if last.end() != span.first.0 => Err(DecodeError::Invalid(format!(
                "outbox event {} is followed by {}",
                last.end() - 1,
                span.first
            ))),
            Some(_) | None => {
                self.bytes += span.bytes;
                self.rows.push_back(span);
                Ok(())
            }
        }
    }

    /// The row has been trimmed away.
    pub(crate) fn remove(&mut self, first: Seq) {
        if let Ok(index) = self.rows.binary_search_by_key(&first, |span| span.first) {
            let removed = self.rows.remove(index);
            self.bytes -= removed.map_or(0, |span| span.bytes);
        }
    }

    pub(crate) fn first(&self) -> Option<Seq> {
        self.rows.front().map(|span| span.first)
    }

    /// The last event's number, if there is one.
    pub(crate) fn last(&self) -> Option<Seq> {
        self.rows.back().map(|span| Seq(span.end() - 1))
    }

    /// The keys of all rows that hold an event after `after`, in order.
    pub(crate) fn after(&self, after: Seq) -> impl Iterator<Item = u64> {
        let from = self.rows.partition_point(|span| span.end() <= after.0 + 1);
        self.rows.range(from..).map(|span| span.first.0)
    }

    /// How many events there are.
    pub(crate) fn events(&self) -> u64 {
        match (self.rows.front(), self.rows.back()) {
            (Some(first), Some(last)) => last.end() - first.first.0,
            (None, _) | (_, None) => 0,
        }
    }

    /// How many bytes of events there are.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The keys of the rows that are too old or too many, the oldest first; bounded. The last row stays.
    pub(crate) fn trimmable(&self, kept: Kept) -> Vec<u64> {
        let Some(last) = self.last() else {
            return Vec::new();
        };
        let mut bytes = self.bytes;
        self.rows
            .iter()
            .take(self.rows.len() - 1)
            .take_while(|span| {
                let events = last.0 + 1 - span.first.0;
                let goes = span.time < kept.since || events > kept.events_max || bytes > kept.bytes_max;
                bytes -= span.bytes;
                goes
            })
            .take(TRIMMED_ROWS_PER_TRANSACTION_MAX)
            .map(|span| span.first.0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u64, count: u32) -> Span {
        Span {
            first: Seq(first),
            count,
            bytes: u64::from(count) * 100,
            time: Timestamp::from_seconds(i64::try_from(first).unwrap()),
        }
    }

    fn spans() -> Spans {
        let mut spans = Spans::default();
        for span in [span(5, 3), span(8, 1), span(9, 10)] {
            spans.push(span).unwrap();
        }
        spans
    }

    #[test]
    fn rows_are_found_by_the_event_that_comes_next() {
        let from = |after| spans().after(Seq(after)).collect::<Vec<_>>();
        assert_eq!(from(0), [5, 8, 9]);
        assert_eq!(from(6), [5, 8, 9]);
        assert_eq!(from(7), [8, 9]);
        assert_eq!(from(8), [9]);
        assert_eq!(from(17), [9]);
        assert_eq!(from(18), Vec::<u64>::new());
        assert_eq!(spans().last(), Some(Seq(18)));
    }

    #[test]
    fn a_hole_between_rows_is_refused() {
        assert!(spans().push(span(20, 1)).is_err());
        assert!(spans().push(span(18, 1)).is_err());
        assert!(spans().push(span(19, 1)).is_ok());
    }

    #[test]
    fn trimming_goes_by_age_by_count_and_by_size_and_spares_the_last_row() {
        let kept = |seconds, events_max, bytes_max| Kept {
            since: Timestamp::from_seconds(seconds),
            events_max,
            bytes_max,
        };
        let trim = |seconds, events_max| spans().trimmable(kept(seconds, events_max, u64::MAX));
        assert_eq!(trim(0, 100), Vec::<u64>::new());
        assert_eq!(trim(6, 100), [5]);
        assert_eq!(trim(0, 10), [5, 8]);
        assert_eq!(trim(0, 13), [5]);
        assert_eq!(trim(1_000, 0), [5, 8]);
        let to = |bytes_max| spans().trimmable(kept(0, 100, bytes_max));
        assert_eq!(to(1_400), Vec::<u64>::new());
        assert_eq!(to(1_399), [5]);
        assert_eq!(to(1_099), [5, 8]);
        assert_eq!(to(0), [5, 8]);
    }

    #[test]
    fn the_bytes_that_go_are_not_counted_any_more() {
        let mut spans = spans();
        assert_eq!((spans.events(), spans.bytes()), (14, 1_400));
        spans.remove(Seq(5));
        spans.remove(Seq(5));
        assert_eq!((spans.events(), spans.bytes()), (11, 1_100));
    }

    #[test]
    fn events_share_a_row_until_it_is_full() {
        let entry = |seq, bytes| {
            let entry = OutboxEntry {
                seq: Seq(seq),
                event_type: EventType::OrderCreated,
                subject: String::new(),
                envelope: "x".repeat(bytes),
            };
            (entry, Timestamp::from_seconds(1))
        };
        let full = OUTBOX_ROW_BYTES_MAX;
        let rows = rows(vec![
            entry(1, full / 2),
            entry(2, full / 2),
            entry(3, 1),
            entry(4, full * 2),
        ]);
        let lengths: Vec<_> = rows.iter().map(|row| (row.first.0, row.entries.len())).collect();
        assert_eq!(lengths, [(1, 2), (3, 1), (4, 1)]);
    }
}
