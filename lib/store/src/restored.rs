//! The mark of a restoration: a small file in the store's directory, from the moment at which it was put there out of
//! a backup until the store has taken back from its stream what it had published since.
//!
//! A store with the mark adopts before it serves, whoever opens it. It decides nothing about what there is to adopt.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// The name of the file beside the engine's.
pub(crate) const MARK_FILE: &str = "restored";

/// Whether the mark is there.
pub(crate) fn is_marked(dir: &Path) -> io::Result<bool> {
    dir.join(MARK_FILE).try_exists()
}

/// Makes the mark, durably. What it says is for people.
pub(crate) fn mark(dir: &Path, says: &str) -> io::Result<()> {
    let mut file = File::create(dir.join(MARK_FILE))?;
    writeln!(file, "{says}")?;
    file.sync_all()?;
    File::open(dir)?.sync_all()
}

/// Takes the mark away, durably; none there is fine.
pub(crate) fn unmark(dir: &Path) -> io::Result<()> {
    match std::fs::remove_file(dir.join(MARK_FILE)) {
        Ok(()) => File::open(dir)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
