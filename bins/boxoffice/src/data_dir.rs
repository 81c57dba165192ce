//! The data directory: one process at a time, and the secrets that outlive a start.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom as _, SystemRandom};

/// How many random bytes a secret is made of.
const SECRET_BYTES: usize = 32;

/// The file that is locked by whoever uses the directory.
const LOCK_FILE: &str = "boxoffice.lock";

/// How long a start waits for whoever has the directory, before it says so.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// How often it tries.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// Why the data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// Another process has it.
    #[error(
        "{dir} is in use by another boxoffice (process {pid}). Stop that one, or give this one another --data-dir \
         and --listen"
    )]
    InUse { dir: String, pid: String },
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
    let mut lock = match File::open(path.join(LOCK_FILE)) {
        Ok(lock) => lock,
        // Services that are processes of their own have locks of their own.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(LockedBy::Nobody),
        Err(error) => return Err(io("opening the lock file")(error)),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(LockedBy::Nobody),
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            lock.read_to_string(&mut pid)
                .map_err(io("reading the lock file"))?;
            Ok(LockedBy::Process(pid.trim().to_owned()))
        }
        Err(TryLockError::Error(cause)) => Err(io("looking at the lock")(cause)),
    }
}

/// The data directory, locked until this is dropped or the process is gone.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if there is none, and takes its lock.
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
        let file = path.join(LOCK_FILE);
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(file);
        let mut lock = open.map_err(io("opening the lock file"))?;
        let begun = Instant::now();
        while let Err(refused) = lock.try_lock() {
            match refused {
                // A command that looks whether anything runs here has it for a moment.
                TryLockError::WouldBlock if begun.elapsed() < LOCK_WAIT => std::thread::sleep(TRY_AGAIN),
                TryLockError::WouldBlock => {
                    let mut pid = String::new();
                    lock.read_to_string(&mut pid)
                        .map_err(io("reading the lock file"))?;
                    return Err(DataDirError::InUse {
                        dir: path.display().to_string(),
                        pid: pid.trim().to_owned(),
                    });
                }
                TryLockError::Error(cause) => return Err(io("locking")(cause)),
            }
        }
        lock.set_len(0).map_err(io("writing the lock file"))?;
        writeln!(lock, "{}", std::process::id()).map_err(io("writing the lock file"))?;
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
