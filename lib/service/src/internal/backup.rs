//! `/internal/backup`: a copy of the whole store, as a stream that is never held in memory as a whole. It holds password
//! hashes and signing keys: for operators only.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use errors::Problem;
use http::{HeaderMap, HeaderValue, header};
use store::{BackupError, Indexes};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::Inside;
use super::operator::Operator;

/// When to try again after another backup was under way, or the store did not serve.
const RETRY_SECONDS: u32 = 5;

/// Takes a backup while it is fetched. A connection that breaks off ends it; an error in the middle breaks the
/// connection off, so that what has come can't be taken for a whole one.
pub(super) async fn backup<I: Indexes>(
    State(inside): State<Inside<I>>,
    _operator: Operator,
) -> Result<Response, Problem> {
    let source = inside.parts.source;
    let backup = inside
        .parts
        .store
        .backup(inside.parts.clock.now())
        .map_err(|error| problem(&error))?;
    tracing::info!(service = %source, "an operator takes a backup");
    let chunks = ReceiverStream::new(backup.into_receiver()).map(move |chunk| {
        if let Err(error) = &chunk {
            tracing::error!(service = %source, %error, "a backup was broken off");
        }
        chunk
    });
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok((headers, Body::from_stream(chunks)).into_response())
}

fn problem(error: &BackupError) -> Problem {
    let sentence = error.to_string();
    match error {
        BackupError::Busy | BackupError::TooSlow | BackupError::Unavailable(_) => {
            Problem::unavailable(sentence, RETRY_SECONDS)
        }
        BackupError::Damaged(_) => Problem::internal(sentence),
    }
}
