//! The highest rate that keeps a latency goal: found by asking for more until it is too much, and then for less in ever
//! smaller steps. Each try is an open loop, so that a system that falls behind can't hide it.

use crate::number::float;
use crate::results::Run;

/// How many tries there are at most.
const TRIES_MAX: u32 = 12;

/// The search ends when the best rate and the lowest that was too much are this close.
const CLOSE: f64 = 0.05;

/// What share of operations may fail within the goal.
const FAILED_SHARE_MAX: f64 = 0.001;

/// A search under way.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    goal_ms: f64,
    next: f64,
    good: Option<f64>,
    bad: Option<f64>,
    tries: u32,
}

impl Search {
    /// For a p99 of so many milliseconds, beginning with a rate.
    pub fn new(goal_ms: f64, first: f64) -> Self {
        Self {
            goal_ms,
            next: first.max(1.0),
            good: None,
            bad: None,
            tries: 0,
        }
    }

    /// The rate to try next; nothing when the search is over.
    pub fn next(&self) -> Option<f64> {
        let is_close = match (self.good, self.bad) {
            (Some(good), Some(bad)) => (bad - good) / bad < CLOSE,
            (_, Some(bad)) => bad <= 1.0,
            (_, None) => false,
        };
        (!is_close && self.tries < TRIES_MAX).then_some(self.next)
    }

    /// Whether a try kept the goal.
    pub fn keeps(&self, run: &Run) -> bool {
        let all = float(run.operations + run.failed);
        run.operations > 0
            && run.latency.p99_ms <= self.goal_ms
            && float(run.failed) <= all * FAILED_SHARE_MAX
    }

    /// A try is over.
    pub fn tried(&mut self, kept: bool) {
        self.tries += 1;
        if kept {
            self.good = Some(self.next);
        } else {
            self.bad = Some(self.next);
        }
        self.next = match (self.good, self.bad) {
            (Some(good), Some(bad)) => f64::midpoint(good, bad),
            (Some(good), None) => good * 2.0,
            (None, Some(bad)) => bad / 2.0,
            (None, None) => self.next,
        };
    }

    /// The highest rate that kept the goal, if one did.
    pub fn best(&self) -> Option<f64> {
        self.good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_rate_is_found_from_above_and_from_below() {
        for first in [100.0, 5_000.0] {
            let mut search = Search::new(10.0, first);
            while let Some(rate) = search.next() {
                search.tried(rate <= 1_300.0);
            }
            let best = search.best().unwrap();
            assert!((1_200.0..=1_300.0).contains(&best), "{best}");
        }
    }

    #[test]
    fn a_goal_that_nothing_keeps_is_given_up() {
        let mut search = Search::new(0.0, 64.0);
        while search.next().is_some() {
            search.tried(false);
        }
        assert_eq!(search.best(), None);
    }
}
