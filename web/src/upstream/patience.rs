//! How long a read is repeated while its service gives no connection, or breaks off what it says: for as long as a restart takes.
//!
//! Nobody who opens a page should see that a service is just being replaced. But when it is down for longer than that, everyone
//! is told at once, and no page hangs.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Service;

/// The first pauses, for a connection that broke while nothing is the matter.
const SHORT_PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];

/// The pause between two tries after that.
const PAUSE: Duration = Duration::from_millis(500);

/// How long after a service was first missed its return is waited for.
const RESTART_MAX: Duration = Duration::from_secs(15);

/// After so long without a try, an earlier absence says nothing about this one: it may have been back meanwhile, unseen. Whoever
/// waits tries twice a second.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// Since when each service is missed.
#[derive(Debug, Default)]
pub(super) struct Patience([Mutex<Option<Missed>>; Service::ALL.len()]);

#[derive(Debug, Clone, Copy)]
struct Missed {
    since: Instant,
    last: Instant,
}

impl Patience {
    /// The service has answered.
    pub(super) fn answered(&self, service: Service) {
        *self.of(service) = None;
    }

    /// The service has given no connection to a read, or no whole answer, for which it was tried so often before. How long to wait before the
    /// next try; nothing when it is time to say that it can't be reached.
    pub(super) fn missed(&self, service: Service, tried: usize, now: Instant) -> Option<Duration> {
        let mut missed = self.of(service);
        let known = missed.filter(|missed| now.saturating_duration_since(missed.last) < FORGOTTEN_AFTER);
        let since = known.map_or(now, |missed| missed.since);
        *missed = Some(Missed { since, last: now });
        match SHORT_PAUSES.get(tried) {
            Some(pause) => Some(*pause),
            None => (now.saturating_duration_since(since) < RESTART_MAX).then_some(PAUSE),
        }
    }

    fn of(&self, service: Service) -> std::sync::MutexGuard<'_, Option<Missed>> {
        let index = Service::ALL.iter().position(|known| *known == service);
        let slot = self.0.get(index.unwrap_or_default());
        // A poisoned lock guards a plain value, which is whole.
        slot.expect("there is a place for every service")
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_waited_for_and_a_service_that_is_down_is_not() {
        let (patience, begun) = (Patience::default(), Instant::now());
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let missed = |tried, seconds| patience.missed(Service::Orders, tried, at(seconds));
        assert_eq!(missed(0, 0), Some(SHORT_PAUSES[0]));
        assert_eq!(missed(1, 0), Some(SHORT_PAUSES[1]));
        assert_eq!(missed(2, 1), Some(PAUSE));
        assert_eq!(missed(6, 8), Some(PAUSE));
        assert_eq!(missed(9, 14), Some(PAUSE));
        // It is no restart: everyone is told after two short pauses.
        assert_eq!(missed(10, 15), None);
        assert_eq!(missed(0, 16), Some(SHORT_PAUSES[0]));
        assert_eq!(missed(2, 16), None);
        assert_eq!(
            patience.missed(Service::Tickets, 2, at(16)),
            Some(PAUSE),
            "another service's absence is its own"
        );
        // It was there again, or nobody has asked for long: the next absence may be a restart.
        patience.answered(Service::Orders);
        assert_eq!(missed(2, 17), Some(PAUSE));
        assert_eq!(missed(2, 26), Some(PAUSE));
        assert_eq!(missed(2, 33), None);
        assert_eq!(
            missed(2, 42),
            None,
            "somebody asks every few seconds, and it is never there"
        );
        assert_eq!(missed(2, 52), Some(PAUSE));
    }
}
