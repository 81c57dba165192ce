//! Which operation a request asks for, and who decides about it.

use http::Method;

use crate::book::Book;
use crate::decision::{Decision, Moment};
use crate::error::ApiError;
use crate::params::Params;
use crate::{checkout, intents, refunds};

/// Everything that this stand-in's API can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    CreateSession,
    ListSessions,
    RetrieveSession(String),
    ListLineItems(String),
    ExpireSession(String),
    RetrieveIntent(String),
    CaptureIntent(String),
    CancelIntent(String),
    CreateRefund,
    ListRefunds,
    RetrieveRefund(String),
    RetrieveEvent(String),
}

impl Operation {
    /// Reads method and path.
    pub(crate) fn parse(method: &Method, path: &str) -> Result<Self, ApiError> {
        let unrecognized = || ApiError::unrecognized(method.as_str(), path);
        let segments: Vec<&str> = path
            .strip_prefix("/v1/")
            .ok_or_else(unrecognized)?
            .split('/')
            .collect();
        let id = |id: &str| id.to_owned();
        let operation = match (method.as_str(), segments.as_slice()) {
            ("POST", ["checkout", "sessions"]) => Self::CreateSession,
            ("GET", ["checkout", "sessions"]) => Self::ListSessions,
            ("GET", ["checkout", "sessions", session]) => Self::RetrieveSession(id(session)),
            ("GET", ["checkout", "sessions", session, "line_items"]) => Self::ListLineItems(id(session)),
            ("POST", ["checkout", "sessions", session, "expire"]) => Self::ExpireSession(id(session)),
            ("GET", ["payment_intents", intent]) => Self::RetrieveIntent(id(intent)),
            ("POST", ["payment_intents", intent, "capture"]) => Self::CaptureIntent(id(intent)),
            ("POST", ["payment_intents", intent, "cancel"]) => Self::CancelIntent(id(intent)),
            ("POST", ["refunds"]) => Self::CreateRefund,
            ("GET", ["refunds"]) => Self::ListRefunds,
            ("GET", ["refunds", refund]) => Self::RetrieveRefund(id(refund)),
            ("GET", ["events", event]) => Self::RetrieveEvent(id(event)),
            _ => return Err(unrecognized()),
        };
        Ok(operation)
    }

    /// Decides, without changing anything yet.
    pub(crate) fn decide(
        &self,
        book: &Book,
        params: &Params,
        moment: &Moment<'_>,
    ) -> Result<Decision, ApiError> {
        match self {
            Self::CreateSession => checkout::create(params, moment),
            Self::ListSessions => checkout::list(book, params, moment),
            Self::RetrieveSession(id) => checkout::retrieve(book, id, params, moment),
            Self::ListLineItems(id) => checkout::list_line_items(book, id, params),
            Self::ExpireSession(id) => checkout::expire(book, id, params, moment),
            Self::RetrieveIntent(id) => intents::retrieve(book, id, params),
            Self::CaptureIntent(id) => intents::capture(book, id, params, moment),
            Self::CancelIntent(id) => intents::cancel(book, id, params, moment),
            Self::CreateRefund => refunds::create(book, params, moment),
            Self::ListRefunds => refunds::list(book, params),
            Self::RetrieveRefund(id) => refunds::retrieve(book, id, params),
            Self::RetrieveEvent(id) => retrieve_event(book, id),
        }
    }
}

/// `GET /v1/events/{id}`
fn retrieve_event(book: &Book, id: &str) -> Result<Decision, ApiError> {
    let event = book
        .event(id)
        .ok_or_else(|| ApiError::missing("event", "id", id))?;
    match serde_json::from_str(&event.body) {
        Ok(body) => Ok(Decision::answer(body)),
        Err(_) => Err(ApiError::internal("The event can't be read back.")),
    }
}
