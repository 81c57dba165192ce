//! Where Redis is: one server, or the master that a set of Sentinels names at this moment; in the clear or over TLS.
//!
//! Everything stands in one URL, so that one secret says it:
//!
//! | URL | what it means |
//! | --- | --- |
//! | `redis://[USER:PASSWORD@]HOST[:6379][/DB]` | one server |
//! | `rediss://…` | the same over TLS; the certificate must be valid for HOST |
//! | `redis+sentinel://[USER:PASSWORD@]HOST[:26379],HOST…/NAME[/DB]` | the master that the Sentinels call NAME |
//! | `rediss+sentinel://…` | the same, the Sentinels and the servers over TLS |
//!
//! Behind `?` and divided by `&`: `ca=FILE` (PEM; instead of the public authorities), `cert=FILE` and `key=FILE` (PEM;
//! who we are), `sentinel_user=` and `sentinel_password=` (for the Sentinels; USER and PASSWORD are for the servers).
//! The files are read once, at the start.
//!
//! It does not connect: `link` does, and asks here each time for whom to connect to.

use std::time::Duration;

use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, RedisError,
    TlsCertificates, TlsMode,
};

use crate::errors::BusError;

/// How long the Sentinels may take to name a master that says of itself that it is one.
const LOOKUP_SECONDS_MAX: u64 = 5;

/// The port of a Sentinel that is named without one.
const SENTINEL_PORT: u16 = 26_379;

/// The port that the redis crate puts where none is named.
const REDIS_PORT: u16 = 6_379;

/// Where Redis is.
pub(crate) enum Place {
    /// At one address.
    Server(Box<Client>),
    /// Wherever the Sentinels say.
    Sentinels(Box<Sentinels>),
}

/// Whom to ask for the master, and how to speak to it.
pub(crate) struct Sentinels {
    addresses: Vec<ConnectionAddr>,
    master: String,
    /// User, password and database at the servers.
    servers: ConnectionInfo,
    /// User and password at the Sentinels.
    own: ConnectionInfo,
    certificates: Option<TlsCertificates>,
    tls: bool,
}

impl Place {
    /// Understands a URL of the module's table.
    ///
    /// # Errors
    /// When it is none of them, or a file that it names can't be read. No error shows a password.
    pub(crate) fn parse(url: &str) -> Result<Self, BusError> {
        // Behind it the redis crate reads whether certificates are checked at all, and nothing else.
        if url.contains('#') {
            return Err(unfit(
                "nothing may stand behind # (in a password it is %23): a certificate that nobody checks protects nothing",
                None,
            ));
        }
        let (bare, query) = url.split_once('?').unwrap_or((url, ""));
        let query = Query::parse(query)?;
        let (scheme, rest) = bare
            .split_once("://")
            .ok_or_else(|| unfit("it does not begin with redis:// or the like", None))?;
        let (tls, sentinels) = match scheme {
            "rediss" | "valkeys" => (true, false),
            "redis+sentinel" => (false, true),
            "rediss+sentinel" => (true, true),
            _ => (false, false),
        };
        let certificates = query.certificates(tls)?;
        if tls {
            prepare_tls();
        }
        if sentinels {
            if let Some(option) = query.rest.first() {
                let name = option.split_once('=').map_or(*option, |(name, _)| name);
                return Err(unfit(
                    "an option is not known with Sentinels",
                    Some(name.to_owned()),
                ));
            }
            let sentinels = Sentinels::parse(rest, &query, tls, certificates)?;
            return Ok(Self::Sentinels(Box::new(sentinels)));
        }
        if query.sentinel_user.is_some() || query.sentinel_password.is_some() {
            return Err(unfit("a login for Sentinels needs redis+sentinel://", None));
        }
        let bare = query.with_the_rest(bare);
        let client = match certificates {
            Some(certificates) => Client::build_with_tls(bare, certificates),
            None => Client::open(bare),
        };
        client
            .map(|client| Self::Server(Box::new(client)))
            .map_err(BusError::Address)
    }

    /// Whom to connect to now.
    ///
    /// # Errors
    /// When no Sentinel can be reached, or none of them knows a master that works.
    pub(crate) async fn client(&self) -> Result<Client, BusError> {
        match self {
            Self::Server(client) => Ok(Client::clone(client)),
            Self::Sentinels(sentinels) => sentinels.master().await,
        }
    }
}

