//! Whether a read is asked again of a service that has answered "not now": one that has just started, or is a moment behind.
//!
//! It says itself when to come back. What it says is heeded once or twice, if a person would wait for it; and by few at a
//! time, so that a service that has too much to do does not get twice as much.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How often one read is asked again.
const TIMES_MAX: usize = 2;

/// How long one read waits in all to be asked again. A page that takes longer should rather say what is the matter.
const WAIT_SECONDS_MAX: u64 = 3;

/// Reads that wait at once to be asked again, in the whole site.
const READS_WAITING_MAX: usize = 64;

/// The places of those who wait.
#[derive(Debug)]
pub(super) struct Again(Semaphore);

/// One read, and what it has waited so far.
#[derive(Debug, Default)]
pub(super) struct Waited {
    times: usize,
    seconds: u64,
}

/// To be waited out, and then asked again.
#[derive(Debug)]
pub(super) struct Pause<'a> {
    pub(super) time: Duration,
    _place: SemaphorePermit<'a>,
}

impl Default for Again {
    fn default() -> Self {
        Self(Semaphore::new(READS_WAITING_MAX))
    }
}

impl Again {
    /// How long to wait after this answer before the read is asked again; nothing when the answer is the answer.
    pub(super) fn after(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        waited: &mut Waited,
    ) -> Option<Pause<'_>> {
        if !matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE) {
            return None;
        }
        let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        let in_all = waited.seconds.saturating_add(seconds);
        if waited.times == TIMES_MAX || in_all > WAIT_SECONDS_MAX {
            return None;
        }
        let place = self.0.try_acquire().ok()?;
        *waited = Waited {
            times: waited.times + 1,
            seconds: in_all,
        };
        Some(Pause {
            time: Duration::from_secs(seconds),
            _place: place,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(again: &Again, status: u16, retry: Option<&str>, waited: &mut Waited) -> Option<u64> {
        let mut headers = HeaderMap::new();
        if let Some(retry) = retry {
            headers.insert(header::RETRY_AFTER, retry.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let pause = again.after(status, &headers, waited)?;
        Some(pause.time.as_secs())
    }

    #[test]
    fn only_not_now_is_asked_again_when_the_service_says() {
        let again = Again::default();
        let asked = |status, retry| after(&again, status, retry, &mut Waited::default());
        assert_eq!(asked(503, Some("1")), Some(1));
        assert_eq!(asked(502, Some("0")), Some(0));
        for (status, retry) in [
            (503, None),
            (503, Some("soon")),
            (503, Some("7")),
            (500, Some("1")),
            (429, Some("1")),
            (200, Some("1")),
        ] {
            assert_eq!(asked(status, retry), None, "{status} {retry:?}");
        }
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (again, mut waited) = (Again::default(), Waited::default());
        let mut asked = |retry| after(&again, 503, Some(retry), &mut waited);
        assert_eq!(asked("2"), Some(2));
        assert_eq!(asked("2"), None, "three seconds in all");
        assert_eq!(asked("1"), Some(1));
        assert_eq!(asked("0"), None, "twice");
    }

    #[test]
    fn few_wait_at_once() {
        let again = Again::default();
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "1".parse().unwrap());
        let ask = || again.after(StatusCode::SERVICE_UNAVAILABLE, &headers, &mut Waited::default());
        let mut waiting: Vec<_> = (0..READS_WAITING_MAX).map(|_| ask().unwrap()).collect();
        assert!(ask().is_none());
        waiting.pop();
        assert!(ask().is_some());
    }
}
