//! An HTTP client as a person's browser or a script would be: keeps cookies, follows no redirect, gives up.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde_json::Value;

/// No answer of the system takes longer, a `Prefer: wait=30` included.
const ANSWER_SECONDS_MAX: u64 = 40;

/// For how long a patient request comes back while it is told to.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause before it comes back: shorter than the seconds that an answer names, so that a test does not wait for these.
const COME_BACK: Duration = Duration::from_millis(50);

type Http = hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>;

/// One person's client: the cookies that it is given come along with every later request. Clones share them.
#[derive(Clone)]
pub struct Client {
    http: Http,
    base: String,
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
    bearer: Option<String>,
}

/// A request being put together.
#[derive(Clone)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    answer_max: Duration,
    patient: bool,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The request, for failure messages: `POST /api/orders`.
    pub request: String,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

/// Why no answer came: the server is down, cut the connection, or took too long.
#[derive(Debug)]
pub struct ClientError(String);

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ClientError {}

impl Client {
    /// A new person without cookies, for the server at `base` (`http://127.0.0.1:41234`).
    pub fn new(base: impl Into<String>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            http: hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector),
            base: base.into().trim_end_matches('/').to_owned(),
            cookies: Arc::default(),
            bearer: None,
        }
    }

    /// The same person at another server.
    #[must_use]
    pub fn at(&self, base: impl Into<String>) -> Self {
        Self {
            base: base.into().trim_end_matches('/').to_owned(),
            ..self.clone()
        }
    }

    /// The same connections with a bearer token on every request.
    #[must_use]
    pub fn with_bearer(&self, token: impl Into<String>) -> Self {
        Self {
            bearer: Some(token.into()),
            ..self.clone()
        }
    }

    /// The server that it talks to.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The value of a cookie that it holds.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar().get(name).cloned()
    }

    /// Puts a cookie in, as if the server had set it.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.jar().insert(name.to_owned(), value.to_owned());
    }

    /// Forgets all cookies.
    pub fn clear_cookies(&self) {
        self.jar().clear();
    }

    /// A GET.
    pub fn get(&self, path: impl Into<String>) -> Request<'_> {
        self.request(Method::GET, path)
    }

    /// A POST with a JSON body.
    pub fn post(&self, path: impl Into<String>, body: &impl Serialize) -> Request<'_> {
        self.request(Method::POST, path).json(body)
    }

    /// A PUT with a JSON body.
    pub fn put(&self, path: impl Into<String>, body: &impl Serialize) -> Request<'_> {
        self.request(Method::PUT, path).json(body)
    }

    /// A DELETE.
    pub fn delete(&self, path: impl Into<String>) -> Request<'_> {
        self.request(Method::DELETE, path)
    }

    /// A POST of a form, as a browser without scripts sends it. Names and values are escaped here.
    pub fn form(&self, path: impl Into<String>, fields: &[(&str, &str)]) -> Request<'_> {
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
            .collect();
        self.request(Method::POST, path)
            .body("application/x-www-form-urlencoded", pairs.join("&"))
    }

    /// Any request, without a body so far.
    pub fn request(&self, method: Method, path: impl Into<String>) -> Request<'_> {
        Request {
            client: self,
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            answer_max: Duration::from_secs(ANSWER_SECONDS_MAX),
            patient: false,
        }
    }

    fn jar(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_cookies(&self, headers: &HeaderMap) {
        for cookie in headers
            .get_all(SET_COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
        {
            let mut parts = cookie.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            // Whoever clears a cookie sets it to expire at once.
            let cleared = value.is_empty() || parts.any(|part| part.eq_ignore_ascii_case("max-age=0"));
            let mut jar = self.jar();
            if cleared {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

impl Request<'_> {
    /// Adds a header, in addition to others of that name.
    ///
    /// # Panics
    /// When it is no valid header.
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let name: HeaderName = name.parse().expect("a header name of a test is valid");
        self.headers.append(
            name,
            HeaderValue::from_str(value.as_ref()).expect("a header value of a test is valid"),
        );
        self
    }

    /// Sets a JSON body.
    ///
    /// # Panics
    /// When it can't be JSON.
    pub fn json(self, body: &impl Serialize) -> Self {
        self.body(
            "application/json",
            serde_json::to_vec(body).expect("the body of a test is JSON"),
        )
    }

    /// Sets any body.
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = body.into();
        self
    }

    /// Gives up after this long.
    pub fn within(mut self, answer_max: Duration) -> Self {
        self.answer_max = answer_max;
        self
    }

    /// Comes back while it is told to, by a 503 with `Retry-After`, as every client should: on a busy machine what one
    /// service has said may not have reached the next one yet. For what may be done twice, or is done once by its key.
    pub fn patient(mut self) -> Self {
        self.patient = true;
        self
    }

    /// Sends it.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn send(self) -> Answer {
        let request = format!("{} {}", self.method, self.path);
        self.try_send()
            .await
            .unwrap_or_else(|error| panic!("{request}: {error}"))
    }

    /// Sends it, and gives an answer that has this status.
    ///
    /// # Panics
    /// When no answer comes, or another one; the message shows it.
    pub async fn expect(self, status: u16) -> Answer {
        let answer = self.send().await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{}: {}",
            answer.request,
            answer.text()
        );
        answer
    }

    /// Sends it to a server that may be down.
    ///
    /// # Errors
    /// When no whole answer comes in time.
    pub async fn try_send(self) -> Result<Answer, ClientError> {
        let begun = Instant::now();
        while self.patient && begun.elapsed() < PATIENCE {
            let answer = self.clone().try_send_once().await?;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE || !answer.headers.contains_key(RETRY_AFTER) {
                return Ok(answer);
            }
            tokio::time::sleep(COME_BACK).await;
        }
        self.try_send_once().await
    }

    async fn try_send_once(self) -> Result<Answer, ClientError> {
        let client = self.client;
        let described = format!("{} {}", self.method, self.path);
        let mut request = http::Request::new(Full::new(self.body));
        *request.uri_mut() = format!("{}{}", client.base, self.path)
            .parse()
            .map_err(|error| ClientError(format!("not a URI: {error}")))?;
        *request.method_mut() = self.method;
        *request.headers_mut() = self.headers;
        let header =
            |text: String| HeaderValue::from_str(&text).map_err(|error| ClientError(error.to_string()));
        // A header that the test set itself wins over what the client holds.
        if let Some(token) = &client.bearer
            && !request.headers().contains_key(AUTHORIZATION)
        {
            request
                .headers_mut()
                .insert(AUTHORIZATION, header(format!("Bearer {token}"))?);
        }
        let cookies: Vec<String> = client
            .jar()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() && !request.headers().contains_key(COOKIE) {
            request.headers_mut().insert(COOKIE, header(cookies.join("; "))?);
        }
        let exchange = async {
            let response = client
                .http
                .request(request)
                .await
                .map_err(|error| ClientError(chain(&error)))?;
            let (head, body) = response.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|error| ClientError(chain(&error)))?
                .to_bytes();
            Ok(Answer {
                request: described,
                status: head.status,
                headers: head.headers,
                body,
            })
        };
        let answer = tokio::time::timeout(self.answer_max, exchange)
            .await
            .map_err(|_| ClientError(format!("no answer within {:?}", self.answer_max)))??;
        client.keep_cookies(&answer.headers);
        Ok(answer)
    }
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: not JSON ({error}): {}", self.request, self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A field of the JSON body, as text; for ids and states.
    ///
    /// # Panics
    /// When there is no such text.
    pub fn field(&self, name: &str) -> String {
        match self.json().get(name) {
            Some(Value::String(text)) => text.clone(),
            other => panic!("{}: `{name}` is {other:?} in {}", self.request, self.text()),
        }
    }
}

/// An error with all that caused it: hyper's own text alone says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Percent-encodes all but the letters, digits and marks that a form may carry as they are.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            b' ' => "+".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
