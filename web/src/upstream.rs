//! The way to the services: one call in, one whole answer out.
//!
//! A call goes over HTTP to the service that owns its path, or straight into a router of the same process.
//! Pages cannot tell the two apart. This module knows nothing about what the answers mean: it bounds them
//! in time and size and hands them on. It never forwards a cookie jar, only the person's own token.

mod again;
mod call;
mod patience;
mod services;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Uri};
use axum::{BoxError, Router};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{Semaphore, SemaphorePermit};
use tower::ServiceExt;

pub use call::{Answer, Call};
pub use services::{Service, ServiceUrls};

use call::FORWARDED_FOR;
use patience::Patience;
use services::INTERNAL;

/// How long a call may take beyond the time that it asked the service to wait.
const CALL_SECONDS_MAX: u64 = 8;
/// How long a connection may take to open.
const CONNECT_SECONDS_MAX: u64 = 2;
/// How long an unused connection is kept for the next call.
const IDLE_SECONDS_MAX: u64 = 30;
/// Unused connections that are kept to one service.
const IDLE_CONNECTIONS_MAX: usize = 64;
/// The largest answer that is read; a page of 100 tickets with the longest texts stays below it.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads that wait at once to be asked again, in the whole site, whether their service gives no connection or says "not now". One
/// more is answered as it is: a service that has too much to do does not get twice as much, and one that comes back is not
/// overrun.
const READS_WAITING_MAX: usize = 256;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No service owns this path; a mistake of ours, not of the person.
    #[error("no service owns {0}")]
    NoOwner(String),
    /// The service could not be reached, or the connection broke.
    #[error("{service} cannot be reached: {source}")]
    Unreachable {
        /// Which service.
        service: &'static str,
        /// What went wrong underneath.
        source: BoxError,
    },
    /// The service did not answer in time.
    #[error("{service} did not answer within {seconds} s")]
    TimedOut {
        /// Which service.
        service: &'static str,
        /// How long it was given.
        seconds: u64,
    },
    /// The answer broke off or is larger than `ANSWER_BYTES_MAX`.
    #[error("the answer of {service} cannot be read: {source}")]
    Unreadable {
        /// Which service.
        service: &'static str,
        /// What went wrong underneath.
        source: BoxError,
    },
}

impl UpstreamError {
    /// The way to the service broke, before or within its answer: another try may do better.
    fn broke_off(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Unreadable { source, .. } => !source.is::<LengthLimitError>(),
            Self::NoOwner(_) | Self::TimedOut { .. } => false,
        }
    }
}

/// The services, however they are reached.
#[derive(Clone)]
pub struct Upstream(Form);

#[derive(Clone)]
enum Form {
    Http {
        client: Box<Client<HttpConnector, Full<Bytes>>>,
        urls: Box<ServiceUrls>,
        waits: Arc<Waits>,
    },
    InProcess {
        api: Router,
        internal: Vec<(Service, Router)>,
    },
}

/// Where reads wait to be asked again.
struct Waits {
    patience: Patience,
    places: Semaphore,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            patience: Patience::default(),
            places: Semaphore::new(READS_WAITING_MAX),
        }
    }
}

impl Waits {
    /// Whether a read may wait: it has a place already, or finds one. It keeps it until it has its answer.
    fn lets<'a>(&'a self, place: &mut Option<SemaphorePermit<'a>>) -> bool {
        if place.is_none() {
            // An error means that there is none: nobody closes the semaphore.
            *place = self.places.try_acquire().ok();
        }
        place.is_some()
    }
}

impl Upstream {
    /// Services that are processes of their own.
    pub fn http(urls: ServiceUrls) -> Upstream {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(CONNECT_SECONDS_MAX)));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(IDLE_SECONDS_MAX))
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Upstream(Form::Http {
            client: Box::new(client),
            urls: Box::new(urls),
            waits: Arc::default(),
        })
    }

    /// Services of the same process: `api` answers every `/api/...` path, without a socket.
    pub fn in_process(api: Router) -> Upstream {
        Upstream(Form::InProcess {
            api,
            internal: Vec::new(),
        })
    }

    /// Adds the router that answers a service's `/internal/...` paths in the same process. Over HTTP a
    /// service answers them itself, so there this changes nothing.
    #[must_use]
    pub fn with_internal(mut self, service: Service, router: Router) -> Upstream {
        match &mut self.0 {
            Form::Http { .. } => {}
            Form::InProcess { internal, .. } => internal.push((service, router)),
        }
        self
    }

    /// Calls the owner of the call's path.
    ///
    /// # Errors
    /// There is no answer; an answer that says no is an `Answer`.
    pub async fn send(&self, call: Call) -> Result<Answer, UpstreamError> {
        match Service::of_path(&call.path) {
            Some(service) => self.send_to(service, call).await,
            None => Err(UpstreamError::NoOwner(call.path)),
        }
    }

    /// Calls one service by name, for its `/internal/...` paths.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn send_to(&self, service: Service, call: Call) -> Result<Answer, UpstreamError> {
        let seconds = CALL_SECONDS_MAX + call.wait_seconds;
        let answer = async {
            match &self.0 {
                Form::Http { client, urls, waits } => over_http(client, urls, waits, service, call).await,
                Form::InProcess { api, internal } => {
                    let router = if call.path.starts_with(INTERNAL) {
                        internal
                            .iter()
                            .find(|(owner, _)| *owner == service)
                            .map(|(_, router)| router)
                    } else {
                        Some(api)
                    };
                    match router {
                        Some(router) => within(router.clone(), service, call).await,
                        None => Err(UpstreamError::NoOwner(call.path)),
                    }
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(seconds), answer)
            .await
            .map_err(|_| UpstreamError::TimedOut {
                service: service.name(),
                seconds,
            })?
    }
}

