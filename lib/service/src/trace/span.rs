//! What is told of one step of a trace once it is over, and how a list of such steps is written for OTLP over HTTP.
//!
//! JSON, as the protocol defines it: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>. It knows nothing
//! of where it is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use events::Timestamp;
use serde_json::{Value, json};

use super::context::{Context, hex};

/// What wrote the spans.
const SCOPE: &str = "boxoffice";

/// What a step is, in OTLP's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request that was answered.
    Server = 2,
    /// An event that was applied.
    Consumer = 5,
}

/// One attribute of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attribute {
    Text(String),
    Number(i64),
}

/// A step that is over.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) context: Context,
    pub(crate) service: &'static str,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) begin: Timestamp,
    pub(crate) lasted: Duration,
    pub(crate) attributes: Vec<(&'static str, Attribute)>,
    pub(crate) failed: bool,
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Attribute {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// The body of a request that hands these spans over; `resource` is said of every service.
pub(crate) fn to_json(spans: &[Span], resource: &[(String, String)]) -> Vec<u8> {
    let mut by_service: BTreeMap<&'static str, Vec<Value>> = BTreeMap::new();
    for span in spans {
        by_service.entry(span.service).or_default().push(one(span));
    }
    let said: Vec<Value> = resource.iter().map(|(name, value)| text(name, value)).collect();
    let resources: Vec<Value> = by_service
        .into_iter()
        .map(|(service, spans)| {
            let mut attributes = vec![
                text("service.name", service),
                text("service.namespace", SCOPE),
                text("service.version", env!("CARGO_PKG_VERSION")),
            ];
            attributes.extend(said.iter().cloned());
            json!({
                "resource": { "attributes": attributes },
                "scopeSpans": [{ "scope": { "name": SCOPE }, "spans": spans }],
            })
        })
        .collect();
    json!({ "resourceSpans": resources }).to_string().into_bytes()
}

fn one(span: &Span) -> Value {
    let begin = i128::from(span.begin.as_micros()) * 1_000;
    let end = begin.saturating_add_unsigned(span.lasted.as_nanos());
    let attributes: Vec<Value> = span
        .attributes
        .iter()
        .map(|(name, value)| match value {
            Attribute::Text(value) => text(name, value),
            // 64-bit numbers are texts in this encoding: JSON's own lose their last digits.
            Attribute::Number(number) => {
                json!({ "key": name, "value": { "intValue": number.to_string() } })
            }
        })
        .collect();
    let mut told = json!({
        "traceId": span.context.trace_id_text(),
        "spanId": hex(&span.context.span_id),
        "name": span.name,
        "kind": span.kind as i32,
        "startTimeUnixNano": begin.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": attributes,
        "status": if span.failed { json!({ "code": 2 }) } else { json!({}) },
    });
    if let Some(parent) = span.context.parent {
        told["parentSpanId"] = hex(&parent).into();
    }
    told
}

fn text(name: &str, value: &str) -> Value {
    json!({ "key": name, "value": { "stringValue": value } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_the_protocols() {
        let span = Span {
            context: Context {
                trace_id: [0xab; 16],
                span_id: [0xcd; 8],
                parent: Some([0xef; 8]),
                sampled: true,
            },
            service: "orders",
            name: "POST /api/orders".to_owned(),
            kind: Kind::Server,
            begin: Timestamp::from_micros(1_700_000_000_000_001),
            lasted: Duration::from_nanos(1_500),
            attributes: vec![
                ("http.request.method", "POST".into()),
                ("http.response.status_code", 500.into()),
            ],
            failed: true,
        };
        let told: Value = serde_json::from_slice(&to_json(
            &[span],
            &[("deployment.environment".to_owned(), "test".to_owned())],
        ))
        .unwrap();
        let expected = json!({ "resourceSpans": [{
            "resource": { "attributes": [
                { "key": "service.name", "value": { "stringValue": "orders" } },
                { "key": "service.namespace", "value": { "stringValue": "boxoffice" } },
                { "key": "service.version", "value": { "stringValue": env!("CARGO_PKG_VERSION") } },
                { "key": "deployment.environment", "value": { "stringValue": "test" } },
            ] },
            "scopeSpans": [{ "scope": { "name": "boxoffice" }, "spans": [{
                "traceId": "abababababababababababababababab",
                "spanId": "cdcdcdcdcdcdcdcd",
                "parentSpanId": "efefefefefefefef",
                "name": "POST /api/orders",
                "kind": 2,
                "startTimeUnixNano": "1700000000000001000",
                "endTimeUnixNano": "1700000000000002500",
                "attributes": [
                    { "key": "http.request.method", "value": { "stringValue": "POST" } },
                    { "key": "http.response.status_code", "value": { "intValue": "500" } },
                ],
                "status": { "code": 2 },
            }] }],
        }] });
        assert_eq!(told, expected);
    }
}
