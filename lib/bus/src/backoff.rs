//! How the parts of the bus go on after an error: with growing pauses, and with one log line per change.

use std::fmt::Display;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The pause after the first failure; jitter up to as much again is added to every pause.
const PAUSE_MILLIS_MIN: u64 = 50;
/// The longest pause before jitter: a Redis that comes back is noticed within twice this.
const PAUSE_MILLIS_MAX: u64 = 2_000;

/// Whether a part of the bus works at the moment, said once per change, and how long to wait until the next try.
pub(crate) struct Health {
    part: String,
    failing: bool,
    pauses: ExponentialBackoff,
}

impl Health {
    /// Of a part that has not failed so far; `part` is for the log: `relay orders`.
    pub(crate) fn new(part: String) -> Self {
        Self {
            part,
            failing: false,
            pauses: pauses(),
        }
    }

    /// It failed: logs it if it had worked before, and says how long to wait.
    pub(crate) fn failed(&mut self, error: &dyn Display) -> Duration {
        if !self.failing {
            tracing::warn!(part = self.part, %error, "the bus is degraded; trying again until it works");
            self.failing = true;
        }
        // Without a bound on the number of tries the sequence never ends.
        self.pauses
            .next()
            .unwrap_or(Duration::from_millis(PAUSE_MILLIS_MAX))
    }

    /// It worked.
    pub(crate) fn worked(&mut self) {
        if self.failing {
            tracing::info!(part = self.part, "the bus works again");
            self.failing = false;
            self.pauses = pauses();
        }
    }
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(PAUSE_MILLIS_MIN))
        .with_max_delay(Duration::from_millis(PAUSE_MILLIS_MAX))
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew_after_success() {
        let mut health = Health::new("test".into());
        let first = health.failed(&"down");
        assert!(
            first >= Duration::from_millis(PAUSE_MILLIS_MIN)
                && first <= Duration::from_millis(2 * PAUSE_MILLIS_MIN)
        );
        let longest = (0..1_000)
            .map(|_| health.failed(&"down"))
            .max()
            .expect("a thousand pauses");
        assert!(longest >= Duration::from_millis(PAUSE_MILLIS_MAX));
        assert!(longest <= Duration::from_millis(2 * PAUSE_MILLIS_MAX));
        health.worked();
        assert!(health.failed(&"down again") <= Duration::from_millis(2 * PAUSE_MILLIS_MIN));
    }
}
