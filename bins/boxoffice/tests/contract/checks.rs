//! What every answer must be, whatever it is about.

use serde_json::Value;
use testkit::Answer;

/// The answer is a problem with this status, complete as the contract says; gives its body.
pub(crate) fn problem(answer: &Answer, status: u16) -> Value {
    let context = format!("{}: {} {}", answer.request, answer.status, answer.text());
    assert_eq!(answer.status.as_u16(), status, "{context}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{context}"
    );
    let body = answer.json();
    has_exactly(&body, &["type", "title", "status", "detail", "errors"]);
    assert_eq!(body["type"], "about:blank", "{context}");
    assert_eq!(body["status"], status, "{context}");
    assert_eq!(
        body["title"].as_str(),
        answer.status.canonical_reason(),
        "{context}"
    );
    assert!(has_text(&body["detail"]), "{context}");
    let errors = body["errors"].as_array().expect("errors is a list");
    assert!(!errors.is_empty(), "{context}");
    for error in errors {
        let error = error.as_object().expect("an error is an object");
        assert!(has_text(&error["message"]), "{context}");
        assert!(error.get("field").is_none_or(Value::is_string), "{context}");
        assert!(
            error.keys().all(|key| key == "message" || key == "field"),
            "{context}"
        );
    }
    let headers: &[&str] = match status {
        401 => &["www-authenticate"],
        405 => &["allow"],
        429 | 503 => &["retry-after"],
        _ => &[],
    };
    for header in headers {
        assert!(answer.header(header).is_some(), "{header} is missing: {context}");
    }
    body
}

/// The answer is a 400 that blames exactly these fields.
pub(crate) fn blames(answer: &Answer, fields: &[&str]) {
    let body = problem(answer, 400);
    let mut blamed: Vec<&str> = body["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|error| error["field"].as_str().unwrap_or("(the whole)"))
        .collect();
    let mut fields = fields.to_vec();
    blamed.sort_unstable();
    blamed.dedup();
    fields.sort_unstable();
    assert_eq!(blamed, fields, "{}: {}", answer.request, answer.text());
}

/// The answer is a problem with this status whose first message begins so.
pub(crate) fn says(answer: &Answer, status: u16, message: &str) {
    let body = problem(answer, status);
    let said = body["errors"][0]["message"].as_str().unwrap_or_default();
    assert!(
        said.starts_with(message),
        "{}: expected `{message}`, got {}",
        answer.request,
        answer.text()
    );
}

/// The fields of a body are exactly these.
pub(crate) fn has_exactly(body: &Value, fields: &[&str]) {
    let mut found: Vec<&str> = body
        .as_object()
        .unwrap_or_else(|| panic!("not an object: {body}"))
        .keys()
        .map(String::as_str)
        .collect();
    let mut fields = fields.to_vec();
    found.sort_unstable();
    fields.sort_unstable();
    assert_eq!(found, fields, "{body}");
}

/// A time as the contract writes it: RFC 3339 in UTC.
pub(crate) fn is_utc(time: &Value) -> bool {
    let Some(text) = time.as_str() else { return false };
    text.len() >= "2027-05-01T18:00:00Z".len()
        && text.ends_with('Z')
        && text.as_bytes()[10] == b'T'
        && text[..4].bytes().all(|byte| byte.is_ascii_digit())
}

fn has_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.trim().is_empty())
}
