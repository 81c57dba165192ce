//! Opening a store: the lock, what a kill left behind, every row read and checked, and how far it has come.
//!
//! The engine can open a damaged file empty, rolled back, with a panic, or not at all. So nothing that it says
//! is taken for true before it agrees with the checksums, the count of rows, and the `head` file.

use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use events::Source;

use crate::batch::sealed;
use crate::codec::DecodeError;
use crate::engine::{Disk, Engine, EngineError, OpenEngine};
use crate::errors::panic_message;
use crate::head::{HeadFile, HeadSays, Meta};
use crate::indexes::Indexes;
use crate::lock_file::LockWait;
use crate::marks::Mark;
use crate::outbox::{OUTBOX_BYTES_MAX, OUTBOX_DAYS, OUTBOX_EVENTS_MAX};
use crate::record;
use crate::state::Gathered;

/// What the mark of a store that was made tells whoever finds it.
pub(crate) const MADE_SAYS: &str = "A store was made in this directory. Move all of it away to begin anew.";

/// How long an open may take, however large the store is, unless the options say otherwise.
const OPEN_SECONDS_MAX: u64 = 60;

/// How long an open may take, however small the store is.
const OPEN_SECONDS_MIN: u64 = 8;

/// The slowest reading that is not taken for a hang.
const OPEN_BYTES_PER_SECOND_MIN: u64 = 10_000_000;

/// Where and how a store is opened.
#[derive(Clone)]
pub struct Options {
    /// Whose store it is.
    pub source: Source,
    /// The directory that it has for itself.
    pub dir: PathBuf,
    /// After how long an open has failed; a small store is given up sooner.
    pub open_bound: Duration,
    /// How long to wait for whoever has the directory.
    pub lock_wait: LockWait,
    /// For how long published events are kept.
    pub outbox_age_max: Duration,
    /// How many events are kept.
    pub outbox_events_max: u64,
    /// How many bytes of events are kept.
    pub outbox_bytes_max: u64,
    /// What keeps the bytes; tests put one that fails in front of the real one.
    pub engine: Arc<dyn OpenEngine>,
}

impl Options {
    /// A store as in production.
    pub fn new(source: Source, dir: impl Into<PathBuf>) -> Self {
        Self {
            source,
            dir: dir.into(),
            open_bound: Duration::from_secs(OPEN_SECONDS_MAX),
            lock_wait: LockWait::default(),
            outbox_age_max: Duration::from_secs(OUTBOX_DAYS * 24 * 3_600),
            outbox_events_max: OUTBOX_EVENTS_MAX,
            outbox_bytes_max: OUTBOX_BYTES_MAX,
            engine: Arc::new(Disk),
        }
    }

    /// How long this open may take: what hangs on a small store is found out soon.
    fn bound(&self) -> Duration {
        let reading = self.engine.bytes(&self.dir) / OPEN_BYTES_PER_SECOND_MIN;
        Duration::from_secs(OPEN_SECONDS_MIN.saturating_add(reading)).min(self.open_bound)
    }

    pub(crate) fn error(&self, problem: OpenProblem) -> OpenError {
        OpenError {
            store: self.source,
            dir: self.dir.clone(),
            problem,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("source", &self.source)
            .field("dir", &self.dir)
            .field("open_bound", &self.open_bound)
            .finish_non_exhaustive()
    }
}

/// Why a store does not open: which one, what is wrong, and what to do, in one sentence.
#[derive(Debug)]
pub struct OpenError {
    store: Source,
    dir: PathBuf,
    problem: OpenProblem,
}

impl OpenError {
    /// What is wrong.
    pub fn problem(&self) -> &OpenProblem {
        &self.problem
    }

    /// The same, told of the store whose copy was opened.
    pub(crate) fn told_of(self, original: &Options) -> Self {
        original.error(self.problem)
    }
}

impl std::error::Error for OpenError {}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, dir, problem } = self;
        write!(f, "the {store} store in {} {problem}; ", dir.display())?;
        match problem {
            OpenProblem::InUse { .. } => {
                f.write_str("stop that one first, or give this one a directory of its own")
            }
            OpenProblem::LookedAt { .. } => {
                f.write_str("start it again when `boxoffice verify` has ended, or end that one")
            }
            OpenProblem::Absent => f.write_str("see whether the directory is the right one"),
            OpenProblem::Io { .. } => f.write_str("see to the directory's permissions and the disk"),
            OpenProblem::Newer(_) => f.write_str("start that version again, or a later one"),
            OpenProblem::Old(_) | OpenProblem::Damaged(_) | OpenProblem::Slow { .. } => write!(
                f,
                "restore it with `boxoffice restore --service {store} --from BACKUP`, or move it away to begin anew"
            ),
        }
    }
}

