//! What stands around every router: bounds, a problem for everything that goes wrong, a trace for every request.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use errors::{PROBLEM_JSON, Problem};
use http::{StatusCode, header};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;

use super::body_limit::refuse_announced;
use super::deadline;
use super::in_flight::{self, InFlight};
use crate::trace;

/// The largest body that is accepted.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Puts the edge around a whole router: 404 and 405 as problems, a bound on requests at once, body limit, a deadline,
/// panics caught, a trace and a line in the log for every request. Done once, outermost, whatever was merged inside.
pub fn edge(router: Router) -> Router {
    router
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::from_status(StatusCode::METHOD_NOT_ALLOWED))
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .layer(middleware::from_fn(refuse_announced))
        .layer(middleware::from_fn(deadline::layer))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::map_response(as_problem))
        .layer(middleware::from_fn(|request, next| {
            trace::layer(None, request, next)
        }))
        // Outside of the trace: what is refused here costs as little as can be, no span and no line of its own.
        .layer(middleware::from_fn_with_state(
            Arc::new(InFlight::default()),
            in_flight::layer,
        ))
}

/// Gives each request its trace, and a line in the log where it went wrong, as [`edge`] does: for the site, whose errors are
/// pages. Requests are told under the name `service`.
pub fn traced(router: Router, service: &'static str) -> Router {
    router.layer(middleware::from_fn(move |request, next| {
        trace::layer(Some(service), request, next)
    }))
}

/// An error that a layer or axum itself has answered, in plain text, becomes a problem; its headers (`Allow`,
/// `Retry-After`) stay.
async fn as_problem(response: Response) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || is_designed(&response) {
        return response;
    }
    let mut problem = Problem::from_status(status).into_response();
    let (parts, _) = response.into_parts();
    for (name, value) in &parts.headers {
        if *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH {
            problem.headers_mut().insert(name.clone(), value.clone());
        }
    }
    problem
}

/// A problem, or a page of the site.
fn is_designed(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with(PROBLEM_JSON) || kind.starts_with("text/html"))
}

#[allow(clippy::needless_pass_by_value, reason = "tower-http's signature")]
fn panicked(payload: Box<dyn Any + Send + 'static>) -> Response {
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Problem::internal(format!("a handler panicked: {message}")).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::{get, post};
    use http::Request;
    use serde_json::Value;
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::Json;

    fn app() -> Router {
        edge(
            Router::new()
                .route("/read", get(async || "read"))
                .route("/write", post(async |Json(body): Json<Value>| body.to_string()))
                .route("/panic", get(async || -> &str { panic!("the secret reason") })),
        )
    }

    async fn problem(request: Request<Body>) -> (Response<()>, Value) {
        let response = app().oneshot(request).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["status"], parts.status.as_u16());
        assert!(!body["errors"].as_array().unwrap().is_empty());
        (Response::from_parts(parts, ()), body)
    }

    fn json_post(body: impl Into<Body>) -> Request<Body> {
        Request::post("/write")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.into())
            .unwrap()
    }

    #[tokio::test]
    async fn everything_that_goes_wrong_is_a_problem() {
        let empty = || Body::empty();
        let (response, _) = problem(Request::get("/nowhere").body(empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);

        let (response, _) = problem(Request::delete("/read").body(empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");

        let (response, _) = problem(Request::post("/write").body(Body::from("{}")).unwrap()).await;
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);

        let (response, _) = problem(json_post("{")).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);

        let (response, body) = problem(Request::get("/panic").body(empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_413_announced_or_not() {
        let big = format!("\"{}\"", "x".repeat(BODY_BYTES_MAX));
        let mut announced = json_post(big.clone());
        announced
            .headers_mut()
            .insert(header::CONTENT_LENGTH, (BODY_BYTES_MAX + 2).into());
        let (response, _) = problem(announced).await;
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);

        let (response, _) = problem(json_post(big)).await;
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);

        let fits = format!("\"{}\"", "x".repeat(BODY_BYTES_MAX - 2));
        let response = app().oneshot(json_post(fits)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}
