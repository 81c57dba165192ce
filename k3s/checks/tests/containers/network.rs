//! A node's network: a bridge in a namespace of its own, a namespace for each pod, and in each pod a firewall that lets
//! through exactly what the NetworkPolicies do. Nothing of it can be reached from outside, nor reaches anything there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::Stdio;

use manifests::Arrow;

use crate::command::{line, run};

/// The pods' network, which k3s would give out and which the settings believe in.
const NODE: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 1);

/// The node and its pods' addresses.
pub(crate) struct Network {
    prefix: String,
    addresses: BTreeMap<String, Ipv4Addr>,
}

impl Network {
    /// A node without pods.
    pub(crate) fn new() -> Self {
        let network = Self {
            prefix: format!("bx{}", std::process::id()),
            addresses: BTreeMap::new(),
        };
        let node = network.node();
        run(&mut line(&format!("ip netns add {node}")));
        run(&mut line(&format!("ip -n {node} link add cni0 type bridge")));
        run(&mut line(&format!("ip -n {node} address add {NODE}/24 dev cni0")));
        run(&mut line(&format!("ip -n {node} link set cni0 up")));
        run(&mut line(&format!("ip -n {node} link set lo up")));
        network
    }

    /// The namespace from which the kubelet probes, and through which people come in.
    pub(crate) fn node(&self) -> String {
        format!("{}-node", self.prefix)
    }

    /// The namespace of a pod.
    pub(crate) fn of_pod(&self, pod: &str) -> String {
        format!("{}-{pod}", self.prefix)
    }

    /// Where a pod is.
    pub(crate) fn address(&self, pod: &str) -> Ipv4Addr {
        *self
            .addresses
            .get(pod)
            .unwrap_or_else(|| panic!("{pod} is in the network"))
    }

    /// Each pod with its address.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        self.addresses
            .iter()
            .map(|(pod, address)| (pod.as_str(), *address))
    }

    /// Gives a pod a namespace and an address.
    pub(crate) fn add(&mut self, pod: &str) {
        let number = u8::try_from(self.addresses.len() + 2).expect("a handful of pods");
        let address = Ipv4Addr::new(10, 42, 0, number);
        let (node, namespace) = (self.node(), self.of_pod(pod));
        run(&mut line(&format!("ip netns add {namespace}")));
        run(&mut line(&format!(
            "ip -n {node} link add veth{number} type veth peer name eth0 netns {namespace}"
        )));
        run(&mut line(&format!(
            "ip -n {node} link set veth{number} master cni0 up"
        )));
        run(&mut line(&format!(
            "ip -n {namespace} address add {address}/24 dev eth0"
        )));
        run(&mut line(&format!("ip -n {namespace} link set eth0 up")));
        run(&mut line(&format!("ip -n {namespace} link set lo up")));
        self.addresses.insert(pod.to_owned(), address);
    }

    /// Closes a pod but for the arrows; what is on its node (probes) gets in, as k3s has it.
    pub(crate) fn enforce(&self, pod: &str, arrows: &BTreeSet<Arrow>) {
        let mut rules = String::from(
            "table inet policies {\n\
             chain enter { type filter hook input priority 0; policy drop;\n\
             ct state established,related accept\niif lo accept\n",
        );
        rules += &format!("ip saddr {NODE} accept\n");
        for arrow in arrows.iter().filter(|arrow| arrow.to == pod) {
            if let Some(from) = self.addresses.get(&arrow.from) {
                rules += &format!("ip saddr {from} tcp dport {} accept\n", arrow.port);
            }
        }
        rules += "}\nchain leave { type filter hook output priority 0; policy drop;\n\
                  ct state established,related accept\noif lo accept\n";
        for arrow in arrows.iter().filter(|arrow| arrow.from == pod) {
            if let Some(to) = self.addresses.get(&arrow.to) {
                rules += &format!("ip daddr {to} tcp dport {} accept\n", arrow.port);
            }
        }
        rules += "}\n}\n";
        let mut nft = line(&format!("ip netns exec {} nft --file -", self.of_pod(pod)))
            .stdin(Stdio::piped())
            .spawn()
            .expect("nft can be run");
        let mut input = nft.stdin.take().expect("its input was asked to be piped");
        input.write_all(rules.as_bytes()).expect("nft reads its rules");
        drop(input);
        assert!(nft.wait().expect("nft ends").success(), "nft refuses:\n{rules}");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let pods = self.addresses.keys().map(|pod| self.of_pod(pod));
        for namespace in pods.chain([self.node()]) {
            // What is left behind here is said, not failed over: the test has its result already.
            if let Err(error) = line(&format!("ip netns delete {namespace}")).status() {
                eprintln!("the network namespace {namespace} is left behind: {error}");
            }
        }
    }
}
