//! The site: every page of Boxoffice, rendered on the server, complete without a script.
//!
//! It is a client of the services like any other: it holds no data and no keys, verifies no tokens, and
//! decides nothing about tickets, orders or money. What it adds is the person's side: pages, forms that keep
//! what was typed, a defence against forged requests, and live updates over server-sent events.
//!
//! It is not a proxy: `/api/...` is answered by the services behind the ingress. What no service owns of it comes here, and
//! is the document of the whole API, or a problem.

mod api;
mod assets;
mod csrf;
mod description;
mod document;
mod format;
mod forms;
mod headers;
mod live;
mod pages;
mod problem;
mod session;
mod settings;
mod upstream;
mod view;

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

pub use description::describe;
pub use settings::{
    Clock, Config, LIVE_STREAMS_MAX, PublicUrl, PublicUrlError, Secret, SecretError, Settings,
};
pub use upstream::{Answer, Call, Service, ServiceUrls, Upstream, UpstreamError};

use csrf::Tokens;
use headers::SecurityHeaders;
use pages::cards::KeptCards;
use pages::{account, auth, home, ops, orders, selling, ticket};
use problem::Failure;
use session::Visit;

/// What every handler needs.
struct Site {
    settings: Settings,
    upstream: Upstream,
    tokens: Tokens,
    live_streams: Arc<Semaphore>,
    cards: KeptCards,
}

impl Site {
    /// Makes a call on a visit's behalf. A service that fails is a failure here, logged once.
    async fn send(&self, visit: &Visit, call: Call) -> Result<Answer, Failure> {
        match self.upstream.send(visit.on_behalf(call)).await {
            Ok(answer) if answer.status.is_server_error() => {
                tracing::warn!(status = answer.status.as_u16(), "a service could not answer");
                Err(Failure::of_answer(&answer, "/"))
            }
            Ok(answer) => Ok(answer),
            Err(error) => {
                tracing::warn!(%error, "a service gave no answer");
                Err(Failure::unavailable())
            }
        }
    }

    /// Makes a call that a page cannot do without, and reads its answer.
    async fn fetch<T: DeserializeOwned>(&self, visit: &Visit, call: Call) -> Result<T, Failure> {
        let answer = self.send(visit, call).await?;
        self.read(visit, &answer)
    }

    /// Reads an answer that a page cannot do without.
    fn read<T: DeserializeOwned>(&self, visit: &Visit, answer: &Answer) -> Result<T, Failure> {
        if !answer.status.is_success() {
            return Err(Failure::of_answer(answer, &visit.here));
        }
        answer.json().map_err(|error| {
            tracing::error!(%error, "a service's answer is not what the contract says");
            Failure::unavailable()
        })
    }
}

/// All pages of the site. It has fallbacks of its own, so mount it with `fallback_service`, not `merge`.
pub fn router(settings: Settings, upstream: Upstream) -> Router {
    // The public address stands beside 'self', since on a laptop one may visit by another name of the same host,
    // and a browser holds a form's redirects to this list, too.
    let form_action: Vec<_> = [&settings.public_url]
        .into_iter()
        .chain(&settings.form_action)
        .map(PublicUrl::header_value)
        .collect();
    let security = SecurityHeaders::new(&settings.public_url, &form_action);
    let site = Arc::new(Site {
        tokens: Tokens::new(settings.secret.bytes()),
        live_streams: Arc::new(Semaphore::new(settings.live_streams_max)),
        cards: KeptCards::default(),
        settings,
        upstream,
    });
    let of_no_service = document::routes(Arc::clone(&site));
    let pages = Router::new()
        .route_service("/api", of_no_service.clone())
        .route_service("/api/", of_no_service.clone())
        .route_service("/api/{*path}", of_no_service)
        .route("/", get(home::show))
        .route("/tickets/new", get(selling::new_form).post(selling::create))
        .route("/tickets/{id}", get(ticket::show).post(ticket::reserve))
        .route(
            "/tickets/{id}/edit",
            get(selling::edit_form).post(selling::update),
        )
        .route("/tickets/{id}/delete", post(selling::withdraw))
        .route("/tickets/{id}/refund", post(selling::refund))
        .route("/selling", get(selling::list))
        .route("/orders", get(orders::list))
        .route("/orders/{id}", get(orders::show))
        .route("/orders/{id}/pay", post(orders::pay))
        .route("/orders/{id}/cancel", post(orders::cancel))
        .route("/auth/signup", get(auth::sign_up_form).post(auth::sign_up))
        .route("/auth/signin", get(auth::sign_in_form).post(auth::sign_in))
        .route("/auth/signout", post(auth::sign_out))
        .route("/account", get(account::show).post(account::change_password))
        .route("/account/sessions", post(account::end_sessions))
        .route(
            "/.well-known/change-password",
            get(async || Redirect::to("/account")),
        )
        .route("/ops", get(ops::show))
        .route("/live", get(live::stream))
        .route("/assets/{name}", get(assets::show))
        .route("/favicon.ico", get(assets::favicon))
        .route("/robots.txt", get(assets::robots))
        .fallback(async || Failure::NotFound)
        .method_not_allowed_fallback(async || Failure::MethodNotAllowed)
        .with_state(site)
        .layer(DefaultBodyLimit::max(forms::FORM_BYTES_MAX))
        .layer(CatchPanicLayer::custom(after_panic))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest));
    // An open page that hears of changes is not in flight once its headers are made; it has a place of its own.
    let bounded = service::http::bounded(pages, |retry_seconds| {
        Failure::Unavailable(retry_seconds.into()).into_response()
    });
    let guarded = bounded.layer(from_fn_with_state(security, headers::apply));
    service::http::traced(guarded, "web")
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is tower-http's")]
fn after_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    tracing::error!(panic = message, "a page panicked");
    Failure::Broken.into_response()
}
