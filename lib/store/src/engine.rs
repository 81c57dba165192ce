//! The embedded engine under the store, behind a small interface. The only file that names sled.
//!
//! An [`Engine`] keeps bytes under bytes, in order, and knows nothing of rows. It is trusted with little: what
//! it returns is checked by checksums and counts, and after its first error it is closed and opened again.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::beneath;
use crate::blobs::Blobs;
use crate::errors::panic_message;

/// How much the engine may cache of its pages; the rows are small and the kernel caches the file as well.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// The file that sled keeps its log in.
const DB_FILE: &str = "db";

/// The file in which sled keeps its parameters. It is never synced by sled.
const CONF_FILE: &str = "conf";

/// Where sled puts what is too large for its log.
const BLOBS_DIR: &str = "blobs";

/// A row from which on the pages of a batch may become too large for the log: a page is split when it has more
/// than sixteen rows, after some ten changes, and is too large beyond an eighth of a megabyte.
const LARGE_ROW_BYTES: usize = 4 * 1024;

/// How many rows a page has before it is split, with those that come before that is done.
const ROWS_PER_PAGE_MAX: u64 = 28;

/// What must be free on the disk beside what a batch writes: the log grows by segments of half a megabyte, and pages
/// are moved when they are written.
const ROOM_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// How many pages that are too large for the log one batch writes anew, at most, in what is expected.
const LARGE_PAGES_PER_BATCH_USUAL: u64 = 8;

/// How long a handle that was given up may take to be gone, and how often that is looked at.
const FREE_MILLIS_MAX: u64 = 2_000;
const FREE_POLL_MILLIS: u64 = 10;

/// How a panic of the engine says what the operating system said: sled unwraps some of its errors.
const OUTSIDE_WORDS: [&str; 2] = ["Too many open files", "No space left on device"];

/// An error of the engine. Whatever it is, the handle is not used again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct EngineError {
    message: String,
    outside: bool,
}

impl EngineError {
    /// An error of the engine itself, or of what it found in its files.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            outside: false,
        }
    }

    /// Whether the cause lies outside of the engine's files: a full disk, missing permissions, no file
    /// descriptor left. Then nothing is damaged, and opening again helps as soon as the cause is gone.
    pub const fn is_outside(&self) -> bool {
        self.outside
    }

    fn panicked(what: &str) -> Self {
        Self {
            message: format!("the engine panicked: {what}"),
            outside: OUTSIDE_WORDS.iter().any(|words| what.contains(words)),
        }
    }
}

impl From<std::io::Error> for EngineError {
    fn from(error: std::io::Error) -> Self {
        Self {
            outside: is_outside(&error),
            message: error.to_string(),
        }
    }
}

fn is_outside(error: &std::io::Error) -> bool {
    // The standard library has no kind for these two: no descriptor left in the process, or in the system.
    let descriptors = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    descriptors.contains(&error.raw_os_error())
        || matches!(
            error.kind(),
            ErrorKind::StorageFull
                | ErrorKind::QuotaExceeded
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::PermissionDenied
                | ErrorKind::OutOfMemory
        )
}

impl From<sled::Error> for EngineError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => error.into(),
            error @ (sled::Error::CollectionNotFound(_)
            | sled::Error::Unsupported(_)
            | sled::Error::ReportableBug(_)
            | sled::Error::Corruption { .. }) => Self::new(error.to_string()),
        }
    }
}

/// One write of a batch: a key, and its new value or nothing.
pub type Write = (Box<[u8]>, Option<Vec<u8>>);

