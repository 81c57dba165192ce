//! What a child process prints, kept in memory: for failure messages, and to wait for a line.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Older lines are forgotten beyond this many: a chatty process must not fill the memory of its test.
const LINES_KEPT_MAX: usize = 10_000;

/// The lines of one stream of a child, filled by a thread that ends with the stream.
#[derive(Clone, Default)]
pub(crate) struct Output {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    lines: Mutex<Lines>,
    grown: Condvar,
}

#[derive(Default)]
struct Lines {
    kept: Vec<String>,
    ended: bool,
}

impl Output {
    /// Reads `stream` to its end on a thread of its own.
    pub(crate) fn collect(stream: impl Read + Send + 'static) -> Self {
        let output = Self::default();
        let shared = Arc::clone(&output.shared);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                // A broken pipe is how a killed child's stream ends.
                let Ok(line) = line else { break };
                let mut lines = lock(&shared);
                if lines.kept.len() == LINES_KEPT_MAX {
                    lines.kept.drain(..LINES_KEPT_MAX / 2);
                }
                lines.kept.push(String::from_utf8_lossy(&line).into_owned());
                shared.grown.notify_all();
            }
            lock(&shared).ended = true;
            shared.grown.notify_all();
        });
        output
    }

    /// All that was printed so far.
    pub(crate) fn text(&self) -> String {
        lock(&self.shared).kept.join("\n")
    }

    /// Waits until all is read, for `deadline` at most: a grandchild may hold the stream open.
    pub(crate) fn wait_for_end(&self, deadline: Duration) {
        let lines = lock(&self.shared);
        let reading = |lines: &mut Lines| !lines.ended;
        drop(self.shared.grown.wait_timeout_while(lines, deadline, reading));
    }

    /// Waits for the first line that `pick` takes; nothing if the stream ends or the deadline passes before.
    pub(crate) fn wait_for<T>(&self, deadline: Duration, pick: impl Fn(&str) -> Option<T>) -> Option<T> {
        let begun = Instant::now();
        let mut lines = lock(&self.shared);
        loop {
            if let Some(found) = lines.kept.iter().find_map(|line| pick(line)) {
                return Some(found);
            }
            let left = deadline.saturating_sub(begun.elapsed());
            if lines.ended || left.is_zero() {
                return None;
            }
            lines = self
                .shared
                .grown
                .wait_timeout(lines, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Lines stay readable even if a reader panicked: they are only ever appended to.
fn lock(shared: &Shared) -> MutexGuard<'_, Lines> {
    shared.lines.lock().unwrap_or_else(PoisonError::into_inner)
}
