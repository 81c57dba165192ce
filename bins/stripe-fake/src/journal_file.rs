//! The journal's file: its form, how it is read, compacted, and kept from a second process.
//!
//! The last line may be torn, by a kill in the middle of a write; it was never answered for, and is dropped.
//! Any other line that can't be read means that the file was damaged later: that is refused, not guessed at.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::book::Book;
use crate::clock::Seconds;
use crate::model::Record;

const JOURNAL_FILE: &str = "journal.jsonl";
const COMPACTED_FILE: &str = "journal.new";
const LOCK_FILE: &str = "lock";
/// The first line of a journal: what wrote it, and in which form.
const HEADER: &str = r#"{"journal":"stripe-fake","schema":1}"#;
/// Below this size a journal is not worth compacting.
const COMPACT_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// A journal is compacted when it holds this many times the records that are still of use.
const COMPACT_RATIO: usize = 2;

/// Why the books can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refuses.
    #[error("can't {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// Another process has these books open.
    #[error("the books in {0} are in use by another process: stop it, or give this one its own --data-dir")]
    InUse(PathBuf),
    /// A line before the last one can't be read: the file was damaged after it had been written.
    #[error(
        "line {line} of {path} is damaged: restore the file from a backup, or move it away to start with empty books"
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The first line that can't be read, counted from 1.
        line: usize,
    },
    /// The file is a journal of another form, or no journal at all.
    #[error("{0} is not a journal that this version reads: move it away, or use the version that wrote it")]
    OtherForm(PathBuf),
    /// The configuration can't work.
    #[error("{0}")]
    Config(String),
}

/// A journal that is ready to be written at its end.
pub(crate) struct Opened {
    pub(crate) book: Book,
    pub(crate) file: File,
    /// Held as long as the file is written.
    pub(crate) lock: File,
    pub(crate) end_bytes: u64,
}

/// Opens the journal in a folder, or begins one, and makes the books from it.
pub(crate) fn open(folder: &Path, idempotency_seconds: i64, now: Seconds) -> Result<Opened, OpenError> {
    std::fs::create_dir_all(folder).map_err(io("create", folder))?;
    let lock = lock(folder)?;
    let path = folder.join(JOURNAL_FILE);
    let read = read(&path, idempotency_seconds)?;
    let live = read.book.records(now).count();
    let wasteful = read.records > live.saturating_mul(COMPACT_RATIO) && read.good_bytes > COMPACT_BYTES_MIN;
    if wasteful || read.good_bytes == 0 {
        compact(folder, &path, read.book.records(now))?;
    } else if read.torn {
        tracing::warn!("the journal's last line was torn and is dropped");
        let file = OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(io("open", &path))?;
        file.set_len(read.good_bytes).map_err(io("shorten", &path))?;
        file.sync_all().map_err(io("sync", &path))?;
    }
    let file = OpenOptions::new()
        .write(true)
        .open(&path)
        .map_err(io("open", &path))?;
    let end_bytes = file.metadata().map_err(io("read the size of", &path))?.len();
    Ok(Opened {
        book: read.book,
        file,
        lock,
        end_bytes,
    })
}

/// The line of one request's changes.
pub(crate) fn line(records: &[Record]) -> Vec<u8> {
    encoded(&serde_json::to_string(records).expect("records are plain data with string keys"))
}

struct Read {
    book: Book,
    records: usize,
    good_bytes: u64,
    torn: bool,
}

fn read(path: &Path, idempotency_seconds: i64) -> Result<Read, OpenError> {
    let mut read = Read {
        book: Book::new(idempotency_seconds),
        records: 0,
        good_bytes: 0,
        torn: false,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(read),
        Err(error) => return Err(io("open", path)(error)),
    };
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut bytes = Vec::new();
    let mut number = 0;
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(io("read", path))? == 0 {
            return Ok(read);
        }
        number += 1;
        if bytes.last() != Some(&b'\n') {
            // Only the last line can lack its end. Where it is the first one too, this must be a journal
            // that was killed while it began, and no other file that happens to have this name.
            if number == 1 && !encoded(HEADER).starts_with(&bytes) {
                return Err(OpenError::OtherForm(path.to_owned()));
            }
            read.torn = true;
            return Ok(read);
        }
        match decoded(&bytes) {
            None if number == 1 => return Err(OpenError::OtherForm(path.to_owned())),
            None => {
                return Err(OpenError::Damaged {
                    path: path.to_owned(),
                    line: number,
                });
            }
            Some(header) if number == 1 => {
                if header != HEADER {
                    return Err(OpenError::OtherForm(path.to_owned()));
                }
            }
            Some(line) => {
                let Ok(records) = serde_json::from_str::<Vec<Record>>(line) else {
                    // Its checksum is right, so it was written like this: by another version.
                    return Err(OpenError::OtherForm(path.to_owned()));
                };
                read.records += records.len();
                records.into_iter().for_each(|record| read.book.apply(record));
            }
        }
        read.good_bytes += bytes.len() as u64;
    }
}