/// What is wrong with a store that does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenProblem {
    /// Another process has it.
    #[error("is in use by process {pid}")]
    InUse {
        /// As the other process has noted it.
        pid: String,
    },
    /// Another process reads it, as `boxoffice verify` does, and will stop by itself.
    #[error("has been read by another process for {seconds} s")]
    LookedAt {
        /// For how long it was waited.
        seconds: u64,
    },
    /// Only told of a store that must be there already.
    #[error("is not there")]
    Absent,
    /// The operating system refuses.
    #[error("can't be opened: {doing} failed with \"{error}\"")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        error: std::io::Error,
    },
    /// It has come less far than it had once.
    #[error("is older than it was: {0}")]
    Old(String),
    /// What is in it is not what was written.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// A newer program has written it.
    #[error("was written by a newer version: {0}")]
    Newer(String),
    /// It takes too long.
    #[error("did not open within {seconds} s, its file may be damaged")]
    Slow {
        /// The bound.
        seconds: u64,
    },
}

/// A store that has been read and found good.
pub(crate) struct Opened<I> {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) gathered: Gathered<I>,
    pub(crate) head: HeadFile,
}

/// Opens and checks a store whose lock the caller holds. `reached` is how far it is known to have come, beside
/// what its head file says.
pub(crate) fn open<I: Indexes>(options: &Options, reached: Option<Meta>) -> Result<Opened<I>, OpenError> {
    let dir = &options.dir;
    let io = |doing| move |error| options.error(OpenProblem::Io { doing, error });
    options.engine.clear_leftovers(dir).map_err(|error| {
        options.error(OpenProblem::Io {
            doing: "clearing up after a kill",
            error: std::io::Error::other(error),
        })
    })?;
    let head = HeadFile::read(dir).map_err(io("reading the head file"))?;
    let made = Mark::Made.is_set(dir).map_err(io("looking for what was made"))?;
    if !options.engine.exists(dir) {
        match head {
            HeadSays::Head(head) => {
                return Err(options.error(OpenProblem::Old(format!(
                    "its data file is missing or empty, and it had {} rows after {} batches",
                    head.keys, head.batch
                ))));
            }
            HeadSays::Missing | HeadSays::Unreadable if made => {
                let what =
                    "its data file is missing or empty, and its head file can't say how far it had come";
                return Err(options.error(OpenProblem::Damaged(what.to_owned())));
            }
            HeadSays::Missing | HeadSays::Unreadable => {}
        }
    }
    let (engine, mut gathered) = read_within_bound::<I>(options)?;
    let meta = match check(head, made, reached, &gathered).map_err(|problem| options.error(problem))? {
        Found::New => {
            begin(&*engine, dir).map_err(|error| {
                options.error(OpenProblem::Io {
                    doing: "beginning a new store",
                    error,
                })
            })?;
            Meta::default()
        }
        Found::Begun => {
            HeadFile::create(dir, Meta::default()).map_err(io("making the head file"))?;
            Meta::default()
        }
        Found::Good(meta) => meta,
    };
    if !made && let Err(error) = Mark::Made.set(dir, MADE_SAYS) {
        // A full disk, say. The store is whole; the mark is a help for the day on which it is not.
        tracing::warn!(store = %options.source, %error, "the store could not be marked as made");
    }
    gathered.durable.meta = meta;
    gathered.durable.cursors = gathered.indexed.cursors;
    gathered.durable.dead_letters = gathered.indexed.dead_letters;
    let head = HeadFile::open(dir).map_err(io("opening the head file"))?;
    Ok(Opened {
        engine,
        gathered,
        head,
    })
}

/// Opens the engine and reads every row, on a thread of its own: a damaged file can make the engine panic or
/// hang. A thread that hangs is left behind; whatever it ends with then has no one to go to and is dropped.
fn read_within_bound<I: Indexes>(options: &Options) -> Result<(Box<dyn Engine>, Gathered<I>), OpenError> {
    let bound = options.bound();
    let (done, result) = mpsc::channel();
    let (opener, dir) = (Arc::clone(&options.engine), options.dir.clone());
    let spawned = std::thread::Builder::new()
        .name(format!("{}-open", options.source))
        .spawn(move || {
            let read = catch_unwind(AssertUnwindSafe(|| read_all::<I>(&*opener, &dir)));
            let read = read.unwrap_or_else(|panic| {
                let what = format!("reading it panicked: {}", panic_message(&*panic));
                Err(OpenProblem::Damaged(what))
            });
            if done.send(read).is_err() {
                tracing::warn!("a store came open after it had been given up");
            }
        });
    if let Err(error) = spawned {
        return Err(options.error(OpenProblem::Io {
            doing: "starting a thread",
            error,
        }));
    }
    match result.recv_timeout(bound) {
        Ok(read) => read.map_err(|problem| options.error(problem)),
        Err(_) => Err(options.error(OpenProblem::Slow {
            seconds: bound.as_secs(),
        })),
    }
}

