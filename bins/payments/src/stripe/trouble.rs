//! What an answer that is no success means: whether the thing was done, was not done, or nobody knows.

use stripe::{ApiErrorsCode, ApiErrorsType, StripeError};

use super::CALL_SECONDS_MAX;

/// The parameter that says when a session ends.
const EXPIRES_AT: &str = "expires_at";

/// What went wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No usable answer: whether it was done is unknown.
    #[error("no usable answer from Stripe: {0}")]
    Unknown(String),
    /// Stripe failed, and may have stored the failure under the key: whether it was done is unknown, and
    /// the same key may give the same failure for a day.
    #[error("Stripe failed: {0}")]
    ServerError(String),
    /// Not done: too many calls, or another call with the same key or on the same object is under way.
    #[error("Stripe is busy: {0}")]
    Busy(String),
    /// Not done: our key is not accepted.
    #[error("Stripe does not accept the secret key: {0}")]
    Unauthorized(String),
    /// Not done: there is no such object.
    #[error("Stripe has no such object: {0}")]
    Missing(String),
    /// Not done: the object is in another state than was thought.
    #[error("Stripe's object is in another state: {0}")]
    OtherState(String),
    /// Not done: the bank said no.
    #[error("the bank refused: {0}")]
    Declined(String),
    /// Not done: Stripe refuses such a request.
    #[error("Stripe refuses the request: {0}")]
    Refused(String),
    /// Not done: the session would end too soon or too late by Stripe's clock. The request has become too old,
    /// or our clock is wrong.
    #[error("Stripe refuses when the session is to end: {0}")]
    Untimely(String),
    /// The key was used before with other parameters.
    #[error("the idempotency key was used for another request: {0}")]
    KeyReused(String),
}

impl Trouble {
    /// A short name for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown",
            Self::ServerError(_) => "server_error",
            Self::Busy(_) => "busy",
            Self::Unauthorized(_) => "unauthorized",
            Self::Missing(_) => "missing",
            Self::OtherState(_) => "other_state",
            Self::Declined(_) => "declined",
            Self::Refused(_) => "refused",
            Self::Untimely(_) => "untimely",
            Self::KeyReused(_) => "key_reused",
        }
    }

    /// Whether nothing can be done at Stripe at all, whatever is asked of it.
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::Unknown(_) | Self::ServerError(_) | Self::Unauthorized(_) => true,
            Self::Busy(_)
            | Self::Missing(_)
            | Self::OtherState(_)
            | Self::Declined(_)
            | Self::Refused(_)
            | Self::Untimely(_)
            | Self::KeyReused(_) => false,
        }
    }
}

impl From<StripeError> for Trouble {
    fn from(error: StripeError) -> Self {
        match error {
            StripeError::Stripe(error, status) => {
                let code = error
                    .code
                    .as_ref()
                    .map_or_else(|| "no code".to_owned(), ToString::to_string);
                // Stripe's own message is for the log only; it holds no secret and no card data.
                let words = format!(
                    "{status} {code}: {}",
                    error.message.as_deref().unwrap_or("no message")
                );
                let untimely = error.param.as_deref() == Some(EXPIRES_AT);
                classify(status, error.code.as_ref(), &error.type_, untimely, words)
            }
            StripeError::Timeout => Self::Unknown(format!("no answer within {CALL_SECONDS_MAX} s")),
            StripeError::JSONDeserialize(words)
            | StripeError::ClientError(words)
            | StripeError::ConfigError(words) => Self::Unknown(words),
        }
    }
}

fn classify(
    status: u16,
    code: Option<&ApiErrorsCode>,
    kind: &ApiErrorsType,
    untimely: bool,
    words: String,
) -> Trouble {
    if status >= 500 {
        return Trouble::ServerError(words);
    }
    if *kind == ApiErrorsType::IdempotencyError && status == 400 {
        return Trouble::KeyReused(words);
    }
    if *kind == ApiErrorsType::CardError || status == 402 {
        return Trouble::Declined(words);
    }
    match code {
        Some(ApiErrorsCode::PaymentIntentUnexpectedState | ApiErrorsCode::ChargeAlreadyRefunded) => {
            return Trouble::OtherState(words);
        }
        Some(ApiErrorsCode::ChargeExpiredForCapture | ApiErrorsCode::CaptureChargeAuthorizationExpired) => {
            return Trouble::Declined(words);
        }
        Some(ApiErrorsCode::LockTimeout | ApiErrorsCode::RateLimit | ApiErrorsCode::IdempotencyKeyInUse) => {
            return Trouble::Busy(words);
        }
        Some(_) | None => {}
    }
    match status {
        401 | 403 => Trouble::Unauthorized(words),
        404 => Trouble::Missing(words),
        408 | 409 | 424 | 425 | 429 => Trouble::Busy(words),
        _ if untimely => Trouble::Untimely(words),
        _ => Trouble::Refused(words),
    }
}
