//! The command line. Every flag is also an environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use clap::builder::BoolishValueParser;
use service::LogFormat;

use crate::operator::Operate;

/// A marketplace for tickets, all of it in one process: five services, the site, a private Redis, and a stand-in for
/// Stripe (unless a real account is given). No real money moves until you set STRIPE_SECRET_KEY.
///
/// Everything is kept in the data directory and found again at the next start. Ctrl-C stops all of it.
#[derive(Debug, Parser)]
#[command(
    name = "boxoffice",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_help_heading = "For operators",
    subcommand_value_name = "COMMAND",
    after_help = "Examples:\n  boxoffice --demo\n  boxoffice --demo --hold-seconds 60     orders run out after a minute\n  boxoffice --listen 127.0.0.1:0         takes a free port and prints it\n  RUST_LOG=info boxoffice --demo         shows what the services do"
)]
pub(crate) struct Cli {
    /// What an operator wants instead of running the system.
    #[command(subcommand)]
    pub(crate) operate: Option<Operate>,

    /// Address to serve on; port 0 takes a free one and prints it
    #[arg(
        long,
        value_name = "ADDR",
        env = "BOXOFFICE_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    pub(crate) listen: SocketAddr,

    /// Where everything is kept
    #[arg(long, value_name = "DIR", env = "BOXOFFICE_DATA_DIR", default_value = "data")]
    pub(crate) data_dir: PathBuf,

    /// Fill in a few sellers, some twenty tickets and an account to try things with
    #[arg(long, env = "BOXOFFICE_DEMO", overrides_with = "demo", value_parser = BoolishValueParser::new())]
    pub(crate) demo: bool,

    /// A Redis that runs already; without it a private redis-server is started
    #[arg(long, value_name = "URL", env = "REDIS_URL", hide_env_values = true)]
    pub(crate) redis_url: Option<String>,

    /// Goes before every Redis key, so that several systems can share one Redis
    #[arg(long, value_name = "TEXT", env = "BOXOFFICE_REDIS_PREFIX", default_value = "")]
    pub(crate) redis_prefix: String,

    /// Where people reach the site; under https cookies are Secure [default: the address that is served on]
    #[arg(long, value_name = "URL", env = "PUBLIC_URL")]
    pub(crate) public_url: Option<web::PublicUrl>,

    /// E-mail addresses of those who may open /ops, separated by commas
    #[arg(
        long,
        value_name = "EMAILS",
        env = "BOXOFFICE_OPERATORS",
        value_delimiter = ',',
        value_parser = email
    )]
    pub(crate) operators: Vec<String>,

    /// Lets the stand-in for Stripe be told to fail, for tests
    #[arg(long, env = "STRIPE_FAKE_FAULTS", hide = true, value_parser = BoolishValueParser::new())]
    pub(crate) stripe_faults: bool,

    /// How log lines look; RUST_LOG says which there are (default: warn)
    #[arg(long, env = "BOXOFFICE_LOG_FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,

    #[command(flatten, next_help_heading = "Orders")]
    pub(crate) orders: orders::Options,

    #[command(flatten, next_help_heading = "Auth")]
    pub(crate) auth: auth::Options,

    #[command(flatten, next_help_heading = "Stripe")]
    pub(crate) payments: payments::Options,
}

/// An operator is found by the address that they signed up with; what can't be one would be a silent mistake.
fn email(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    match text.split_once('@') {
        Some((name, host)) if !name.is_empty() && host.contains('.') => Ok(text.to_lowercase()),
        _ => Err("is not an e-mail address"),
    }
}
