//! The reading side of a consumer group: what Redis must be told, in which order, and what it forgot.
//!
//! After every (re)connect, and whenever the stream or the group turns out to be gone: make sure of the
//! group, state the cursor, read what was delivered before and not acknowledged, and only then what is new.
//! Dropping a read half-way does no harm; what it took is pending and is read again.

use std::time::Duration;

use events::{Epoch, Position, Source};
use failpoint::Point;
use redis::{Cmd, Value, cmd};
use tokio::time::Instant;

use crate::bus::Bus;
use crate::entry::{Entry, StreamId, entries_read};
use crate::errors::BusError;
use crate::link::Link;
use crate::requests::{self, RequestKind};
use crate::roll::{self, Roll};
use crate::snapshot;
use crate::stream::{self, ANSWER_SECONDS_MAX};

/// How many entries are read, and applied in one transaction, at a time.
pub const READ_ENTRIES_MAX: usize = 512;
/// How long one read waits for new entries.
const READ_BLOCK_MILLIS: u64 = 2_000;
/// The same while something is awaited that does not come through the stream: a look at it follows each read.
const READ_BLOCK_AWAITING_MILLIS: u64 = 250;
/// How often the end of the stream is looked at, for the lag and to see what does not come by itself.
const LOOK_SECONDS: u64 = 1;
/// How often a reader at rest looks for entries that are pending without its knowledge: Redis can serve a read
/// whose connection was given up long before, and what is pending for ever is never trimmed away.
const PENDING_SECONDS: u64 = 60;

/// One service's group on one source's stream.
pub(crate) struct Group {
    link: Link,
    source: Source,
    group: Source,
    recollects: Box<dyn Fn() -> bool + Send + Sync>,
    key: String,
    requests_key: String,
    roll_key: String,
    snapshot_key: String,
    /// The roll that was answered last.
    answered: Option<StreamId>,
    /// The cursor is still to be stated: it was set, or the roll was called, or Redis was full when it was joined.
    unstated: bool,
    block_millis: u64,
    pending_interval: Duration,
    phase: Phase,
    /// Which opening of the link the group was joined over.
    joined: u64,
    /// Done with, to be acknowledged with the next read.
    acks: Vec<StreamId>,
    looked_at: Option<Instant>,
    /// When all that was pending had been read, last.
    pending_read_at: Instant,
}

/// What one read found.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) entries: Vec<Entry>,
    /// The group was joined before: whatever was asked of a relay may be forgotten.
    pub(crate) joined: bool,
    /// What was found at the stream's end before the read, if that was looked at.
    pub(crate) looked: Option<Look>,
    /// All that the stream held when its end was looked at has been delivered, now or before.
    pub(crate) at_rest: bool,
}

/// What a look at the end of a stream has found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Where it ends, if that could be read.
    pub(crate) tail: Option<Position>,
    /// The epoch in which the source writes, if that is known.
    pub(crate) epoch: Option<Epoch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The group must be made sure of, and the cursor stated.
    Join,
    /// Entries that were delivered before and not acknowledged, after this one.
    Pending(StreamId),
    /// New entries.
    Live,
}

impl Group {
    /// The group of the service `group` on the stream of `source`; not connected yet.
    ///
    /// `recollects` says whether the cursors of the group's own store are only as new as a backup.
    pub(crate) fn new(
        bus: &Bus,
        source: Source,
        group: Source,
        recollects: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let answer_max = Duration::from_millis(READ_BLOCK_MILLIS + ANSWER_SECONDS_MAX * 1_000);
        Self {
            link: Link::new(bus.clone(), answer_max),
            source,
            group,
            recollects: Box::new(recollects),
            key: bus.keys().events(source),
            requests_key: bus.keys().requests(source),
            roll_key: bus.keys().roll(source),
            snapshot_key: bus.keys().snapshot(source, group),
            answered: None,
            unstated: false,
            block_millis: READ_BLOCK_MILLIS,
            pending_interval: Duration::from_secs(PENDING_SECONDS),
            phase: Phase::Join,
            joined: 0,
            acks: Vec::new(),
            looked_at: None,
            pending_read_at: Instant::now(),
        }
    }

    /// How long a read waits for new entries, at most two seconds.
    pub(crate) fn wait_at_most(&mut self, block: Duration) {
        // Redis takes 0 for "for ever".
        let millis = u64::try_from(block.as_millis()).unwrap_or(u64::MAX);
        self.block_millis = millis.clamp(1, READ_BLOCK_MILLIS);
    }

