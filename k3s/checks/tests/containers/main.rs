//! The images, run as their manifests say: by a real container runtime, without root, read-only, without capabilities,
//! under the default seccomp profile and within their limits of memory; on a private network in which only what the
//! NetworkPolicies allow gets through; behind a reverse proxy that is set up from the Ingress.
//!
//! No cluster is here: the runtime is runc, told what a kubelet would tell it; Services are names in /etc/hosts; Redis'
//! own image is replaced by this machine's redis-server. It needs root, for the namespaces.

mod cluster;
mod collector;
mod command;
mod config;
mod contents;
mod image;
mod ingress;
mod network;
mod person;
mod pod;
mod system;
