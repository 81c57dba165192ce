//! What Services, ingresses, budgets, policies and monitors name must exist; what a pod names is `pod_references`' business.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::{labels_at, list_at, text_at};
use crate::selector::takes;
use crate::{Bundle, Object, Workload};

/// The namespace that everything of ours lives in.
const NAMESPACE: &str = "boxoffice";

/// Kinds that live in no namespace.
const CLUSTER_WIDE: &[&str] = &["Namespace"];

pub(crate) fn check(bundle: &Bundle) -> Vec<String> {
    let mut wrong = Vec::new();
    each_object_once_in_its_namespace(bundle, &mut wrong);
    for object in &bundle.objects {
        match object.kind() {
            "Service" => service(bundle, object, &mut wrong),
            "Ingress" => ingress(bundle, object, &mut wrong),
            "PodDisruptionBudget" => budget(bundle, object, &mut wrong),
            "NetworkPolicy" => policy(bundle, object, &mut wrong),
            "ServiceMonitor" => monitor(bundle, object, &mut wrong),
            _ => {}
        }
    }
    unused(bundle, &mut wrong);
    wrong
}

fn each_object_once_in_its_namespace(bundle: &Bundle, wrong: &mut Vec<String>) {
    let mut seen = BTreeMap::new();
    for object in &bundle.objects {
        if seen.insert(object.title(), ()).is_some() {
            wrong.push(format!("{}: stands twice", object.title()));
        }
        let namespace = object.text("/metadata/namespace");
        let cluster_wide = CLUSTER_WIDE.contains(&object.kind());
        if !cluster_wide && namespace != NAMESPACE {
            wrong.push(format!(
                "{}: is in the namespace `{namespace}`, not in {NAMESPACE}",
                object.title()
            ));
        }
    }
}

/// The workloads whose pods a Service's plain selector takes.
pub(crate) fn selected<'a>(bundle: &'a Bundle, service: &Object) -> Vec<Workload<'a>> {
    let wanted = labels_at(service.value(), "/spec/selector");
    let takes = |workload: &Workload<'_>| {
        let labels = workload.labels();
        !wanted.is_empty() && wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
    };
    bundle.workloads().filter(takes).collect()
}

fn service(bundle: &Bundle, service: &Object, wrong: &mut Vec<String>) {
    let title = service.title();
    let pods = selected(bundle, service);
    match pods.as_slice() {
        [] => wrong.push(format!("{title}: its selector matches no pod")),
        [workload] => {
            for port in service.list("/spec/ports") {
                let target = port
                    .get("targetPort")
                    .or(port.get("port"))
                    .unwrap_or(&Value::Null);
                if workload.port(target).is_none() {
                    wrong.push(format!(
                        "{title}: its target port {target} is no port of {}",
                        workload.object.title()
                    ));
                }
            }
        }
        several => {
            let names: Vec<_> = several.iter().map(|workload| workload.object.title()).collect();
            wrong.push(format!(
                "{title}: its selector matches pods of {}",
                names.join(" and ")
            ));
        }
    }
}

fn ingress(bundle: &Bundle, ingress: &Object, wrong: &mut Vec<String>) {
    let title = ingress.title();
    let paths = ingress
        .list("/spec/rules")
        .iter()
        .flat_map(|rule| list_at(rule, "/http/paths"));
    for path in paths {
        let (from, name) = (text_at(path, "/path"), text_at(path, "/backend/service/name"));
        let Some(service) = bundle.find("Service", name) else {
            wrong.push(format!(
                "{title}: {from} leads to the Service {name}, which does not exist"
            ));
            continue;
        };
        let port = path.pointer("/backend/service/port").unwrap_or(&Value::Null);
        let exists = service.list("/spec/ports").iter().any(|offered| {
            (port.get("name").is_some() && offered.get("name") == port.get("name"))
                || (port.get("number").is_some() && offered.get("port") == port.get("number"))
        });
        if !exists {
            wrong.push(format!(
                "{title}: {from} leads to the port {port} of {name}, which does not exist"
            ));
        }
    }
    for secret in ingress
        .list("/spec/tls")
        .iter()
        .map(|tls| text_at(tls, "/secretName"))
    {
        if bundle.secrets.keys(secret).is_none() {
            wrong.push(format!(
                "{title}: its certificate is in the Secret {secret}, which nobody makes"
            ));
        }
    }
}

