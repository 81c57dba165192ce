//! Backups: a copy of a store at the boundary of a batch, taken while it serves.
//!
//! The engine has no snapshots. So all rows are read in the order of their keys, a chunk at a time, and meanwhile the
//! writer hands over each batch that it writes. Both go into one stream under one lock, in the order in which the
//! engine changed; of what is said twice the later prevails. Wherever that stream is cut between two chunks behind the
//! last row, what it tells is the state after the last batch: there it ends, as soon as that batch is on the disk.
//!
//! A backup never holds the writer up for longer than a chunk takes to be read. Whoever takes the stream too slowly
//! loses the backup, and whoever stops taking it stands in nobody's way for long. It holds everything: password hashes and signing keys too.

mod format;
mod place;
mod restore;
mod tee;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::{Position, Source, Timestamp};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::engine::Engine;
use crate::errors::StoreError;
use crate::head::Meta;
use crate::health::Reader;
use crate::indexes::Indexes;
use crate::reads::{behind, unreadable};
use crate::record::{self, RawKey};
use crate::shared::Shared;
use crate::store::Store;

use format::{Begin, Encoder};
pub use restore::{RestoreError, RestoreOptions, Restored, inspect_backup, restore};
pub(crate) use tee::Backups;

/// How far whoever takes a backup may be behind the writer.
pub const BACKUP_BEHIND_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long whoever takes a backup may take nothing, although there is something: no longer than the operator's command
/// waits for the next bytes. Until then no other backup can be taken.
pub const BACKUP_SILENCE_SECONDS_MAX: u64 = 90;

/// How often is looked whether there is room for the next chunk, while there is none.
const ROOM_POLL_MILLIS: u64 = 5;

/// How many chunks wait for whoever takes them.
const CHUNKS_WAITING_MAX: usize = 2;

/// How much is read at a time while the writer waits.
const CHUNK_ROWS_MAX: usize = 1_024;
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// How long the last batch of a backup may take to be on the disk, and how often that is looked at.
const DURABLE_SECONDS_MAX: u64 = 60;
const DURABLE_POLL_MILLIS: u64 = 5;

/// Why there is no backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// Another one is being taken.
    #[error("another backup of this store is being taken; take this one when that is done")]
    Busy,
    /// The store was written faster than the backup was taken, or nothing was taken for too long.
    #[error(
        "the backup was taken too slowly: more than {BACKUP_BEHIND_BYTES_MAX} bytes were written meanwhile and waited, or \
         nothing was taken for {BACKUP_SILENCE_SECONDS_MAX} s; take it again, onto a faster disk or when there is less to do"
    )]
    TooSlow,
    /// The store can't be read.
    #[error("the backup was broken off: {0}; take it again when the store serves")]
    Unavailable(Arc<str>),
    /// What is stored is damaged.
    #[error("the backup was broken off, since it would not be whole: {0}")]
    Damaged(Arc<str>),
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(why) => Self::Unavailable(why),
            StoreError::Damaged(what) => Self::Damaged(what),
        }
    }
}

/// What a whole backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifest {
    /// Whose store it is.
    pub source: Source,
    /// When it was begun.
    pub taken_at: Timestamp,
    /// The last event in it.
    pub head: Position,
    /// The last batch in it.
    pub batch: u64,
    /// How many rows it has.
    pub keys: u64,
}

impl Manifest {
    fn new(begin: &Begin, end: Meta) -> Self {
        Self {
            source: begin.source,
            taken_at: begin.taken_at,
            head: end.position(),
            batch: end.batch,
            keys: end.keys,
        }
    }
}

/// A backup that is being taken: a stream of bytes. Only one that was taken to its end, without an error, is one; see
/// [`inspect_backup`]. Dropping it breaks it off.
#[derive(Debug)]
pub struct Backup {
    chunks: mpsc::Receiver<Result<Vec<u8>, BackupError>>,
}

impl Backup {
    /// The next bytes; nothing at the end, and after an error.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, BackupError>> {
        self.chunks.recv().await
    }

    /// [`Self::next`], for a thread that may block.
    pub fn blocking_next(&mut self) -> Option<Result<Vec<u8>, BackupError>> {
        self.chunks.blocking_recv()
    }

    /// The bytes as a channel, to be made into a stream.
    pub fn into_receiver(self) -> mpsc::Receiver<Result<Vec<u8>, BackupError>> {
        self.chunks
    }
}

impl<I: Indexes> Store<I> {
    /// Takes a backup, beside everything else; also while the store adopts. One at a time.
    ///
    /// # Errors
    /// When the store is not open, or another backup is being taken. Later errors come at the stream's end.
    pub fn backup(&self, now: Timestamp) -> Result<Backup, BackupError> {
        self.backup_with_patience(now, Duration::from_secs(BACKUP_SILENCE_SECONDS_MAX))
    }

    /// [`Self::backup`] for someone who may take nothing for so long.
    ///
    /// # Errors
    /// As [`Self::backup`].
    pub fn backup_with_patience(&self, now: Timestamp, patience: Duration) -> Result<Backup, BackupError> {
        let shared = Arc::clone(&self.shared);
        let id = begin(&shared, now)?;
        let (sender, chunks) = mpsc::channel(CHUNKS_WAITING_MAX + 1);
        let taker = Taker::new(sender, patience);
        let spawned = std::thread::Builder::new()
            .name(format!("{}-backup", shared.options.source))
            .spawn({
                let shared = Arc::clone(&shared);
                move || copy(&shared, id, taker)
            });
        if let Err(error) = spawned {
            shared.tees().backups.detach(id);
            return Err(BackupError::Unavailable(
                format!("no thread can be started: {error}").into(),
            ));
        }
        Ok(Backup { chunks })
    }
}

