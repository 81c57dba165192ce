//! The trace of a request: a W3C trace context that comes in or is made here, stands in every log line of the
//! request, and travels on in the events that it leads to.
//!
//! Where OpenTelemetry's variables name a collector, each request and each event that is applied is told to it as a span,
//! beside everything else ([`send_traces`]). Where they do not, nothing of that is done.

mod consumed;
mod context;
mod destination;
mod exporter;
mod span;

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use errors::Cause;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tracing::Instrument as _;

pub(crate) use consumed::apply;
pub use exporter::{Traces, send_traces};

use crate::Clock;
use context::Context;
use exporter::{Exporter, exporter};
use span::{Kind, Span};

/// The header of a trace context.
const TRACEPARENT: &str = "traceparent";

/// The header in which a client finds the id to quote when it asks what went wrong.
const TRACE_ID: &str = "x-trace-id";

/// Routes that are asked every few seconds by those who look after the process: no traces of anybody's doing.
const UNTOLD: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

tokio::task_local! {
    static CURRENT: String;
}

/// The trace context of the request that is being handled, if this is within one.
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Gives each request its trace, measures it, and logs it once. Nothing of what was sent is logged but the
/// method, the route's pattern and the ids that handlers add. It is told under the name of `service`, or else of the process.
pub(crate) async fn layer(service: Option<&'static str>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let exporter = exporter();
    let context = context(request.headers(), exporter);
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let trace_id = context.trace_id_text();
    let span = tracing::info_span!("request", trace = %trace_id, %method, route);
    let told = exporter
        .filter(|_| context.sampled && !UNTOLD.contains(&route.as_str()))
        .map(|exporter| (exporter, Clock::new().now()));
    let trace_id = HeaderValue::from_str(&trace_id);
    let mut response = CURRENT
        .scope(context.to_string(), next.run(request))
        .instrument(span.clone())
        .await;
    if let Ok(trace_id) = trace_id {
        response.headers_mut().insert(TRACE_ID, trace_id);
    }
    let took = started.elapsed();
    let seconds = took.as_secs_f64();
    span.in_scope(|| log(&response, seconds));
    let method = method_label(&method);
    if let Some((exporter, begin)) = told {
        let name = format!("{method} {route}");
        let status = response.status();
        exporter.record(Span {
            context,
            service: service.unwrap_or(exporter.process),
            name,
            kind: Kind::Server,
            begin,
            lasted: took,
            attributes: vec![
                ("http.request.method", method.into()),
                ("http.route", route.as_str().into()),
                ("http.response.status_code", i64::from(status.as_u16()).into()),
            ],
            failed: status.is_server_error(),
        });
    }
    let labels = [
        ("method", method.to_owned()),
        ("route", route),
        ("status", response.status().as_u16().to_string()),
    ];
    metrics::histogram!("http_request_seconds", &labels).record(seconds);
    response
}

/// Goes on with the trace that comes in, or with that of the request which this one is handed on from, in a new span; else
/// begins one.
fn context(headers: &HeaderMap, exporter: Option<&Exporter>) -> Context {
    let samples = |trace_id| exporter.is_none_or(|exporter| exporter.destination.samples(trace_id));
    let incoming = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    match (incoming, current()) {
        (None, Some(outer)) => Context::under(Some(&outer), samples),
        (incoming, _) => Context::from_outside(incoming, samples),
    }
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
