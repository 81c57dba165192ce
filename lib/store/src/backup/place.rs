//! The places of a restoration: where a store lies, where another is made beside it, and where the first is kept when
//! the two have been exchanged. It knows directories and names, and nothing of what is in a store.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use events::Timestamp;
use rustix::fs::{CWD, RenameFlags};

use crate::marks::Mark;

/// Exchanges the two directories in one step, and says where what was there lies now. The names are on the disk then.
pub(super) fn exchange(dir: &Path, new: &Path, now: Timestamp) -> io::Result<Option<PathBuf>> {
    rustix::fs::renameat_with(CWD, new, CWD, dir, RenameFlags::EXCHANGE)?;
    // What was there is called `new` now. Whatever fails from here on, the restored store is in its place.
    let kept = if holds_a_store(new) {
        Some(free_name(dir, now))
    } else {
        None
    };
    let moved = match &kept {
        Some(kept) => std::fs::rename(new, kept),
        None => remove(new),
    };
    let synced = moved.and_then(|()| match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    });
    if let Err(error) = synced {
        tracing::warn!(dir = %new.display(), %error, "what was there before could not be moved to its name");
        return Ok(Some(new.to_owned()));
    }
    Ok(kept)
}

/// What a killed restoration has left: a store that it had not finished is removed. One that is whole is kept: it is what
/// lay in the place before, if the kill came after the exchange. No one else makes one, since the place's lock is ours.
pub(super) fn clear_up(dir: &Path, new: &Path, now: Timestamp) -> io::Result<()> {
    if !new.try_exists()? {
        Ok(())
    } else if holds_a_store(new) && !Mark::Unfinished.is_set(new)? {
        let kept = free_name(dir, now);
        tracing::warn!(kept = %kept.display(), "an earlier restoration was killed when it was done; what was there before it is kept");
        std::fs::rename(new, kept)
    } else {
        remove(new)
    }
}

/// Whether anything but the lock lies there, which was made a moment ago.
fn holds_a_store(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != crate::lock::LOCK_FILE))
    })
}

/// A name beside the directory that nothing has yet.
fn free_name(dir: &Path, now: Timestamp) -> PathBuf {
    // The second is enough to know it by, and has no sign that a file name should not have.
    let time: String = now
        .to_string()
        .chars()
        .take_while(|sign| *sign != '.')
        .filter(|sign| sign.is_ascii_alphanumeric())
        .collect();
    let mut name = beside(dir, &format!("before-{time}"));
    for number in 2_u32.. {
        if !name.exists() {
            break;
        }
        name = beside(dir, &format!("before-{time}-{number}"));
    }
    name
}

pub(super) fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir
        .file_name()
        .map_or_else(|| OsString::from("store"), OsString::from);
    name.push(".");
    name.push(suffix);
    dir.with_file_name(name)
}

pub(super) fn remove(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Puts every file and every name onto the disk: what the engine writes when it is opened and closed, it does not sync.
pub(super) fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()
}
