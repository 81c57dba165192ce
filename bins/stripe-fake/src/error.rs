//! Errors in Stripe's shape: `{"error":{"type","code","message","param",...}}`.

use serde_json::{Map, Value, json};

/// The kinds of error that the API knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    InvalidRequest,
    Card,
    Idempotency,
    Api,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::Card => "card_error",
            Self::Idempotency => "idempotency_error",
            Self::Api => "api_error",
        }
    }
}

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    kind: Kind,
    code: Option<&'static str>,
    message: String,
    param: Option<String>,
    decline_code: Option<String>,
    /// The intent as it is now, which Stripe adds where an intent's state forbids what was asked.
    payment_intent: Option<Box<Value>>,
    /// Stripe stores under an idempotency key what came of *executing* a request: not a refusal of its
    /// parameters, of its key or of its pace.
    pub(crate) stored: bool,
}

impl ApiError {
    fn new(status: u16, kind: Kind, code: Option<&'static str>, message: String) -> Self {
        Self {
            status,
            kind,
            code,
            message,
            param: None,
            decline_code: None,
            payment_intent: None,
            stored: false,
        }
    }

    /// Wrong parameters, without one that could be named.
    pub(crate) fn invalid(message: String) -> Self {
        Self::new(400, Kind::InvalidRequest, None, message)
    }

    /// A wrong parameter, with a code.
    pub(crate) fn parameter(code: &'static str, param: &str, message: String) -> Self {
        Self {
            param: Some(param.to_owned()),
            ..Self::new(400, Kind::InvalidRequest, Some(code), message)
        }
    }

    /// A wrong parameter for which Stripe has no code.
    pub(crate) fn parameter_invalid(param: &str, message: String) -> Self {
        Self {
            param: Some(param.to_owned()),
            ..Self::invalid(message)
        }
    }

    /// The state of an object forbids what was asked.
    pub(crate) fn state(code: Option<&'static str>, message: String) -> Self {
        Self {
            stored: true,
            ..Self::new(400, Kind::InvalidRequest, code, message)
        }
    }

    /// The state of an intent forbids what was asked; the intent is shown.
    pub(crate) fn unexpected_state(message: String, intent: Value) -> Self {
        Self {
            payment_intent: Some(Box::new(intent)),
            ..Self::state(Some("payment_intent_unexpected_state"), message)
        }
    }

    /// The card's bank refused.
    pub(crate) fn card(
        code: &'static str,
        decline_code: Option<String>,
        message: String,
        intent: Value,
    ) -> Self {
        Self {
            decline_code,
            payment_intent: Some(Box::new(intent)),
            stored: true,
            ..Self::new(402, Kind::Card, Some(code), message)
        }
    }

    /// There is no such object.
    pub(crate) fn missing(what: &str, param: &str, id: &str) -> Self {
        Self {
            param: Some(param.to_owned()),
            stored: true,
            ..Self::new(
                404,
                Kind::InvalidRequest,
                Some("resource_missing"),
                format!("No such {what}: '{id}'"),
            )
        }
    }

    /// There is no such route.
    pub(crate) fn unrecognized(method: &str, path: &str) -> Self {
        let message =
            format!("Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs/api.");
        Self::new(404, Kind::InvalidRequest, None, message)
    }

    /// The secret key is missing or wrong. The key itself is not repeated, not even in part.
    pub(crate) fn unauthorized(given: bool) -> Self {
        let message = if given {
            "Invalid API Key provided."
        } else {
            "You did not provide an API key. You need to provide your API key in the Authorization header, \
             using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
        };
        Self::new(401, Kind::InvalidRequest, None, message.to_owned())
    }

    /// The body is larger than any real request's.
    pub(crate) fn too_large() -> Self {
        Self::new(
            413,
            Kind::InvalidRequest,
            None,
            "Request body is too large.".to_owned(),
        )
    }

    /// An idempotency key came again with another request.
    pub(crate) fn idempotency(message: String) -> Self {
        Self::new(400, Kind::Idempotency, None, message)
    }

    /// An idempotency key came again while its first request still runs.
    pub(crate) fn in_use(key: &str) -> Self {
        let message = format!(
            "There is currently another in-progress request using this Idempotency Key (that probably means you \
             submitted twice, and the other request is still going through): {key}. Please try again later."
        );
        Self::new(409, Kind::Idempotency, Some("idempotency_key_in_use"), message)
    }

    /// Too many requests.
    pub(crate) fn rate_limited() -> Self {
        let message = "Request rate limit exceeded. Learn more about rate limits here \
                       https://stripe.com/docs/rate-limits.";
        Self::new(429, Kind::InvalidRequest, Some("rate_limit"), message.to_owned())
    }

    /// Something went wrong on this side.
    pub(crate) fn internal(message: &str) -> Self {
        Self::new(500, Kind::Api, None, message.to_owned())
    }

    /// Something went wrong on this side while the request was executed.
    pub(crate) fn internal_stored(message: &str) -> Self {
        Self {
            stored: true,
            ..Self::internal(message)
        }
    }

    /// The body of the answer.
    pub(crate) fn body(&self) -> Value {
        let mut error = Map::new();
        error.insert("type".to_owned(), json!(self.kind.as_str()));
        error.insert("message".to_owned(), json!(self.message));
        if let Some(code) = self.code {
            error.insert("code".to_owned(), json!(code));
            error.insert(
                "doc_url".to_owned(),
                json!(format!(
                    "https://stripe.com/docs/error-codes/{}",
                    code.replace('_', "-")
                )),
            );
        }
        if let Some(param) = &self.param {
            error.insert("param".to_owned(), json!(param));
        }
        if let Some(decline_code) = &self.decline_code {
            error.insert("decline_code".to_owned(), json!(decline_code));
        }
        if let Some(intent) = &self.payment_intent {
            error.insert("payment_intent".to_owned(), (**intent).clone());
        }
        json!({ "error": error })
    }
}
