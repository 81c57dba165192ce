//! The relay's side of snapshots: for readers that can't be told all that happened any more.
//!
//! A reader needs one when it asks for events that the outbox does not keep any more (it is new, or was away for too
//! long, or its disk was replaced), and when its cursor is of an epoch before the present one: what the source lost
//! then, it never happened. How a snapshot looks, and why it need not be of one moment: `snapshot.rs`.
//!
//! One is made at a time, a page with each step of the relay, so that publishing goes on beside it and memory is
//! bounded. What becomes of it is the reader's business: it takes it away when it has applied it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use events::{Envelope, Position, Seq, Source};
use redis::{Value, cmd};
use store::{Indexes, RowKey, Store};
use tokio::time::Instant;

use crate::bus::Bus;
use crate::entry::StreamId;
use crate::link::Link;
use crate::publisher::{RELAY_BYTES_MAX, RelayError};
use crate::recovery::Recovery;
use crate::requests::RequestKind;
use crate::roll::{Readers, Word};
use crate::snapshot::{self, BEGIN, END};
use crate::stream::{self, Appended, Outgoing};

/// How long a snapshot is kept for its reader.
const KEPT_SECONDS: u64 = 3_600;
/// How long a snapshot for which Redis had no room is put off; it doubles with each time.
const PUT_OFF_SECONDS: u64 = 1;
/// How often that doubles: the longest pause is about a minute.
const PUT_OFF_DOUBLINGS_MAX: u32 = 6;
/// How many rows one step of the relay reads for a snapshot.
const ROWS_PER_STEP_MAX: usize = 256;

/// Makes the snapshots of one source.
pub(crate) struct Snapshots<I: Indexes> {
    bus: Bus,
    store: Store<I>,
    source: Source,
    recovery: Arc<dyn Recovery<I>>,
    /// The first one is being made.
    making: VecDeque<Making>,
    /// The word of each reader that led to a snapshot, and when it was attended to.
    attended: BTreeMap<Source, (StreamId, Instant)>,
    /// The readers for whose snapshots Redis had no room, how often, and when that is tried again.
    put_off: BTreeMap<Source, (u32, Instant)>,
}

/// A snapshot that is being made.
#[derive(Debug)]
struct Making {
    group: Source,
    key: String,
    /// The position of the source that it stands at. `None` before it was begun.
    at: Option<Position>,
    /// The last entry, so that nobody else can write into it unseen.
    last: Option<StreamId>,
    /// The number of the next entry.
    number: u64,
    /// The last row that was looked at.
    after: Option<RowKey>,
}

/// One entry to be appended.
struct Line {
    event_type: &'static str,
    subject: String,
    envelope: String,
}

impl<I: Indexes> Snapshots<I> {
    pub(crate) fn new(bus: &Bus, store: Store<I>, source: Source, recovery: Arc<dyn Recovery<I>>) -> Self {
        Self {
            bus: bus.clone(),
            store,
            source,
            recovery,
            making: VecDeque::new(),
            attended: BTreeMap::new(),
            put_off: BTreeMap::new(),
        }
    }

    /// For which readers snapshots are being made, or are about to be.
    pub(crate) fn in_the_making(&self) -> Vec<Source> {
        self.making.iter().map(|making| making.group).collect()
    }

    /// Sees to it that there is a snapshot for each reader that needs one.
    pub(crate) async fn attend(&mut self, link: &mut Link, readers: &Readers) -> Result<(), RelayError> {
        let head = *self.store.durable().borrow();
        let oldest = self.store.oldest_outbox_seq().max(Seq(1));
        for (group, word) in readers.answers() {
            if !is_needed(word, head, oldest) || self.is_attended(group, word) || self.is_put_off(group) {
                continue;
            }
            let key = self.bus.keys().snapshot(self.source, group);
            let found = snapshot::look(link, &key).await?;
            let serves = found.is_some_and(|found| {
                found.complete
                    && found.at.epoch == head.epoch
                    && found.at > word.cursor
                    && found.at.seq.next() >= oldest
            });
            if !serves {
                tracing::info!(source = %self.source, %group, cursor = %word.cursor, "a reader needs a snapshot");
                self.making.push_back(Making {
                    group,
                    key,
                    at: None,
                    last: None,
                    number: 0,
                    after: None,
                });
            }
            self.attended.insert(group, (word.id, Instant::now()));
        }
        Ok(())
    }

    /// Makes one step of a snapshot; says whether there is more to make.
    pub(crate) async fn step(&mut self, link: &mut Link) -> Result<bool, RelayError> {
        let Some(mut making) = self.making.pop_front() else {
            return Ok(false);
        };
        let more = match self.make(link, &mut making).await {
            Ok(more) => more,
            Err(error) => {
                // What a failed step has appended is not known: the reader asks again, and it is begun anew.
                self.attended.remove(&making.group);
                if matches!(&error, RelayError::Bus(error) if error.is_full()) {
                    self.put_off(link, &making).await;
                }
                return Err(error);
            }
        };
        if more {
            self.making.push_front(making);
        }
        Ok(!self.making.is_empty())
    }

    /// There was no room for all of this snapshot. Half of one helps nobody: it goes at once, so that events find room,
    /// and is not begun again right away, because it would only take that room from them once more.
    async fn put_off(&mut self, link: &mut Link, making: &Making) {
        let (times, until) = self.put_off.entry(making.group).or_insert((0, Instant::now()));
        let pause = Duration::from_secs(PUT_OFF_SECONDS << (*times).min(PUT_OFF_DOUBLINGS_MAX));
        *times += 1;
        *until = Instant::now() + pause;
        tracing::warn!(source = %self.source, group = %making.group, ?pause, "redis has no room for a snapshot; it is put off");
        if let Err(error) = link.run::<Value>(cmd("DEL").arg(&making.key)).await {
            tracing::debug!(source = %self.source, group = %making.group, %error, "what was made of a snapshot stays until it expires");
        }
    }