/// What a scan shows keys and values to.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Bytes under bytes, in order.
pub trait Engine: Send + Sync {
    /// The value under a key.
    ///
    /// # Errors
    /// When it can't be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// Shows every key from `from` on, and its value, in order, until `visit` breaks.
    ///
    /// # Errors
    /// When something can't be read.
    fn scan(&self, from: &[u8], visit: Visit<'_>) -> Result<(), EngineError>;

    /// Says whether there is what a batch needs: room, descriptors. Does nothing yet, so that a refusal harms nothing.
    ///
    /// # Errors
    /// When there is not.
    fn prepare(&self, writes: &[Write]) -> Result<(), EngineError> {
        let _ = writes;
        Ok(())
    }

    /// Applies all of a batch, or, after a crash, none of it.
    ///
    /// # Errors
    /// When that failed; what became of the batch is then unknown.
    fn apply(&self, writes: Vec<Write>) -> Result<(), EngineError>;

    /// Hands what was applied to the kernel.
    ///
    /// # Errors
    /// When that failed; what became of it is then unknown.
    fn flush(&self) -> Result<(), EngineError>;

    /// Has the kernel put what was flushed onto the disk.
    ///
    /// # Errors
    /// When that failed; what became of it is then unknown.
    fn sync(&self) -> Result<(), EngineError>;
}

/// Opens an engine in a directory.
pub trait OpenEngine: Send + Sync {
    /// Opens what is there, or makes a new one. May panic and may hang: the caller is prepared for both.
    ///
    /// # Errors
    /// When it can't be opened.
    fn open(&self, dir: &Path) -> Result<Box<dyn Engine>, EngineError>;

    /// Whether there is anything in the directory to be opened.
    fn exists(&self, dir: &Path) -> bool;

    /// How many bytes opening has to read, to bound how long it may take.
    fn bytes(&self, dir: &Path) -> u64;

    /// Clears away what a kill can leave behind. The caller holds the directory's lock.
    ///
    /// # Errors
    /// When a leftover can't be removed.
    fn clear_leftovers(&self, dir: &Path) -> Result<(), EngineError>;
}

/// The engine of production: sled 0.34.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl OpenEngine for Disk {
    fn open(&self, dir: &Path) -> Result<Box<dyn Engine>, EngineError> {
        guarded(|| {
            // sled's own flusher would run beside the writer for nothing: every batch is flushed at once.
            let config = sled::Config::new()
                .path(dir)
                .cache_capacity(CACHE_BYTES)
                .flush_every_ms(None)
                .mode(sled::Mode::LowSpace);
            let db = open_when_free(&config)?;
            File::open(dir.join(CONF_FILE))?.sync_all()?;
            let file = File::open(dir.join(DB_FILE))?;
            // What is read from here on may be with the kernel alone: a killed process has left it there. And what
            // opening has wiped relies on the name of a snapshot.
            File::open(dir)?.sync_all()?;
            file.sync_all()?;
            Ok(Box::new(Sled {
                db,
                file,
                blobs: Mutex::new(Blobs::open(&dir.join(BLOBS_DIR))?),
            }) as Box<dyn Engine>)
        })
    }

    fn exists(&self, dir: &Path) -> bool {
        std::fs::metadata(dir.join(DB_FILE)).is_ok_and(|file| file.len() > 0)
    }

    fn bytes(&self, dir: &Path) -> u64 {
        std::fs::metadata(dir.join(DB_FILE)).map_or(0, |file| file.len())
    }

