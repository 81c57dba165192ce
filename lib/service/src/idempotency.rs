//! `Idempotency-Key`: the same request again gets the same answer again, and has its effect once.
//!
//! The answer is stored in the transaction of the effect; see [`crate::Parts::once`].

use axum::extract::{FromRequest, OriginalUri, Request};
use axum::response::{IntoResponse, Response};
use errors::Problem;
use events::UserId;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use ring::digest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{IdempotencyKey, Remembered};

use crate::http::{is_json, parse_json, read_body};

/// The header of the contract.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// How long a key may be.
const KEY_BYTES_MAX: usize = 255;

/// A JSON body, and the key under which the request may come again. Where a route takes no body, `T` is `()`.
#[derive(Debug, Clone)]
pub struct Once<T> {
    /// The client's key, if it sent one.
    pub key: Option<ClientKey>,
    /// The body.
    pub body: T,
}

/// The key that a client has chosen, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientKey {
    key: String,
    digest: [u8; 32],
}

impl ClientKey {
    /// The key as the store counts it: per person and route.
    pub fn of(self, user: UserId, route: &'static str) -> IdempotencyKey {
        IdempotencyKey {
            user,
            route,
            key: self.key,
            body_digest: self.digest,
        }
    }

    fn read(headers: &HeaderMap) -> Result<Option<String>, Problem> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let visible = |text: &&str| {
            (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        match (value.to_str().ok().filter(visible), values.next()) {
            (Some(key), None) => Ok(Some(key.to_owned())),
            _ => Err(Problem::bad_request(format!(
                "Idempotency-Key must be one key of 1 to {KEY_BYTES_MAX} visible ASCII characters"
            ))),
        }
    }

    /// What makes it the same request: where it goes, ids in the path included, and what it says.
    fn digest(method: &Method, path: &str, body: &[u8]) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [method.as_str().as_bytes(), path.as_bytes()] {
            context.update(part);
            context.update(&[0]);
        }
        context.update(body);
        let digest = context.finish();
        digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

impl<T, S> FromRequest<S> for Once<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let key = ClientKey::read(request.headers())?;
        let json = is_json(request.headers());
        let method = request.method().clone();
        let uri = match request.extensions().get::<OriginalUri>() {
            Some(OriginalUri(uri)) => uri.clone(),
            None => request.uri().clone(),
        };
        let bytes = read_body(request, state).await?;
        if !json && !bytes.is_empty() {
            return Err(Problem::from_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let body = if bytes.is_empty() {
            // Where a body is optional or none is expected, `null` is what its absence means.
            parse_json(b"null").map_err(|_| {
                if json {
                    Problem::bad_request("The body is empty")
                } else {
                    Problem::from_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
                }
            })?
        } else {
            parse_json(&bytes)?
        };
        let key = key.map(|key| ClientKey {
            key,
            digest: ClientKey::digest(&method, uri.path(), &bytes),
        });
        Ok(Self { key, body })
    }
}

/// An answer that can be stored: a 2xx with a JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(Remembered);

impl Reply {
    /// 200 with a body.
    pub fn ok(body: &impl Serialize) -> Self {
        Self::with_body(StatusCode::OK, body)
    }

    /// 201 with a body.
    pub fn created(body: &impl Serialize) -> Self {
        Self::with_body(StatusCode::CREATED, body)
    }

    /// 202 with a body.
    pub fn accepted(body: &impl Serialize) -> Self {
        Self::with_body(StatusCode::ACCEPTED, body)
    }

    /// 204.
    pub fn no_content() -> Self {
        Self(Remembered {
            status: StatusCode::NO_CONTENT.as_u16(),
            headers: Vec::new(),
            body: String::new(),
        })
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &HeaderName, value: &HeaderValue) -> Self {
        let value = value
            .to_str()
            .expect("the headers of our answers are visible ASCII");
        self.0.headers.push((name.as_str().to_owned(), value.to_owned()));
        self
    }

    /// What the store keeps.
    pub fn remembered(&self) -> &Remembered {
        &self.0
    }

    fn with_body(status: StatusCode, body: &impl Serialize) -> Self {
        Self(Remembered {
            status: status.as_u16(),
            headers: vec![(
                header::CONTENT_TYPE.as_str().to_owned(),
                "application/json".to_owned(),
            )],
            body: serde_json::to_string(body).expect("answers are structs with text keys"),
        })
    }
}

impl From<Remembered> for Reply {
    fn from(remembered: Remembered) -> Self {
        Self(remembered)
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let Remembered {
            status,
            headers,
            body,
        } = self.0;
        let mut response = body.into_response();
        // A String's own content type must not stay where the answer has none.
        response.headers_mut().remove(header::CONTENT_TYPE);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        for (name, value) in headers {
            match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                (Ok(name), Ok(value)) => {
                    response.headers_mut().insert(name, value);
                }
                _ => tracing::error!("a remembered answer has a header that is none"),
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Order {
        quantity: u32,
    }

    async fn once<T: DeserializeOwned>(path: &str, keys: &[&str], body: &str) -> Result<Once<T>, Problem> {
        let mut request = Request::post(path);
        for key in keys {
            request = request.header(IDEMPOTENCY_KEY, *key);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        Once::from_request(request.body(Body::from(body.to_owned())).unwrap(), &()).await
    }

    #[tokio::test]
    async fn a_key_stands_for_path_and_body() {
        let key = |once: Once<Order>| once.key.unwrap();
        let one = once::<Order>("/api/orders", &["k"], r#"{"quantity":1}"#)
            .await
            .unwrap();
        assert_eq!(one.body.quantity, 1);
        let same = once::<Order>("/api/orders", &["k"], r#"{"quantity":1}"#)
            .await
            .unwrap();
        let other = once::<Order>("/api/orders", &["k"], r#"{"quantity":2}"#)
            .await
            .unwrap();
        let (one, same, other) = (key(one), key(same), key(other));
        assert_eq!(one, same);
        assert_ne!(one, other);
        let here = once::<()>("/api/orders/1/refund", &["k"], "").await.unwrap();
        let there = once::<()>("/api/orders/2/refund", &["k"], "").await.unwrap();
        assert_ne!(here.key, there.key);
    }

    #[tokio::test]
    async fn what_is_no_key_is_refused() {
        let long = "x".repeat(KEY_BYTES_MAX + 1);
        for keys in [&[""][..], &["with space"], &["ü"], &["a", "b"], &[&long]] {
            let refused = once::<()>("/", keys, "").await.unwrap_err();
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{keys:?}");
        }
        let no_body = once::<Order>("/", &[], "").await.unwrap_err();
        assert_eq!(no_body.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(once::<()>("/", &[], "").await.unwrap().key.is_none());
    }

    #[tokio::test]
    async fn a_remembered_answer_is_the_answer() {
        let reply = Reply::created(&serde_json::json!({"id": 1}))
            .header(&header::LOCATION, &HeaderValue::from_static("/api/orders/1"));
        let again = Reply::from(reply.remembered().clone());
        let (first, second) = (reply.into_response(), again.into_response());
        assert_eq!(first.status(), StatusCode::CREATED);
        assert_eq!(first.headers(), second.headers());
        assert_eq!(first.headers()[header::CONTENT_TYPE], "application/json");
        assert!(
            !Reply::no_content()
                .into_response()
                .headers()
                .contains_key(header::CONTENT_TYPE)
        );
    }
}
