//! A running service as an operator's command reaches it: over the control socket of the one process, at the address of
//! a process of its own, or in memory from within. The same routes and the same messages everywhere.
//!
//! Every wait has an end, and every answer that is kept in memory a bound.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use events::Source;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use service::OverControlSocket;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tower::ServiceExt as _;

use super::OperatorError;

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long an answer may take, unless more is to be done for it.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How much of an answer is kept in memory.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How many characters of an unexpected answer are shown.
const SHOWN_CHARS_MAX: usize = 200;

/// One running service.
#[derive(Clone)]
pub(crate) struct Remote {
    /// Which.
    pub(crate) source: Source,
    place: Place,
    token: Option<String>,
}

/// Where it is.
#[derive(Clone)]
enum Place {
    /// Behind the control socket of the one process.
    Socket(PathBuf),
    /// At `host:port`.
    Address(String),
    /// In this process.
    Memory(Router),
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.source, self.place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Address(authority) => write!(f, "http://{authority}"),
            Self::Memory(_) => f.write_str("this process"),
        }
    }
}

impl Remote {
    /// A service behind the control socket at `path`.
    pub(crate) fn over_socket(source: Source, path: &Path) -> Self {
        Self {
            source,
            place: Place::Socket(path.to_owned()),
            token: None,
        }
    }

    /// A service that is a process of its own, at `host:port`.
    pub(crate) fn at_address(source: Source, authority: String, token: Option<String>) -> Self {
        Self {
            source,
            place: Place::Address(authority),
            token,
        }
    }

    /// A service in this process.
    pub(crate) fn in_memory(source: Source, internal: Router) -> Self {
        Self {
            source,
            place: Place::Memory(internal),
            token: None,
        }
    }

    /// Asks for `path`, which begins with `/internal/`, and reads the answer as JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, OperatorError> {
        self.json(Method::GET, path, ANSWER_MAX).await
    }

    /// As [`Self::get`], for something that is to be done, within `wait`.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        wait: Duration,
    ) -> Result<T, OperatorError> {
        let bytes = self.bytes(method, path, wait).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.strange(path, &error.to_string()))
    }

    /// Does something whose answer, if it went well, says nothing.
    pub(crate) async fn done(&self, method: Method, path: &str) -> Result<(), OperatorError> {
        self.bytes(method, path, ANSWER_MAX).await.map(drop)
    }

    /// The answer as it comes, for what is too large to be kept in memory.
    pub(crate) async fn stream(&self, path: &str) -> Result<Response<Body>, OperatorError> {
        let response = self.send(Method::GET, path, ANSWER_MAX).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let bytes = self.read(path, body, ANSWER_MAX).await?;
        Err(self.refused(path, head.status, &bytes))
    }

    async fn bytes(&self, method: Method, path: &str, wait: Duration) -> Result<Vec<u8>, OperatorError> {
        let response = self.send(method, path, wait).await?;
        let (head, body) = response.into_parts();
        let bytes = self.read(path, body, wait).await?;
        if head.status.is_success() {
            Ok(bytes)
        } else {
            Err(self.refused(path, head.status, &bytes))
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        wait: Duration,
    ) -> Result<Response<Body>, OperatorError> {
        let exchange = async {
            match &self.place {
                Place::Socket(socket) => {
                    let io = self.connected(UnixStream::connect(socket)).await?;
                    let path = format!("/{}{path}", self.source);
                    self.exchange(io, self.request(method, &path, "boxoffice")?).await
                }
                Place::Address(authority) => {
                    let io = self.connected(TcpStream::connect(authority)).await?;
                    self.exchange(io, self.request(method, path, authority)?).await
                }
                Place::Memory(router) => {
                    let mut request = self.request(method, path, "boxoffice")?;
                    // Whoever is in the process can open the control socket, too.
                    request.extensions_mut().insert(OverControlSocket);
                    let answered = router.clone().oneshot(request).await;
                    Ok(answered.unwrap_or_else(|never| match never {}))
                }
            }
        };
        tokio::time::timeout(wait, exchange)
            .await
            .unwrap_or_else(|_| Err(self.unreachable(&format!("no answer within {} s", wait.as_secs()))))
    }

    fn request(&self, method: Method, path: &str, host: &str) -> Result<Request<Body>, OperatorError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request
            .body(Body::empty())
            .map_err(|error| self.strange(path, &error.to_string()))
    }

    async fn connected<S>(
        &self,
        connecting: impl Future<Output = std::io::Result<S>>,
    ) -> Result<S, OperatorError> {
        match tokio::time::timeout(CONNECT_MAX, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.unreachable(&error.to_string())),
            Err(_) => Err(self.unreachable(&format!("no connection within {} s", CONNECT_MAX.as_secs()))),
        }
    }

    async fn exchange<S>(&self, io: S, request: Request<Body>) -> Result<Response<Body>, OperatorError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |error: hyper::Error| self.unreachable(&error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(broken)?;
        // It ends with the answer's body, or when that is dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a service broke off");
            }
        });
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok(response.map(Body::new))
    }

    async fn read(&self, path: &str, body: Body, wait: Duration) -> Result<Vec<u8>, OperatorError> {
        let collected = Limited::new(body, ANSWER_BYTES_MAX).collect();
        match tokio::time::timeout(wait, collected).await {
            Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
            Ok(Err(error)) => Err(self.strange(path, &error.to_string())),
            Err(_) => Err(self.unreachable(&format!("the answer did not end within {} s", wait.as_secs()))),
        }
    }

    fn unreachable(&self, why: &str) -> OperatorError {
        OperatorError::Unreachable {
            service: self.source,
            place: self.place.to_string(),
            why: why.to_owned(),
        }
    }

    fn strange(&self, path: &str, why: &str) -> OperatorError {
        OperatorError::Strange {
            service: self.source,
            path: path.to_owned(),
            why: why.to_owned(),
        }
    }

    /// What the service says against it, in its own words.
    fn refused(&self, path: &str, status: StatusCode, body: &[u8]) -> OperatorError {
        let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let said = problem.as_ref().and_then(|problem| {
            problem["errors"][0]["message"]
                .as_str()
                .or_else(|| problem["detail"].as_str())
                .or_else(|| problem["title"].as_str())
        });
        let said = match said {
            Some(said) => said.to_owned(),
            None => String::from_utf8_lossy(body)
                .chars()
                .take(SHOWN_CHARS_MAX)
                .collect(),
        };
        OperatorError::Refused {
            service: self.source,
            path: path.to_owned(),
            status: status.as_u16(),
            said,
        }
    }
}
