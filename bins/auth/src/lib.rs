//! The auth service: people, their passwords, their sessions, and the keys that sign them in.
//!
//! It alone signs tokens; every service verifies them by itself, with keys that it publishes as events. A
//! session that ends before its token does is published, too. It reads nobody's events.
//!
//! It does not know what people may do: a token says who someone is, and each service decides the rest.

mod address;
mod api;
pub mod books;
mod consumer;
mod domain;
mod hashing;
mod keys;
mod operator;
mod passwords;
mod recovery;
mod store;
mod throttle;

use std::sync::Arc;

use ::store::StoredRow;
use events::Source;
use invariants::Fact;
use service::{Built, Parts, Service, StartError};
use utoipa_axum::router::OpenApiRouter;

pub use address::{NotANetwork, TrustedProxies};
pub use throttle::ThrottleSwitch;

use crate::consumer::NoEvents;
use crate::hashing::Hasher;
use crate::keys::KeyRing;
use crate::store::People;
use crate::throttle::Throttle;

/// The flags of the auth service.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Auth")]
pub struct Options {
    /// Proxies whose X-Forwarded-For is believed: addresses or networks, comma-separated
    #[arg(
        long,
        value_name = "NETWORKS",
        env = "AUTH_TRUSTED_PROXIES",
        default_value = ""
    )]
    pub trusted_proxies: TrustedProxies,

    /// Whether sign-ins are throttled per account and per address; off only for benchmarks
    #[arg(
        id = "auth_throttle",
        long = "throttle",
        value_name = "SWITCH",
        env = "AUTH_THROTTLE",
        value_enum,
        default_value_t
    )]
    pub throttle: ThrottleSwitch,

    /// After how many days a new signing key is made
    #[arg(
        long,
        value_name = "DAYS",
        env = "AUTH_KEY_ROTATION_DAYS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub key_rotation_days: u16,
}

/// The auth service.
#[derive(Clone)]
pub struct App {
    parts: Parts<People>,
    keys: Arc<KeyRing>,
    hasher: Arc<Hasher>,
    throttle: Arc<Throttle>,
}

impl Service for App {
    const SOURCE: Source = Source::Auth;
    const ABOUT: &'static str =
        "Signs people up and in, and publishes the keys that every service verifies them with.";
    type Indexes = People;
    type Options = Options;
    type Handler = NoEvents;

    fn fact(row: &StoredRow) -> Option<Fact> {
        books::fact(row)
    }

    async fn build(parts: Parts<People>, options: Options) -> Result<Built<Self::Handler>, StartError> {
        let keys = Arc::new(KeyRing::new(&parts, options.key_rotation_days));
        let app = Self {
            keys: Arc::clone(&keys),
            hasher: Arc::new(Hasher::start()?),
            throttle: Arc::new(Throttle::new(options.throttle, options.trusted_proxies)),
            parts: parts.clone(),
        };
        let operators = operator::routes(Arc::clone(&keys), parts.clone());
        Ok(Built::new(router(app), NoEvents)
            .for_operators(operators)
            .task("key rotation", keys::rotate(keys, parts)))
    }
}

/// The public routes.
pub fn router(app: App) -> OpenApiRouter {
    api::router(app)
}
