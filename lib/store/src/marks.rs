//! Marks: small files in a store's directory that say something about it by being there.
//!
//! What stands in them is for people. They decide nothing: whoever opens the store, or ends an adoption, does.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A store was made here. Where this is, and neither data nor head file, it is not a new place but one that has lost
    /// everything.
    Made,
    /// The store came out of a backup, and has not yet taken back from its stream what it had published since. Whoever
    /// opens it, it adopts before it serves.
    Restored,
    /// How far the events of others were applied is what a backup knew, or what was left of a store that was set back.
    /// Until the store serves and has caught up with all of them, that is no evidence of what they have published.
    Cursors,
    /// A store is being made here, and nothing in it counts yet.
    Unfinished,
}

impl Mark {
    const fn file_name(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Restored => "restored",
            Self::Cursors => "cursors",
            Self::Unfinished => "unfinished",
        }
    }

    /// Whether the mark is there.
    pub(crate) fn is_set(self, dir: &Path) -> io::Result<bool> {
        dir.join(self.file_name()).try_exists()
    }

    /// Sets the mark, durably.
    pub(crate) fn set(self, dir: &Path, says: &str) -> io::Result<()> {
        let mut file = File::create(dir.join(self.file_name()))?;
        writeln!(file, "{says}")?;
        file.sync_all()?;
        File::open(dir)?.sync_all()
    }

    /// Takes the mark away, durably; none there is fine.
    pub(crate) fn unset(self, dir: &Path) -> io::Result<()> {
        match std::fs::remove_file(dir.join(self.file_name())) {
            Ok(()) => File::open(dir)?.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_there_from_its_setting_to_its_unsetting() {
        let dir = tempfile::tempdir().unwrap();
        for mark in [Mark::Made, Mark::Restored, Mark::Cursors, Mark::Unfinished] {
            assert!(!mark.is_set(dir.path()).unwrap());
            mark.unset(dir.path()).unwrap();
            mark.set(dir.path(), "by a test").unwrap();
            assert!(mark.is_set(dir.path()).unwrap());
        }
        Mark::Made.unset(dir.path()).unwrap();
        assert!(!Mark::Made.is_set(dir.path()).unwrap());
        assert!(Mark::Restored.is_set(dir.path()).unwrap());
    }
}