    fn clear_leftovers(&self, dir: &Path) -> Result<(), EngineError> {
        // A kill while sled writes a snapshot leaves `snap.*.generating`, which its loader would take for the
        // newest snapshot. Deleting it costs nothing: the log holds all that it would have held.
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("snap.") && name.ends_with(".generating") {
                tracing::warn!(file = %entry.path().display(), "removing what a kill left of an unfinished snapshot");
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// A handle that was given up a moment ago can still be held by one of sled's own threads, and its lock with
/// it. No one else can have that lock: the directory's own is ours.
fn open_when_free(config: &sled::Config) -> Result<sled::Db, EngineError> {
    let deadline = Instant::now() + Duration::from_millis(FREE_MILLIS_MAX);
    loop {
        match config.open() {
            Err(error)
                if error.to_string().contains("could not acquire lock") && Instant::now() < deadline =>
            {
                #[expect(clippy::disallowed_methods, reason = "polls a lock, with a deadline")]
                std::thread::sleep(Duration::from_millis(FREE_POLL_MILLIS));
            }
            opened => return Ok(opened?),
        }
    }
}

struct Sled {
    db: sled::Db,
    /// Our own handle on sled's log, see [`beneath`].
    file: File,
    /// Nor does it sync these.
    blobs: Mutex<Blobs>,
}

impl Sled {
    fn blobs(&self) -> Result<MutexGuard<'_, Blobs>, EngineError> {
        self.blobs
            .lock()
            .map_err(|_| EngineError::new("an earlier sync of large pages panicked"))
    }

    /// Refuses a batch that may need a file for a large page while no descriptor is left to make it with. sled
    /// would fail in the middle of it, and would then wait for ever when its handle is dropped.
    fn check_descriptors(&self, writes: &[Write]) -> Result<(), EngineError> {
        if !self.blobs()?.is_empty() || writes.iter().any(is_large) {
            self.file.try_clone()?;
        }
        Ok(())
    }

    /// Refuses a batch for which there may be no room. sled's handle does not survive a full disk, and can't be opened
    /// again before there is room; as it is, reading goes on.
    fn check_room(&self, writes: &[Write]) -> Result<(), EngineError> {
        let bytes_of = |(key, value): &Write| (key.len() + value.as_ref().map_or(0, Vec::len)) as u64;
        let bytes: u64 = writes.iter().map(bytes_of).sum();
        let large: u64 = writes.iter().filter(|write| is_large(write)).map(bytes_of).sum();
        let blobs = self.blobs()?;
        let pages = (blobs.len().min(writes.len()) as u64).min(LARGE_PAGES_PER_BATCH_USUAL);
        let needed = ROOM_BYTES_MIN + bytes * 2 + large * ROWS_PER_PAGE_MAX + blobs.largest_bytes() * pages;
        drop(blobs);
        let disk = rustix::fs::fstatvfs(&self.file).map_err(std::io::Error::from)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < needed {
            return Err(EngineError {
                message: format!(
                    "the disk has no room left: {free} bytes are free and {needed} may be needed"
                ),
                outside: true,
            });
        }
        Ok(())
    }
}

/// Whether a row may make its page too large for the log.
fn is_large((_, value): &Write) -> bool {
    value.as_ref().is_some_and(|value| value.len() >= LARGE_ROW_BYTES)
}

impl Engine for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        guarded(|| Ok(self.db.get(key)?.map(|value| value.to_vec())))
    }

    fn scan(&self, from: &[u8], visit: Visit<'_>) -> Result<(), EngineError> {
        guarded(|| {
            for entry in self.db.range(from..) {
                let (key, value) = entry?;
                if visit(&key, &value).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn prepare(&self, writes: &[Write]) -> Result<(), EngineError> {
        self.check_descriptors(writes)?;
        self.check_room(writes)
    }

    fn apply(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        guarded(|| {
            let mut batch = sled::Batch::default();
            for (key, value) in writes {
                match value {
                    Some(value) => batch.insert(key, value),
                    None => batch.remove(key),
                }
            }
            Ok(self.db.apply_batch(batch)?)
        })
    }

    fn flush(&self) -> Result<(), EngineError> {
        // The large pages of a batch come before what names them: the kernel may put the log onto the disk at once,
        // and a power cut would then leave a batch that is complete but for pages that sled passes over in silence.
        self.blobs()?.sync()?;
        guarded(|| {
            self.db.flush()?;
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.blobs()?.sync()?;
        // Its log is on the disk with the flush already, see there. A second sync would cost as much again.
        if !beneath::syncs_are_true() {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

/// sled panics where others return an error (a page that can't be read, for one); that is an error here.
fn guarded<T>(f: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(f))
        .unwrap_or_else(|panic| Err(EngineError::panicked(&panic_message(&*panic))))
}
