//! A metronome. The runtime's own timers tick once a millisecond, which is as long as a whole answer takes; a thread of
//! its own sleeps to within some tens of microseconds and costs next to nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::number::{float, whole};

/// More often than this the thread does not wake; what is due together is let go together.
const TICK_MIN: Duration = Duration::from_micros(250);

/// Lets so many operations a second begin.
#[derive(Debug)]
pub(super) struct Pacer {
    per_second: f64,
    start: Instant,
    last: u64,
    due: Arc<Semaphore>,
}

impl Pacer {
    /// Begins to count at `start`, and ends at `end`.
    pub(super) fn start(per_second: f64, start: Instant, end: Instant) -> Self {
        let due = Arc::new(Semaphore::new(0));
        let gate = Arc::clone(&due);
        let last = whole(per_second * end.saturating_duration_since(start).as_secs_f64());
        let run = move || {
            let mut released = 0;
            while released < last && Arc::strong_count(&gate) > 1 {
                let now = Instant::now();
                let next = when(per_second, start, released);
                let wait = next.saturating_duration_since(now);
                if !wait.is_zero() {
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "keeping time is what this thread is for"
                    )]
                    std::thread::sleep(wait.max(TICK_MIN));
                }
                let passed = Instant::now().saturating_duration_since(start).as_secs_f64();
                let due = (whole((passed * per_second).floor()) + 1).min(last);
                let more = due.saturating_sub(released);
                gate.add_permits(usize::try_from(more).unwrap_or(usize::MAX));
                released = released.max(due);
            }
            // Who still waits learns that nothing more will be due, once all that is due has been taken.
            gate.add_permits(Semaphore::MAX_PERMITS / 2);
        };
        let spawned = std::thread::Builder::new().name("pacer".to_owned()).spawn(run);
        spawned.expect("a thread can be started");
        Self {
            per_second,
            start,
            last,
            due,
        }
    }

    /// Waits until the next operation is due, or until there will be none any more.
    pub(super) async fn due(&self) {
        let permit = self.due.acquire().await;
        permit.expect("the gate is never closed").forget();
    }

    /// How many there will have been at the end.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// When the `number`th operation is due.
    pub(super) fn when(&self, number: u64) -> Instant {
        when(self.per_second, self.start, number)
    }
}

fn when(per_second: f64, start: Instant, number: u64) -> Instant {
    start + Duration::from_secs_f64(float(number) / per_second)
}
