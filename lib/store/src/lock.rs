//! The lock on a store's directory: one process at a time, told apart by its id.
//!
//! The engine has a lock of its own, but takes it only after it has touched its files, and what a kill left
//! behind must be cleared away before that, by someone who is alone.

use std::fs::{DirBuilder, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::lock_file::{LockFile, LockProblem};
use crate::open::{OpenError, OpenProblem, Options};

/// The file that is locked.
pub(crate) const LOCK_FILE: &str = "lock";

/// The lock, held until it is dropped or the process is gone.
#[derive(Debug)]
pub(crate) struct DirLock {
    _lock: LockFile,
}

impl DirLock {
    /// Takes the lock, making the directory if there is none. Who has it is given [`Options::lock_wait`] to let go. Blocks.
    pub(crate) fn take(options: &Options) -> Result<Self, OpenError> {
        let doing = "making the directory";
        make_dir(&options.dir).map_err(|error| options.error(OpenProblem::Io { doing, error }))?;
        let lock = LockFile::own(&options.dir.join(LOCK_FILE), &options.lock_wait);
        let lock = lock.map_err(|problem| options.error(problem.into()))?;
        Ok(Self { _lock: lock })
    }
}

/// The lock of a store that no one owns, beside others who only look. A store without the file was never opened by anyone
/// who could have it now.
pub(crate) fn look(options: &Options) -> Result<Option<LockFile>, OpenError> {
    let lock = LockFile::look(&options.dir.join(LOCK_FILE));
    lock.map_err(|problem| options.error(problem.into()))
}

impl From<LockProblem> for OpenProblem {
    fn from(problem: LockProblem) -> Self {
        match problem {
            LockProblem::Owned { pid } => Self::InUse { pid },
            LockProblem::LookedAt { seconds } => Self::LookedAt { seconds },
            LockProblem::Io { doing, error } => Self::Io { doing, error },
        }
    }
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
