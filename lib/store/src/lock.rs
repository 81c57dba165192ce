//! The lock on a store's directory: one process at a time, told apart by its id.
//!
//! The engine has a lock of its own, but takes it only after it has touched its files, and what a kill left
//! behind must be cleared away before that, by someone who is alone.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::open::{OpenError, OpenProblem, Options};

/// The file that is locked.
const LOCK_FILE: &str = "lock";

/// The lock, held until it is dropped or the process is gone.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock, making the directory if there is none.
    pub(crate) fn take(options: &Options) -> Result<Self, OpenError> {
        let io = |doing| move |error| options.error(OpenProblem::Io { doing, error });
        make_dir(&options.dir).map_err(io("making the directory"))?;
        let mut file = open(&options.dir).map_err(io("opening the lock file"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = file.read_to_string(&mut pid);
                let known = read.is_ok() && !pid.trim().is_empty();
                let pid = if known { pid.trim() } else { "(unknown)" }.to_owned();
                return Err(options.error(OpenProblem::InUse { pid }));
            }
            Err(TryLockError::Error(error)) => return Err(io("locking it")(error)),
        }
        note(&mut file).map_err(io("writing the lock file"))?;
        Ok(Self { _file: file })
    }
}

/// Makes the directory, and sees to it that its name and those above it survive a power cut: without them, all
/// that is synced inside would be gone, and the store would begin anew without a word.
fn make_dir(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|path| !path.exists()).collect();
    // What is inside is for its owner alone: signing keys and password hashes are among it.
    let mut folders = DirBuilder::new();
    folders.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folders, 0o700);
    folders.create(dir)?;
    for made in missing {
        // The parent of a relative path's first part is the empty path, which stands for where we are.
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
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
