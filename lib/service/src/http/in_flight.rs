//! How many requests may be handled at once. One more is refused before anything is done for it, so that the answer
//! comes quickly even when those that were let in are slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use errors::Problem;

use super::Prefer;
use crate::places::Places;
use crate::waiting::LONG_POLLS_MAX;

/// How many requests may be handled at once. Long polls that wait are counted apart, by [`LONG_POLLS_MAX`]; what is
/// still being sent once its headers are made (a live page, a backup) is not counted here.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 4_096;

/// Requests that found no place.
const REFUSED: &str = "http_requests_refused_total";

/// When a client should try again who found too many requests.
const RETRY_SECONDS: u32 = 1;

/// How often it is said in the log that requests are refused.
const SAID_EVERY: Duration = Duration::from_secs(1);

/// What the platform and operators ask. A process that is merely busy must not look dead to them.
const INSIDE: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
const INSIDE_BELOW: &str = "/internal/";

/// The requests of one router that are being handled.
#[derive(Debug)]
pub(super) struct InFlight {
    requests: Places,
    polls: Places,
    began: Instant,
    /// When it was last said in the log, in milliseconds since the beginning.
    said_at_millis: AtomicU64,
    refusal: fn(u32) -> Response,
}

/// Puts the same bound around a router whose answers are no problems but pages: what `refusal` makes of the seconds after which to
/// try again is answered to one request too many.
pub fn bounded(router: Router, refusal: fn(u32) -> Response) -> Router {
    let in_flight = InFlight {
        refusal,
        ..InFlight::default()
    };
    router.layer(middleware::from_fn_with_state(Arc::new(in_flight), layer))
}

impl Default for InFlight {
    fn default() -> Self {
        Self::new(REQUESTS_IN_FLIGHT_MAX, LONG_POLLS_MAX)
    }
}

impl InFlight {
    pub(super) fn new(requests_max: usize, polls_max: usize) -> Self {
        metrics::counter!(REFUSED).absolute(0);
        Self {
            requests: Places::new(requests_max),
            polls: Places::new(polls_max),
            began: Instant::now(),
            said_at_millis: AtomicU64::new(0),
            refusal: problem,
        }
    }

    fn refuse(&self) -> Response {
        metrics::counter!(REFUSED).increment(1);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = millis(self.began.elapsed()).max(1);
        let is_time =
            |said: u64| (said == 0 || now.saturating_sub(said) >= millis(SAID_EVERY)).then_some(now);
        let say = self
            .said_at_millis
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_time);
        if say.is_ok() {
            tracing::warn!(
                in_flight = self.requests.taken(),
                "too many requests at once: some are refused"
            );
        }
        (self.refusal)(RETRY_SECONDS)
    }
}

fn problem(retry_seconds: u32) -> Response {
    Problem::unavailable("Too many requests at once, try again soon", retry_seconds).into_response()
}

/// Lets a request in, or refuses it.
pub(super) async fn layer(State(in_flight): State<Arc<InFlight>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if INSIDE.contains(&path) || path.starts_with(INSIDE_BELOW) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let Ok(Prefer { wait }) = Prefer::from_request_parts(&mut parts, &()).await;
    let request = Request::from_parts(parts, body);
    // Who says that it would wait, and finds no place among those who do, is a request like any other.
    let place = wait
        .and_then(|_| in_flight.polls.take())
        .or_else(|| in_flight.requests.take());
    match place {
        Some(_place) => next.run(request).await,
        None => in_flight.refuse(),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use http::{StatusCode, header};
    use tokio::sync::Notify;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn one_too_many_is_refused_at_once_and_probes_are_not() {
        let release = Arc::new(Notify::new());
        let waits = Arc::clone(&release);
        let app = Router::new()
            .route("/slow", get(async move || waits.notified().await))
            .route("/healthz", get(async || "alive"))
            .layer(from_fn_with_state(Arc::new(InFlight::new(2, 1)), layer));
        let ask = |path: &str, prefer: Option<&str>| {
            let mut request = Request::get(path);
            if let Some(prefer) = prefer {
                request = request.header("prefer", prefer);
            }
            app.clone().oneshot(request.body(Body::empty()).unwrap())
        };
        // Two requests and one poll have places; the second poll takes none of its own, and finds no other.
        let mut let_in = tokio::task::JoinSet::new();
        for prefer in [None, None, Some("wait=5")] {
            let_in.spawn(ask("/slow", prefer));
        }
        tokio::task::yield_now().await;
        for prefer in [None, Some("wait=5")] {
            let refused = ask("/slow", prefer).await.unwrap();
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(refused.headers().contains_key(header::RETRY_AFTER));
        }
        assert_eq!(ask("/healthz", None).await.unwrap().status(), StatusCode::OK);
        release.notify_waiters();
        while let Some(response) = let_in.join_next().await {
            assert_eq!(response.unwrap().unwrap().status(), StatusCode::OK);
        }
        release.notify_one();
        assert_eq!(ask("/slow", None).await.unwrap().status(), StatusCode::OK);
    }
}
