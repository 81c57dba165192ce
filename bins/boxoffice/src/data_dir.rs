//! The data directory: one process at a time, and the secrets that outlive a start.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use store::{LockFile, LockProblem, LockWait};

/// How many random bytes a secret is made of.
const SECRET_BYTES: usize = 32;

/// The file that is locked by whoever uses the directory.
const LOCK_FILE: &str = "boxoffice.lock";

/// Why the data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// Another process has it.
    #[error(
        "{dir} is in use by another boxoffice (process {pid}). Stop that one, or give this one another --data-dir \
         and --listen"
    )]
    InUse { dir: String, pid: String },
    /// Commands look at it, and do not stop.
    #[error(
        "{dir} has been looked at by another boxoffice command for {seconds} s. Start again when that one has ended, or \
         end it"
    )]
    LookedAt { dir: String, seconds: u64 },
    /// It can't be made, read or written.
    #[error(
        "{doing} in {dir} failed: {cause}. Check that the directory exists and may be written, or name another with --data-dir"
    )]
    Io {
        dir: String,
        doing: &'static str,
        #[source]
        cause: std::io::Error,
    },
}

impl DataDirError {
    fn of(path: &Path, problem: LockProblem) -> Self {
        let dir = path.display().to_string();
        match problem {
            LockProblem::Owned { pid } => Self::InUse { dir, pid },
            LockProblem::LookedAt { seconds } => Self::LookedAt { dir, seconds },
            LockProblem::Io { doing, error } => Self::Io {
                dir,
                doing,
                cause: error,
            },
        }
    }
}

/// Who has the lock of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LockedBy {
    /// A boxoffice that runs: its process id, as it wrote it down.
    Process(String),
    /// No process.
    Nobody,
    /// There is no such directory.
    Missing,
}

/// Looks who has the lock, and leaves it as it is.
pub(crate) fn locked_by(path: &Path) -> Result<LockedBy, DataDirError> {
    let io = |doing| {
        move |cause| DataDirError::Io {
            dir: path.display().to_string(),
            doing,
            cause,
        }
    };
    if !path.try_exists().map_err(io("looking for the directory"))? {
        return Ok(LockedBy::Missing);
    }
    match LockFile::look(&path.join(LOCK_FILE)) {
        // Services that are processes of their own have locks of their own.
        Ok(_) => Ok(LockedBy::Nobody),
        Err(LockProblem::Owned { pid }) => Ok(LockedBy::Process(pid)),
        Err(problem) => Err(DataDirError::of(path, problem)),
    }
}

/// The data directory, locked until this is dropped or the process is gone.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: LockFile,
}

impl DataDir {
    /// Makes the directory if there is none, and takes its lock; who has it is given [`LockWait::default`] to let go. Blocks.
    pub(crate) fn lock(path: &Path) -> Result<Self, DataDirError> {
        let io = |doing| {
            move |cause| DataDirError::Io {
                dir: path.display().to_string(),
                doing,
                cause,
            }
        };
        // The stores in it hold signing keys and password hashes: it is for its owner alone.
        let mut folder = DirBuilder::new();
        folder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        folder.create(path).map_err(io("making the directory"))?;
        let lock = LockFile::own(&path.join(LOCK_FILE), &LockWait::default());
        let lock = lock.map_err(|problem| DataDirError::of(path, problem))?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// A part of it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A secret that is the same at every start: made once, readable by the owner alone.
    pub(crate) fn secret(&self, name: &str) -> Result<String, DataDirError> {
        let io = |doing| {
            move |cause| DataDirError::Io {
                dir: self.path.display().to_string(),
                doing,
                cause,
            }
        };
        let file = self.join(name);
        match std::fs::read_to_string(&file) {
            Ok(secret) if secret.trim().len() == SECRET_BYTES * 2 => return Ok(secret.trim().to_owned()),
            // A kill while it was written; nothing has been made with it yet.
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io("reading a secret")(error)),
        }
        let mut bytes = [0_u8; SECRET_BYTES];
        let no_chance = |_| io("making a secret")(std::io::Error::other("the system gives no random bytes"));
        SystemRandom::new().fill(&mut bytes).map_err(no_chance)?;
        let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut out = options.open(file).map_err(io("writing a secret"))?;
        out.write_all(secret.as_bytes())
            .and_then(|()| out.sync_all())
            .map_err(io("writing a secret"))?;
        Ok(secret)
    }
}
