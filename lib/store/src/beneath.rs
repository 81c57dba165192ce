//! What stands between sled and the system, where sled takes a promise for more than it is.
//!
//! sled believes what it has handed to `sync_file_range` to be on the disk, and then writes over what that replaced.
//! But that call puts nothing onto the disk for certain: not what the drive keeps in its cache, and not the length of
//! the file. It also believes a snapshot to be there once it is renamed, and then wipes what the snapshot does without;
//! a rename is on the disk only when its directory has been synced. A power cut between the two leaves neither the old
//! nor the new. Neither can be configured, so these two functions of libc are ours: the linker prefers what a program
//! defines to what a library does. Whether it has is looked at while running, see [`syncs_are_true`].
//!
//! Nothing else is changed: whoever else calls them gets what libc gives, or more.
#![allow(
    unsafe_code,
    reason = "functions that C code and std call by name can't be defined otherwise"
)]

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// How sled's snapshots begin.
const SNAPSHOT_PREFIX: &[u8] = b"snap.";

/// Set by the first call that came here.
static CALLED: AtomicBool = AtomicBool::new(false);

/// Whether what sled has flushed is on the disk. False only where a linker has preferred libc's function to ours.
pub(crate) fn syncs_are_true() -> bool {
    CALLED.load(Ordering::Relaxed)
}

/// Puts the file onto the disk, all of it, and its length.
///
/// # Safety
/// As libc's: any arguments are fine, a descriptor that is none is refused.
#[unsafe(no_mangle)]
unsafe extern "C" fn sync_file_range(file: c_int, _from: i64, _bytes: i64, _flags: c_uint) -> c_int {
    CALLED.store(true, Ordering::Relaxed);
    // SAFETY: a number is all that is passed.
    unsafe { libc::fdatasync(file) }
}

/// Renames, and has the new name of a snapshot on the disk before it returns.
///
/// # Safety
/// As libc's: both must be strings that end with a zero.
#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: what the caller promises for us is what this one asks for.
    let renamed = unsafe { libc::renameat(libc::AT_FDCWD, from, libc::AT_FDCWD, to) };
    if renamed != 0 {
        return renamed;
    }
    // SAFETY: the caller promises a string, and the system has just read it.
    let to = Path::new(std::ffi::OsStr::from_bytes(
        unsafe { CStr::from_ptr(to) }.to_bytes(),
    ));
    match sync_snapshot(to) {
        Ok(()) => 0,
        // The failed call has left its reason in errno, where the caller looks for it.
        Err(_) => -1,
    }
}

fn sync_snapshot(path: &Path) -> std::io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    if !name.as_bytes().starts_with(SNAPSHOT_PREFIX) {
        return Ok(());
    }
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sled_is_given_what_it_believes_in() {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::Config::new()
            .path(dir.path())
            .flush_every_ms(None)
            .open()
            .unwrap();
        db.insert("key", "value").unwrap();
        db.flush().unwrap();
        assert!(syncs_are_true(), "the linker has taken libc's sync_file_range");
    }

    #[test]
    fn renaming_still_renames_and_still_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["snap.1", "other"] {
            std::fs::write(path("new"), name).unwrap();
            std::fs::rename(path("new"), path(name)).unwrap();
            assert_eq!(std::fs::read_to_string(path(name)).unwrap(), name);
        }
        let refused = std::fs::rename(path("new"), path("snap.2")).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::NotFound);
    }
}
