//! The problem itself and how it becomes an answer.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::FieldError;

/// The media type of a problem's body.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// How long a client waits before it tries again when nothing better is known.
const RETRY_AFTER_SECONDS: u32 = 1;

/// An error as a client sees it. Made by one of its constructors, one for each status of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    errors: Vec<FieldError>,
    retry_after_seconds: Option<u32>,
    cause: Option<String>,
}

/// The body of a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `about:blank`: the status says what kind of problem it is.
    pub r#type: String,
    /// The status in words.
    pub title: String,
    /// The status as a number.
    pub status: u16,
    /// What is wrong.
    pub detail: String,
    /// Each thing that is wrong; never empty.
    pub errors: Vec<FieldError>,
}

/// Why it went wrong, for the log alone: found in the extensions of the response, never in its body.
#[derive(Debug, Clone)]
pub struct Cause(pub String);

impl Problem {
    /// A problem with one message.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let detail = message.into();
        Self {
            status,
            errors: vec![FieldError::general(detail.clone())],
            detail,
            retry_after_seconds: None,
            cause: None,
        }
    }

    /// 400: what was sent is wrong as a whole.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 400: these fields are wrong.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let Some(first) = errors.first() else {
            return Self::bad_request("The request is not valid");
        };
        let detail = match errors.len() {
            1 => first.message.clone(),
            count => format!("{count} fields are not valid"),
        };
        Self {
            errors,
            ..Self::new(StatusCode::BAD_REQUEST, detail)
        }
    }

    /// 400: this one field is wrong.
    pub fn invalid_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(field, message)])
    }

    /// 401: not signed in, or no longer.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Not signed in")
    }

    /// 403: signed in, but not yours.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404: does not exist, or is someone else's private thing.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found")
    }

    /// 409: the state forbids it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 412: `If-Match` names another version.
    pub fn precondition_failed() -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "It has changed since it was read: read it again, then repeat the change",
        )
    }

    /// 422: an `Idempotency-Key` came again with another body.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 429: too often.
    pub fn too_many(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(retry_after_seconds)
    }

    /// 503: not now.
    pub fn unavailable(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message).retry_after(retry_after_seconds)
    }

    /// 500, with the reason for the log alone.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong on our side",
        )
        .because(cause)
    }

    /// What to say for a bare status, where no handler had a word: 404 of an unknown route, 405, 408, 413…
    pub fn from_status(status: StatusCode) -> Self {
        let message = match status {
            StatusCode::BAD_REQUEST => "The request is not valid",
            StatusCode::UNAUTHORIZED => "Not signed in",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::METHOD_NOT_ALLOWED => "This method is not allowed here",
            StatusCode::REQUEST_TIMEOUT => "The request took too long to arrive",
            StatusCode::PAYLOAD_TOO_LARGE => "The body is too large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "The body must be application/json",
            StatusCode::SERVICE_UNAVAILABLE => "Not available at the moment, try again soon",
            StatusCode::INTERNAL_SERVER_ERROR => "Something went wrong on our side",
            other => other.canonical_reason().unwrap_or("The request failed"),
        };
        let problem = Self::new(status, message);
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
            problem.retry_after(RETRY_AFTER_SECONDS)
        } else {
            problem
        }
    }

    /// Adds `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Adds the reason for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong in one sentence.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Each thing that is wrong; never empty.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The body that a client gets.
    pub fn body(&self) -> ProblemBody {
        ProblemBody {
            r#type: "about:blank".into(),
            title: self.status.canonical_reason().unwrap_or("Error").into(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            errors: self.errors.clone(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.status, self.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body()).expect("strings and numbers always serialize");
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(Cause(cause));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_always_has_errors() {
        for status in (400..=599).filter_map(|code| StatusCode::from_u16(code).ok()) {
            assert!(!Problem::from_status(status).body().errors.is_empty(), "{status}");
        }
        assert_eq!(Problem::invalid(Vec::new()).errors().len(), 1);
    }

    #[test]
    fn the_body_of_two_wrong_fields() {
        let problem = Problem::invalid(vec![
            FieldError::new("email", "Email must be valid"),
            FieldError::general("Something else is wrong"),
        ]);
        insta::assert_json_snapshot!(problem.body());
    }

    #[test]
    fn the_cause_is_kept_from_the_client() {
        let response = Problem::internal("the disk is on fire").into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(
            response.extensions().get::<Cause>().map(|cause| cause.0.as_str()),
            Some("the disk is on fire")
        );
    }

    #[test]
    fn overload_says_when_to_come_back() {
        let response = Problem::unavailable("Too many wait already", 2).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        let bare = Problem::from_status(StatusCode::SERVICE_UNAVAILABLE).into_response();
        assert_eq!(bare.headers()[header::RETRY_AFTER], "1");
    }
}
