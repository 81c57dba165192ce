//! `/healthz`, `/readyz` and `/metrics`: for the inside only.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use errors::Problem;
use events::Source;
use serde_json::{Value, json};

use crate::telemetry;

/// When a probe should look again.
const PROBE_RETRY_SECONDS: u32 = 1;

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
    /// Others that it leans on, and that do not seem well. They are shown, and not required, either.
    pub unwell: Vec<&'static str>,
}

/// Asks a service how it is.
pub type Probe = Arc<dyn Fn() -> Health + Send + Sync>;

impl Health {
    /// Whether it should be sent requests.
    pub fn is_ready(&self) -> bool {
        self.trouble().is_none()
    }

    /// Why it should not be sent requests, if it should not.
    fn trouble(&self) -> Option<String> {
        let why = if !self.live {
            "one of its tasks, or its writer, has ended".to_owned()
        } else if !self.serving {
            format!("its store is {}", self.store)
        } else if self.signing_keys == 0 {
            "it knows no signing key yet".to_owned()
        } else {
            return None;
        };
        Some(format!("{}: {why}", self.service))
    }

    /// What it can't do all of its work without, and lacks, though it is ready.
    pub fn degraded(&self) -> Vec<&'static str> {
        let bus = (!self.bus_connected).then_some("bus");
        bus.into_iter().chain(self.unwell.iter().copied()).collect()
    }

    fn to_json(&self) -> Value {
        let mut shown = json!({
            "service": self.service,
            "live": self.live,
            "ready": self.is_ready(),
            "store": self.store,
            "signingKeys": self.signing_keys,
            "bus": if self.bus_connected { "connected" } else { "degraded: can't be reached" },
        });
        // Only where there is something to say: whoever is well looks as always.
        let degraded = self.degraded();
        if !degraded.is_empty() {
            shown["degraded"] = json!(degraded);
        }
        shown
    }
}

/// The three routes over all services of this process.
pub fn router(probes: Vec<Probe>) -> Router {
    Router::new()
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(probes))
}

type Probes = State<Arc<Vec<Probe>>>;

async fn live(State(probes): Probes) -> Result<Json<Value>, Problem> {
    let dead = ask(&probes).into_iter().filter(|health| !health.live);
    no_trouble(dead.map(|health| format!("{}: one of its tasks, or its writer, has ended", health.service)))?;
    Ok(Json(json!({ "live": true })))
}

async fn ready(State(probes): Probes) -> Result<Json<Value>, Problem> {
    let all = ask(&probes);
    no_trouble(all.iter().filter_map(Health::trouble))?;
    let services: Vec<Value> = all.iter().map(Health::to_json).collect();
    Ok(Json(json!({ "ready": true, "services": services })))
}

/// The metrics, with how each service is at this moment among them.
async fn metrics(State(probes): Probes) -> String {
    for health in ask(&probes) {
        let service = health.service.as_str();
        let flag = |name: &'static str, is_so: bool| {
            metrics::gauge!(name, "service" => service).set(if is_so { 1.0 } else { 0.0 });
        };
        flag("service_live", health.live);
        flag("service_ready", health.is_ready());
        flag("service_store_serving", health.serving);
        flag("service_bus_connected", health.bus_connected);
    }
    telemetry::metrics().render()
}

fn ask(probes: &[Probe]) -> Vec<Health> {
    probes.iter().map(|probe| probe()).collect()
}

/// A 503 that says everything that is wrong, if anything is.
fn no_trouble(trouble: impl Iterator<Item = String>) -> Result<(), Problem> {
    let trouble: Vec<String> = trouble.collect();
    if trouble.is_empty() {
        Ok(())
    } else {
        Err(Problem::unavailable(trouble.join("; "), PROBE_RETRY_SECONDS))
    }
}
