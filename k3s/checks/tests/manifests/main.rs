//! Every overlay rendered as `kubectl apply -k` would, and checked: against the schemas of Kubernetes, by a security
//! linter, by yamllint, and for everything that all of them miss (see the crate). Then a folder of manifests with one error each, all
//! of which must be found.

mod backup;
mod broken;
mod commands;
mod lint;
mod monitoring;
mod operations;
mod overlays;
mod paper;
mod tools;
mod traces;
