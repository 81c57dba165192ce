//! One port for everything: which part of the system answers which path.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, Response};
use tower::{Service, ServiceExt as _};

/// The parts that answer. Each has its own edge: errors of the services are problems, errors of the site are pages,
/// errors of the stand-in for Stripe look like Stripe's.
#[derive(Debug, Clone)]
pub(crate) struct Dispatch {
    /// `/api/…`: the services.
    pub(crate) api: Router,
    /// `/healthz`, `/readyz`, `/metrics`: for this machine only.
    pub(crate) health: Router,
    /// `/v1/…` and `/stripe-fake/…`: the stand-in for Stripe, if there is one.
    pub(crate) stripe: Option<Router>,
    /// Everything else: the site.
    pub(crate) site: Router,
}

impl Dispatch {
    /// As a router, which is what servers serve.
    pub(crate) fn into_router(self) -> Router {
        Router::new().fallback_service(self)
    }

    fn part(&self, request: &Request<Body>) -> Router {
        let first = request
            .uri()
            .path()
            .trim_start_matches('/')
            .split('/')
            .next()
            .unwrap_or_default();
        match (first, &self.stripe) {
            ("api", _) => self.api.clone(),
            ("healthz" | "readyz" | "metrics", _) if comes_from_this_machine(request) => self.health.clone(),
            ("v1" | "stripe-fake", Some(stripe)) => stripe.clone(),
            (_, _) => self.site.clone(),
        }
    }
}

/// Who scrapes and probes is on the inside; on a laptop that is the laptop.
fn comes_from_this_machine(request: &Request<Body>) -> bool {
    request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .is_some_and(|ConnectInfo(peer)| peer.ip().is_loopback())
}

impl Service<Request<Body>> for Dispatch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.part(&request).oneshot(request))
    }
}
