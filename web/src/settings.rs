//! What the site is told at start: flags, environment, and the checked form of both.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{HeaderValue, Uri};
use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use service::{LogFormat, Shutdown};

use crate::upstream::ServiceUrls;

/// The shortest secret that is taken: as long as the hash that it keys.
const SECRET_BYTES_MIN: usize = 32;
/// Server-sent event streams that are open at once, unless said otherwise.
pub const LIVE_STREAMS_MAX: usize = 1_000;

/// Flags of the site, each also an environment variable.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one and prints it.
    #[arg(
        long,
        value_name = "ADDR",
        env = "WEB_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    pub listen: SocketAddr,
    /// Address for /healthz, /readyz and /metrics, which are for the inside only; without it there are none.
    #[arg(long, value_name = "ADDR", env = "WEB_INTERNAL_LISTEN")]
    pub internal_listen: Option<SocketAddr>,
    /// How log lines look; RUST_LOG says which there are (default: info).
    #[arg(long, env = "BOXOFFICE_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// Base URL of the auth service.
    #[arg(
        long,
        value_name = "URL",
        env = "AUTH_URL",
        default_value = "http://127.0.0.1:8081"
    )]
    pub auth_url: Uri,
    /// Base URL of the tickets service.
    #[arg(
        long,
        value_name = "URL",
        env = "TICKETS_URL",
        default_value = "http://127.0.0.1:8082"
    )]
    pub tickets_url: Uri,
    /// Base URL of the orders service.
    #[arg(
        long,
        value_name = "URL",
        env = "ORDERS_URL",
        default_value = "http://127.0.0.1:8083"
    )]
    pub orders_url: Uri,
    /// Base URL of the expiration service.
    #[arg(
        long,
        value_name = "URL",
        env = "EXPIRATION_URL",
        default_value = "http://127.0.0.1:8084"
    )]
    pub expiration_url: Uri,
    /// Base URL of the payments service.
    #[arg(
        long,
        value_name = "URL",
        env = "PAYMENTS_URL",
        default_value = "http://127.0.0.1:8085"
    )]
    pub payments_url: Uri,
    /// Port at which every service answers /internal, if not at that of its base URL.
    #[arg(long, value_name = "PORT", env = "SERVICES_INTERNAL_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub services_internal_port: Option<u16>,
    /// Address under which browsers reach the site; https turns on Secure cookies and HSTS.
    #[arg(
        long,
        value_name = "URL",
        env = "PUBLIC_URL",
        default_value = "http://localhost:8080"
    )]
    pub public_url: PublicUrl,
    /// Secret that form tokens are made with, at least 32 bytes, the same for every replica.
    /// Without it each start makes its own, and forms that were open before must be loaded again.
    #[arg(long, value_name = "SECRET", env = "WEB_SECRET", hide_env_values = true)]
    pub web_secret: Option<Secret>,
    /// E-mail addresses of the operators, who may see /ops, separated by commas.
    #[arg(
        long,
        value_name = "EMAILS",
        env = "BOXOFFICE_OPERATORS",
        value_delimiter = ','
    )]
    pub operators: Vec<String>,
    /// Origins that the payment form may lead on to, separated by commas.
    #[arg(
        long,
        env = "STRIPE_FORM_ACTION",
        value_delimiter = ',',
        default_value = "https://checkout.stripe.com"
    )]
    pub stripe_form_action: Vec<PublicUrl>,
}

impl Config {
    /// Where the services are.
    pub fn service_urls(&self) -> ServiceUrls {
        ServiceUrls {
            auth: self.auth_url.clone(),
            tickets: self.tickets_url.clone(),
            orders: self.orders_url.clone(),
            expiration: self.expiration_url.clone(),
            payments: self.payments_url.clone(),
            internal_port: self.services_internal_port,
        }
    }

    /// The checked settings of the site, with `clock` as its only source of time.
    pub fn settings(self, clock: Clock) -> Settings {
        let secret = self.web_secret.unwrap_or_else(|| {
            tracing::warn!("WEB_SECRET is not set: form tokens end with this process");
            Secret::random()
        });
        Settings {
            public_url: self.public_url,
            secret,
            operators: normalised(self.operators),
            form_action: self.stripe_form_action,
            live_streams_max: LIVE_STREAMS_MAX,
            clock,
            shutdown: None,
        }
    }
}