    /// How often a reader at rest looks for what is pending, if not once a minute.
    pub(crate) fn look_for_pending_every(&mut self, interval: Duration) {
        self.pending_interval = interval;
    }

    /// Reads the next entries, and acknowledges what is done. `cursor` is stated if the group is joined anew. If
    /// something is `awaited` beside new entries, it does not wait long for them.
    pub(crate) async fn read(&mut self, cursor: Position, awaited: bool) -> Result<Read, BusError> {
        let mut read = Read::default();
        self.link.connection().await?;
        if self.link.opened() != self.joined {
            self.phase = Phase::Join;
        }
        if self.phase == Phase::Join {
            self.join(cursor).await?;
            read.joined = true;
        }
        read.looked = self.look(cursor).await?;
        read.entries = match self.next_entries(awaited).await {
            Ok(entries) => entries,
            Err(error) if matches!(error.code(), Some("NOGROUP" | "UNBLOCKED")) => {
                tracing::info!(
                    source = %self.source, group = %self.group, %error, "the stream or the group is gone; joining again"
                );
                self.phase = Phase::Join;
                return Ok(read);
            }
            Err(error) => return Err(error),
        };
        match (self.phase, read.entries.last()) {
            (Phase::Pending(_), Some(last)) => self.phase = Phase::Pending(last.id),
            (Phase::Pending(_), None) => {
                self.phase = Phase::Live;
                self.pending_read_at = Instant::now();
            }
            (Phase::Live, None) => {
                read.at_rest = read.looked.is_some();
                if self.pending_read_at.elapsed() >= self.pending_interval {
                    self.begin_with_pending();
                }
            }
            (Phase::Live, Some(_)) | (Phase::Join, _) => {}
        }
        Ok(read)
    }

    /// Looks at the end of the stream, and answers the roll if it was called; not more often than once a second.
    pub(crate) async fn look(&mut self, cursor: Position) -> Result<Option<Look>, BusError> {
        let lately = Duration::from_secs(LOOK_SECONDS);
        if self.looked_at.is_some_and(|at| at.elapsed() < lately) {
            return Ok(None);
        }
        let tail = stream::look(&mut self.link, &self.key, self.source).await?;
        let tail = tail.position;
        let roll = self.answer_roll(cursor).await?;
        self.looked_at = Some(Instant::now());
        Ok(Some(Look {
            tail,
            epoch: roll.max(tail.map(|tail| tail.epoch)),
        }))
    }

    /// These entries are done with; they are acknowledged with the next read.
    pub(crate) fn done(&mut self, ids: impl Iterator<Item = StreamId>) {
        self.acks.extend(ids);
    }

    /// Entries were put aside undone, or may be pending unseen: the next read begins again with all of them.
    pub(crate) fn begin_with_pending(&mut self) {
        self.phase = Phase::Pending(StreamId::default());
    }

    /// Asks the source's relay for what comes after `cursor`; gives the request's id.
    pub(crate) async fn ask_resend(&mut self, cursor: Position) -> Result<StreamId, BusError> {
        requests::ask(
            &mut self.link,
            &self.requests_key,
            RequestKind::Resend,
            self.group,
            cursor,
        )
        .await
    }

    /// States the cursor.
    async fn state(&mut self, cursor: Position) -> Result<(), BusError> {
        let kind = if (self.recollects)() {
            RequestKind::Recollection
        } else {
            RequestKind::Statement
        };
        requests::ask(&mut self.link, &self.requests_key, kind, self.group, cursor).await?;
        Ok(())
    }

    /// The cursor was set: it is stated with the next read.
    pub(crate) fn state_anew(&mut self) {
        self.unstated = true;
        self.looked_at = None;
    }

    /// Where a whole snapshot for this group stands, if there is one.
    pub(crate) async fn snapshot(&mut self) -> Result<Option<Position>, BusError> {
        let found = snapshot::look(&mut self.link, &self.snapshot_key).await?;
        Ok(found.filter(|found| found.complete).map(|found| found.at))
    }

    /// The key of the snapshot for this group.
    pub(crate) fn snapshot_key(&self) -> &str {
        &self.snapshot_key
    }

    /// Takes the snapshot for this group away.
    pub(crate) async fn drop_snapshot(&mut self) -> Result<(), BusError> {
        self.link.run(cmd("DEL").arg(&self.snapshot_key)).await
    }

