//! What the manifests tell our programs, held against what the programs say of themselves in `--help`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::object::text_at;
use crate::{Bundle, Container, Workload};

/// A variable that every program reads, though its `--help` tells it otherwise than as a flag's.
const LOG: &str = "RUST_LOG";

/// Where traces go: variables that services and site read alike, of which no `--help` tells.
const TRACES: &[&str] = &[
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
];

/// The components whose programs have a part in the trace of a click.
const TRACED: &[&str] = &["service", "site"];

/// The routes that a probe may ask.
const PROBED: &[&str] = &["/healthz", "/readyz"];

/// The program that asks services for what is for the inside, and what tells it at which port.
const SITE: &str = "web";
const INTERNAL_PORT: &str = "SERVICES_INTERNAL_PORT";

/// What one program takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Program {
    variables: BTreeSet<String>,
    flags: BTreeSet<String>,
}

/// Every program that an image is made of, by name.
pub type Programs = BTreeMap<String, Program>;

impl Program {
    /// Reads a `--help` text: `[env: NAME=]` and `--flag`.
    pub fn from_help(help: &str) -> Self {
        let name = |rest: &str| {
            rest.chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect()
        };
        let variables = help.split("[env: ").skip(1).map(name).collect();
        let flags = help
            .split_whitespace()
            .filter(|word| word.starts_with("--"))
            .map(|flag| flag.trim_end_matches([',', ';', '.', ')']).to_owned())
            .collect();
        Self { variables, flags }
    }
}

pub(crate) fn check(bundle: &Bundle, programs: &Programs) -> Vec<String> {
    let mut wrong = Vec::new();
    for workload in bundle.workloads() {
        for container in workload.containers() {
            let Some(name) = container.program() else {
                continue;
            };
            match programs.get(name) {
                None => wrong.push(format!(
                    "{}: runs {name}, which is no program of ours",
                    workload.object.title()
                )),
                Some(program) => {
                    known_settings(workload, container, program, &mut wrong);
                    hears_where_traces_go(workload, container, &mut wrong);
                    listens_where_it_says(workload, container, &mut wrong);
                    addresses(bundle, workload, container, &mut wrong);
                    if name == SITE {
                        internal_port(bundle, workload, container, &mut wrong);
                    }
                    probed_routes(workload, container, &mut wrong);
                }
            }
        }
    }
    wrong
}

fn known_settings(
    workload: Workload<'_>,
    container: Container<'_>,
    program: &Program,
    wrong: &mut Vec<String>,
) {
    let title = workload.object.title();
    let arguments = arguments(container);
    for (variable, _) in container.env() {
        // One that only stands in an argument is for Kubernetes to fill in.
        let in_argument = arguments
            .iter()
            .any(|argument| argument.contains(&format!("$({variable})")));
        if !in_argument
            && !program.variables.contains(variable)
            && variable != LOG
            && !TRACES.contains(&variable)
        {
            wrong.push(format!(
                "{title}: sets {variable}, of which its program knows nothing"
            ));
        }
    }
    for argument in arguments {
        let flag = argument.split('=').next().unwrap_or(argument);
        if flag.starts_with("--") && !program.flags.contains(flag) {
            wrong.push(format!(
                "{title}: passes {flag}, of which its program knows nothing"
            ));
        }
    }
}

/// A trace goes through all of them: one that does not hear where to send its part leaves a hole, and nobody is told.
fn hears_where_traces_go(workload: Workload<'_>, container: Container<'_>, wrong: &mut Vec<String>) {
    let labels = workload.labels();
    let component = labels.get("app.kubernetes.io/component");
    if !component.is_some_and(|component| TRACED.contains(&component.as_str())) {
        return;
    }
    for variable in TRACES {
        if container.env().all(|(name, _)| name != *variable) {
            wrong.push(format!(
                "{}: does not hear of {variable}, so that its part of every trace is missing",
                workload.object.title()
            ));
        }
    }
}

fn arguments(container: Container<'_>) -> Vec<&str> {
    container.list("/args").iter().filter_map(Value::as_str).collect()
}

