//! Every overlay rendered as `kubectl apply -k` would, and checked: against the schemas of Kubernetes, by a security
//! linter, and for everything that both of them miss (see the crate). Then a folder of manifests with one error each, all
//! of which must be found.

mod backup;
mod broken;
mod commands;
mod monitoring;
mod overlays;
mod paper;
mod tools;
mod traces;