impl Sentinels {
    fn parse(
        rest: &str,
        query: &Query<'_>,
        tls: bool,
        certificates: Option<TlsCertificates>,
    ) -> Result<Self, BusError> {
        let (authority, path) = rest.split_once('/').ok_or_else(|| {
            unfit(
                "after the Sentinels it must say /NAME, the name of the master",
                None,
            )
        })?;
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (format!("{login}@"), hosts),
            None => (String::new(), authority),
        };
        let (master, database) = path.split_once('/').unwrap_or((path, ""));
        if master.is_empty() {
            return Err(unfit(
                "after the Sentinels it must say /NAME, the name of the master",
                None,
            ));
        }
        let scheme = if tls { "rediss" } else { "redis" };
        let addresses = hosts
            .split(',')
            .map(|host| sentinel_address(scheme, host))
            .collect::<Result<_, _>>()?;
        let own = match (query.sentinel_user, query.sentinel_password) {
            (None, None) => String::new(),
            (user, password) => format!("{}:{}@", user.unwrap_or(""), password.unwrap_or("")),
        };
        let sentinels = Self {
            addresses,
            master: master.to_owned(),
            // The host of these two is nobody's: they carry a login in the form that the crate reads.
            servers: info(&format!("redis://{login}server/{database}"))?,
            own: info(&format!("redis://{own}sentinel"))?,
            certificates,
            tls,
        };
        // What can't be put together should be said at the start and not at every connection.
        sentinels.ask().map_err(BusError::Address)?;
        Ok(sentinels)
    }

    /// Asks the Sentinels, a few at once. The one named must say of itself that it is a master: a Sentinel may not know
    /// yet that it is none any more.
    async fn master(&self) -> Result<Client, BusError> {
        let mut asked = self.ask().map_err(BusError::Address)?;
        let within = Duration::from_secs(LOOKUP_SECONDS_MAX);
        match tokio::time::timeout(within, asked.async_get_client()).await {
            Ok(answer) => answer.map_err(BusError::Unreachable),
            Err(_) => Err(BusError::Unreachable(RedisError::from((
                ErrorKind::Io,
                "the Sentinels named no master in time",
            )))),
        }
    }

    /// A new client for each question. It keeps no connection: a question is rare, and a connection kept since the last
    /// one is the one that a failover has broken.
    fn ask(&self) -> Result<SentinelClient, RedisError> {
        let mut builder =
            SentinelClientBuilder::new(self.addresses.clone(), &self.master, SentinelServerType::Master)?;
        let servers = self.servers.redis_settings();
        builder = builder.set_client_to_redis_db(servers.db());
        if let Some(user) = servers.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = servers.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        let own = self.own.redis_settings();
        if let Some(user) = own.username() {
            builder = builder.set_client_to_sentinel_username(user);
        }
        if let Some(password) = own.password() {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if self.tls {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        if let Some(certificates) = &self.certificates {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates.clone());
        }
        builder.build()
    }
}

/// What stands behind `?`, still percent-encoded.
#[derive(Default)]
struct Query<'a> {
    ca: Option<&'a str>,
    cert: Option<&'a str>,
    key: Option<&'a str>,
    sentinel_user: Option<&'a str>,
    sentinel_password: Option<&'a str>,
    /// For the redis crate, such as `protocol=resp3`.
    rest: Vec<&'a str>,
}

impl<'a> Query<'a> {
    fn parse(text: &'a str) -> Result<Self, BusError> {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match name {
                "ca" => &mut query.ca,
                "cert" => &mut query.cert,
                "key" => &mut query.key,
                "sentinel_user" => &mut query.sentinel_user,
                "sentinel_password" => &mut query.sentinel_password,
                _ => {
                    query.rest.push(pair);
                    continue;
                }
            };
            if place.replace(value).is_some() {
                return Err(unfit("an option stands twice", Some(name.to_owned())));
            }
        }
        Ok(query)
    }

    fn with_the_rest(&self, bare: &str) -> String {
        if self.rest.is_empty() {
            bare.to_owned()
        } else {
            format!("{bare}?{}", self.rest.join("&"))
        }
    }

    fn certificates(&self, tls: bool) -> Result<Option<TlsCertificates>, BusError> {
        if self.ca.is_none() && self.cert.is_none() && self.key.is_none() {
            return Ok(None);
        }
        if !tls {
            return Err(unfit("certificates need rediss:// or rediss+sentinel://", None));
        }
        let client_tls = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some(ClientTlsConfig {
                client_cert: read(cert)?,
                client_key: read(key)?,
            }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(unfit("cert= and key= go together", None));
            }
        };
        Ok(Some(TlsCertificates {
            client_tls,
            root_cert: self.ca.map(read).transpose()?,
        }))
    }
}

