//! Putting a backup in the place of a store: complete and checked beside it first, then exchanged in one step.
//!
//! What was there is kept under another name. It does not know a service's own rows: of these it checks that they are
//! the bytes that were written. It asks no stream: what was published after the backup comes back when the service
//! starts, unless its loss is accepted here.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use events::{Epoch, Position, Seq, Source, Timestamp};

use crate::batch::sealed;
use crate::engine::{Engine, EngineError};
use crate::head::{HeadFile, HeadSays, Meta};
use crate::indexes::Anything;
use crate::lock::DirLock;
use crate::marks::Mark;
use crate::open::{self, OpenError, OpenProblem, Options};
use crate::outbox::OutboxRow;
use crate::record::Record;

use super::format::{Begin, Block, Decoder, Op, Unreadable};
use super::{Manifest, meta, place, scan_chunk};

/// How much is written into the new store at a time.
const APPLIED_BYTES_MAX: usize = 1024 * 1024;

/// What the directory is called in which the new store is made.
const MAKING_SUFFIX: &str = "restoring";

/// What the mark of a store that is being made tells whoever finds it.
const UNFINISHED_SAYS: &str = "A restoration was broken off here. Nothing in this directory is needed.";

/// How a backup is put in the place of a store.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Whose store it is to be: another one's backup is refused.
    pub source: Source,
    /// What time it is, for the name of what is moved away.
    pub now: Timestamp,
    /// What was published after the backup is lost for good: begin the next epoch.
    pub accept_loss: bool,
    /// Where the loss is accepted: an epoch that the store is known to have reached, beside what its directory says.
    pub epoch_reached: Epoch,
}

impl RestoreOptions {
    /// A restoration after which the store takes back from its stream what it has published since.
    pub fn new(source: Source, now: Timestamp) -> Self {
        Self {
            source,
            now,
            accept_loss: false,
            epoch_reached: Epoch(0),
        }
    }
}

/// A store that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup held.
    pub manifest: Manifest,
    /// The last event that the store has now; the beginning of the next epoch if the loss was accepted.
    pub head: Position,
    /// Where what was there before lies now, if anything was.
    pub previous: Option<PathBuf>,
}

/// Why a backup was not restored, or can't be: in one sentence, with what to do. The store is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup is not whole.
    #[error("the backup is damaged: {0}; use another one")]
    Damaged(String),
    /// The backup is of another service.
    #[error("the backup is of the {found} store and not of the {wanted} store; use one of that service")]
    Foreign {
        /// Whose it is.
        found: Source,
        /// Whose it should be.
        wanted: Source,
    },
    /// The place is in use, or what was made there does not open.
    #[error("nothing was restored: {0}")]
    Open(#[from] OpenError),
    /// The operating system refuses.
    #[error("nothing was restored: {doing} failed with \"{error}\"; see to the disk and the permissions")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        error: io::Error,
    },
}

impl RestoreError {
    fn io(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io { doing, error }
    }

    fn engine(doing: &'static str) -> impl Fn(EngineError) -> Self {
        move |error| Self::Io {
            doing,
            error: io::Error::other(error),
        }
    }
}

impl From<Unreadable> for RestoreError {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Io(error) => Self::Io {
                doing: "reading the backup",
                error,
            },
            Unreadable::Damaged(what) => Self::Damaged(what),
        }
    }
}

/// Reads a backup to its end and says what it holds.
///
/// # Errors
/// When it is not whole.
pub fn inspect_backup(backup: impl Read) -> Result<Manifest, RestoreError> {
    read_backup(backup, |_| Ok(()), |_| Ok(()))
}

/// Puts a backup in the place of the store in `dir`, which is kept beside it. Until the last step nothing is changed
/// there. Blocks.
///
/// # Errors
/// In one sentence, with what to do; then the store is as it was.
pub fn restore(backup: impl Read, dir: &Path, options: &RestoreOptions) -> Result<Restored, RestoreError> {
    let place = Options::new(options.source, dir);
    let _lock = DirLock::take(&place)?;
    let reached = match HeadFile::read(dir).map_err(RestoreError::io("reading the head file"))? {
        HeadSays::Head(head) => head.epoch.max(options.epoch_reached),
        HeadSays::Missing | HeadSays::Unreadable => options.epoch_reached,
    };
    let new = Options::new(options.source, place::beside(dir, MAKING_SUFFIX));
    place::clear_up(dir, &new.dir, options.now)
        .map_err(RestoreError::io("clearing up after an earlier restoration"))?;
    let made = make(backup, &new, options, reached).and_then(|(manifest, head, lock)| {
        let previous = place::exchange(dir, &new.dir, options.now)
            .map_err(RestoreError::io("putting it into its place"))?;
        drop(lock);
        Ok(Restored {
            manifest,
            head,
            previous,
        })
    });
    if made.is_err()
        && let Err(error) = place::remove(&new.dir)
    {
        tracing::warn!(dir = %new.dir.display(), %error, "what was made of a backup could not be removed");
    }
    made
}

