//! What an operator's command is about: a running system, in one process or in several, or stores at rest.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use events::Source;
use http::Uri;

use super::OperatorError;
use super::remote::Remote;
use crate::control::CONTROL_SOCKET;
use crate::data_dir::{self, LockedBy};

/// The flags by which a command finds what it is about.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// The data directory; a `boxoffice` that runs on it is reached over its control socket
    #[arg(long, value_name = "DIR", env = "BOXOFFICE_DATA_DIR", default_value = "data")]
    pub(crate) data_dir: PathBuf,

    /// Only this service; with an address, one that is a process of its own. May be repeated. Without it: the addresses
    /// in AUTH_URL, TICKETS_URL, ORDERS_URL, EXPIRATION_URL and PAYMENTS_URL if any is set, else all five of --data-dir
    #[arg(long = "service", value_name = "NAME[=URL]")]
    pub(crate) services: Vec<Named>,

    /// Lets an operator in at services that are processes of their own. Better set in the environment: others on this
    /// machine can read a command line
    #[arg(
        long,
        value_name = "TOKEN",
        env = "BOXOFFICE_OPERATOR_TOKEN",
        hide_env_values = true
    )]
    operator_token: Option<Token>,

    #[command(flatten)]
    urls: Urls,
}

/// Where the services are, as the site knows it.
#[derive(Debug, Clone, clap::Args)]
struct Urls {
    #[arg(long, env = "AUTH_URL", hide = true)]
    auth_url: Option<Authority>,
    #[arg(long, env = "TICKETS_URL", hide = true)]
    tickets_url: Option<Authority>,
    #[arg(long, env = "ORDERS_URL", hide = true)]
    orders_url: Option<Authority>,
    #[arg(long, env = "EXPIRATION_URL", hide = true)]
    expiration_url: Option<Authority>,
    #[arg(long, env = "PAYMENTS_URL", hide = true)]
    payments_url: Option<Authority>,
}

/// What an operator shows to be let in. Never printed.
#[derive(Clone)]
struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl FromStr for Token {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        // Anything else can't stand in a header, and what is said about it must not repeat it.
        let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err("an operator's token is made of visible ASCII characters")
        }
    }
}

/// A service, by its name or by its name and address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// Which.
    pub(crate) source: Source,
    /// Where, if said.
    pub(crate) address: Option<Authority>,
}

/// `host:port` of a plain HTTP address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority(String);

/// What was found.
#[derive(Debug)]
pub(crate) enum Reached {
    /// Services that run.
    Running(Vec<Remote>),
    /// Nothing runs on this directory; these are its stores.
    AtRest(Vec<Source>),
}

impl Target {
    /// Finds what the command is about.
    ///
    /// # Errors
    /// When something runs there that can't be reached.
    pub(crate) async fn reach(&self) -> Result<Reached, OperatorError> {
        let apart = self.apart();
        if !apart.is_empty() {
            return Ok(Reached::Running(apart));
        }
        let socket = self.data_dir.join(CONTROL_SOCKET);
        // The socket first: looking at the lock holds it for a moment, in which a start would find it taken.
        let connected = tokio::net::UnixStream::connect(&socket).await;
        let Err(error) = connected else {
            let over_socket = |source| Remote::over_socket(source, &socket);
            return Ok(Reached::Running(
                self.wanted().into_iter().map(over_socket).collect(),
            ));
        };
        match data_dir::locked_by(&self.data_dir)? {
            LockedBy::Process(pid) => Err(OperatorError::NoControlSocket {
                socket,
                pid,
                why: error.to_string(),
            }),
            LockedBy::Nobody => Ok(Reached::AtRest(self.wanted())),
            LockedBy::Missing => Err(OperatorError::NoDirectory(self.data_dir.clone())),
        }
    }

    /// As [`Self::reach`], for a command that needs a running system.
    ///
    /// # Errors
    /// Also when nothing runs.
    pub(crate) async fn running(&self) -> Result<Vec<Remote>, OperatorError> {
        match self.reach().await? {
            Reached::Running(remotes) => Ok(remotes),
            Reached::AtRest(_) => Err(OperatorError::NothingRuns(self.data_dir.clone())),
        }
    }

    /// The services that were asked for; all of them if none was.
    pub(crate) fn wanted(&self) -> Vec<Source> {
        let is_wanted = |source: &Source| {
            self.services.is_empty() || self.services.iter().any(|named| named.source == *source)
        };
        Source::ALL.into_iter().filter(is_wanted).collect()
    }

    /// The services that are processes of their own, as far as addresses are known.
    fn apart(&self) -> Vec<Remote> {
        let remote = |source: Source| {
            let said = self.services.iter().find(|named| named.source == source);
            let address = said.and_then(|named| named.address.as_ref());
            let Authority(authority) = address.or_else(|| self.urls.of(source))?.clone();
            let token = self.operator_token.clone().map(|Token(token)| token);
            Some(Remote::at_address(source, authority, token))
        };
        self.wanted().into_iter().filter_map(remote).collect()
    }
}

impl Urls {
    fn of(&self, source: Source) -> Option<&Authority> {
        match source {
            Source::Auth => self.auth_url.as_ref(),
            Source::Tickets => self.tickets_url.as_ref(),
            Source::Orders => self.orders_url.as_ref(),
            Source::Expiration => self.expiration_url.as_ref(),
            Source::Payments => self.payments_url.as_ref(),
        }
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, address) = match text.split_once('=') {
            Some((name, address)) => (name, Some(address.parse()?)),
            None => (text, None),
        };
        let source = name.parse().map_err(|error| format!("`{name}` {error}"))?;
        Ok(Self { source, address })
    }
}

impl FromStr for Authority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "such as http://127.0.0.1:8082";
        let uri: Uri = text
            .parse()
            .map_err(|error| format!("`{text}` is no address {example}: {error}"))?;
        if uri.scheme_str() != Some("http") {
            return Err(format!(
                "`{text}` is not a plain http address {example}: services are reached inside, not through the ingress"
            ));
        }
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| format!("`{text}` names no host; give an address {example}"))?;
        Ok(Self(format!("{host}:{}", uri.port_u16().unwrap_or(HTTP_PORT))))
    }
}

const HTTP_PORT: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_with_or_without_its_address() {
        let named: Named = "tickets=http://127.0.0.1:8082".parse().unwrap();
        assert_eq!(named.source, Source::Tickets);
        assert_eq!(named.address, Some(Authority("127.0.0.1:8082".to_owned())));
        assert_eq!("orders".parse::<Named>().unwrap().address, None);
        let named: Named = "auth=http://auth/".parse().unwrap();
        assert_eq!(named.address, Some(Authority("auth:80".to_owned())));
        let wrong = [
            ("ticket", "is none of auth"),
            ("tickets=https://x", "plain http"),
            ("tickets=8082", "plain http"),
            ("tickets=/x", "plain http"),
            ("tickets=http://", "is no address"),
        ];
        for (text, why) in wrong {
            let error = text.parse::<Named>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
