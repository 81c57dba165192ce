//! `/healthz`, `/readyz` and `/metrics`: for the inside only.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use events::Source;
use http::StatusCode;
use serde_json::{Value, json};

use crate::telemetry;

/// How one service is.
#[derive(Debug, Clone)]
pub struct Health {
    /// Which.
    pub service: Source,
    /// All that must run runs.
    pub live: bool,
    /// What its store does.
    pub store: String,
    /// Whether its store serves.
    pub serving: bool,
    /// How many signing keys it knows; with none nobody can be recognised.
    pub signing_keys: usize,
    /// Whether the bus can be reached. It is shown, and not required: reads and single-store writes go on.
    pub bus_connected: bool,
}

/// Asks a service how it is.
pub type Probe = Arc<dyn Fn() -> Health + Send + Sync>;

impl Health {
    /// Whether it should be sent requests.
    pub fn is_ready(&self) -> bool {
        self.live && self.serving && self.signing_keys > 0
    }

    fn to_json(&self) -> Value {
        json!({
            "service": self.service,
            "live": self.live,
            "ready": self.is_ready(),
            "store": self.store,
            "signingKeys": self.signing_keys,
            "bus": if self.bus_connected { "connected" } else { "degraded: can't be reached" },
        })
    }
}

/// The three routes over all services of this process.
pub fn router(probes: Vec<Probe>) -> Router {
    Router::new()
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(async || telemetry::metrics().render()))
        .with_state(Arc::new(probes))
}

type Probes = State<Arc<Vec<Probe>>>;

async fn live(State(probes): Probes) -> (StatusCode, Json<Value>) {
    let all = ask(&probes);
    let live = all.iter().all(|health| health.live);
    answer(live, json!({ "live": live }))
}

async fn ready(State(probes): Probes) -> (StatusCode, Json<Value>) {
    let all = ask(&probes);
    let ready = all.iter().all(Health::is_ready);
    let services: Vec<Value> = all.iter().map(Health::to_json).collect();
    answer(ready, json!({ "ready": ready, "services": services }))
}

fn ask(probes: &[Probe]) -> Vec<Health> {
    probes.iter().map(|probe| probe()).collect()
}

fn answer(good: bool, body: Value) -> (StatusCode, Json<Value>) {
    let status = if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(body))
}