fn sentinel_address(scheme: &str, host: &str) -> Result<ConnectionAddr, BusError> {
    let mut address = info(&format!("{scheme}://{host}"))?.addr().clone();
    let unnamed = !host.ends_with(&format!(":{REDIS_PORT}"));
    if let ConnectionAddr::Tcp(_, port) | ConnectionAddr::TcpTls { port, .. } = &mut address
        && *port == REDIS_PORT
        && unnamed
    {
        *port = SENTINEL_PORT;
    }
    Ok(address)
}

fn info(url: &str) -> Result<ConnectionInfo, BusError> {
    url.into_connection_info().map_err(BusError::Address)
}

fn read(path: &str) -> Result<Vec<u8>, BusError> {
    std::fs::read(path).map_err(|error| unfit("a file can't be read", Some(format!("{path}: {error}"))))
}

fn unfit(why: &'static str, detail: Option<String>) -> BusError {
    let kind = ErrorKind::InvalidClientConfig;
    BusError::Address(match detail {
        Some(detail) => (kind, why, detail).into(),
        None => (kind, why).into(),
    })
}

/// TLS asks for one crypto provider for the whole process. It is ring, as for everything else here.
fn prepare_tls() {
    if rustls::crypto::CryptoProvider::get_default().is_none()
        && rustls::crypto::ring::default_provider()
            .install_default()
            .is_err()
    {
        tracing::debug!("another thread has named the crypto provider meanwhile");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        match Place::parse(url) {
            Ok(_) => panic!("{url} was taken"),
            Err(error) => error.to_string(),
        }
    }

    fn sentinels(url: &str) -> Sentinels {
        match Place::parse(url) {
            Ok(Place::Sentinels(sentinels)) => *sentinels,
            Ok(Place::Server(_)) => panic!("{url} is no server"),
            Err(error) => panic!("{url}: {error}"),
        }
    }

    #[test]
    fn a_server_is_taken_as_the_crate_reads_it() {
        for url in [
            "redis://localhost",
            "redis://:pass@10.0.0.1:7000/3",
            "rediss://user:p%40ss@redis.example.com:6380",
            "redis://localhost?protocol=resp3",
        ] {
            assert!(matches!(Place::parse(url), Ok(Place::Server(_))), "{url}");
        }
    }

    #[test]
    fn sentinels_come_with_the_name_of_a_master() {
        let found =
            sentinels("redis+sentinel://user:p%40ss@one,two:7000,[::1]:6379/shop/2?sentinel_password=x%26y");
        let addresses: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["one:26379", "two:7000", "::1:6379"]);
        assert_eq!(found.master, "shop");
        let servers = found.servers.redis_settings();
        assert_eq!(
            (servers.username(), servers.password(), servers.db()),
            (Some("user"), Some("p@ss"), 2)
        );
        let own = found.own.redis_settings();
        assert_eq!((own.username(), own.password()), (None, Some("x&y")));
        assert!(sentinels("rediss+sentinel://one/shop").tls);
    }

    #[test]
    fn what_is_no_address_is_refused_without_showing_a_password() {
        for (url, why) in [
            ("localhost:6379", "does not begin with"),
            ("http://u:hush@localhost", ""),
            ("redis+sentinel://u:hush@one", "/NAME"),
            ("redis+sentinel://u:hush@one/", "/NAME"),
            ("redis+sentinel://u:hush@one/shop/hush-is-no-number", ""),
            ("redis://u:hush@one?ca=/etc/ca.pem", "rediss://"),
            ("rediss://u:hush@one?ca=/nowhere/ca.pem", "/nowhere/ca.pem"),
            ("rediss://u:hush@one?cert=/nowhere/cert.pem", "go together"),
            ("rediss://u:hush@one?ca=a&ca=b", "twice"),
            ("redis://one?sentinel_password=hush", "redis+sentinel://"),
            ("rediss://u:hush@one/#insecure", "nobody checks"),
            ("rediss://u:hush@one/#insecure?protocol=resp3", "nobody checks"),
            ("rediss+sentinel://u:hush@one/shop#insecure", "nobody checks"),
            (
                "redis+sentinel://u:hush@one/shop?sentinel_pasword=hush@",
                "sentinel_pasword",
            ),
        ] {
            let refusal = refusal(url);
            assert!(refusal.contains(why), "{url}: {refusal}");
            assert!(!refusal.contains("hush@"), "{url}: {refusal}");
        }
    }
}
