//! Bodies that are announced to be too large: refused in a way that the client gets to hear.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use errors::Problem;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;

use super::edge::BODY_BYTES_MAX;

/// How much of a body that is refused is still taken from the wire. Were the connection closed at once, a client
/// that is still sending would see it break, and not the 413.
const DRAIN_BYTES_MAX: usize = 1024 * 1024;

/// How long that may take.
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(2);

/// Refuses a body by its `Content-Length`. One that comes without is bounded where it is read.
pub(super) async fn refuse_announced(request: Request, next: Next) -> Response {
    if announced_bytes(request.headers()).is_none_or(|bytes| bytes <= BODY_BYTES_MAX) {
        return next.run(request).await;
    }
    // Who asks first whether to send has not begun to.
    if !request.headers().contains_key(header::EXPECT) {
        // What is left after the time is the price of a client that is too slow to hear the answer.
        let _ = tokio::time::timeout(DRAIN_WAIT_MAX, drain(request.into_body())).await;
    }
    Problem::from_status(StatusCode::PAYLOAD_TOO_LARGE).into_response()
}

fn announced_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn drain(mut body: Body) {
    let mut drained = 0;
    while drained <= DRAIN_BYTES_MAX {
        match body.frame().await {
            Some(Ok(frame)) => drained += frame.data_ref().map_or(0, |data| data.len()),
            // It is all here, or nobody is there to hear the answer.
            Some(Err(_)) | None => return,
        }
    }
}
