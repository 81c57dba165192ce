//! `/healthz` and `/readyz`: whether a process of its own can do its work. Stripe has no such routes, so they are apart from its.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::StripeFake;

impl StripeFake {
    /// The two routes, for whoever runs it as a process of its own.
    pub fn health_router(&self) -> Router {
        Router::new()
            .route("/healthz", get(async || "live\n"))
            .route("/readyz", get(ready))
            .with_state(self.clone())
    }
}

/// Ready while the disk keeps up with the books.
async fn ready(State(fake): State<StripeFake>) -> (StatusCode, &'static str) {
    if fake.books().is_full() {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the disk is behind with the books\n",
        )
    } else {
        (StatusCode::OK, "ready\n")
    }
}