/// Makes a complete store out of a backup, and opens it as a start would.
fn make(
    backup: impl Read,
    new: &Options,
    options: &RestoreOptions,
    reached: Epoch,
) -> Result<(Manifest, Position, DirLock), RestoreError> {
    let lock = DirLock::take(new)?;
    Mark::Unfinished
        .set(&new.dir, UNFINISHED_SAYS)
        .map_err(RestoreError::io("marking the store as unfinished"))?;
    let engine = new
        .engine
        .open(&new.dir)
        .map_err(RestoreError::engine("making a store"))?;
    let writing = RestoreError::engine("writing the store");
    let mut pending = Pending::default();
    let manifest = read_backup(
        backup,
        |begin| {
            if begin.source == options.source {
                Ok(())
            } else {
                Err(RestoreError::Foreign {
                    found: begin.source,
                    wanted: options.source,
                })
            }
        },
        |ops| {
            for op in ops {
                // The events of an epoch that ends are not published any more.
                if !(options.accept_loss && op.0.first() == Some(&OutboxRow::TABLE.0)) {
                    pending.push(&*engine, op).map_err(&writing)?;
                }
            }
            Ok(())
        },
    )?;
    pending.apply(&*engine).map_err(&writing)?;
    let mut end = meta(&*engine).map_err(|error| RestoreError::Damaged(error.to_string()))?;
    if (end.position(), end.batch, end.keys) != (manifest.head, manifest.batch, manifest.keys) {
        return Err(RestoreError::Damaged(
            "its rows do not end where it says".to_owned(),
        ));
    }
    if options.accept_loss {
        end = begin_epoch(&*engine, end, reached).map_err(&writing)?;
    }
    engine.flush().and_then(|()| engine.sync()).map_err(&writing)?;
    drop(engine);
    HeadFile::create(&new.dir, end).map_err(RestoreError::io("making the head file"))?;
    let says = format!(
        "restored at {} from a backup that was taken at {} and ends at event {}",
        options.now, manifest.taken_at, manifest.head
    );
    // Whoever accepts that this store has lost something has not accepted it for the stores whose events it reads.
    Mark::Cursors
        .set(&new.dir, &says)
        .map_err(RestoreError::io("marking the store's cursors as restored"))?;
    if !options.accept_loss {
        Mark::Restored
            .set(&new.dir, &says)
            .map_err(RestoreError::io("marking the store as restored"))?;
    }
    Mark::Made
        .set(&new.dir, open::MADE_SAYS)
        .map_err(RestoreError::io("marking the store as made"))?;
    // As at a start: every checksum, every count.
    drop(open::open::<Anything>(new, None).map_err(made_wrongly)?);
    place::sync_all(&new.dir).map_err(RestoreError::io("putting the store onto the disk"))?;
    Mark::Unfinished
        .unset(&new.dir)
        .map_err(RestoreError::io("marking the store as finished"))?;
    Ok((manifest, end.position(), lock))
}

/// Why what was made does not open: if it is not for the place, then for what it was made of.
fn made_wrongly(error: OpenError) -> RestoreError {
    match error.problem() {
        OpenProblem::Damaged(what) | OpenProblem::Old(what) | OpenProblem::Newer(what) => {
            RestoreError::Damaged(format!("the store that is made of it does not open: {what}"))
        }
        OpenProblem::InUse { .. }
        | OpenProblem::LookedAt { .. }
        | OpenProblem::Absent
        | OpenProblem::Io { .. }
        | OpenProblem::Slow { .. } => error.into(),
    }
}

/// The first row of the next epoch, with as many rows as there are now.
fn begin_epoch(engine: &dyn Engine, end: Meta, reached: Epoch) -> Result<Meta, EngineError> {
    let mut keys = 0;
    let mut from = Vec::new();
    loop {
        let last = scan_chunk(engine, &from, |key, _| {
            keys += u64::from(key.first() != Some(&Meta::TABLE.0));
        });
        match last.map_err(|error| EngineError::new(error.to_string()))? {
            Some(last) => from = crate::reads::behind(&last),
            None => break,
        }
    }
    let next = Meta {
        epoch: Epoch(end.epoch.max(reached).0 + 1),
        seq: Seq(0),
        batch: end.batch + 1,
        keys,
    };
    engine.apply(vec![sealed(&next)])?;
    Ok(next)
}

/// Rows on their way into the new store, in order.
#[derive(Default)]
struct Pending {
    ops: Vec<Op>,
    bytes: usize,
}

impl Pending {
    fn push(&mut self, engine: &dyn Engine, op: Op) -> Result<(), EngineError> {
        self.bytes += op.0.len() + op.1.as_ref().map_or(0, Vec::len);
        self.ops.push(op);
        if self.bytes > APPLIED_BYTES_MAX {
            self.apply(engine)?;
        }
        Ok(())
    }

    fn apply(&mut self, engine: &dyn Engine) -> Result<(), EngineError> {
        self.bytes = 0;
        engine.apply(std::mem::take(&mut self.ops))
    }
}

/// Reads a backup from its first block to its last.
fn read_backup(
    backup: impl Read,
    begun: impl FnOnce(&Begin) -> Result<(), RestoreError>,
    mut rows: impl FnMut(Vec<Op>) -> Result<(), RestoreError>,
) -> Result<Manifest, RestoreError> {
    let mut decoder = Decoder::new(BufReader::new(backup))?;
    let Block::Begin(begin) = decoder.next()? else {
        return Err(RestoreError::Damaged("it does not say whose it is".to_owned()));
    };
    begun(&begin)?;
    loop {
        match decoder.next()? {
            Block::Rows(ops) => rows(ops)?,
            Block::End(end) => return Ok(Manifest::new(&begin, end)),
            Block::Begin(_) => return Err(RestoreError::Damaged("it begins twice".to_owned())),
        }
    }
}
