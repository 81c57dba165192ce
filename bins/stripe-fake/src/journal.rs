//! The journal: an append-only file of changes from which the books are made again at the next start.
//!
//! One line is one request's changes: a checksum, a space, and a JSON array of records. A thread of its own
//! writes what waits and syncs it with one `fdatasync`; whoever answers first waits until what the answer
//! rests on is synced. So many callers share one sync, and none holds the books locked meanwhile.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

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
/// How much one sync covers at most.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How much may wait for the disk before further work is refused.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long an answer waits for the disk before it says that it does not know.
const SYNC_SECONDS_MAX: u64 = 10;
/// How long the writer waits after the disk has refused, before it tries again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

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

/// What was decided could not be synced in time. It may or may not survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotSynced;

struct Line {
    number: u64,
    bytes: Vec<u8>,
}

/// The writing end of a journal. Appending is quick; `Synced` tells when it has reached the disk.
#[derive(Debug)]
pub(crate) struct Journal {
    last: u64,
    waiting_bytes: Arc<AtomicUsize>,
    writer: Option<Writer>,
    synced: watch::Receiver<u64>,
}

#[derive(Debug)]
struct Writer {
    lines: Option<mpsc::Sender<Line>>,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Waits for the disk, without the journal itself.
#[derive(Debug, Clone)]
pub(crate) struct Synced(watch::Receiver<u64>);

impl Synced {
    /// Returns when the line with this number, and all before it, are on the disk.
    pub(crate) async fn wait(&self, number: u64) -> Result<(), NotSynced> {
        let mut synced = self.0.clone();
        let reached = synced.wait_for(|synced| *synced >= number);
        match tokio::time::timeout(Duration::from_secs(SYNC_SECONDS_MAX), reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(NotSynced),
        }
    }
}

impl Journal {
    /// A journal that keeps nothing: books in memory only.
    pub(crate) fn in_memory() -> Self {
        // Every number counts as synced; the sender may go, what it has sent stays readable.
        let (_, synced) = watch::channel(u64::MAX);
        Self {
            last: 0,
            waiting_bytes: Arc::default(),
            writer: None,
            synced,
        }
    }

    /// Opens the journal in a folder and makes the books from it.
    pub(crate) fn open(
        folder: &Path,
        idempotency_seconds: i64,
        now: Seconds,
    ) -> Result<(Book, Self), OpenError> {
        std::fs::create_dir_all(folder).map_err(io("create", folder))?;
        let lock = lock(folder)?;
        let path = folder.join(JOURNAL_FILE);
        let read = read(&path, idempotency_seconds)?;
        let live = read.book.records(now).count();
        let wasteful =
            read.records > live.saturating_mul(COMPACT_RATIO) && read.good_bytes > COMPACT_BYTES_MIN;
        if wasteful || read.good_bytes == 0 {
            compact(folder, &path, read.book.records(now))?;
        }
        let file = OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(io("open", &path))?;
        let mut end = file.metadata().map_err(io("read the size of", &path))?.len();
        if !wasteful && read.good_bytes > 0 && end > read.good_bytes {
            tracing::warn!(
                bytes = end - read.good_bytes,
                "the journal's last line was torn and is dropped"
            );
            file.set_len(read.good_bytes).map_err(io("shorten", &path))?;
            file.sync_all().map_err(io("sync", &path))?;
            end = read.good_bytes;
        }
        // Read the books again from what was compacted? They are the same: `records` makes them whole.
        Ok((read.book, Self::writing(file, lock, end)))
    }

    fn writing(file: File, lock: File, end: u64) -> Self {
        let (lines, inbox) = mpsc::channel();
        let (progress, synced) = watch::channel(0);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let closing = Arc::new(AtomicBool::new(false));
        let mut state = WriterState {
            file,
            _lock: lock,
            end,
            waiting_bytes: Arc::clone(&waiting_bytes),
            closing: Arc::clone(&closing),
        };
        let thread = std::thread::Builder::new()
            .name("stripe-fake-journal".to_owned())
            .spawn(move || state.run(&inbox, &progress))
            .expect("a process that could not start one more thread could not serve either");
        let writer = Writer {
            lines: Some(lines),
            closing,
            thread: Some(thread),
        };
        Self {
            last: 0,
            waiting_bytes,
            writer: Some(writer),
            synced,
        }
    }

    /// Whether the disk is so far behind that no further work should be taken on.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting_bytes.load(Ordering::Relaxed) > WAITING_BYTES_MAX
    }

