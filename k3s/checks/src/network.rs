//! The network policies, read as Kubernetes reads them, held against the arrows of ARCHITECTURE.md: every pair of pods, and
//! everyone outside, with every port. More than an arrow is wrong, and so is less.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

use serde_json::Value;

use crate::object::{Labels, list_at, text_at};
use crate::selector::takes;
use crate::{Bundle, Object};

/// The label by which namespaces are selected.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";
const OURS: &str = "boxoffice";

/// That one may reach a port of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    /// Who calls: a workload, or somebody outside, in words.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// Where.
    pub port: u64,
}

impl fmt::Display for Arrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}:{}", self.from, self.to, self.port)
    }
}

/// Somebody who calls or is called.
#[derive(Debug)]
struct Party {
    name: String,
    namespace: &'static str,
    labels: Labels,
    /// Those that it listens on: name and number.
    ports: Vec<(String, u64)>,
    /// Outside of the cluster there are no labels, only addresses.
    address: Option<Ipv4Addr>,
}

/// The services, which all speak through Redis and are asked by the site.
const SERVICES: &[&str] = &["auth", "tickets", "orders", "expiration", "payments"];

/// Where every program answers what is for the inside: health, metrics, what operators do.
const INTERNAL: u64 = 9090;

/// Where collectors of traces are told of spans over HTTP.
const OTLP: u64 = 4318;

/// The arrows: who may reach what, by name and port.
fn arrows(bundle: &Bundle) -> BTreeSet<Arrow> {
    let mut arrows = BTreeSet::new();
    let mut draw = |from: &str, to: &str, port: u64| {
        arrows.insert(arrow(from, to, port));
    };
    for service in SERVICES {
        draw("web", service, INTERNAL);
        draw(service, "names", 53);
        if bundle.find("StatefulSet", "redis").is_some() {
            draw(service, "redis", 6379);
        } else {
            draw(service, "an address of this network", 6379);
            draw(service, "a public address", 6379);
        }
        if *service != "expiration" {
            draw("the ingress controller", service, 8080);
            draw("web", service, 8080);
        }
    }
    draw("web", "names", 53);
    draw("the ingress controller", "web", 8080);
    if bundle.find("StatefulSet", "stripe-fake").is_some() {
        draw("payments", "stripe-fake", 8080);
        draw("stripe-fake", "payments", 8080);
        draw("stripe-fake", "names", 53);
        draw("the ingress controller", "stripe-fake", 8080);
    } else {
        draw("payments", "a public address", 443);
    }
    if bundle.find("CronJob", "backup").is_some() {
        draw("backup", "names", 53);
        for service in SERVICES {
            draw("backup", service, INTERNAL);
        }
    }
    if bundle
        .of_kind("NetworkPolicy")
        .any(|policy| policy.name().starts_with("monitoring"))
    {
        for program in SERVICES.iter().chain(&["web"]) {
            draw("the monitoring", program, INTERNAL);
            draw(program, "the collector", OTLP);
        }
    }
    arrows
}

fn arrow(from: &str, to: &str, port: u64) -> Arrow {
    Arrow {
        from: from.to_owned(),
        to: to.to_owned(),
        port,
    }
}

pub(crate) fn check(bundle: &Bundle) -> Vec<String> {
    let (allowed, drawn) = (allowed(bundle), arrows(bundle));
    let too_much = allowed
        .difference(&drawn)
        .map(|arrow| format!("NetworkPolicy: {arrow} is open, which no arrow draws"));
    let too_little = drawn
        .difference(&allowed)
        .map(|arrow| format!("NetworkPolicy: {arrow} is closed, though it is drawn"));
    too_much.chain(too_little).collect()
}

/// Everything that the policies let through, between the pods of the bundle and from and to those outside.
pub fn allowed(bundle: &Bundle) -> BTreeSet<Arrow> {
    let parties = parties(bundle);
    let policies: Vec<&Object> = bundle.of_kind("NetworkPolicy").collect();
    let mut allowed = BTreeSet::new();
    for from in &parties {
        for to in &parties {
            let between_others = from.namespace != OURS && to.namespace != OURS;
            if between_others || from.name == to.name {
                continue;
            }
            for (_, port) in &to.ports {
                let may_leave = passes(&policies, from, to, *port, "Egress", "/spec/egress", "/to");
                let may_enter = passes(&policies, to, from, *port, "Ingress", "/spec/ingress", "/from");
                if may_leave && may_enter {
                    allowed.insert(arrow(&from.name, &to.name, *port));
                }
            }
        }
    }
    allowed
}

