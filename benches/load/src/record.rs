//! What came of the requests: percentiles of every route, errors by kind, and how it went second by second.
//!
//! Only what belongs to the measured window is kept. In a closed loop that is what ended within it; at a fixed rate it is
//! what was *due* within it, however late it was answered: a stall counts for everything that it held up.

mod line;

pub use line::{Line, Percentiles};

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::number::micros;

/// How many kinds of errors are told apart; what comes after is "others".
const ERROR_KINDS_MAX: usize = 40;

/// How much of an error's text makes its kind.
const ERROR_CHARS_MAX: usize = 120;

/// How it went in one second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Second {
    /// Operations that ended in it.
    pub operations: u64,
    /// Operations that failed in it.
    pub failed: u64,
    /// Percentiles of those that ended well.
    pub percentiles: Percentiles,
}

/// From when until when it is measured.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Its first moment.
    pub begin: Instant,
    /// Its end.
    pub end: Instant,
    /// Whether what counts is when an operation was due, instead of when it ended.
    pub by_due: bool,
}

impl Window {
    /// Whether an operation counts that was due then and ends now.
    pub fn counts(&self, due: Instant, now: Instant) -> bool {
        let when = if self.by_due { due } else { now };
        when >= self.begin && when < self.end
    }

    /// How long it is.
    pub fn length(&self) -> Duration {
        self.end.saturating_duration_since(self.begin)
    }
}

/// Collects what comes of the requests of all users of one run.
#[derive(Debug)]
pub struct Recorder {
    window: Window,
    kept: Mutex<Kept>,
}

/// What a run has collected.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Whole operations, from when they were due until they were done.
    pub operations: Line,
    /// Operations that failed.
    pub failed: u64,
    /// Each route that was called.
    pub routes: Vec<Line>,
    /// What takes more than one request: from an order to its payment, and the like.
    pub stories: Vec<Line>,
    /// How often what went wrong.
    pub errors: BTreeMap<String, u64>,
    /// Second by second.
    pub series: Vec<Second>,
    second: Line,
    second_failed: u64,
}

impl Recorder {
    /// An empty one.
    pub fn new(window: Window) -> Self {
        let kept = Kept {
            operations: Line::new("operation"),
            failed: 0,
            routes: Vec::new(),
            stories: Vec::new(),
            errors: BTreeMap::new(),
            series: Vec::new(),
            second: Line::new("second"),
            second_failed: 0,
        };
        Self {
            window,
            kept: Mutex::new(kept),
        }
    }

    /// The measured window.
    pub fn window(&self) -> Window {
        self.window
    }

    /// A route was answered.
    pub fn route(&self, name: &'static str, due: Instant, now: Instant) {
        if self.window.counts(due, now) {
            line_of(&mut self.lock().routes, name).record(micros(now.saturating_duration_since(due)));
        }
    }

    /// A story of several requests took so long.
    pub fn story(&self, name: &'static str, due: Instant, now: Instant) {
        self.story_took(name, due, now, now.saturating_duration_since(due));
    }

    /// A story took so long, by another measure than ours.
    pub fn story_took(&self, name: &'static str, due: Instant, now: Instant, took: Duration) {
        if self.window.counts(due, now) {
            line_of(&mut self.lock().stories, name).record(micros(took));
        }
    }

    /// Something went wrong.
    pub fn error(&self, kind: &str, due: Instant, now: Instant) {
        if self.window.counts(due, now) {
            self.lock().error(kind, 1);
        }
    }

    /// A whole operation is over.
    pub fn operation(&self, is_good: bool, due: Instant, now: Instant) {
        if !self.window.counts(due, now) {
            return;
        }
        let took = micros(now.saturating_duration_since(due));
        let mut kept = self.lock();
        if is_good {
            kept.operations.record(took);
            kept.second.record(took);
        } else {
            kept.failed += 1;
            kept.second_failed += 1;
        }
    }

    /// So many operations never ended.
    pub fn given_up(&self, kind: &str, count: u64) {
        if count > 0 {
            let mut kept = self.lock();
            kept.failed += count;
            kept.error(kind, count);
        }
    }

    /// Ends one second of the series, and says how it went.
    pub fn tick(&self) -> Second {
        let mut kept = self.lock();
        let second = Second {
            operations: kept.second.count(),
            failed: kept.second_failed,
            percentiles: kept.second.percentiles(),
        };
        kept.second.clear();
        kept.second_failed = 0;
        kept.series.push(second);
        second
    }

    /// How many operations have ended well and how many have failed.
    pub fn progress(&self) -> (u64, u64) {
        let kept = self.lock();
        (kept.operations.count(), kept.failed)
    }

    /// The errors so far.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        self.lock().errors.clone()
    }

    /// All that was collected.
    pub fn kept(&self) -> Kept {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn error(&mut self, kind: &str, count: u64) {
        let kind: String = kind.chars().take(ERROR_CHARS_MAX).collect();
        let is_known = self.errors.contains_key(&kind);
        let kind = if is_known || self.errors.len() < ERROR_KINDS_MAX {
            kind
        } else {
            "others".to_owned()
        };
        *self.errors.entry(kind).or_default() += count;
    }

    /// The story of that name, if one was told.
    pub fn told(&self, name: &str) -> Option<&Line> {
        self.stories.iter().find(|line| line.name() == name)
    }
}

fn line_of<'a>(lines: &'a mut Vec<Line>, name: &'static str) -> &'a mut Line {
    let at = lines.iter().position(|line| line.name() == name);
    let at = at.unwrap_or_else(|| {
        lines.push(Line::new(name));
        lines.len() - 1
    });
    &mut lines[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(by_due: bool) -> Window {
        let begin = Instant::now();
        Window {
            begin,
            end: begin + Duration::from_secs(1),
            by_due,
        }
    }

    #[test]
    fn a_window_is_of_when_it_was_due_or_of_when_it_ended() {
        let late = Duration::from_secs(3);
        for by_due in [true, false] {
            let window = window(by_due);
            let recorder = Recorder::new(window);
            recorder.route("GET /", window.begin, window.begin + late);
            recorder.operation(true, window.begin, window.begin + late);
            let kept = recorder.kept();
            assert_eq!(kept.operations.count(), u64::from(by_due));
            assert_eq!(kept.routes.len(), usize::from(by_due));
        }
    }

    #[test]
    fn kinds_of_errors_are_bounded() {
        let window = window(true);
        let recorder = Recorder::new(window);
        for number in 0..1_000 {
            recorder.error(&format!("error {number}"), window.begin, window.begin);
        }
        let errors = recorder.errors();
        assert_eq!(errors.len(), ERROR_KINDS_MAX + 1);
        assert_eq!(errors.values().sum::<u64>(), 1_000);
    }

    #[test]
    fn a_second_ends_and_the_next_begins_empty() {
        let window = window(true);
        let recorder = Recorder::new(window);
        recorder.operation(true, window.begin, window.begin + Duration::from_millis(3));
        recorder.operation(false, window.begin, window.begin);
        let second = recorder.tick();
        assert_eq!((second.operations, second.failed), (1, 1));
        assert!((second.percentiles.p50_ms - 3.0).abs() < 0.01);
        assert_eq!(recorder.tick(), Second::default());
        assert_eq!(recorder.progress(), (1, 1));
    }
}
