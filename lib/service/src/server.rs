//! Serving HTTP/1.1 within bounds: so many connections, so long a time for a request's headers, and at the end
//! a drain that lets every accepted request finish. A connection too many is told so at once (`turn_away`).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use crate::Shutdown;
use crate::process::connections_max;
use crate::turn_away::{TURNED_AWAY_AT_ONCE_MAX, begin_counting, turn_away};

/// How many connections are open at once, if the system grants as many descriptors. The next one is answered 503 and
/// closed.
pub const CONNECTIONS_MAX: u32 = 8_192;

/// How many connections are open at once to what is for the inside: probes, a scraper, operators, the site.
const INTERNAL_CONNECTIONS_MAX: u32 = 256;

/// How long requests that were accepted may take to finish once it is time to stop.
pub const DRAIN_SECONDS_MAX: u64 = 8;

/// How long a client may take to send a request's headers, or be silent between two requests.
const HEADER_SECONDS_MAX: u64 = 15;

/// The most that a request's line and headers may take.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// How many headers a request may have.
const HEADERS_MAX: usize = 64;

/// The bounds of a server. Those of production are the default; tests have less patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How many connections are open at once.
    pub connections_max: u32,
    /// How long a client may take to send a request's headers, or be silent between two requests.
    pub header_wait_max: Duration,
    /// How long requests that were accepted may take to finish once it is time to stop.
    pub drain_max: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: connections_max(),
            header_wait_max: Duration::from_secs(HEADER_SECONDS_MAX),
            drain_max: Duration::from_secs(DRAIN_SECONDS_MAX),
        }
    }
}

impl Bounds {
    /// Those of a port that only the inside reaches.
    pub(crate) fn internal() -> Self {
        let bounds = Self::default();
        Self {
            connections_max: bounds.connections_max.min(INTERNAL_CONNECTIONS_MAX),
            ..bounds
        }
    }
}

/// How long to wait when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` until `shutdown`, then drains.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) {
    serve_within(Bounds::default(), listener, router, shutdown).await;
}

/// As [`serve`], within other bounds.
pub async fn serve_within(bounds: Bounds, listener: TcpListener, router: Router, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(bounds.connections_max as usize));
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_AT_ONCE_MAX));
    begin_counting();
    let mut stop = pin!(shutdown.clone().wait());
    loop {
        // Before the connection: where even those who are turned away are too many, the next ones wait in the backlog,
        // and the number of descriptors stays bounded.
        let last_resort = Arc::clone(&turned_away)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match (accepted, Arc::clone(&places).try_acquire_owned()) {
            (Ok((stream, peer)), Ok(place)) => {
                let connection = connection(bounds, stream, peer, router.clone(), shutdown.clone().wait());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            (Ok((stream, _)), Err(_)) => {
                tokio::spawn(async move {
                    turn_away(stream).await;
                    drop(last_resort);
                });
            }
            (Err(error), _) => accept_failed(&error).await,
        }
    }
    // No new connection may come in while the old ones finish.
    drop(listener);
    let drained = places.acquire_many(bounds.connections_max);
    if tokio::time::timeout(bounds.drain_max, drained).await.is_err() {
        let open = bounds.connections_max as usize - places.available_permits();
        tracing::warn!(open, "connections were still open at the end of the drain");
    }
}

async fn connection(
    bounds: Bounds,
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    stop: impl Future<Output = ()> + Send,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it began");
        return;
    }
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.header_wait_max)
            .max_buf_size(HEADER_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut stop = pin!(stop);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    // Clients go away and talk nonsense; that is no fault of ours.
                    tracing::trace!(%peer, %error, "a connection broke");
                }
                return;
            }
            () = &mut stop, if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A connection that was gone before it was accepted is the client's business; anything else is ours, and
/// passes when a connection closes.
async fn accept_failed(error: &io::Error) {
    let gone = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    );
    if !gone {
        tracing::error!(%error, "a connection can't be accepted");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
