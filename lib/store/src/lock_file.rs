//! A file that is locked by whoever uses what it stands for: by one process that owns it, or by any number that only look.
//!
//! The operating system lets go of a lock when its process is gone, so that no lock outlives a kill. It is not a queue:
//! of several that wait, any may be next.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long an owner is given to let go: one that is stopping may do so, and who starts a second one by mistake is told soon.
const OWNER_WAIT_MILLIS: u64 = 500;

/// How long those who only look are given: longer than `verify` takes to copy a store of several gigabytes.
const LOOKERS_WAIT_SECONDS: u64 = 30;

/// How often a lock that somebody has is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// How often the directory may be exchanged while somebody looks; it takes a restore each time.
const EXCHANGES_MAX: usize = 100;

/// How long to wait for whoever has a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockWait {
    /// For the process that owns it.
    pub owner_max: Duration,
    /// For those who only look, and will stop by themselves.
    pub lookers_max: Duration,
}

impl Default for LockWait {
    fn default() -> Self {
        Self {
            owner_max: Duration::from_millis(OWNER_WAIT_MILLIS),
            lookers_max: Duration::from_secs(LOOKERS_WAIT_SECONDS),
        }
    }
}

/// Why a lock can't be had.
#[derive(Debug)]
pub enum LockProblem {
    /// A process owns it.
    Owned {
        /// Which, as it has noted itself.
        pid: String,
    },
    /// Nobody owns it, and somebody has looked for longer than anyone waits.
    LookedAt {
        /// For how long it was waited.
        seconds: u64,
    },
    /// The operating system refuses.
    Io {
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        error: io::Error,
    },
}

/// A lock, held until it is dropped or the process is gone.
#[derive(Debug)]
pub struct LockFile {
    _file: File,
}

impl LockFile {
    /// Takes the lock for this process alone, and notes its id in the file, which is made if there is none. Whoever only
    /// looks must not keep a service from starting, so that they are waited for longer than an owner. Blocks.
    ///
    /// # Errors
    /// When somebody has it for longer than `wait` says, and when the operating system refuses.
    #[allow(
        clippy::disallowed_methods,
        reason = "the lock of another process tells nobody when it is free"
    )]
    pub fn own(path: &Path, wait: &LockWait) -> Result<Self, LockProblem> {
        let begun = Instant::now();
        let mut owned_since = None;
        loop {
            // Each try opens the file anew: the directory around it may have been exchanged for another.
            let mut file = open(path).map_err(io("opening the lock file"))?;
            match file.try_lock() {
                Ok(()) if is_at(&file, path).map_err(io("looking at the lock file"))? => {
                    note(&mut file).map_err(io("writing the lock file"))?;
                    return Ok(Self { _file: file });
                }
                // Exchanged just now; or a file system that names one file differently each time it is asked.
                Ok(()) if begun.elapsed() >= wait.lookers_max => return Err(elsewhere()),
                Ok(()) => {
                    drop(file);
                    thread::sleep(TRY_AGAIN);
                    continue;
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(io("locking it")(error)),
            }
            // A look is granted beside other looks, and refused by an owner alone: so the two are told apart.
            match file.try_lock_shared() {
                Ok(()) => {
                    owned_since = None;
                    if begun.elapsed() >= wait.lookers_max {
                        let seconds = wait.lookers_max.as_secs();
                        return Err(LockProblem::LookedAt { seconds });
                    }
                }
                Err(TryLockError::WouldBlock) => {
                    let since: &Instant = owned_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= wait.owner_max || begun.elapsed() >= wait.lookers_max {
                        return Err(LockProblem::Owned { pid: noted(&file) });
                    }
                }
                Err(TryLockError::Error(error)) => return Err(io("looking who has it")(error)),
            }
            drop(file);
            thread::sleep(TRY_AGAIN);
        }
    }

    /// Keeps owners out for as long as this is held, beside others who look, and leaves no trace. `None` where there is no
    /// such file: nobody has ever owned what it stands for.
    ///
    /// # Errors
    /// When a process owns it, and when the operating system refuses.
    pub fn look(path: &Path) -> Result<Option<Self>, LockProblem> {
        for _ in 0..EXCHANGES_MAX {
            let file = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(io("opening the lock file")(error)),
            };
            match file.try_lock_shared() {
                Ok(()) if is_at(&file, path).map_err(io("looking at the lock file"))? => {
                    return Ok(Some(Self { _file: file }));
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(LockProblem::Owned { pid: noted(&file) }),
                Err(TryLockError::Error(error)) => return Err(io("locking it")(error)),
            }
        }
        Err(elsewhere())
    }
}

