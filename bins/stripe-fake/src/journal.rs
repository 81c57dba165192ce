//! The journal: an append-only file of changes from which the books are made again at the next start.
//!
//! A thread of its own writes what waits and syncs it with one `fdatasync`; whoever answers first waits until
//! what the answer rests on is synced. So many callers share one sync, and none holds the books locked
//! meanwhile. The file's form is in `journal_file`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::book::Book;
use crate::clock::Seconds;
use crate::journal_file::{self, OpenError};
use crate::model::Record;

/// How much one sync covers at most.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How much may wait for the disk before further work is refused.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long an answer waits for the disk before it says that it does not know.
const SYNC_SECONDS_MAX: u64 = 10;
/// How long the writer waits after the disk has refused, before it tries again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

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
        let opened = journal_file::open(folder, idempotency_seconds, now)?;
        Ok((
            opened.book,
            Self::writing(opened.file, opened.lock, opened.end_bytes),
        ))
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
            let bytes = journal_file::line(records);
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
    #[expect(
        clippy::disallowed_methods,
        reason = "a retry loop on a thread of its own: there is nothing to wait for but time"
    )]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_waited_for_is_in_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, mut journal) = Journal::open(folder.path(), 60, 0).expect("opens");
        let number = journal.append(&[Record::Settled("evt_7".to_owned())]);
        journal.synced().wait(number).await.expect("synced");
        let text = std::fs::read_to_string(folder.path().join("journal.jsonl")).expect("reads");
        assert!(text.contains("evt_7"), "{text}");
    }

    #[tokio::test]
    async fn books_in_memory_wait_for_no_disk() {
        let mut journal = Journal::in_memory();
        let number = journal.append(&[Record::Settled("evt_7".to_owned())]);
        journal.synced().wait(number).await.expect("at once");
    }

    #[test]
    fn a_disk_that_refuses_does_not_keep_the_books_from_closing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("read-only");
        std::fs::write(&path, b"").expect("writes");
        let read_only = || File::open(&path).expect("opens");
        let mut journal = Journal::writing(read_only(), read_only(), 0);
        journal.append(&[Record::Settled("evt_7".to_owned())]);
        drop(journal);
        assert_eq!(std::fs::metadata(&path).expect("exists").len(), 0);
    }
}
