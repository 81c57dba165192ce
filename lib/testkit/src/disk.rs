//! A disk under a directory that can lose its power, be slow, be full, or lie.
//!
//! The directory is an ordinary one. Processes that are started with [`Disk::env`] have a small library between them
//! and their files (`shim/`, compiled when it is needed), which writes down every change and every sync. After they
//! have been killed, [`Disk::cut_power`] makes of the directory what a power cut at that moment could have left:
//! everything that was synced, and of the rest what a seed chooses. [`Disk::history`] looks back at any earlier
//! moment in the same way, without touching the directory.
//!
//! What is modelled, harsher than ext4 with its default `data=ordered` wherever POSIX allows it:
//! - A sync of a file covers the bytes that were written to it before the sync began, and its size. Nothing else: not
//!   its name, not other files. `sync_file_range` covers nothing.
//! - What was written and not synced is on the disk or not by pages of 4 KiB or by sectors of 512 bytes, in any
//!   combination; a page may be there as it was at any moment since. A sector is never half old, half new.
//! - A file that grew has grown, or not, or in part; what is missing below its end reads as zeros, as it does in a
//!   file system that writes the size before the data.
//! - A name that was made, changed or removed without a sync of its directory is there or not. Within a directory
//!   names change in order, and a rename is whole or not at all; between directories there is no order, or, by the
//!   seed's choice, that of a journal: one after another over all directories.
//!
//! What is not: a disk that breaks, that loses what it has confirmed (see [`Disk::ignore_syncs`], which is there to
//! prove that a test would see it), or that changes what nobody wrote.

mod image;
mod journal;
mod replay;

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

pub use image::Image;
pub use journal::History;
pub use replay::Moment;

use crate::chance::Chance;
use crate::process::ProcessBuilder;
use crate::temp_dir;

/// The library's source: what it writes down and how, and the functions of libc that it stands in for.
const SHIM: &str = concat!(
    include_str!("disk/shim/journal.c"),
    include_str!("disk/shim/calls.c")
);
/// How large the settings that the library maps are.
const CONTROL_BYTES: u64 = 6 * 8;

/// The settings, at their places in the file that the library maps.
#[derive(Debug, Clone, Copy)]
enum Setting {
    SyncDelayMicros = 0,
    Limited = 1,
    RoomBytes = 2,
    IgnoresSyncs = 3,
    Refusals = 4,
    Syncs = 5,
}

/// A directory whose disk is at the test's mercy.
#[derive(Debug)]
pub struct Disk {
    dir: PathBuf,
    kit: TempDir,
    control: File,
    base: Image,
}

impl Disk {
    /// The disk under an existing directory. What lies there already counts as being on the disk.
    ///
    /// # Panics
    /// When the directory can't be read, or there is no C compiler (`cc`, or what `CC` names).
    pub fn under(dir: &Path) -> Self {
        let dir = dir
            .canonicalize()
            .unwrap_or_else(|error| panic!("{} can't be watched: {error}", dir.display()));
        let kit = temp_dir();
        compile(kit.path());
        let base = Image::read(&dir);
        fs::write(kit.path().join("journal"), "").expect("a temporary file can be made");
        let control = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(kit.path().join("control"))
            .expect("a temporary file can be made");
        control.set_len(CONTROL_BYTES).expect("a temporary file can grow");
        Self {
            dir,
            kit,
            control,
            base,
        }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The environment that puts a process onto this disk. One process at a time.
    pub fn env(&self) -> [(&'static str, OsString); 4] {
        let file = |name: &str| self.kit.path().join(name).into_os_string();
        [
            ("LD_PRELOAD", file("shim.so")),
            ("TESTKIT_DISK_DIR", self.dir.clone().into_os_string()),
            ("TESTKIT_DISK_JOURNAL", file("journal")),
            ("TESTKIT_DISK_CONTROL", file("control")),
        ]
    }

    /// Puts a process that is about to be started onto this disk.
    #[must_use]
    pub fn attach(&self, process: ProcessBuilder) -> ProcessBuilder {
        self.env()
            .into_iter()
            .fold(process, |process, (name, value)| process.env(name, value))
    }

    /// Every sync takes so much longer, from now on, in running processes too.
    pub fn slow_syncs(&self, delay: Duration) {
        self.set(
            Setting::SyncDelayMicros,
            u64::try_from(delay.as_micros()).expect("a delay of less than ages"),
        );
    }

    /// From now on there is room for so many bytes more; beyond it writing is refused (`ENOSPC`). What is written over
    /// needs no room, what is deleted gives it back, a file or directory is only made while there is some. `None`: a
    /// disk that is never full.
    pub fn limit(&self, room_bytes: Option<u64>) {
        // The room first: a library that sees the limit must not see an older room with it.
        self.set(Setting::RoomBytes, room_bytes.unwrap_or(0));
        self.set(Setting::Limited, u64::from(room_bytes.is_some()));
    }

    /// How often something was refused for want of room.
    pub fn refusals(&self) -> u64 {
        self.get(Setting::Refusals)
    }

    /// How many syncs there were.
    pub fn syncs(&self) -> u64 {
        self.get(Setting::Syncs)
    }

    /// The disk confirms syncs and does none. No program can be safe on it: this proves that a test would notice.
    pub fn ignore_syncs(&self, ignore: bool) {
        self.set(Setting::IgnoresSyncs, u64::from(ignore));
    }

    /// All that has happened on the disk since it was made, or since the last cut.
    ///
    /// # Panics
    /// When the journal can't be read.
    pub fn history(&self) -> History {
        let journal = fs::read(self.kit.path().join("journal")).expect("the journal can be read");
        History::new(self.base.clone(), journal)
    }

    /// Makes the directory what it could be after the power was cut now. The processes on it must be dead.
    ///
    /// # Panics
    /// When the directory holds what no record explains: then something wrote past the library, and nothing that
    /// follows would prove anything. And when files can't be read or written.
    pub fn cut_power(&mut self, seed: u64) {
        let history = self.history();
        if let Some(difference) = history.unexplained(&Image::read(&self.dir)) {
            panic!("the journal does not explain what is on the disk: {difference}");
        }
        let image = history.moment(history.len()).after_cut(&mut Chance::new(seed));
        image.write(&self.dir);
        self.base = image;
        fs::write(self.kit.path().join("journal"), "").expect("the journal can be begun anew");
    }

    fn set(&self, setting: Setting, value: u64) {
        self.control
            .write_all_at(&value.to_ne_bytes(), setting as u64 * 8)
            .expect("a temporary file can be written");
    }

    fn get(&self, setting: Setting) -> u64 {
        let mut bytes = [0; 8];
        self.control
            .read_exact_at(&mut bytes, setting as u64 * 8)
            .expect("a temporary file can be read");
        u64::from_ne_bytes(bytes)
    }
}

fn compile(kit: &Path) {
    let source = kit.join("shim.c");
    fs::write(&source, SHIM).expect("a temporary file can be made");
    let compiler = std::env::var_os("CC").filter(|named| !named.is_empty());
    let output = Command::new(compiler.unwrap_or_else(|| "cc".into()))
        .args(["-std=gnu11", "-O1", "-fPIC", "-shared", "-pthread", "-o"])
        .arg(kit.join("shim.so"))
        .arg(source)
        .output()
        .unwrap_or_else(|error| panic!("no C compiler can be started (is cc installed?): {error}"));
    assert!(
        output.status.success(),
        "the disk's library does not compile:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
