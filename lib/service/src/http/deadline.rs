//! Every request is answered in time: when what it waits for takes too long, the answer is that this took too long.

use std::time::Duration;

use axum::extract::{FromRequestParts as _, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use errors::Problem;

use super::{Prefer, WAIT_SECONDS_MAX};

/// How long a request may take that does not say for how long it would wait. Nobody is to wait for more than ten seconds
/// to hear that something is wrong (I8); this leaves one for the way there and back.
pub const ANSWER_SECONDS_MAX: u64 = 9;

/// How much longer than it would wait a request may take that says so.
const BEYOND_WAIT_SECONDS: u64 = 5;

/// What operators ask may be about a whole store.
const OPERATORS_SECONDS_MAX: u64 = WAIT_SECONDS_MAX + BEYOND_WAIT_SECONDS;
const FOR_OPERATORS: &str = "/internal/";

/// When to try again after an answer that did not come.
const RETRY_SECONDS: u32 = 2;

/// Answers in place of a handler that does not. What it was about to do may be done all the same, as after a connection
/// that broke: whoever repeats a write brings an `Idempotency-Key`.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(prefer) = Prefer::from_request_parts(&mut parts, &()).await;
    let limit = if parts.uri.path().starts_with(FOR_OPERATORS) {
        Duration::from_secs(OPERATORS_SECONDS_MAX)
    } else {
        limit(prefer)
    };
    let answer = next.run(Request::from_parts(parts, body));
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Problem::unavailable(
            "This takes too long; whether it was done is not known. Try again soon",
            RETRY_SECONDS,
        )
        .because(format!("no answer within {} s", limit.as_secs()))
        .into_response(),
    }
}

/// How long a request with this preference may take.
fn limit(prefer: Prefer) -> Duration {
    let answer = Duration::from_secs(ANSWER_SECONDS_MAX);
    let beyond = Duration::from_secs(BEYOND_WAIT_SECONDS);
    prefer.wait.map_or(answer, |wait| answer.max(wait + beyond))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware;
    use axum::routing::get;
    use http::{StatusCode, header};
    use tokio::time::Instant;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_ever_is_told_so_in_time() {
        let app = Router::new()
            .route("/api/stuck", get(std::future::pending::<&str>))
            .route("/internal/stuck", get(std::future::pending::<&str>))
            .layer(middleware::from_fn(layer));
        for (path, prefer, seconds) in [
            ("/api/stuck", "return=minimal", 9),
            ("/api/stuck", "wait=2", 9),
            ("/api/stuck", "wait=20", 25),
            ("/api/stuck", "wait=3600", 35),
            ("/internal/stuck", "return=minimal", 35),
        ] {
            let request = Request::get(path).header("prefer", prefer);
            let begun = Instant::now();
            let answer = app
                .clone()
                .oneshot(request.body(Body::empty()).unwrap())
                .await
                .unwrap();
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(answer.headers()[header::RETRY_AFTER], "2");
            assert_eq!(begun.elapsed().as_secs(), seconds, "{path} {prefer}");
        }
    }
}