/// A port that is declared must be listened on, and the other way round, on all addresses of the pod.
fn listens_where_it_says(workload: Workload<'_>, container: Container<'_>, wrong: &mut Vec<String>) {
    let title = workload.object.title();
    let mut listened = BTreeSet::new();
    for (variable, value) in container.env().filter(|(name, _)| name.ends_with("_LISTEN")) {
        let address = text_at(value, "/value");
        match address
            .strip_prefix("0.0.0.0:")
            .and_then(|port| port.parse::<u64>().ok())
        {
            None => wrong.push(format!(
                "{title}: {variable} is `{address}`, where nobody outside of the pod gets an answer"
            )),
            Some(port) => {
                listened.insert(port);
                if container.port(&Value::from(port)).is_none() {
                    wrong.push(format!(
                        "{title}: {variable} says port {port}, which the container does not declare"
                    ));
                }
            }
        }
    }
    for port in container
        .list("/ports")
        .iter()
        .filter_map(|port| port.get("containerPort")?.as_u64())
    {
        if !listened.contains(&port) {
            wrong.push(format!("{title}: nothing listens on its port {port}"));
        }
    }
}

/// Every `http://name:port` that a program is told must be a Service with that port.
fn addresses(bundle: &Bundle, workload: Workload<'_>, container: Container<'_>, wrong: &mut Vec<String>) {
    let variables = container
        .env()
        .map(|(name, value)| (name, text_at(value, "/value")));
    let arguments = arguments(container)
        .into_iter()
        .map(|argument| ("an argument", argument));
    for (variable, value) in variables.chain(arguments) {
        let Some((_, rest)) = value.split_once("http://") else {
            continue;
        };
        let authority = rest.split('/').next().unwrap_or(rest);
        let (name, port) = authority.split_once(':').unwrap_or((authority, "80"));
        if !offers(bundle, name, port) {
            wrong.push(format!(
                "{}: {variable} leads to {authority}, which no Service offers",
                workload.object.title()
            ));
        }
    }
}

/// Whether a Service has a port.
fn offers(bundle: &Bundle, service: &str, port: &str) -> bool {
    bundle.find("Service", service).is_some_and(|service| {
        let ports = service.list("/spec/ports").iter();
        ports
            .filter_map(|offered| offered.get("port")?.as_u64())
            .any(|offered| offered.to_string() == port)
    })
}

/// The site asks every service for what is for the inside at one port, at which all of them must offer it.
fn internal_port(bundle: &Bundle, workload: Workload<'_>, container: Container<'_>, wrong: &mut Vec<String>) {
    let title = workload.object.title();
    let Some((_, port)) = container.env().find(|(name, _)| *name == INTERNAL_PORT) else {
        wrong.push(format!(
            "{title}: asks for /internal at a service's public port, where there is none: set {INTERNAL_PORT}"
        ));
        return;
    };
    let port = text_at(port, "/value");
    let services = container
        .env()
        .filter(|(name, _)| name.ends_with("_URL"))
        .filter_map(|(_, value)| text_at(value, "/value").strip_prefix("http://"));
    for service in services {
        let name = service.split([':', '/']).next().unwrap_or(service);
        if !offers(bundle, name, port) {
            wrong.push(format!(
                "{title}: {INTERNAL_PORT} is {port}, which Service {name} does not offer"
            ));
        }
    }
}

fn probed_routes(workload: Workload<'_>, container: Container<'_>, wrong: &mut Vec<String>) {
    for (probe, wanted) in [
        ("startupProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
        ("livenessProbe", "/healthz"),
    ] {
        let Some(path) = container
            .at(&format!("/{probe}/httpGet/path"))
            .and_then(Value::as_str)
        else {
            continue;
        };
        if !PROBED.contains(&path) {
            wrong.push(format!(
                "{}: its {probe} asks {path}, which no program answers",
                workload.object.title()
            ));
        } else if path != wanted {
            wrong.push(format!(
                "{}: its {probe} asks {path} instead of {wanted}",
                workload.object.title()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_variables_and_flags() {
        let help = "  --listen <ADDR>\n    Address\n\n    [env: AUTH_LISTEN=127.0.0.1:1]\n  --redis-url <URL>  [env: REDIS_URL]\n  -h, --help\n";
        let program = Program::from_help(help);
        assert_eq!(
            program.variables,
            ["AUTH_LISTEN", "REDIS_URL"].map(str::to_owned).into()
        );
        assert_eq!(
            program.flags,
            ["--listen", "--redis-url", "--help"].map(str::to_owned).into()
        );
    }
}
