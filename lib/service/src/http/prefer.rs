//! `Prefer: wait=N` (RFC 7240): answer when something has changed, or after N seconds.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;

/// The longest that a request is kept waiting; who asks for longer waits this long.
pub const WAIT_SECONDS_MAX: u64 = 30;

/// What the client prefers. As the standard says, preferences that make no sense are ignored, not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefer {
    /// How long it would wait for a change.
    pub wait: Option<Duration>,
}

impl<S: Send + Sync> FromRequestParts<S> for Prefer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let wait = parts
            .headers
            .get_all("prefer")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split([',', ';']))
            .filter_map(|preference| preference.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
            .and_then(|(_, value)| value.trim().trim_matches('"').parse::<u64>().ok())
            .map(|seconds| Duration::from_secs(seconds.min(WAIT_SECONDS_MAX)));
        Ok(Self { wait })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_sense_is_heard() {
        for (value, seconds) in [
            ("wait=5", Some(5)),
            ("respond-async, wait=10", Some(10)),
            ("Wait = \"3\"", Some(3)),
            ("wait=86400", Some(WAIT_SECONDS_MAX)),
            ("wait=-1", None),
            ("wait", None),
            ("return=minimal", None),
        ] {
            let (mut parts, ()) = http::Request::get("/")
                .header("prefer", value)
                .body(())
                .unwrap()
                .into_parts();
            let prefer = Prefer::from_request_parts(&mut parts, &()).await.unwrap();
            assert_eq!(prefer.wait, seconds.map(Duration::from_secs), "{value}");
        }
    }
}
