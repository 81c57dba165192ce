//! Whether a read is asked again of a service that has answered "not now": one that has just started, or is a moment behind.
//!
//! It says itself when to come back. What it says is heeded for as long as a person would wait for a page; after that, what it
//! has said last is the answer.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};

/// How long after its beginning a read is asked again at the latest: beyond what a roll-out takes, five seconds of which nobody
/// is there at all, before who comes says "in a second". What is asked then has the rest of the call's eight seconds to be
/// answered in, and reads are quick.
const ASKED_AGAIN_SECONDS_MAX: u64 = 7;

/// The shortest pause, for a service that says "at once".
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// How long to wait after this answer before the read is asked again; nothing when the answer is the answer. `taken` is how long
/// the read has taken so far.
pub(super) fn after(status: StatusCode, headers: &HeaderMap, taken: Duration) -> Option<Duration> {
    if !matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    let pause = Duration::from_secs(seconds).max(PAUSE_MIN);
    (taken.saturating_add(pause) <= Duration::from_secs(ASKED_AGAIN_SECONDS_MAX)).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(status: u16, retry: Option<&str>, taken_millis: u64) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        if let Some(retry) = retry {
            headers.insert(header::RETRY_AFTER, retry.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        after(status, &headers, Duration::from_millis(taken_millis))
    }

    #[test]
    fn only_not_now_is_asked_again_when_the_service_says() {
        assert_eq!(asked(503, Some("1"), 0), Some(Duration::from_secs(1)));
        assert_eq!(asked(502, Some("0"), 0), Some(PAUSE_MIN));
        for (status, retry) in [
            (503, None),
            (503, Some("soon")),
            (503, Some("8")),
            (500, Some("1")),
            (429, Some("1")),
            (200, Some("1")),
        ] {
            assert_eq!(asked(status, retry, 0), None, "{status} {retry:?}");
        }
    }

    #[test]
    fn a_restart_is_waited_out_and_nobody_waits_for_ever() {
        // A service that binds its port after 1.2 s and is ready after 3.8: it has said "in a second" three times by then.
        // In a cluster nobody is there for five seconds before that.
        for taken in [1_200, 2_210, 3_220, 5_300] {
            assert_eq!(asked(503, Some("1"), taken), Some(Duration::from_secs(1)));
        }
        assert_eq!(asked(503, Some("1"), 6_001), None);
        assert_eq!(asked(503, Some("0"), 6_801), None);
        assert_eq!(asked(503, Some("18446744073709551615"), 1), None);
    }
}
