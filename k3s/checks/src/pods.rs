//! What every pod must be: restricted, probed, bounded, of a known image, with time to stop, and the only owner of what
//! it keeps.

use serde_json::Value;

use crate::object::{list_at, text_at};
use crate::{Bundle, Container, Workload};

/// The least that a program of ours may be given to stop: ten seconds of its own (8 to drain, 1.5 to stop, then the store),
/// beside what preStop takes.
const STOP_SECONDS_MIN: u64 = 10;

/// The least that preStop waits, so that proxies know that the pod is going.
const PRE_STOP_SECONDS_MIN: u64 = 2;

/// Users below this may be somebody on the node.
const USER_MIN: u64 = 10_000;

/// The level that the namespace must enforce.
const LEVEL: &str = "restricted";

/// What a container may ask of memory without anybody having measured it.
const BOUNDED: &[&str] = &["cpu", "memory", "ephemeral-storage"];

pub(crate) fn check(bundle: &Bundle) -> Vec<String> {
    let mut wrong = Vec::new();
    namespace_enforces(bundle, &mut wrong);
    accounts_without_token(bundle, &mut wrong);
    for workload in bundle.workloads() {
        pod(workload, &mut wrong);
        single_owner(workload, &mut wrong);
        for container in workload.containers() {
            image(workload, container, &mut wrong);
            restricted(workload, container, &mut wrong);
            bounded(workload, container, &mut wrong);
            if workload.runs_on() {
                probed(workload, container, &mut wrong);
                time_to_stop(workload, container, &mut wrong);
            }
        }
    }
    wrong
}

fn namespace_enforces(bundle: &Bundle, wrong: &mut Vec<String>) {
    for namespace in bundle.of_kind("Namespace") {
        let labels = namespace.at("/metadata/labels").unwrap_or(&Value::Null);
        let enforced = labels
            .get("pod-security.kubernetes.io/enforce")
            .and_then(Value::as_str);
        if enforced != Some(LEVEL) {
            wrong.push(format!("{}: does not enforce {LEVEL} pods", namespace.title()));
        }
    }
}

fn accounts_without_token(bundle: &Bundle, wrong: &mut Vec<String>) {
    for account in bundle.of_kind("ServiceAccount") {
        if account.at("/automountServiceAccountToken") != Some(&Value::Bool(false)) {
            wrong.push(format!(
                "{}: hands out a token for the cluster's API",
                account.title()
            ));
        }
    }
}

fn pod(workload: Workload<'_>, wrong: &mut Vec<String>) {
    let (title, pod) = (workload.object.title(), workload.pod());
    let at = |pointer: &str| pod.pointer(pointer);
    for shared in ["hostNetwork", "hostPID", "hostIPC"] {
        if pod.get(shared).is_some_and(|value| value != &Value::Bool(false)) {
            wrong.push(format!("{title}: shares the node's {shared}"));
        }
    }
    if list_at(pod, "/volumes")
        .iter()
        .any(|volume| volume.get("hostPath").is_some())
    {
        wrong.push(format!("{title}: mounts a folder of the node"));
    }
    if at("/automountServiceAccountToken") != Some(&Value::Bool(false)) {
        wrong.push(format!("{title}: gets a token for the cluster's API"));
    }
    // Kubernetes would set WEB_PORT=tcp://… and its like, of which programs know nothing.
    if at("/enableServiceLinks") != Some(&Value::Bool(false)) {
        wrong.push(format!(
            "{title}: gets variables of every Service of the namespace"
        ));
    }
    if at("/securityContext/runAsNonRoot") != Some(&Value::Bool(true)) {
        wrong.push(format!("{title}: may run as root"));
    }
    if at("/securityContext/runAsUser")
        .and_then(Value::as_u64)
        .unwrap_or(0)
        < USER_MIN
    {
        wrong.push(format!(
            "{title}: runs as a user below {USER_MIN}, who may be somebody on the node"
        ));
    }
    if workload.keeps_data() && at("/securityContext/fsGroup") != at("/securityContext/runAsGroup") {
        wrong.push(format!(
            "{title}: its volume does not belong to the group that it runs as"
        ));
    }
    if text_at(pod, "/securityContext/seccompProfile/type") != "RuntimeDefault" {
        wrong.push(format!("{title}: runs without a seccomp profile"));
    }
}

