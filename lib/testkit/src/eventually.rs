//! Waiting for a condition instead of for a time.

use std::time::{Duration, Instant};

/// How long to wait between two looks. Short, so that a test is hardly slower than what it waits for.
const POLL_MILLIS: u64 = 10;

/// Polls `probe` until it gives a value, and gives it on; `what` completes the sentence "not within 5s: …".
///
/// # Panics
/// When `deadline` has passed without a value.
pub async fn eventually<T>(what: &str, deadline: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        // A probe that hangs must not outlive the deadline either; it gets what is left of it.
        let left = deadline.saturating_sub(begun.elapsed());
        let looked = tokio::time::timeout(left.max(Duration::from_millis(POLL_MILLIS)), probe()).await;
        if let Ok(Some(value)) = looked {
            return value;
        }
        assert!(begun.elapsed() < deadline, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(POLL_MILLIS)).await;
    }
}

/// [`eventually`] for tests without a runtime.
///
/// # Panics
/// When `deadline` has passed without a value.
pub fn eventually_blocking<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(begun.elapsed() < deadline, "not within {deadline:?}: {what}");
        #[allow(
            clippy::disallowed_methods,
            reason = "the pause between two looks of a bounded wait"
        )]
        std::thread::sleep(Duration::from_millis(POLL_MILLIS));
    }
}
