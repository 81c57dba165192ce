//! One request to a service and what it answers, as plain values.

use std::net::SocketAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One request to a service.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) peer: Option<SocketAddr>,
    pub(super) wait_seconds: u64,
}

impl Call {
    /// A call without a body. `path` starts with `/` and is already percent-encoded.
    pub fn new(method: Method, path: impl Into<String>) -> Call {
        Call {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            peer: None,
            wait_seconds: 0,
        }
    }

    /// A read.
    pub fn get(path: impl Into<String>) -> Call {
        Call::new(Method::GET, path)
    }

    /// A call with a JSON body.
    pub fn json(method: Method, path: impl Into<String>, body: &impl Serialize) -> Call {
        let mut call = Call::new(method, path);
        call.body = serde_json::to_vec(body)
            .expect("the site's own request types always serialise")
            .into();
        call.headers
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        call
    }

    /// Speaks for the person whose token this is.
    pub fn bearer(mut self, token: Option<&str>) -> Call {
        if let Some(value) = token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok()) {
            self.headers.insert(header::AUTHORIZATION, value);
        }
        self
    }

    /// Tells the service on whose behalf the site calls, so that throttling meets the right address.
    pub fn from_peer(mut self, peer: Option<SocketAddr>, forwarded: Option<&HeaderValue>) -> Call {
        self.peer = peer;
        if let Some(value) = forwarded {
            self.headers.insert(FORWARDED_FOR, value.clone());
        }
        self
    }

    /// Carries the trace of the person's request on to the service.
    pub fn traced(mut self, traceparent: Option<&HeaderValue>) -> Call {
        if let Some(value) = traceparent {
            self.headers
                .insert(HeaderName::from_static("traceparent"), value.clone());
        }
        self
    }

    /// Acts only if the entity is still at this version.
    pub fn if_match(self, version: u64) -> Call {
        self.with(header::IF_MATCH, HeaderValue::try_from(format!("\"{version}\"")))
    }

    /// Asks for news since this version, and gives the service `seconds` to wait for some.
    pub fn changed_since(mut self, version: u64, seconds: u64) -> Call {
        self.wait_seconds = seconds;
        self.with(
            header::IF_NONE_MATCH,
            HeaderValue::try_from(format!("\"{version}\"")),
        )
        .with(PREFER, HeaderValue::try_from(format!("wait={seconds}")))
    }

    /// Makes a repeat of the same submission the same act. A form without a key is sent without one.
    pub fn idempotency_key(self, key: &str) -> Call {
        if key.is_empty() {
            self
        } else {
            self.with(IDEMPOTENCY_KEY, HeaderValue::try_from(key))
        }
    }

    fn with<E>(mut self, name: HeaderName, value: Result<HeaderValue, E>) -> Call {
        if let Ok(value) = value {
            self.headers.insert(name, value);
        }
        self
    }
}

/// What a service answered, read to the end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// Reads the body as JSON.
    ///
    /// # Errors
    /// The body is not JSON of that shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}
