//! The trace of a request: a W3C trace context that comes in or is made here, stands in every log line of the
//! request, and travels on in the events that it leads to.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use errors::Cause;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use ring::rand::{SecureRandom as _, SystemRandom};
use tracing::Instrument as _;

/// The header of a trace context.
const TRACEPARENT: &str = "traceparent";

/// The header in which a client finds the id to quote when it asks what went wrong.
const TRACE_ID: &str = "x-trace-id";

tokio::task_local! {
    static CURRENT: String;
}

/// The trace context of the request that is being handled, if this is within one.
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Gives each request its trace, measures it, and logs it once. Nothing of what was sent is logged but the
/// method, the route's pattern and the ids that handlers add.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let context = Context::of(request.headers());
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("request", trace = %context.trace_id, %method, route);
    let trace_id = HeaderValue::from_str(&context.trace_id);
    let mut response = CURRENT
        .scope(context.traceparent(), next.run(request))
        .instrument(span.clone())
        .await;
    if let Ok(trace_id) = trace_id {
        response.headers_mut().insert(TRACE_ID, trace_id);
    }
    let seconds = started.elapsed().as_secs_f64();
    span.in_scope(|| log(&response, seconds));
    let labels = [
        ("method", method_label(&method).to_owned()),
        ("route", route),
        ("status", response.status().as_u16().to_string()),
    ];
    metrics::histogram!("http_request_seconds", &labels).record(seconds);
    response
}

/// The method as a label: a client may make up methods, and must not make up metrics.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [(&Method, &str); 7] = [
        (&Method::GET, "GET"),
        (&Method::HEAD, "HEAD"),
        (&Method::POST, "POST"),
        (&Method::PUT, "PUT"),
        (&Method::DELETE, "DELETE"),
        (&Method::OPTIONS, "OPTIONS"),
        (&Method::PATCH, "PATCH"),
    ];
    let known = KNOWN.iter().find(|(known, _)| *known == method);
    known.map_or("other", |(_, label)| *label)
}

fn log(response: &Response, seconds: f64) {
    let status = response.status();
    let cause = response.extensions().get::<Cause>().map(|cause| cause.0.as_str());
    let millis = seconds * 1_000.0;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        tracing::warn!(target: "access", status = status.as_u16(), millis, cause, "not available");
    } else if status.is_server_error() {
        tracing::error!(target: "access", status = status.as_u16(), millis, cause, "failed");
    } else {
        tracing::debug!(target: "access", status = status.as_u16(), millis, cause, "answered");
    }
}

struct Context {
    trace_id: String,
    span_id: String,
}

impl Context {
    /// Goes on with the trace that comes in, in a new span, or begins one.
    fn of(headers: &HeaderMap) -> Self {
        let incoming = headers
            .get(TRACEPARENT)
            .and_then(|value| value.to_str().ok())
            .and_then(trace_id_of);
        let random = random();
        Self {
            trace_id: incoming.map_or_else(|| hex(&random[..16]), str::to_owned),
            span_id: hex(&random[16..]),
        }
    }

    fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }
}

/// The trace id of a `traceparent` of version 0: `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_id_of(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let whole = version == "00"
        && parts.next().is_none()
        && lower_hex(trace_id, 32)
        && lower_hex(span_id, 16)
        && lower_hex(flags, 2)
        && trace_id.bytes().any(|byte| byte != b'0');
    whole.then_some(trace_id)
}

fn random() -> [u8; 24] {
    let mut bytes = [0; 24];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the system has random numbers: without them nothing here could be trusted");
    bytes
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_traceparent_is_taken_over() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_id_of(good), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "00-evil\"injection-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_id_of(wrong), None, "{wrong}");
        }
        let made = Context::of(&HeaderMap::new()).traceparent();
        assert!(trace_id_of(&made).is_some(), "{made}");
    }
}