    /// The connection, for what is not read from the stream; no read is on its way over it between two steps.
    pub(crate) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// Acknowledges what is done, over a connection on which no read can be in the way.
    pub(crate) async fn acknowledge(&mut self) -> Result<(), BusError> {
        if !self.acks.is_empty() {
            self.link.close();
            let xack = self.xack();
            failpoint::reach(Point::BeforeAck);
            self.link.run::<Value>(&xack).await?;
            failpoint::reach(Point::AfterAck);
            self.acks.clear();
        }
        Ok(())
    }

    async fn join(&mut self, cursor: Position) -> Result<(), BusError> {
        // From the very first entry on: at `$` it would miss what waits already.
        let mut create = cmd("XGROUP");
        create
            .arg("CREATE")
            .arg(&self.key)
            .arg(self.group.as_str())
            .arg(0)
            .arg("MKSTREAM");
        match self.link.run::<Value>(&create).await {
            Ok(_) => {}
            Err(error) if error.code() == Some("BUSYGROUP") => {}
            // A full Redis does not even say that the group is there. To read and acknowledge is what makes room, so
            // that it must not rest on it; if there is no group, the read says so.
            Err(error) if error.is_full() => {}
            Err(error) => return Err(error),
        }
        self.unstated = true;
        self.make_up_for_statement(cursor).await?;
        self.joined = self.link.opened();
        // What was known of the stream's end may be of before it was lost.
        self.looked_at = None;
        self.begin_with_pending();
        Ok(())
    }

    /// States the cursor if the source's relay has called the roll since it was stated; gives the epoch in which the
    /// source writes, as far as it says.
    async fn answer_roll(&mut self, cursor: Position) -> Result<Option<Epoch>, BusError> {
        let roll = roll::read(&mut self.link, &self.roll_key).await?;
        if let Some(Roll { id, .. }) = roll
            && self.answered != Some(id)
        {
            self.unstated = true;
            self.answered = Some(id);
        }
        self.make_up_for_statement(cursor).await?;
        Ok(roll.map(|roll| roll.epoch))
    }

    /// States the cursor if that is still to be done and Redis has room for it.
    async fn make_up_for_statement(&mut self, cursor: Position) -> Result<(), BusError> {
        if self.unstated {
            match self.state(cursor).await {
                Ok(()) => self.unstated = false,
                Err(error) if error.is_full() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn next_entries(&mut self, awaited: bool) -> Result<Vec<Entry>, BusError> {
        let block_millis = if awaited {
            self.block_millis.min(READ_BLOCK_AWAITING_MILLIS)
        } else {
            self.block_millis
        };
        let mut read = cmd("XREADGROUP");
        // The one reader bears the group's name, so that it finds its own pending entries after a restart.
        read.arg("GROUP")
            .arg(self.group.as_str())
            .arg(self.group.as_str())
            .arg("COUNT")
            .arg(READ_ENTRIES_MAX);
        match self.phase {
            Phase::Live => read
                .arg("BLOCK")
                .arg(block_millis)
                .arg("STREAMS")
                .arg(&self.key)
                .arg(">"),
            Phase::Pending(after) => read.arg("STREAMS").arg(&self.key).arg(after.to_string()),
            Phase::Join => read.arg("STREAMS").arg(&self.key).arg(0),
        };
        let mut connection = self.link.connection().await?;
        let reply = if self.acks.is_empty() {
            read.query_async::<Value>(&mut connection).await
        } else {
            // Both are on their way before either is answered: one round trip.
            let xack = self.xack();
            failpoint::reach(Point::BeforeAck);
            let mut same = connection.clone();
            let (acked, reply) = tokio::join!(
                xack.query_async::<Value>(&mut same),
                read.query_async::<Value>(&mut connection)
            );
            // After a FLUSHALL this answers 0 without an error, and what is acknowledged in vain comes again.
            if acked.is_ok() {
                failpoint::reach(Point::AfterAck);
                self.acks.clear();
            }
            reply
        };
        entries_read(self.link.seen(reply.map_err(BusError::from))?)
    }

    fn xack(&self) -> Cmd {
        let mut xack = cmd("XACK");
        xack.arg(&self.key).arg(self.group.as_str());
        for id in &self.acks {
            xack.arg(id.to_string());
        }
        xack
    }
}