async fn over_http(
    client: &Client<HttpConnector, Full<Bytes>>,
    urls: &ServiceUrls,
    waits: &Waits,
    service: Service,
    call: Call,
) -> Result<Answer, UpstreamError> {
    let unreachable = |source: BoxError| UpstreamError::Unreachable {
        service: service.name(),
        source,
    };
    let uri: Uri = urls
        .address(service, &call.path)
        .parse()
        .map_err(|error| unreachable(Box::new(error)))?;
    let mut headers = call.headers;
    append_peer(&mut headers, call.peer);
    let request = || {
        let mut request = Request::new(Full::new(call.body.clone()));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        request
    };
    // Only reads are repeated: whether a write that broke off took effect is not known here.
    let is_read = matches!(call.method, Method::GET | Method::HEAD);
    let (begun, mut tried, mut place) = (Instant::now(), 0, None);
    loop {
        let outcome = match client.request(request()).await {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                // What it was asked to wait for news is not time that somebody has waited for a page.
                let taken = begun
                    .elapsed()
                    .saturating_sub(Duration::from_secs(call.wait_seconds));
                let pause = again::after(parts.status, &parts.headers, taken);
                if let Some(pause) = pause.filter(|_| is_read && waits.lets(&mut place)) {
                    waits.patience.answered(service);
                    tokio::time::sleep(pause).await;
                    continue;
                }
                read(service, parts, body).await
            }
            Err(error) => Err(unreachable(Box::new(error))),
        };
        let error = match outcome {
            Ok(answer) => {
                waits.patience.answered(service);
                return Ok(answer);
            }
            Err(error) if is_read && error.broke_off() => error,
            Err(error) => return Err(error),
        };
        let pause = waits.patience.missed(service, tried, Instant::now());
        match pause.filter(|_| waits.lets(&mut place)) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(error),
        }
        tried += 1;
    }
}

async fn within(router: Router, service: Service, call: Call) -> Result<Answer, UpstreamError> {
    let mut request = Request::new(Body::from(call.body));
    *request.method_mut() = call.method;
    *request.uri_mut() =
        call.path
            .parse()
            .map_err(|error: axum::http::uri::InvalidUri| UpstreamError::Unreachable {
                service: service.name(),
                source: Box::new(error),
            })?;
    *request.headers_mut() = call.headers;
    if let Some(peer) = call.peer {
        // The service sees the same peer that the site saw, as if it had been asked directly.
        request.extensions_mut().insert(ConnectInfo(peer));
    }
    let response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (parts, body) = response.into_parts();
    read(service, parts, body).await
}

async fn read<B>(
    service: Service,
    parts: axum::http::response::Parts,
    body: B,
) -> Result<Answer, UpstreamError>
where
    B: axum::body::HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let body = Limited::new(body, ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|source| UpstreamError::Unreadable {
            service: service.name(),
            source,
        })?
        .to_bytes();
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    })
}

/// Adds the peer at the end of `X-Forwarded-For`, as each proxy on the way does.
fn append_peer(headers: &mut HeaderMap, peer: Option<SocketAddr>) {
    let Some(peer) = peer else { return };
    let before = headers.get(FORWARDED_FOR).and_then(|value| value.to_str().ok());
    let chain = match before {
        Some(before) => format!("{before}, {}", peer.ip()),
        None => peer.ip().to_string(),
    };
    if let Ok(value) = HeaderValue::try_from(chain) {
        headers.insert(FORWARDED_FOR, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_is_added_behind_what_is_there() {
        let mut headers = HeaderMap::new();
        append_peer(&mut headers, Some(([10, 0, 0, 1], 99).into()));
        append_peer(&mut headers, Some(([10, 0, 0, 2], 99).into()));
        assert_eq!(headers[FORWARDED_FOR], "10.0.0.1, 10.0.0.2");
    }

    #[test]
    fn few_wait_at_once_and_each_keeps_its_place() {
        let waits = Waits::default();
        let mut places: Vec<_> = (0..READS_WAITING_MAX).map(|_| None).collect();
        assert!(places.iter_mut().all(|place| waits.lets(place)));
        let mut late = None;
        assert!(!waits.lets(&mut late));
        assert!(waits.lets(&mut places[0]), "it has one");
        places.pop();
        assert!(waits.lets(&mut late));
    }
}