fn read_all<I: Indexes>(
    opener: &dyn OpenEngine,
    dir: &Path,
) -> Result<(Box<dyn Engine>, Gathered<I>), OpenProblem> {
    let unreadable = |error: EngineError| {
        if error.is_outside() {
            let (doing, error) = ("reading it", std::io::Error::other(error));
            OpenProblem::Io { doing, error }
        } else {
            OpenProblem::Damaged(error.to_string())
        }
    };
    let engine = opener.open(dir).map_err(unreadable)?;
    let mut gathered = Gathered::new();
    let mut wrong = None;
    engine
        .scan(&[], &mut |key, value| match gathered.add(key, value) {
            Ok(_) => ControlFlow::Continue(()),
            Err(error) => {
                let what = record::describe(gathered.table(key), key, &error);
                wrong = Some(match error {
                    DecodeError::UnknownSchema(_) | DecodeError::UnknownTable => OpenProblem::Newer(what),
                    DecodeError::Malformed(_)
                    | DecodeError::Trailing(_)
                    | DecodeError::Invalid(_)
                    | DecodeError::Short
                    | DecodeError::Checksum => OpenProblem::Damaged(what),
                });
                ControlFlow::Break(())
            }
        })
        .map_err(unreadable)?;
    if let Some(problem) = wrong {
        return Err(problem);
    }
    // What was read may so far be with the kernel alone: a process that was killed between its flush and its
    // sync has left it there. From now on it is answered to others, who then rely on it.
    engine.sync().map_err(|error| OpenProblem::Io {
        doing: "putting it onto the disk",
        error: std::io::Error::other(error),
    })?;
    Ok((engine, gathered))
}

/// What kind of a store was found.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Nothing at all.
    New,
    /// The first batch, and then a kill before the head file was there.
    Begun,
    /// A store that has come this far.
    Good(Meta),
}

fn check<I: Indexes>(
    head: HeadSays,
    made: bool,
    reached: Option<Meta>,
    gathered: &Gathered<I>,
) -> Result<Found, OpenProblem> {
    let rows = gathered.rows();
    let damaged = |what: String| Err(OpenProblem::Damaged(what));
    let head = match (head, gathered.meta) {
        (HeadSays::Unreadable, _) => return damaged("its head file can't be believed".to_owned()),
        (HeadSays::Missing, None) if rows == 0 && !made => return Ok(Found::New),
        (HeadSays::Missing, Some(meta)) if rows == 0 && meta == Meta::default() && !made => {
            return Ok(Found::Begun);
        }
        (HeadSays::Missing, _) => {
            return damaged(
                "its head file is missing, so that no one can tell whether it is whole".to_owned(),
            );
        }
        (HeadSays::Head(head), _) => reached
            .filter(|reached| reached.batch > head.batch)
            .unwrap_or(head),
    };
    let Some(meta) = gathered.meta else {
        return Err(OpenProblem::Old(format!(
            "it opens without its first row, and it had {} rows after {} batches",
            head.keys, head.batch
        )));
    };
    if meta.batch < head.batch || meta.epoch < head.epoch {
        return Err(OpenProblem::Old(format!(
            "it opens at batch {}, event {}, and had come to batch {}, event {}",
            meta.batch,
            meta.position(),
            head.batch,
            head.position()
        )));
    }
    if meta.batch == head.batch && meta != head {
        return damaged(format!("it says {meta:?} and its head file {head:?}"));
    }
    if rows != meta.keys {
        return damaged(format!("it has {rows} rows and should have {}", meta.keys));
    }
    if gathered.durable.spans.last().unwrap_or_default() != meta.seq {
        return damaged(format!(
            "its outbox ends at event {} and should end at {}",
            gathered.durable.spans.last().unwrap_or_default(),
            meta.seq
        ));
    }
    Ok(Found::Good(meta))
}

/// Makes a new store: the first batch is on the disk, and its file's name too, before the head file is there.
fn begin(engine: &dyn Engine, dir: &Path) -> std::io::Result<()> {
    let meta = Meta::default();
    engine
        .apply(vec![sealed(&meta)])
        .and_then(|()| engine.flush())
        .and_then(|()| engine.sync())
        .map_err(std::io::Error::other)?;
    std::fs::File::open(dir)?.sync_all()?;
    HeadFile::create(dir, meta)
}