fn elsewhere() -> LockProblem {
    io("looking at the lock file")(io::Error::other(
        "what is locked is never what stands at its path; use a local file system",
    ))
}

fn io(doing: &'static str) -> impl Fn(io::Error) -> LockProblem {
    move |error| LockProblem::Io { doing, error }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// Whether the file that was opened is still the one of this name. A restoration exchanges the directory around it: then
/// what is locked is what lies elsewhere now.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;

    let there = match std::fs::metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let here = file.metadata()?;
    Ok((here.dev(), here.ino()) == (there.dev(), there.ino()))
}

/// Elsewhere a directory in which a file is open can't be exchanged.
#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}

/// Which process has the lock, as it has noted itself.
fn noted(mut file: &File) -> String {
    let mut pid = String::new();
    let read = file.read_to_string(&mut pid);
    let known = read.is_ok() && !pid.trim().is_empty();
    if known { pid.trim() } else { "(unknown)" }.to_owned()
}

fn note(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const IMPATIENT: LockWait = LockWait {
        owner_max: Duration::from_millis(20),
        lookers_max: Duration::from_millis(100),
    };

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        (dir, path)
    }

    #[test]
    fn an_owner_is_named_and_keeps_everybody_out() {
        let (_dir, path) = place();
        let owner = LockFile::own(&path, &IMPATIENT).unwrap();
        let by = std::process::id().to_string();
        for refused in [LockFile::own(&path, &IMPATIENT).map(Some), LockFile::look(&path)] {
            assert!(
                matches!(&refused, Err(LockProblem::Owned { pid }) if *pid == by),
                "{refused:?}"
            );
        }
        drop(owner);
        LockFile::own(&path, &IMPATIENT).unwrap();
    }

    #[test]
    fn those_who_look_are_told_apart_from_an_owner_and_waited_for() {
        let (_dir, path) = place();
        assert!(LockFile::look(&path).unwrap().is_none());
        assert!(!path.exists(), "who looks leaves no trace");
        drop(LockFile::own(&path, &IMPATIENT).unwrap());
        let (one, other) = (LockFile::look(&path).unwrap(), LockFile::look(&path).unwrap());
        let refused = LockFile::own(&path, &IMPATIENT);
        assert!(
            matches!(refused, Err(LockProblem::LookedAt { .. })),
            "{refused:?}"
        );
        let patient = path.clone();
        let owning = thread::spawn(move || LockFile::own(&patient, &LockWait::default()));
        drop((one, other));
        owning.join().unwrap().unwrap();
    }

    #[test]
    fn a_lock_whose_directory_was_exchanged_counts_for_nothing() {
        let above = tempfile::tempdir().unwrap();
        let (dir, other) = (above.path().join("store"), above.path().join("other"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::create_dir(&other).unwrap();
        let path = dir.join("lock");
        let before = open(&path).unwrap();
        assert!(is_at(&before, &path).unwrap());
        std::fs::rename(&dir, above.path().join("kept")).unwrap();
        assert!(!is_at(&before, &path).unwrap(), "there is none");
        std::fs::rename(&other, &dir).unwrap();
        drop(LockFile::own(&path, &IMPATIENT).unwrap());
        assert!(!is_at(&before, &path).unwrap(), "it is another one");
        before.try_lock().unwrap();
        LockFile::own(&path, &IMPATIENT).unwrap();
    }
}
