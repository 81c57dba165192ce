//! Where the system is: one address for everything, or one for each part, as an ingress would choose it.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

use crate::http::Connection;

/// A plain HTTP address that has been looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    address: SocketAddr,
    host: String,
}

/// Where each part of a system is.
#[derive(Debug, Clone)]
pub struct Place {
    site: Base,
    parts: Vec<(String, Base)>,
}

/// Why a place can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Load on somebody else's machine is an attack.
    #[error(
        "{0} is not on this machine. Load is sent elsewhere only with --remote, by those who may load that machine"
    )]
    Elsewhere(String),
    /// It is no such address.
    #[error("`{0}` is no address: give `prefix=http://host:port`, such as /api/orders=http://127.0.0.1:8083")]
    Part(String),
    /// It is no address.
    #[error("{0}")]
    Base(String),
}

impl Place {
    /// One address for everything.
    pub fn at(site: Base) -> Self {
        Self {
            site,
            parts: Vec::new(),
        }
    }

    /// The same, with paths that begin with `prefix` somewhere else.
    ///
    /// # Errors
    /// When `text` is not `prefix=http://host:port`.
    pub fn with_part(mut self, text: &str) -> Result<Self, PlaceError> {
        let (prefix, base) = text
            .split_once('=')
            .filter(|(prefix, _)| prefix.starts_with('/'))
            .ok_or_else(|| PlaceError::Part(text.to_owned()))?;
        self.parts
            .push((prefix.to_owned(), base.parse().map_err(PlaceError::Base)?));
        Ok(self)
    }

    /// Refuses places elsewhere.
    ///
    /// # Errors
    /// [`PlaceError::Elsewhere`] names the first.
    pub fn only_here(self) -> Result<Self, PlaceError> {
        let bases = self.parts.iter().map(|(_, base)| base);
        for base in bases.chain([&self.site]) {
            if !base.address.ip().is_loopback() {
                return Err(PlaceError::Elsewhere(base.host.clone()));
            }
        }
        Ok(self)
    }

    /// Who serves a path.
    pub fn of(&self, path: &str) -> &Base {
        let part = self.parts.iter().find(|(prefix, _)| path.starts_with(prefix));
        part.map_or(&self.site, |(_, base)| base)
    }

    /// The port of the site: how its process is found.
    pub fn site(&self) -> SocketAddr {
        self.site.address
    }

    /// Every address that the system answers on, each once.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = vec![self.site.address];
        for (_, base) in &self.parts {
            if !addresses.contains(&base.address) {
                addresses.push(base.address);
            }
        }
        addresses
    }
}

impl Base {
    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection to it, which is made with the first request.
    pub fn connection(&self) -> Connection {
        Connection::new(self.address, self.host.clone())
    }
}

impl FromStr for Base {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let host = text
            .strip_prefix("http://")
            .ok_or_else(|| format!("`{text}` is no plain http:// address, such as http://127.0.0.1:8080"))?
            .trim_end_matches('/');
        let with_port = if host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let found = with_port
            .to_socket_addrs()
            .map_err(|error| format!("`{text}` can't be looked up: {error}"))?;
        // A name of this machine may have two addresses; most things listen on the older kind.
        let mut found: Vec<SocketAddr> = found.collect();
        found.sort_by_key(SocketAddr::is_ipv6);
        let address = found.first().ok_or_else(|| format!("`{text}` has no address"))?;
        Ok(Self {
            address: *address,
            host: host.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_finds_its_part() {
        let place = Place::at("http://127.0.0.1:8080/".parse().unwrap())
            .with_part("/api/orders=http://127.0.0.1:8083")
            .unwrap();
        assert_eq!(place.of("/api/orders/x").address().port(), 8083);
        assert_eq!(place.of("/api/tickets").address().port(), 8080);
        assert_eq!(place.of("/").host, "127.0.0.1:8080");
        assert!(place.only_here().is_ok());
    }

    #[test]
    fn load_stays_on_this_machine() {
        let elsewhere: Base = "http://192.0.2.1:80".parse().unwrap();
        let error = Place::at(elsewhere).only_here().unwrap_err();
        assert!(error.to_string().contains("--remote"), "{error}");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["https://127.0.0.1", "127.0.0.1:80", ""] {
            assert!(text.parse::<Base>().is_err(), "{text}");
        }
        let place = Place::at("http://127.0.0.1".parse().unwrap());
        assert!(place.clone().with_part("orders=http://127.0.0.1").is_err());
        assert!(place.with_part("/x").is_err());
    }
}
