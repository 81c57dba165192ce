//! What a pod names must exist: its account, its volumes, its Secrets and settings, and the ports that its probes ask.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::{list_at, text_at};
use crate::references::selected;
use crate::selector::takes;
use crate::{Bundle, Container, Workload};

pub(crate) fn check(bundle: &Bundle) -> Vec<String> {
    let mut wrong = Vec::new();
    for workload in bundle.workloads() {
        selector_of_workload(workload, &mut wrong);
        account(bundle, workload, &mut wrong);
        governing_service(bundle, workload, &mut wrong);
        volumes(bundle, workload, &mut wrong);
        for container in workload.containers() {
            environment(bundle, workload, container, &mut wrong);
            mounts(workload, container, &mut wrong);
            probes(workload, container, &mut wrong);
        }
    }
    wrong
}

fn selector_of_workload(workload: Workload<'_>, wrong: &mut Vec<String>) {
    if !workload.runs_on() {
        return;
    }
    let selector = workload.object.at("/spec/selector").unwrap_or(&Value::Null);
    if selector.is_null() || !takes(selector, &workload.labels()) {
        wrong.push(format!(
            "{}: its selector does not match its own pods",
            workload.object.title()
        ));
    }
}

fn account(bundle: &Bundle, workload: Workload<'_>, wrong: &mut Vec<String>) {
    let name = text_at(workload.pod(), "/serviceAccountName");
    if bundle.find("ServiceAccount", name).is_none() {
        wrong.push(format!(
            "{}: its ServiceAccount `{name}` does not exist",
            workload.object.title()
        ));
    }
}

fn governing_service(bundle: &Bundle, workload: Workload<'_>, wrong: &mut Vec<String>) {
    if workload.object.kind() != "StatefulSet" {
        return;
    }
    let (title, name) = (workload.object.title(), workload.object.text("/spec/serviceName"));
    match bundle.find("Service", name) {
        None => wrong.push(format!("{title}: its headless Service `{name}` does not exist")),
        Some(service) if service.text("/spec/clusterIP") != "None" => {
            wrong.push(format!("{title}: its Service {name} is not headless"));
        }
        Some(service) => {
            let governs = selected(bundle, service)
                .iter()
                .any(|pods| pods.object == workload.object);
            if !governs {
                wrong.push(format!(
                    "{title}: its headless Service {name} does not select its pods"
                ));
            }
        }
    }
}

fn volumes(bundle: &Bundle, workload: Workload<'_>, wrong: &mut Vec<String>) {
    let title = workload.object.title();
    for volume in list_at(workload.pod(), "/volumes") {
        let name = text_at(volume, "/name");
        if let Some(map) = volume.pointer("/configMap/name").and_then(Value::as_str)
            && bundle.find("ConfigMap", map).is_none()
        {
            wrong.push(format!(
                "{title}: its volume {name} is the ConfigMap {map}, which does not exist"
            ));
        }
        if let Some(claim) = volume
            .pointer("/persistentVolumeClaim/claimName")
            .and_then(Value::as_str)
            && bundle.find("PersistentVolumeClaim", claim).is_none()
        {
            wrong.push(format!(
                "{title}: its volume {name} is the claim {claim}, which does not exist"
            ));
        }
        if let Some(secret) = volume.pointer("/secret/secretName").and_then(Value::as_str) {
            let Some(keys) = bundle.secrets.keys(secret) else {
                wrong.push(format!(
                    "{title}: its volume {name} is the Secret {secret}, which nobody makes"
                ));
                continue;
            };
            for key in list_at(volume, "/secret/items")
                .iter()
                .map(|item| text_at(item, "/key"))
            {
                if !keys.contains(key) {
                    wrong.push(format!("{title}: the Secret {secret} has no key {key}"));
                }
            }
        }
    }
}

fn environment(bundle: &Bundle, workload: Workload<'_>, container: Container<'_>, wrong: &mut Vec<String>) {
    let title = workload.object.title();
    let mut seen = BTreeMap::new();
    for (name, variable) in container.env() {
        if seen.insert(name, ()).is_some() {
            wrong.push(format!("{title}: {name} is set twice"));
        }
        if let Some(reference) = variable.pointer("/valueFrom/configMapKeyRef") {
            let (map, key) = (text_at(reference, "/name"), text_at(reference, "/key"));
            match bundle.find("ConfigMap", map) {
                None => wrong.push(format!(
                    "{title}: {name} comes from the ConfigMap {map}, which does not exist"
                )),
                Some(map)
                    if !is_optional(reference)
                        && map
                            .value()
                            .pointer("/data")
                            .and_then(|data| data.get(key))
                            .is_none() =>
                {
                    wrong.push(format!(
                        "{title}: {name} comes from the key {key}, which {} lacks",
                        map.title()
                    ));
                }
                Some(_) => {}
            }
        }
        if let Some(reference) = variable.pointer("/valueFrom/secretKeyRef") {
            let (secret, key) = (text_at(reference, "/name"), text_at(reference, "/key"));
            match bundle.secrets.keys(secret) {
                // It is for whoever operates the cluster to make, or not.
                None if is_optional(reference) => {}
                None => wrong.push(format!(
                    "{title}: {name} comes from the Secret {secret}, which nobody makes"
                )),
                Some(keys) if !keys.contains(key) => {
                    wrong.push(format!(
                        "{title}: {name} comes from the key {key}, which the Secret {secret} lacks"
                    ));
                }
                Some(_) => {}
            }
        }
    }
}

/// Whether a pod starts without it, too. The ConfigMap of a setting must be there all the same: its name is a generated one, and
/// a reference that kustomize does not follow would lead nowhere for good.
fn is_optional(reference: &Value) -> bool {
    reference.get("optional") == Some(&Value::Bool(true))
}

fn mounts(workload: Workload<'_>, container: Container<'_>, wrong: &mut Vec<String>) {
    let volumes = workload.volumes();
    let mounted: Vec<&str> = container
        .list("/volumeMounts")
        .iter()
        .map(|mount| text_at(mount, "/name"))
        .collect();
    for mount in &mounted {
        if !volumes.contains(mount) {
            wrong.push(format!(
                "{}: mounts {mount}, which is no volume of it",
                workload.object.title()
            ));
        }
    }
    // With one container, what it does not mount nobody does.
    if workload.containers().len() == 1 {
        for volume in volumes {
            if !mounted.contains(&volume) {
                wrong.push(format!(
                    "{}: never mounts its volume {volume}",
                    workload.object.title()
                ));
            }
        }
    }
}

fn probes(workload: Workload<'_>, container: Container<'_>, wrong: &mut Vec<String>) {
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        for how in ["httpGet", "tcpSocket"] {
            let port = container.at(&format!("/{probe}/{how}/port"));
            if let Some(port) = port
                && container.port(port).is_none()
            {
                wrong.push(format!(
                    "{}: its {probe} asks port {port}, which it does not have",
                    workload.object.title()
                ));
            }
        }
    }
    if let Some(port) = workload.annotation("prometheus.io/port") {
        let known = port
            .parse::<u64>()
            .ok()
            .and_then(|number| container.port(&Value::from(number)));
        if known.is_none() && workload.containers().len() == 1 {
            wrong.push(format!(
                "{}: is scraped on port {port}, which it does not have",
                workload.object.title()
            ));
        }
    }
}
