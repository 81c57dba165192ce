//! What stands before several processes of the site, as an ingress controller does: each request goes to the next of those
//! that are ready, whoever it is from, and whoever is to go gets no more of them.
//!
//! It repeats nothing and mends nothing: what a process of the site does to a request, the person sees.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use testkit::eventually;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Says which process has answered.
pub(crate) const SERVED_BY: &str = "x-served-by";

/// How long requests that are under way may take.
const UNDER_WAY_MAX: Duration = Duration::from_secs(60);

/// The front. It ends when it is dropped.
pub(crate) struct Front {
    base: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    sites: Mutex<Sites>,
    client: Client<HttpConnector, Full<hyper::body::Bytes>>,
}

#[derive(Default)]
struct Sites {
    ready: Vec<String>,
    /// Requests that were given to each and are not answered.
    under_way: BTreeMap<String, usize>,
    given: usize,
}

impl Front {
    /// Listens, with nobody behind it yet.
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            sites: Mutex::default(),
            client: Client::builder(TokioExecutor::new()).build(HttpConnector::new()),
        });
        let router = Router::new().fallback(forward).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router)
                .await
                .expect("the front serves until it is dropped");
        });
        Self {
            base: format!("http://{address}"),
            shared,
            serving,
        }
    }

    /// Where people reach the site.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Gives this one requests, too, from now on.
    pub(crate) fn begins(&self, site: &str) {
        self.shared.sites().ready.push(site.to_owned());
    }

    /// Gives it no more, and waits until it has answered those that it has been given.
    pub(crate) async fn spares(&self, site: &str) {
        self.shared.sites().ready.retain(|ready| ready != site);
        eventually("everything given to it is answered", UNDER_WAY_MAX, async || {
            let under_way = self.shared.sites().under_way.get(site).copied();
            (under_way.unwrap_or_default() == 0).then_some(())
        })
        .await;
    }

    /// How many requests there were so far.
    pub(crate) fn given(&self) -> usize {
        self.shared.sites().given
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn sites(&self) -> std::sync::MutexGuard<'_, Sites> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one whose turn it is.
    fn next(&self) -> String {
        let mut sites = self.sites();
        let turn = sites.given % sites.ready.len();
        sites.given += 1;
        let site = sites.ready[turn].clone();
        *sites.under_way.entry(site.clone()).or_default() += 1;
        site
    }

    fn answered(&self, site: &str) {
        let mut sites = self.sites();
        let under_way = sites.under_way.get_mut(site);
        *under_way.expect("it was given the request") -= 1;
    }

    async fn forward(&self, site: &str, request: Request) -> Result<Response, String> {
        let (mut parts, body) = request.into_parts();
        let path = parts
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        parts.uri = Uri::try_from(format!("{site}{path}")).map_err(|error| error.to_string())?;
        let body = body
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        let request = Request::from_parts(parts, Full::new(body));
        let answer = self.client.request(request).await;
        let (parts, body) = answer
            .map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))?
            .into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        Ok(Response::from_parts(parts, Body::from(body)))
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let site = shared.next();
    let answer = shared.forward(&site, request).await;
    shared.answered(&site);
    let mut answer = answer.unwrap_or_else(|why| (StatusCode::BAD_GATEWAY, why).into_response());
    let served_by = HeaderValue::try_from(site).expect("an address is a header's value");
    answer.headers_mut().insert(SERVED_BY, served_by);
    answer
}