/// From now on the writer hands over what it writes.
fn begin<I: Indexes>(shared: &Shared<I>, now: Timestamp) -> Result<u64, BackupError> {
    shared.reading(Reader::Recovery, |engine| {
        let mut tees = shared.tees();
        let begin = Begin {
            source: shared.options.source,
            taken_at: now,
            meta: meta(engine)?,
        };
        Ok(tees.backups.attach(|| Encoder::new(&begin)))
    })?
}

/// Whoever takes a backup, as the thread sees them that copies it.
struct Taker {
    chunks: mpsc::Sender<Result<Vec<u8>, BackupError>>,
    /// Room for why it failed. Who takes nothing any more must still hear of it when they come back, and nobody waits
    /// for that.
    last_word: Option<mpsc::OwnedPermit<Result<Vec<u8>, BackupError>>>,
    patience: Duration,
}

impl Taker {
    fn new(chunks: mpsc::Sender<Result<Vec<u8>, BackupError>>, patience: Duration) -> Self {
        Self {
            last_word: chunks.clone().try_reserve_owned().ok(),
            chunks,
            patience,
        }
    }

    /// Hands over the next chunk as soon as there is room for it; says whether someone is there.
    fn hand_over(&self, chunk: Vec<u8>) -> Result<bool, BackupError> {
        let deadline = Instant::now() + self.patience;
        let mut next = Ok(chunk);
        loop {
            next = match self.chunks.try_send(next) {
                Ok(()) => return Ok(true),
                Err(TrySendError::Closed(_)) => return Ok(false),
                Err(TrySendError::Full(_)) if Instant::now() > deadline => return Err(BackupError::TooSlow),
                Err(TrySendError::Full(chunk)) => chunk,
            };
            #[expect(clippy::disallowed_methods, reason = "polls for room, with a deadline")]
            std::thread::sleep(Duration::from_millis(ROOM_POLL_MILLIS));
        }
    }

    /// Why there is no backup.
    fn fail(self, error: BackupError) {
        if let Some(last_word) = self.last_word {
            last_word.send(Err(error));
        }
    }
}

/// Copies all rows into the stream. Fails towards whoever takes it; no one else needs to know.
fn copy<I: Indexes>(shared: &Shared<I>, id: u64, taker: Taker) {
    let source = shared.options.source;
    let copied = copy_rows(shared, id, &taker);
    shared.tees().backups.detach(id);
    match copied {
        Ok(true) => tracing::info!(store = %source, "a backup was taken"),
        Ok(false) => tracing::warn!(store = %source, "whoever took a backup went away before its end"),
        Err(error) => {
            tracing::warn!(store = %source, %error, "a backup failed");
            taker.fail(error);
        }
    }
}

/// Says whether someone was there to the end.
fn copy_rows<I: Indexes>(shared: &Shared<I>, id: u64, taker: &Taker) -> Result<bool, BackupError> {
    let mut from = Vec::new();
    loop {
        let (chunk, ended) = shared.reading(Reader::Recovery, |engine| {
            let mut tees = shared.tees();
            let tee = match tees.backups.of(id) {
                Ok(tee) => tee,
                Err(error) => return Ok(Err(error)),
            };
            let last = scan_chunk(engine, &from, |key, value| {
                tee.scanned(&shared.tables, key, value)
            })?;
            match &last {
                Some(last) => from = behind(last),
                None => tee.seal(meta(engine)?),
            }
            Ok(Ok((tee.take(), last.is_none())))
        })??;
        if !taker.hand_over(chunk)? {
            return Ok(false);
        }
        if ended {
            break;
        }
    }
    // What was read of the last batch may still be on its way to the disk.
    let deadline = Instant::now() + Duration::from_secs(DURABLE_SECONDS_MAX);
    loop {
        {
            let mut tees = shared.tees();
            let durable = shared.durable().meta.batch;
            if let Some(end) = tees.backups.of(id)?.end(durable) {
                drop(tees);
                return taker.hand_over(end);
            }
        }
        if Instant::now() > deadline {
            let why = format!("its last batch was not on the disk after {DURABLE_SECONDS_MAX} s");
            return Err(BackupError::Unavailable(why.into()));
        }
        #[expect(clippy::disallowed_methods, reason = "polls for a sync, with a deadline")]
        std::thread::sleep(Duration::from_millis(DURABLE_POLL_MILLIS));
    }
}

/// Shows a bounded number of rows from `from` on, and says where that ended; nothing when there are no more.
pub(crate) fn scan_chunk(
    engine: &dyn Engine,
    from: &[u8],
    mut show: impl FnMut(&[u8], &[u8]),
) -> Result<Option<RawKey>, StoreError> {
    let (mut rows, mut bytes) = (0, 0);
    let mut last: Option<RawKey> = None;
    let mut more = false;
    engine
        .scan(from, &mut |key, value| {
            if rows == CHUNK_ROWS_MAX || bytes >= CHUNK_BYTES_MAX {
                more = true;
                return ControlFlow::Break(());
            }
            show(key, value);
            rows += 1;
            bytes += key.len() + value.len();
            last = Some(key.into());
            ControlFlow::Continue(())
        })
        .map_err(|error| unreadable(&error))?;
    Ok(last.filter(|_| more))
}

/// How far the engine has come, what is not durable included.
pub(crate) fn meta(engine: &dyn Engine) -> Result<Meta, StoreError> {
    let key = record::raw_key::<Meta>(&());
    let value = engine.get(&key).map_err(|error| unreadable(&error))?;
    match value {
        Some(value) => record::read_row(&key, &value),
        None => Err(StoreError::Damaged("its first row is missing".into())),
    }
}
