//! What is wrong with a set of Kubernetes manifests that no schema says: names that lead nowhere, settings that no
//! program knows, pods that could do more than they should, and network policies that allow more or less than the
//! arrows of ARCHITECTURE.md.
//!
//! Measured on 31 manifests with one error each, schema validators found 5 and security linters the usual few; a
//! selector that matches no pod, a port or a Secret that does not exist were found by none of them. Those are found here.
//!
//! Everything here is pure: manifests, what the programs say of themselves, and the list of Secrets come in, sentences go
//! out. It renders nothing, starts nothing, and asks no cluster; its tests do.

mod bundle;
mod kustomization;
mod network;
mod object;
mod places;
mod pod_references;
mod pods;
mod programs;
mod references;
mod secrets;
mod selector;

pub use bundle::{Bundle, ParseError, parse_documents};
pub use kustomization::kustomization;
pub use network::{Arrow, allowed};
pub use object::{Container, Object, Workload};
pub use programs::{Program, Programs};
pub use secrets::{Secrets, SecretsError};

/// Everything that is wrong, each in a sentence that begins with what it is about.
pub fn check(bundle: &Bundle, programs: &Programs) -> Vec<String> {
    let mut wrong = references::check(bundle);
    wrong.extend(pod_references::check(bundle));
    wrong.extend(programs::check(bundle, programs));
    wrong.extend(pods::check(bundle));
    wrong.extend(places::check(bundle));
    wrong.extend(network::check(bundle));
    wrong
}