fn budget(bundle: &Bundle, budget: &Object, wrong: &mut Vec<String>) {
    let title = budget.title();
    let selector = budget.at("/spec/selector").unwrap_or(&Value::Null);
    let pods: Vec<_> = bundle
        .workloads()
        .filter(|workload| takes(selector, &workload.labels()))
        .collect();
    if pods.is_empty() {
        wrong.push(format!("{title}: its selector matches no pod"));
        return;
    }
    let replicas: u64 = pods.iter().map(Workload::replicas).sum();
    let kept = budget
        .at("/spec/minAvailable")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    let unavailable = budget.at("/spec/maxUnavailable").and_then(Value::as_u64);
    if kept >= replicas || unavailable == Some(0) {
        wrong.push(format!(
            "{title}: allows no eviction at all, so a node can never be drained"
        ));
    }
}

/// A policy that selects nothing protects nothing, and a peer of ours that matches nothing lets nobody in.
fn policy(bundle: &Bundle, policy: &Object, wrong: &mut Vec<String>) {
    let title = policy.title();
    let subject = policy.at("/spec/podSelector").unwrap_or(&Value::Null);
    let matches = |selector: &Value| {
        bundle
            .workloads()
            .any(|workload| takes(selector, &workload.labels()))
    };
    if !matches(subject) {
        wrong.push(format!("{title}: its podSelector matches no pod"));
    }
    for (rules, peers) in [("/spec/ingress", "/from"), ("/spec/egress", "/to")] {
        for peer in policy.list(rules).iter().flat_map(|rule| list_at(rule, peers)) {
            let ours = peer.get("namespaceSelector").is_none();
            if let Some(selector) = peer.get("podSelector").filter(|_| ours)
                && !matches(selector)
            {
                wrong.push(format!(
                    "{title}: a peer's podSelector matches no pod: {selector}"
                ));
            }
        }
    }
}

fn monitor(bundle: &Bundle, monitor: &Object, wrong: &mut Vec<String>) {
    let title = monitor.title();
    let selector = monitor.at("/spec/selector").unwrap_or(&Value::Null);
    let services: Vec<_> = bundle
        .of_kind("Service")
        .filter(|service| takes(selector, &labels_at(service.value(), "/metadata/labels")))
        .collect();
    if services.is_empty() {
        wrong.push(format!("{title}: its selector matches no Service"));
    }
    for port in monitor
        .list("/spec/endpoints")
        .iter()
        .map(|endpoint| text_at(endpoint, "/port"))
    {
        for service in &services {
            if !service
                .list("/spec/ports")
                .iter()
                .any(|offered| text_at(offered, "/name") == port)
            {
                wrong.push(format!("{title}: {} has no port named {port}", service.title()));
            }
        }
    }
}

/// A setting or a Secret that nothing reads is a misspelt one.
fn unused(bundle: &Bundle, wrong: &mut Vec<String>) {
    let everything: String = bundle
        .workloads()
        .map(|workload| workload.pod().to_string())
        .chain(
            bundle
                .of_kind("Ingress")
                .map(|ingress| ingress.value().to_string()),
        )
        .collect();
    for map in bundle
        .of_kind("ConfigMap")
        .filter(|map| map.at("/metadata/labels/grafana_dashboard").is_none())
    {
        let as_volume = format!("\"configMap\":{{\"name\":\"{}\"}}", map.name());
        if everything.contains(&as_volume) {
            continue;
        }
        for key in map
            .at("/data")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|data| data.keys())
        {
            // What may follow is `optional`.
            if !everything.contains(&format!(
                "\"configMapKeyRef\":{{\"key\":\"{key}\",\"name\":\"{}\"",
                map.name()
            )) {
                wrong.push(format!("{}: nothing reads its key {key}", map.title()));
            }
        }
    }
    for (secret, key) in bundle.secrets.iter() {
        let as_variable = format!("\"secretKeyRef\":{{\"key\":\"{key}\",\"name\":\"{secret}\"");
        let as_volume = format!("\"secretName\":\"{secret}\"");
        if !everything.contains(&as_variable) && !everything.contains(&as_volume) {
            wrong.push(format!("Secret {secret}: nothing reads its key {key}"));
        }
    }
}
