//! Whether Stripe answers: what its last call has shown, for the probes and the metrics. Nothing is decided by it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Trouble;

/// For so long a call that came to nothing tells how Stripe is. Whoever still wants something of it calls again within
/// that time; if nobody does, nobody knows.
const TELLS_SECONDS_MAX: u64 = 60;

/// What the last call has shown. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Answering(Arc<Mutex<Option<Instant>>>);

impl Answering {
    /// A call has ended.
    pub(super) fn ended<T>(&self, result: &Result<T, Trouble>) {
        let failed = result.as_ref().err().is_some_and(Trouble::is_outage);
        let mut failed_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *failed_at = failed.then(Instant::now);
    }

    /// Whether nothing speaks against it.
    pub(super) fn is_likely(&self, now: Instant) -> bool {
        let failed_at = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed_at.is_none_or(|at| now.duration_since(at) > Duration::from_secs(TELLS_SECONDS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_call_tells_for_a_while() {
        let answering = Answering::default();
        assert!(answering.is_likely(Instant::now()));
        let outage = Err::<(), _>(Trouble::Unknown("refused".to_owned()));
        answering.ended(&outage);
        assert!(!answering.is_likely(Instant::now()));
        // An answer that says no is an answer.
        answering.ended(&Err::<(), _>(Trouble::Declined("no funds".to_owned())));
        assert!(answering.is_likely(Instant::now()));
        answering.ended(&outage);
        let later = Instant::now() + Duration::from_secs(TELLS_SECONDS_MAX + 1);
        assert!(answering.is_likely(later));
    }
}
