//! What every service is told from outside, by flag or by environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use events::Source;

use crate::OperatorToken;

/// How often a service checks its own rows when nothing is said.
const CHECK_SECONDS_DEFAULT: u32 = 60;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line, for machines.
    Json,
}

/// What every service is told from outside.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common settings")]
pub struct Settings {
    /// Address to serve on; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// Address for what is for the inside: /healthz, /readyz, /metrics and /internal; without it they are served beside the
    /// rest
    #[arg(long, value_name = "ADDR", env = "BOXOFFICE_INTERNAL_LISTEN")]
    pub internal_listen: Option<SocketAddr>,

    /// Where data is kept; each service has a folder of its own in it
    #[arg(long, value_name = "DIR", env = "BOXOFFICE_DATA_DIR", default_value = "data")]
    pub data_dir: PathBuf,

    /// The Redis that carries the events
    #[arg(
        long,
        value_name = "URL",
        env = "REDIS_URL",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:6379"
    )]
    pub redis_url: String,

    /// Goes before every Redis key, so that several systems can share one Redis
    #[arg(long, value_name = "TEXT", env = "BOXOFFICE_REDIS_PREFIX", default_value = "")]
    pub redis_prefix: String,

    /// Where people reach the site; under https cookies are Secure
    #[arg(
        long,
        value_name = "URL",
        env = "PUBLIC_URL",
        default_value = "http://localhost:8080"
    )]
    pub public_url: String,

    /// How log lines look; RUST_LOG says which there are (default: info)
    #[arg(long, env = "BOXOFFICE_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// What operators show to take a backup, to replay or drop dead letters, or to have the store checked
    #[arg(
        long,
        value_name = "TOKEN",
        env = "BOXOFFICE_OPERATOR_TOKEN",
        hide_env_values = true
    )]
    pub operator_token: Option<OperatorToken>,

    /// How often the service checks its own rows against the invariants; 0 is never
    #[arg(
        long,
        value_name = "SECONDS",
        env = "BOXOFFICE_CHECK_SECONDS",
        default_value_t = CHECK_SECONDS_DEFAULT
    )]
    pub check_seconds: u32,

    /// Makes this service's clock wrong, for the fault bench
    #[arg(
        long,
        value_name = "MS",
        env = "BOXOFFICE_CLOCK_OFFSET_MS",
        default_value_t = 0,
        allow_negative_numbers = true,
        hide = true
    )]
    pub clock_offset_ms: i64,
}

impl Settings {
    /// Settings for a service that is started by a program: its data, its Redis, and where people reach the
    /// site. Everything else is as when nothing is said.
    pub fn new(
        data_dir: impl Into<PathBuf>,
        redis_url: impl Into<String>,
        public_url: impl Into<String>,
    ) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            internal_listen: None,
            data_dir: data_dir.into(),
            redis_url: redis_url.into(),
            redis_prefix: String::new(),
            public_url: public_url.into(),
            log_format: LogFormat::default(),
            operator_token: None,
            check_seconds: CHECK_SECONDS_DEFAULT,
            clock_offset_ms: 0,
        }
    }

    /// Where the store of `source` is.
    pub fn store_dir(&self, source: Source) -> PathBuf {
        self.data_dir.join(source.as_str())
    }
}

/// The variable that says where a service answers what is for the inside. There is one for all, since no two of them share it.
pub(crate) const INTERNAL_LISTEN_VARIABLE: &str = "BOXOFFICE_INTERNAL_LISTEN";

/// The variable that says where the service listens. clap needs it to be static.
pub(crate) const fn listen_variable(source: Source) -> &'static str {
    match source {
        Source::Auth => "AUTH_LISTEN",
        Source::Tickets => "TICKETS_LISTEN",
        Source::Orders => "ORDERS_LISTEN",
        Source::Expiration => "EXPIRATION_LISTEN",
        Source::Payments => "PAYMENTS_LISTEN",
    }
}

/// Where the service listens when nothing is said.
pub(crate) const fn listen_default(source: Source) -> &'static str {
    match source {
        Source::Auth => "127.0.0.1:8081",
        Source::Tickets => "127.0.0.1:8082",
        Source::Orders => "127.0.0.1:8083",
        Source::Expiration => "127.0.0.1:8084",
        Source::Payments => "127.0.0.1:8085",
    }
}
