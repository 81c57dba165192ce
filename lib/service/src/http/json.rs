//! JSON bodies.

use std::time::Duration;

use axum::extract::{FromRequest, OptionalFromRequest, Request};
use bytes::Bytes;
use errors::Problem;
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::describe;

/// How long a body may take to arrive; 64 KiB in this time is slower than any line that can be used.
const BODY_WAIT_MAX: Duration = Duration::from_secs(10);

/// A JSON body. Refuses with a problem: 415 for another media type, 413 for too much of it, 400 for what is no
/// JSON or does not fit `T`, naming the field.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

impl<T, S> FromRequest<S> for Json<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::from_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        parse_json(&read_body(request, state).await?).map(Self)
    }
}

/// `Option<Json<T>>`: a body may be left out altogether.
impl<T, S> OptionalFromRequest<S> for Json<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        let json = is_json(request.headers());
        let body = read_body(request, state).await?;
        if body.is_empty() {
            Ok(None)
        } else if json {
            parse_json(&body).map(|value| Some(Self(value)))
        } else {
            Err(Problem::from_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
        }
    }
}

/// Reads one JSON object, all of it. What comes as a list is refused: serde would take it for a struct whose fields
/// are given by position, which nobody has promised.
///
/// # Errors
/// A 400 that names the field, where one is to blame.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::bad_request("The body must be an object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        match error.classify() {
            serde_json::error::Category::Data => describe::problem("body", &path, &error.to_string()),
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof
            | serde_json::error::Category::Io => describe::unreadable("body", error),
        }
    })?;
    deserializer
        .end()
        .map_err(|error| describe::unreadable("body", error))?;
    Ok(value)
}

pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let Some((kind, subtype)) = media_type.split_once('/') else {
        return false;
    };
    kind.eq_ignore_ascii_case("application")
        && (subtype.eq_ignore_ascii_case("json") || subtype.to_ascii_lowercase().ends_with("+json"))
}

/// Reads the whole body, which the edge keeps below [`super::BODY_BYTES_MAX`].
pub(crate) async fn read_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY_WAIT_MAX, Bytes::from_request(request, state)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) => {
            Err(Problem::from_status(rejection.status()).because(format!("reading the body: {rejection}")))
        }
        Err(_) => Err(Problem::from_status(StatusCode::REQUEST_TIMEOUT)),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::http::Decimal;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Body {
        title: String,
        price: Decimal,
        quantity: Option<u32>,
        starts_at: Option<events::Timestamp>,
        ticket_id: Option<events::TicketId>,
    }

    #[test]
    fn a_refusal_names_the_field() {
        let table = [
            (
                "",
                None,
                "The body can't be read: EOF while parsing a value at line 1 column 0",
            ),
            (
                "{",
                None,
                "The body can't be read: EOF while parsing an object at line 1 column 1",
            ),
            ("{}x", Some("title"), "Title is required"),
            ("[]", None, "The body must be an object"),
            (" [\"x\",1]", None, "The body must be an object"),
            ("null", None, "The body must be an object"),
            (r#"{"price":1}"#, Some("title"), "Title is required"),
            (r#"{"title":"x"}"#, Some("price"), "Price is required"),
            (r#"{"title":5}"#, Some("title"), "Title must be text"),
            (r#"{"title":null}"#, Some("title"), "Title must be text"),
            (
                r#"{"title":"x","title":"y"}"#,
                Some("title"),
                "Title is given twice",
            ),
            (r#"{"role":"admin"}"#, Some("role"), "`role` is not a known field"),
            (
                r#"{"quantity":-1}"#,
                Some("quantity"),
                "Quantity must be a whole number in range",
            ),
            (
                r#"{"quantity":"1"}"#,
                Some("quantity"),
                "Quantity must be a whole number in range",
            ),
            (
                r#"{"price":true}"#,
                Some("price"),
                "Price must be a number or a decimal string",
            ),
            (
                r#"{"price":[1]}"#,
                Some("price"),
                "Price must be a number or a decimal string",
            ),
            (
                r#"{"startsAt":"soon"}"#,
                Some("startsAt"),
                "Starts at is not a date and time with a zone, such as 2027-05-01T20:00:00Z",
            ),
            (r#"{"ticketId":"5"}"#, Some("ticketId"), ""),
        ];
        for (body, field, message) in table {
            let problem = parse_json::<Body>(body.as_bytes()).unwrap_err();
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST, "{body}");
            let error = &problem.errors()[0];
            assert_eq!(error.field.as_deref(), field, "{body}: {}", error.message);
            if !message.is_empty() {
                assert_eq!(error.message, message, "{body}");
            }
        }
        let rest = parse_json::<Body>(br#"{"title":"x","price":1} 2"#).unwrap_err();
        assert!(rest.detail().contains("trailing characters"), "{rest}");
    }

    #[test]
    fn a_price_keeps_its_digits() {
        for (json, text) in [
            ("0.1", "0.1"),
            ("\"20.50\"", "20.50"),
            ("1e2", "1e2"),
            ("-3", "-3"),
        ] {
            let body = format!(r#"{{"title":"x","price":{json}}}"#);
            let parsed: Body = parse_json(body.as_bytes()).unwrap();
            assert_eq!(parsed.price.as_str(), text);
        }
    }

    #[test]
    fn media_types() {
        for (text, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/merge-patch+json", true),
            ("text/json", false),
            ("application/x-www-form-urlencoded", false),
            ("json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, text.parse().unwrap());
            assert_eq!(is_json(&headers), json, "{text}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
