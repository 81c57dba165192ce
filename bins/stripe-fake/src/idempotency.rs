//! Stripe's rules for `Idempotency-Key`: the same key and the same request get the first one's answer; the
//! same key with another request is refused; so is one whose first request still runs.

use std::collections::HashSet;

use crate::book::Book;
use crate::clock::Seconds;
use crate::error::ApiError;
use crate::model::StoredAnswer;

const KEY_CHARACTERS_MAX: usize = 255;

/// What a key means for a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict<'a> {
    /// It was never used, or was forgotten: go ahead.
    Fresh,
    /// It was used for the same request: this was the answer.
    Repeated(&'a StoredAnswer),
    Refused(ApiError),
}

/// Judges a request by its key.
pub(crate) fn judge<'a>(
    book: &'a Book,
    in_flight: &HashSet<String>,
    key: &str,
    path: &str,
    params_hash: &str,
    now: Seconds,
) -> Verdict<'a> {
    if key.is_empty() || key.chars().count() > KEY_CHARACTERS_MAX {
        return Verdict::Refused(ApiError::idempotency(format!(
            "Idempotency keys must have from 1 to {KEY_CHARACTERS_MAX} characters."
        )));
    }
    if in_flight.contains(key) {
        return Verdict::Refused(ApiError::in_use(key));
    }
    match book.answer(key, now) {
        None => Verdict::Fresh,
        Some(stored) if stored.path != path => Verdict::Refused(ApiError::idempotency(format!(
            "Keys for idempotent requests can only be used for the same endpoint they were first used for ('{}' vs \
             '{path}'). Try using a key other than '{key}' if you meant to execute a different request.",
            stored.path
        ))),
        Some(stored) if stored.params != params_hash => Verdict::Refused(ApiError::idempotency(format!(
            "Keys for idempotent requests can only be used with the same parameters they were first used with. Try \
             using a key other than '{key}' if you meant to execute a different request."
        ))),
        Some(stored) => Verdict::Repeated(stored),
    }
}