fn restricted(workload: Workload<'_>, container: Container<'_>, wrong: &mut Vec<String>) {
    let title = workload.object.title();
    let at = |name: &str| container.at(&format!("/securityContext/{name}"));
    if at("allowPrivilegeEscalation") != Some(&Value::Bool(false)) {
        wrong.push(format!("{title}: may gain privileges"));
    }
    if at("privileged").is_some_and(|value| value != &Value::Bool(false)) {
        wrong.push(format!("{title}: is privileged"));
    }
    if at("readOnlyRootFilesystem") != Some(&Value::Bool(true)) {
        wrong.push(format!("{title}: may write to its image"));
    }
    if at("runAsUser").is_some() || at("runAsNonRoot").is_some_and(|value| value != &Value::Bool(true)) {
        wrong.push(format!(
            "{title}: a container of it runs as another user than the pod"
        ));
    }
    let dropped = container.list("/securityContext/capabilities/drop");
    if !dropped.iter().any(|name| name == "ALL") || at("capabilities/add").is_some() {
        wrong.push(format!("{title}: keeps capabilities"));
    }
}

fn image(workload: Workload<'_>, container: Container<'_>, wrong: &mut Vec<String>) {
    let (title, image) = (workload.object.title(), container.image());
    let last = image.rsplit('/').next().unwrap_or(image);
    let tag = last.split_once(':').map(|(_, tag)| tag);
    let pinned = image.contains("@sha256:") || tag.is_some_and(|tag| tag != "latest" && !tag.is_empty());
    if !pinned {
        wrong.push(format!("{title}: its image {image} names no version"));
    }
    // Ours are loaded into the node, so asking a registry each time would fail.
    if container.at("/imagePullPolicy").and_then(Value::as_str) != Some("IfNotPresent") {
        wrong.push(format!(
            "{title}: its image is not taken from the node when it is there"
        ));
    }
}

fn bounded(workload: Workload<'_>, container: Container<'_>, wrong: &mut Vec<String>) {
    for (kind, what) in [("requests", "asks for no"), ("limits", "has no limit of")] {
        for resource in BOUNDED {
            if container.at(&format!("/resources/{kind}/{resource}")).is_none() {
                wrong.push(format!("{}: {what} {resource}", workload.object.title()));
            }
        }
    }
}

fn probed(workload: Workload<'_>, container: Container<'_>, wrong: &mut Vec<String>) {
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        if container.at(&format!("/{probe}")).is_none() {
            wrong.push(format!("{}: has no {probe}", workload.object.title()));
        }
    }
}

fn time_to_stop(workload: Workload<'_>, container: Container<'_>, wrong: &mut Vec<String>) {
    if container.program().is_none() {
        return;
    }
    let title = workload.object.title();
    let waits = container
        .at("/lifecycle/preStop/sleep/seconds")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    if waits < PRE_STOP_SECONDS_MIN {
        wrong.push(format!(
            "{title}: stops at once, while proxies still send it requests"
        ));
    }
    let grace = workload
        .pod()
        .get("terminationGracePeriodSeconds")
        .and_then(Value::as_u64)
        .unwrap_or(30);
    if grace < waits + STOP_SECONDS_MIN {
        wrong.push(format!(
            "{title}: is killed after {grace} s, before it can have stopped"
        ));
    }
}

/// What keeps data has one owner: one replica, and never a Deployment, whose new pod starts while the old one still runs.
fn single_owner(workload: Workload<'_>, wrong: &mut Vec<String>) {
    if !workload.keeps_data() || !workload.runs_on() {
        return;
    }
    let title = workload.object.title();
    if workload.object.kind() != "StatefulSet" {
        wrong.push(format!("{title}: keeps data, but two pods of it may run at once"));
    }
    if workload.replicas() != 1 {
        wrong.push(format!(
            "{title}: keeps data, so there must be one of it, not {}",
            workload.replicas()
        ));
    }
    for claim in workload.object.list("/spec/volumeClaimTemplates") {
        let modes = list_at(claim, "/spec/accessModes");
        if modes
            .iter()
            .any(|mode| mode != "ReadWriteOnce" && mode != "ReadWriteOncePod")
        {
            wrong.push(format!(
                "{title}: its volume can be mounted by several nodes at once"
            ));
        }
    }
    if workload
        .object
        .text("/spec/persistentVolumeClaimRetentionPolicy/whenDeleted")
        != "Retain"
    {
        wrong.push(format!("{title}: its data goes with it"));
    }
}