/// All pods of the bundle, and those outside whom a policy could name or forget.
fn parties(bundle: &Bundle) -> Vec<Party> {
    let mut parties: Vec<Party> = bundle
        .workloads()
        .map(|workload| Party {
            name: workload.object.name().to_owned(),
            namespace: OURS,
            labels: workload.labels(),
            ports: workload
                .containers()
                .iter()
                .flat_map(|container| container.list("/ports"))
                .filter_map(|port| {
                    Some((
                        text_at(port, "/name").to_owned(),
                        port.get("containerPort")?.as_u64()?,
                    ))
                })
                .collect(),
            address: None,
        })
        .collect();
    let outside = |name: &str, namespace, label: (&str, &str), ports: &[u64]| Party {
        name: name.to_owned(),
        namespace,
        labels: [(label.0.to_owned(), label.1.to_owned())].into(),
        ports: ports.iter().map(|port| (String::new(), *port)).collect(),
        address: None,
    };
    let ingress = ("app.kubernetes.io/name", "traefik");
    parties.push(outside("the ingress controller", "kube-system", ingress, &[8000]));
    parties.push(outside(
        "names",
        "kube-system",
        ("k8s-app", "kube-dns"),
        &[53, 9153],
    ));
    let prometheus = ("app.kubernetes.io/name", "prometheus");
    parties.push(outside("the monitoring", "monitoring", prometheus, &[9090]));
    let collector = ("app.kubernetes.io/name", "opentelemetry-collector");
    parties.push(outside("the collector", "monitoring", collector, &[OTLP, 8888]));
    parties.push(outside(
        "a pod in another namespace",
        "default",
        ("app.kubernetes.io/name", "web"),
        &[80, 8080],
    ));
    parties.push(outside(
        "a pod beside the ingress controller",
        "kube-system",
        ("k8s-app", "other"),
        &[443],
    ));
    parties.push(outside(
        "a stranger in our namespace",
        OURS,
        ("app.kubernetes.io/name", "stranger"),
        &[8080],
    ));
    for (name, address) in [
        ("an address of this network", Ipv4Addr::new(192, 168, 1, 20)),
        ("the cloud's metadata", Ipv4Addr::new(169, 254, 169, 254)),
        ("a public address", Ipv4Addr::new(198, 51, 100, 7)),
    ] {
        parties.push(Party {
            address: Some(address),
            ..outside(name, "", ("", ""), &[80, 443, 6379])
        });
    }
    parties
}

/// Whether the policies of `owner` let `peer` through in one direction. Where no policy is about it, everything passes.
fn passes(
    policies: &[&Object],
    owner: &Party,
    peer: &Party,
    port: u64,
    direction: &str,
    rules: &str,
    peers: &str,
) -> bool {
    if owner.namespace != OURS {
        return true;
    }
    // Names of ports are those of whoever is called.
    let called = if direction == "Egress" { peer } else { owner };
    let mut about = policies
        .iter()
        .filter(|policy| {
            let selector = policy.at("/spec/podSelector").unwrap_or(&Value::Null);
            policy.list("/spec/policyTypes").contains(&Value::from(direction))
                && takes(selector, &owner.labels)
        })
        .peekable();
    if about.peek().is_none() {
        return true;
    }
    about.flat_map(|policy| policy.list(rules)).any(|rule| {
        let of_peers = list_at(rule, peers);
        let of_ports = list_at(rule, "/ports");
        let peer_fits = of_peers.is_empty() || of_peers.iter().any(|one| fits(one, peer));
        let port_fits = of_ports.is_empty() || of_ports.iter().any(|one| port_is(one, called, port));
        peer_fits && port_fits
    })
}

fn fits(peer: &Value, party: &Party) -> bool {
    if let Some(block) = peer.get("ipBlock") {
        let within = |cidr: &str| party.address.is_some_and(|address| contains(cidr, address));
        let excepted = list_at(block, "/except")
            .iter()
            .filter_map(Value::as_str)
            .any(within);
        return within(text_at(block, "/cidr")) && !excepted;
    }
    if party.address.is_some() {
        return false;
    }
    let namespace: Labels = [(NAMESPACE_LABEL.to_owned(), party.namespace.to_owned())].into();
    let namespace_fits = match peer.get("namespaceSelector") {
        Some(selector) => takes(selector, &namespace),
        None => party.namespace == OURS,
    };
    let pod_fits = peer
        .get("podSelector")
        .is_none_or(|selector| takes(selector, &party.labels));
    namespace_fits && pod_fits
}

fn port_is(rule: &Value, called: &Party, port: u64) -> bool {
    match rule.get("port") {
        None => true,
        Some(Value::String(name)) => called
            .ports
            .iter()
            .any(|(known, number)| known == name && *number == port),
        Some(number) => number.as_u64() == Some(port),
    }
}

fn contains(cidr: &str, address: Ipv4Addr) -> bool {
    let Some((network, bits)) = cidr.split_once('/') else {
        return false;
    };
    let (Ok(network), Ok(bits)) = (network.parse::<Ipv4Addr>(), bits.parse::<u32>()) else {
        return false;
    };
    let shift = 32_u32.saturating_sub(bits);
    network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_contain_their_addresses() {
        let address = Ipv4Addr::new(10, 42, 3, 4);
        assert!(contains("10.42.0.0/16", address));
        assert!(contains("0.0.0.0/0", address));
        assert!(contains("10.42.3.4/32", address));
        assert!(!contains("10.43.0.0/16", address));
        assert!(!contains("nonsense", address));
    }
}
