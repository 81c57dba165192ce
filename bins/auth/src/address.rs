//! Where a request comes from: the peer, or what a trusted proxy says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::HeaderMap;

/// The header in which a proxy appends whom it has answered.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// How many bits of an IPv6 address tell one customer from another: everyone has a whole such network.
const IPV6_CUSTOMER_BITS: u32 = 64;

/// The proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

/// A text that is no address and no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address nor a network such as 10.42.0.0/16")]
pub struct NotANetwork(String);

impl FromStr for TrustedProxies {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        text.split(',')
            .map(str::trim)
            .filter(|network| !network.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let not_a_network = || NotANetwork(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| not_a_network())?;
        let bits_max = if address.is_ipv4() {
            Ipv4Addr::BITS
        } else {
            Ipv6Addr::BITS
        };
        let bits = bits.map_or(Ok(bits_max), |bits| bits.parse().map_err(|_| not_a_network()))?;
        if bits > bits_max {
            return Err(not_a_network());
        }
        Ok(Self { address, bits })
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = Ipv4Addr::BITS - self.bits;
                network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = Ipv6Addr::BITS - self.bits;
                network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl TrustedProxies {
    /// Who is asking. The header is read from its end, over trusted proxies, to the first address that none of
    /// them vouches for: what stands before that, anybody may have written.
    pub(crate) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.ip().to_canonical();
        let hops = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|hop| hop.trim().parse::<IpAddr>());
        for hop in hops.collect::<Vec<_>>().into_iter().rev() {
            match hop {
                Ok(hop) if self.trusts(client) => client = hop.to_canonical(),
                Ok(_) | Err(_) => break,
            }
        }
        customer(client)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// Whoever has an IPv6 network of their own would otherwise have 2^64 addresses to try from.
fn customer(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let host_bits = Ipv6Addr::BITS - IPV6_CUSTOMER_BITS;
            Ipv6Addr::from_bits(address.to_bits() >> host_bits << host_bits).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(trusted: &str, peer: &str, forwarded: &[&str]) -> String {
        let trusted: TrustedProxies = trusted.parse().unwrap();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
        }
        let peer: IpAddr = peer.parse().unwrap();
        trusted.client(SocketAddr::new(peer, 1), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        for (trusted, peer, forwarded, expected) in [
            ("", "1.2.3.4", &["6.6.6.6"][..], "1.2.3.4"),
            ("10.0.0.0/8", "1.2.3.4", &["6.6.6.6"], "1.2.3.4"),
            ("10.0.0.0/8", "10.1.1.1", &["6.6.6.6"], "6.6.6.6"),
            ("10.0.0.0/8", "10.1.1.1", &[], "10.1.1.1"),
            // What a client has written itself stands before what the proxy has appended.
            ("10.0.0.0/8", "10.1.1.1", &["6.6.6.6, 7.7.7.7"], "7.7.7.7"),
            (
                "10.0.0.0/8",
                "10.1.1.1",
                &["6.6.6.6", "7.7.7.7, 10.2.2.2"],
                "7.7.7.7",
            ),
            ("10.0.0.0/8", "10.1.1.1", &["nonsense"], "10.1.1.1"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", &["6.6.6.6"], "6.6.6.6"),
            ("0.0.0.0/0", "10.1.1.1", &["6.6.6.6, 7.7.7.7"], "6.6.6.6"),
            ("::1", "::1", &["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::"),
            ("", "2001:db8:1:2:3:4:5:6", &[], "2001:db8:1:2::"),
        ] {
            assert_eq!(
                client(trusted, peer, forwarded),
                expected,
                "{trusted} {peer} {forwarded:?}"
            );
        }
        for wrong in ["localhost", "10.0.0.0/33", "10.0.0.0/x", "1.2.3"] {
            assert!(wrong.parse::<TrustedProxies>().is_err(), "{wrong}");
        }
    }
}