/// What the site needs to know, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address under which browsers reach the site.
    pub public_url: PublicUrl,
    /// Key of the form tokens.
    pub secret: Secret,
    /// E-mail addresses that may see the operators' page, in lower case.
    pub operators: BTreeSet<String>,
    /// Origins that the payment form may lead on to, beside the site itself.
    pub form_action: Vec<PublicUrl>,
    /// Server-sent event streams that are open at once.
    pub live_streams_max: usize,
    /// The one source of time.
    pub clock: Clock,
    /// When the process stops, live streams end, so that a drain does not wait for them. Without it they end
    /// with their connections.
    pub shutdown: Option<Shutdown>,
}

impl Settings {
    /// Settings for a site at `public_url` with a secret of its own; everything else as it is by default.
    pub fn new(public_url: PublicUrl, clock: Clock) -> Settings {
        Settings {
            public_url,
            secret: Secret::random(),
            operators: BTreeSet::new(),
            form_action: Vec::new(),
            live_streams_max: LIVE_STREAMS_MAX,
            clock,
            shutdown: None,
        }
    }

    /// The same settings, with live streams that end at this shutdown.
    #[must_use]
    pub fn with_shutdown(mut self, shutdown: Shutdown) -> Settings {
        self.shutdown = Some(shutdown);
        self
    }

    /// The same settings with these operators.
    #[must_use]
    pub fn with_operators(mut self, emails: impl IntoIterator<Item = String>) -> Settings {
        self.operators = normalised(emails);
        self
    }
}

/// Tells the time. The site never looks at the machine's clock by itself.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that asks this function.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// The clock that the services of this process share.
    pub fn of_process(clock: service::Clock) -> Clock {
        // Its times lie within the years 1 to 9999, as jiff's do.
        Clock::new(move || Timestamp::from_microsecond(clock.now().as_micros()).unwrap_or(Timestamp::MAX))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Clock")
    }
}

fn normalised(emails: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    emails
        .into_iter()
        .map(|email| email.trim().to_lowercase())
        .filter(|email| !email.is_empty())
        .collect()
}

/// An address of a site: scheme and host, without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    https: bool,
}

impl PublicUrl {
    /// `https://host` or `http://host:port`, without a slash at the end.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether browsers come by https.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The origin as a header value.
    pub fn header_value(&self) -> HeaderValue {
        HeaderValue::try_from(&self.origin).expect("scheme and host of a parsed URI are header text")
    }
}

/// A URL that is no http or https address of a whole site.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0:?} is not an address like https://tickets.example or http://127.0.0.1:8080")]
pub struct PublicUrlError(String);

impl std::str::FromStr for PublicUrl {
    type Err = PublicUrlError;

    fn from_str(text: &str) -> Result<PublicUrl, PublicUrlError> {
        let refuse = || PublicUrlError(text.to_owned());
        let uri: Uri = text.trim().parse().map_err(|_| refuse())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(refuse());
        };
        let plain_path = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        if !matches!(scheme, "http" | "https") || !plain_path || authority.as_str().contains('@') {
            return Err(refuse());
        }
        Ok(PublicUrl {
            origin: format!("{scheme}://{authority}"),
            https: scheme == "https",
        })
    }
}

/// A secret that no log and no debug output shows.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A secret that nobody else knows, for as long as the process runs.
    pub fn random() -> Secret {
        let mut bytes = vec![0_u8; SECRET_BYTES_MIN];
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the operating system gives random bytes once it has booted");
        Secret(bytes)
    }

    /// The bytes, for the one place that keys a hash with them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(hidden)")
    }
}

/// A secret that is too short to protect anything.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the secret needs at least {SECRET_BYTES_MIN} bytes; `openssl rand -hex 32` makes one")]
pub struct SecretError;

impl std::str::FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Secret, SecretError> {
        if text.len() < SECRET_BYTES_MIN {
            Err(SecretError)
        } else {
            Ok(Secret(text.as_bytes().to_vec()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_scheme_and_host_only() {
        for good in ["https://a.example", "https://a.example/", "http://127.0.0.1:8080"] {
            let url: PublicUrl = good.parse().unwrap();
            assert_eq!(url.origin(), good.trim_end_matches('/'));
        }
        for bad in [
            "",
            "a.example",
            "ftp://a.example",
            "https://a.example/shop",
            "https://u:p@a.example",
            "/",
        ] {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_long_and_never_shown() {
        assert!("short".parse::<Secret>().is_err());
        let secret: Secret = "0123456789abcdef0123456789abcdef".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(hidden)");
    }
}