    /// The number of the last line.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Hands records to the writer and returns the number of their line.
    pub(crate) fn append(&mut self, records: &[Record]) -> u64 {
        self.last += 1;
        if let Some(lines) = self.writer.as_ref().and_then(|writer| writer.lines.as_ref()) {
            let bytes =
                encoded(&serde_json::to_string(records).expect("records are plain data with string keys"));
            self.waiting_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
            // The writer ends only after this sender is gone; were it dead all the same, nothing would ever
            // be synced again, and every answer would say so.
            if lines
                .send(Line {
                    number: self.last,
                    bytes,
                })
                .is_err()
            {
                tracing::error!("the journal's writer has ended: nothing can be kept any more");
            }
        }
        self.last
    }

    /// Tells when lines are on the disk.
    pub(crate) fn synced(&self) -> Synced {
        Synced(self.synced.clone())
    }
}

impl Drop for Writer {
    /// Waits until everything that was appended is on the disk, so that the folder can be opened again.
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        drop(self.lines.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's writer panicked");
        }
    }
}

struct WriterState {
    file: File,
    /// Held as long as the journal is written.
    _lock: File,
    end: u64,
    waiting_bytes: Arc<AtomicUsize>,
    closing: Arc<AtomicBool>,
}

impl WriterState {
    fn run(&mut self, inbox: &mpsc::Receiver<Line>, progress: &watch::Sender<u64>) {
        while let Ok(first) = inbox.recv() {
            let mut last = first.number;
            let mut group = first.bytes;
            while group.len() < GROUP_BYTES_MAX {
                let Ok(line) = inbox.try_recv() else { break };
                last = line.number;
                group.extend_from_slice(&line.bytes);
            }
            if !self.write(&group) {
                return;
            }
            self.end += group.len() as u64;
            self.waiting_bytes.fetch_sub(group.len(), Ordering::Relaxed);
            progress.send_replace(last);
        }
    }

    /// Writes and syncs one group, again and again until the disk takes it; false when it has not and the
    /// books are being closed.
    // A retry loop on a thread of its own: there is nothing to wait for but time.
    #[allow(clippy::disallowed_methods)]
    fn write(&self, group: &[u8]) -> bool {
        let mut said = false;
        loop {
            let written = self
                .file
                .write_all_at(group, self.end)
                .and_then(|()| self.file.sync_data());
            let Err(error) = written else { return true };
            if !std::mem::replace(&mut said, true) {
                tracing::error!(%error, "the journal can't be written; trying again until it can");
            }
            // What was half written must not look like a damaged line once more lines follow.
            if let Err(error) = self.file.set_len(self.end) {
                tracing::error!(%error, "the journal can't be shortened");
            }
            if self.closing.load(Ordering::SeqCst) {
                return false;
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }
}

struct Read {
    book: Book,
    records: usize,
    good_bytes: u64,
}

/// Makes the books from a journal. Only what comes after the last good line may be unreadable.
fn read(path: &Path, idempotency_seconds: i64) -> Result<Read, OpenError> {
    let mut read = Read {
        book: Book::new(idempotency_seconds),
        records: 0,
        good_bytes: 0,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(read),
        Err(error) => return Err(io("open", path)(error)),
    };
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut bytes = Vec::new();
    let mut first_bad: Option<usize> = None;
    let mut number = 0;
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(io("read", path))? == 0 {
            return Ok(read);
        }
        number += 1;
        match (decoded(&bytes), first_bad) {
            (Some(_), Some(line)) => {
                return Err(OpenError::Damaged {
                    path: path.to_owned(),
                    line,
                });
            }
            (Some(header), None) if number == 1 => {
                if header != HEADER {
                    return Err(OpenError::OtherForm(path.to_owned()));
                }
            }
            (Some(line), None) => {
                let Ok(records) = serde_json::from_str::<Vec<Record>>(line) else {
                    // Its checksum is right, so it was written like this: by another version.
                    return Err(OpenError::OtherForm(path.to_owned()));
                };
                read.records += records.len();
                records.into_iter().for_each(|record| read.book.apply(record));
            }
            (None, None) => first_bad = Some(number),
            (None, Some(_)) => {}
        }
        if first_bad.is_none() {
            read.good_bytes += bytes.len() as u64;
        }
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
        std::fs::write(
            folder.path().join(JOURNAL_FILE),
            encoded(r#"{"journal":"stripe-fake","schema":2}"#),
        )
        .expect("writes");
        let error = open(folder.path()).map(|_| ()).expect_err("another form");
        assert!(matches!(error, OpenError::OtherForm(_)), "{error}");
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

    #[tokio::test]
    async fn what_was_waited_for_is_in_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, mut journal) = open(folder.path()).expect("opens");
        let number = journal.append(&settled(7));
        journal.synced().wait(number).await.expect("synced");
        let text = std::fs::read_to_string(folder.path().join(JOURNAL_FILE)).expect("reads");
        assert!(text.contains("evt_7"), "{text}");
    }
}