    fn is_put_off(&self, group: Source) -> bool {
        let until = self.put_off.get(&group).map(|(_, until)| *until);
        until.is_some_and(|until| until > Instant::now())
    }

    /// Whether this very need was seen to, and what was made of it may still be there.
    fn is_attended(&self, group: Source, word: Word) -> bool {
        self.making.iter().any(|making| making.group == group)
            || self
                .attended
                .get(&group)
                .is_some_and(|(id, at)| *id == word.id && at.elapsed() < Duration::from_secs(KEPT_SECONDS))
    }

    /// Makes one step of this snapshot; says whether it goes on.
    async fn make(&mut self, link: &mut Link, making: &mut Making) -> Result<bool, RelayError> {
        let Some(at) = making.at else {
            return self.begin(link, making).await;
        };
        let rows = self.store.rows(making.after.as_ref(), ROWS_PER_STEP_MAX)?;
        let ends = rows.len() < ROWS_PER_STEP_MAX;
        let (mut lines, mut bytes) = (Vec::new(), 0);
        for (key, row) in rows {
            making.after = Some(key);
            let Some(event) = self.recovery.restate(&row) else {
                continue;
            };
            let line = Line {
                event_type: event.event_type().as_str(),
                subject: event.subject(),
                envelope: Envelope {
                    source: self.source,
                    position: at,
                    time: self.bus.now(),
                    traceparent: None,
                    cause: None,
                    event,
                }
                .to_json(),
            };
            bytes += line.envelope.len();
            lines.push(line);
            if bytes >= RELAY_BYTES_MAX {
                bytes = 0;
                if !self.append(link, making, std::mem::take(&mut lines)).await? {
                    return Ok(false);
                }
            }
        }
        if ends {
            lines.push(Line {
                event_type: END,
                subject: at.to_string(),
                envelope: String::new(),
            });
        }
        let appended = self.append(link, making, lines).await?;
        if appended && ends {
            self.put_off.remove(&making.group);
            let entities = making.number.saturating_sub(2);
            metrics::counter!("bus_snapshots_total", "source" => self.source.as_str(), "group" => making.group.as_str())
                .increment(1);
            tracing::info!(source = %self.source, group = %making.group, %at, entities, "a snapshot is there");
        }
        Ok(appended && !ends)
    }

    async fn begin(&mut self, link: &mut Link, making: &mut Making) -> Result<bool, RelayError> {
        // Before any row is read: see `snapshot.rs`.
        let at = *self.store.durable().borrow();
        link.run::<Value>(cmd("DEL").arg(&making.key)).await?;
        let line = Line {
            event_type: BEGIN,
            subject: at.to_string(),
            envelope: String::new(),
        };
        making.at = Some(at);
        self.append(link, making, vec![line]).await
    }

    /// Appends to the snapshot if nobody else has touched it since; says whether that was so.
    async fn append(
        &mut self,
        link: &mut Link,
        making: &mut Making,
        lines: Vec<Line>,
    ) -> Result<bool, RelayError> {
        let outgoing = (making.number..).zip(&lines).map(|(number, line)| Outgoing {
            seq: Seq(number),
            event_type: line.event_type,
            subject: &line.subject,
            envelope: &line.envelope,
        });
        match stream::append(link, &making.key, making.last, outgoing).await? {
            Appended::All(last) => {
                making.last = last;
                making.number += lines.len() as u64;
                link.run::<Value>(cmd("EXPIRE").arg(&making.key).arg(KEPT_SECONDS))
                    .await?;
                Ok(true)
            }
            Appended::Mismatch => {
                // Redis was emptied, or another relay of this source is at work. The reader asks again.
                tracing::info!(source = %self.source, group = %making.group, "a snapshot was lost while it was made");
                self.attended.remove(&making.group);
                Ok(false)
            }
        }
    }
}

/// Whether a reader that says this can't be helped by events.
fn is_needed(word: Word, head: Position, oldest: Seq) -> bool {
    let Word { kind, cursor, .. } = word;
    cursor.epoch < head.epoch
        || (kind == RequestKind::Resend && cursor.epoch == head.epoch && cursor.seq.next() < oldest)
}

#[cfg(test)]
mod tests {
    use events::Epoch;

    use super::*;

    #[test]
    fn a_snapshot_is_needed_where_events_are_gone_or_of_an_older_epoch() {
        let at = |epoch, seq| Position {
            epoch: Epoch(epoch),
            seq: Seq(seq),
        };
        let word = |kind, cursor| Word {
            id: StreamId::default(),
            kind,
            cursor,
        };
        let (statement, resend) = (RequestKind::Statement, RequestKind::Resend);
        for (word, needed) in [
            (word(statement, at(1, 90)), true),
            (word(statement, at(2, 0)), false),
            (word(resend, at(2, 0)), true),
            (word(resend, at(2, 48)), true),
            (word(resend, at(2, 49)), false),
            (word(resend, at(2, 90)), false),
            (word(resend, at(3, 0)), false),
        ] {
            assert_eq!(is_needed(word, at(2, 100), Seq(50)), needed, "{word:?}");
        }
    }
}
