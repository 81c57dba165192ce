//! The lock on a store's directory: one process at a time, told apart by its id.
//!
//! The engine has a lock of its own, but takes it only after it has touched its files, and what a kill left
//! behind must be cleared away before that, by someone who is alone.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::open::{OpenError, OpenProblem, Options};

/// The file that is locked.
pub(crate) const LOCK_FILE: &str = "lock";

/// How often a lock that somebody has is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// The lock, held until it is dropped or the process is gone.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock, making the directory if there is none. Who has it is given [`Options::lock_wait`] to let go: whoever
    /// only looks at a store at rest has it for a moment, and must not keep a service from starting in that moment.
    pub(crate) fn take(options: &Options) -> Result<Self, OpenError> {
        let io = |doing| move |error| options.error(OpenProblem::Io { doing, error });
        make_dir(&options.dir).map_err(io("making the directory"))?;
        let mut file = open(&options.dir).map_err(io("opening the lock file"))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begun.elapsed() < options.lock_wait => {
                    thread::sleep(TRY_AGAIN);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(options.error(OpenProblem::InUse { pid: noted(&file) }));
                }
                Err(TryLockError::Error(error)) => return Err(io("locking it")(error)),
            }
        }
        note(&mut file).map_err(io("writing the lock file"))?;
        Ok(Self { _file: file })
    }
}

/// Which process has the lock, as it has noted itself.
pub(crate) fn noted(mut file: &File) -> String {
    let mut pid = String::new();
    let read = file.read_to_string(&mut pid);
    let known = read.is_ok() && !pid.trim().is_empty();
    if known { pid.trim() } else { "(unknown)" }.to_owned()
}

/// Makes the directory, and sees to it that its name and those above it survive a power cut: without them, all
/// that is synced inside would be gone, and the store would begin anew without a word.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    let holding_names = holding_names(dir);
    // What is inside is for its owner alone: signing keys and password hashes are among it.
    let mut folders = DirBuilder::new();
    folders.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folders, 0o700);
    folders.create(dir)?;
    for parent in holding_names {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// The directories that hold the names which must survive: of the store's own directory always, because who
/// made it may have been killed before it was synced, and of those above it as far as they are still missing.
fn holding_names(dir: &Path) -> Vec<PathBuf> {
    let missing = dir
        .ancestors()
        .skip(1)
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists());
    std::iter::once(dir)
        .chain(missing)
        .map(|path| match path.parent() {
            // The parent of a relative path's first part is the empty path, which stands for where we are.
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            Some(_) => PathBuf::from("."),
            // The root holds its own name.
            None => path.to_owned(),
        })
        .collect()
}

fn open(dir: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join(LOCK_FILE))
}

fn note(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_synced_whether_or_not_the_directory_was_there() {
        let above = tempfile::tempdir().unwrap();
        let deep = above.path().join("data/tickets");
        assert_eq!(
            holding_names(&deep),
            [above.path().join("data"), above.path().to_owned()]
        );
        make_dir(&deep).unwrap();
        assert_eq!(holding_names(&deep), [above.path().join("data")]);
        assert_eq!(holding_names(Path::new("src")), [Path::new(".")]);
        assert_eq!(holding_names(Path::new("/")), [Path::new("/")]);
    }
}