/// Writes a new journal that holds these records, and puts it in place of the old one in one step.
fn compact(folder: &Path, path: &Path, records: impl Iterator<Item = Record>) -> Result<(), OpenError> {
    let fresh = folder.join(COMPACTED_FILE);
    let file = File::create(&fresh).map_err(io("create", &fresh))?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    writer.write_all(&encoded(HEADER)).map_err(io("write", &fresh))?;
    for record in records {
        let line = serde_json::to_string(&[record]).expect("records are plain data with string keys");
        writer.write_all(&encoded(&line)).map_err(io("write", &fresh))?;
    }
    let file = writer
        .into_inner()
        .map_err(|error| io("write", &fresh)(error.into_error()))?;
    file.sync_all().map_err(io("sync", &fresh))?;
    std::fs::rename(&fresh, path).map_err(io("rename", &fresh))?;
    let folder_handle = File::open(folder).map_err(io("open", folder))?;
    folder_handle.sync_all().map_err(io("sync", folder))
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK_FILE);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(io("lock", &path)(error)),
    }
}

/// A line: checksum, space, text, newline. JSON text itself has no newline.
fn encoded(text: &str) -> Vec<u8> {
    format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes())).into_bytes()
}

fn decoded(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (checksum, text) = line.split_once(' ')?;
    let checksum = (checksum.len() == 8)
        .then(|| u32::from_str_radix(checksum, 16).ok())
        .flatten()?;
    (checksum == crc32fast::hash(text.as_bytes())).then_some(text)
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
    move |source| OpenError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;

    fn settled(n: usize) -> Vec<Record> {
        vec![Record::Settled(format!("evt_{n}"))]
    }

    fn open(folder: &Path) -> Result<(Book, Journal), OpenError> {
        Journal::open(folder, 60, 0)
    }

    /// A journal with three lines after its header; returns its path.
    fn written(folder: &Path) -> PathBuf {
        let (_, mut journal) = open(folder).expect("opens");
        (0..3).for_each(|n| {
            journal.append(&settled(n));
        });
        drop(journal);
        folder.join(JOURNAL_FILE)
    }

    #[test]
    fn a_torn_last_line_is_dropped_wherever_it_is_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let whole = std::fs::read(written(folder.path())).expect("reads");
        let last_line = whole[..whole.len() - 1]
            .iter()
            .rposition(|b| *b == b'\n')
            .expect("several lines")
            + 1;
        for cut in last_line..whole.len() {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join(JOURNAL_FILE);
            std::fs::write(&path, &whole[..cut]).expect("writes");
            let (_, mut journal) = open(folder.path()).expect("opens");
            journal.append(&settled(9));
            drop(journal);
            assert!(open(folder.path()).is_ok(), "goes on after a cut at {cut}");
            let text = std::fs::read_to_string(&path).expect("reads");
            assert_eq!(
                text.lines().count(),
                4,
                "header, two lines, and the new one: {text}"
            );
        }
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_refused_with_its_number() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = written(folder.path());
        let mut bytes = std::fs::read(&path).expect("reads");
        let second_line = bytes.iter().position(|b| *b == b'\n').expect("several lines") + 1;
        bytes[second_line + 12] ^= 1;
        std::fs::write(&path, bytes).expect("writes");
        let error = open(folder.path()).map(|_| ()).expect_err("damaged");
        assert!(matches!(error, OpenError::Damaged { line: 2, .. }), "{error}");
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn another_form_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let newer = encoded(r#"{"journal":"stripe-fake","schema":2}"#);
        for other in [&newer[..], b"somebody's notes", b"somebody's notes\nand more\n"] {
            std::fs::write(folder.path().join(JOURNAL_FILE), other).expect("writes");
            let error = open(folder.path()).map(|_| ()).expect_err("another form");
            assert!(matches!(error, OpenError::OtherForm(_)), "{error}");
            let left = std::fs::read(folder.path().join(JOURNAL_FILE)).expect("reads");
            assert_eq!(left, other, "and left as it is");
        }
    }

    #[test]
    fn books_in_use_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let _open = open(folder.path()).expect("opens");
        let error = open(folder.path()).map(|_| ()).expect_err("in use");
        assert!(matches!(error, OpenError::InUse(_)), "{error}");
    }

    #[test]
    fn a_large_journal_of_little_use_is_compacted() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, mut journal) = open(folder.path()).expect("opens");
        let filler = Record::Settled("x".repeat(1_000));
        (0..5_000).for_each(|_| {
            journal.append(std::slice::from_ref(&filler));
        });
        drop(journal);
        let path = folder.path().join(JOURNAL_FILE);
        assert!(std::fs::metadata(&path).expect("exists").len() > COMPACT_BYTES_MIN);
        drop(open(folder.path()).expect("opens"));
        assert!(std::fs::metadata(&path).expect("exists").len() < 1_000);
    }

    #[test]
    fn a_damaged_last_line_is_no_torn_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = written(folder.path());
        let mut bytes = std::fs::read(&path).expect("reads");
        let inside = bytes.len() - 5;
        bytes[inside] ^= 1;
        std::fs::write(&path, bytes).expect("writes");
        let error = open(folder.path()).map(|_| ()).expect_err("damaged");
        assert!(matches!(error, OpenError::Damaged { line: 4, .. }), "{error}");
    }

    #[test]
    fn a_journal_that_was_killed_while_it_began_begins_anew() {
        for cut in 0..encoded(HEADER).len() {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::write(folder.path().join(JOURNAL_FILE), &encoded(HEADER)[..cut]).expect("writes");
            assert!(open(folder.path()).is_ok(), "cut at {cut}");
        }
    }
}
