//! The files that the engine puts its largest pages into, and how they get onto the disk.
//!
//! sled writes a page that has grown beyond an eighth of a megabyte into a file of its own, and never syncs
//! that file. Without this, a power cut would take such a page and all the rows on it. It does not read them.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

/// The directory of these files, and those that are on the disk for certain.
///
/// The directory is opened once and for all: it is read with every batch, and a batch without a new file must
/// not need a file descriptor, or a process that has run out of them could not write any more.
pub(crate) struct Blobs {
    dir: Dir,
    /// The same directory, to sync it.
    names: File,
    synced: HashSet<CString>,
    largest_bytes: u64,
}

impl Blobs {
    /// Opens the directory. Of what is in it nothing is known yet: the first sync puts all of it onto the disk.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self {
            dir: Dir::new(File::open(dir)?)?,
            names: File::open(dir)?,
            synced: HashSet::new(),
            largest_bytes: 0,
        })
    }

    /// Whether there was any file at the last sync.
    pub(crate) fn is_empty(&self) -> bool {
        self.synced.is_empty()
    }

    /// How many files there were at the last sync.
    pub(crate) fn len(&self) -> usize {
        self.synced.len()
    }

    /// How large the largest file was that was ever synced here.
    pub(crate) fn largest_bytes(&self) -> u64 {
        self.largest_bytes
    }

    /// Puts onto the disk what is not there yet. After an error nothing is known about what is new.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let mut present = HashSet::new();
        let mut fresh = false;
        self.dir.rewind();
        while let Some(entry) = self.dir.read() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if !self.synced.contains(name) {
                if !self.sync_file(name)? {
                    continue;
                }
                fresh = true;
            }
            present.insert(name.to_owned());
        }
        if fresh {
            self.names.sync_all()?;
        }
        self.synced = present;
        Ok(())
    }

    /// Says whether the file is still there: sled removes it when its page has been rewritten, at any time.
    fn sync_file(&mut self, name: &CStr) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(self.dir.fd()?, name, flags, Mode::empty()) {
            Ok(file) => {
                let file = File::from(file);
                self.largest_bytes = self.largest_bytes.max(file.metadata()?.len());
                file.sync_all().map(|()| true)
            }
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(blobs: &Blobs) -> Vec<&str> {
        let mut names: Vec<&str> = blobs
            .synced
            .iter()
            .map(|name| name.to_str().expect("it was made here"))
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn every_file_is_found_whenever_it_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(dir.path().join(name), name).unwrap();
        write("1");
        let mut blobs = Blobs::open(dir.path()).unwrap();
        blobs.sync().unwrap();
        assert_eq!(names(&blobs), ["1"], "what was there before it was opened");
        // More than one reading of the directory returns.
        for number in 100..1_100 {
            write(&number.to_string());
            if number % 100 == 0 {
                blobs.sync().unwrap();
                assert!(names(&blobs).contains(&number.to_string().as_str()));
            }
        }
        std::fs::remove_file(dir.path().join("1")).unwrap();
        blobs.sync().unwrap();
        assert_eq!(names(&blobs).len(), 1_000);
        assert!(!names(&blobs).contains(&"1"), "a name that comes again is new");
    }
}
