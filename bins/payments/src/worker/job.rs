//! What the worker remembers of one payment: when its next step is due, and what was tried.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::agent::Tries;
use crate::store::Urgency;

/// The first pause after a step that came to nothing; it doubles, with jitter.
const RETRY_MILLIS_MIN: u64 = 200;
/// The longest pause between two tries, jitter included: bounded, but never given up. It leaves room for the
/// calls themselves in the 90 s within which a payment ends once Stripe answers.
pub(super) const RETRY_SECONDS_MAX: u64 = 30;
/// Over how long the tries are spread that are due because Stripe answers again.
pub(super) const WAKE_SECONDS_MAX: u64 = 3;

/// One payment's place in the worker.
pub(super) struct Job {
    pub(super) urgency: Urgency,
    /// When the next step is due, if one is scheduled.
    pub(super) due: Option<Instant>,
    /// A step is being made.
    pub(super) running: bool,
    /// Something new has come up since the step began.
    pub(super) again: bool,
    /// The last step came to nothing at Stripe, and the next one waits for Stripe to be well again.
    pub(super) failed: bool,
    pauses: ExponentialBackoff,
    pub(super) tries: Tries,
    pub(super) lookers: Vec<oneshot::Sender<()>>,
    /// When the last step ended.
    pub(super) ended_at: Option<Instant>,
}

impl Job {
    pub(super) fn new() -> Self {
        Self {
            urgency: Urgency::default(),
            due: None,
            running: false,
            again: false,
            failed: false,
            pauses: pauses(),
            tries: Tries::default(),
            lookers: Vec::new(),
            ended_at: None,
        }
    }

    /// Something is new: what was tried before says nothing about it.
    pub(super) fn renew(&mut self, urgency: Urgency) {
        self.urgency = urgency;
        self.pauses = pauses();
        self.tries = Tries::default();
    }

    pub(super) fn pause(&mut self) -> Duration {
        let max = Duration::from_secs(RETRY_SECONDS_MAX);
        self.pauses.next().unwrap_or(max).min(max)
    }
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(RETRY_MILLIS_MIN))
        // Jitter adds up to as much again.
        .with_max_delay(Duration::from_secs(RETRY_SECONDS_MAX) / 2)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

/// About that long, so that what was opened together is not looked at together for ever.
pub(super) fn spread(pause: Duration) -> Duration {
    let half = pause / 2;
    half + jittered(half)
}

/// Soon, but not all at once.
pub(super) fn soon() -> Duration {
    let half = Duration::from_secs(WAKE_SECONDS_MAX) / 2;
    (jittered(half) - half) * 2
}

/// `pause`, and up to as much again.
fn jittered(pause: Duration) -> Duration {
    let mut jittered = ExponentialBuilder::new()
        .with_min_delay(pause)
        .with_max_delay(pause)
        .with_jitter()
        .build();
    jittered.next().unwrap_or(pause)
}
