//! Looking at a closed store without touching it: a copy of its directory is opened, and never the directory itself.
//!
//! Opening writes: the engine repairs its own files, and what a kill left behind is cleared away. Whoever only wants to
//! know how a store is must not do that to the one and only.

use std::io;
use std::path::Path;

use crate::head::{HeadFile, HeadSays};
use crate::indexes::Indexes;
use crate::lock::{self, LOCK_FILE};
use crate::open::{OpenError, OpenProblem, Options};
use crate::store::Store;

impl<I: Indexes> Store<I> {
    /// Copies a closed store into a directory of its own, which must not be there yet, and opens the copy as a start
    /// would. What is wrong is told of the original. Blocks.
    ///
    /// # Errors
    /// As [`Store::open`]; and when there is no store, or a process has it.
    pub fn open_copy(options: &Options, into: &Path) -> Result<Self, OpenError> {
        let io = |doing| move |error| options.error(OpenProblem::Io { doing, error });
        let head = HeadFile::read(&options.dir).map_err(io("reading the head file"))?;
        // With the one and without the other it is damaged, which opening says better.
        if head == HeadSays::Missing && !options.engine.exists(&options.dir) {
            return Err(options.error(OpenProblem::Absent));
        }
        {
            let _lock = lock::look(options)?;
            lock::make_dir(into).map_err(io("making a directory for the copy"))?;
            copy(&options.dir, into).map_err(io("copying it"))?;
        }
        let copy = Options {
            dir: into.to_owned(),
            ..options.clone()
        };
        Self::open(copy).map_err(|error| error.told_of(options))
    }
}

/// Copies all files but the lock; the mark of a restoration too, since it belongs to how the store is.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else if name != LOCK_FILE {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
