//! Alert rules and dashboard: what they ask for must exist.

use std::collections::BTreeSet;

use manifests::parse_documents;
use serde_json::Value;

use crate::tools::{root, run, tool};

/// What Prometheus, Kubernetes and its node agents measure by themselves.
const OF_THE_CLUSTER: &[&str] = &[
    "up",
    "kube_pod_container_status_restarts_total",
    "kube_cronjob_status_last_successful_time",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    "container_memory_working_set_bytes",
    "container_cpu_usage_seconds_total",
];

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rules of the overlay, as Prometheus reads them.
fn rules() -> Value {
    let documents = parse_documents(&read("k3s/overlays/monitoring/rules.yaml")).expect("the rules are YAML");
    documents[0]["spec"].clone()
}

/// The metrics that docs/alerts.md lists; that list is held against the running system where it is made.
fn known_metrics() -> BTreeSet<String> {
    let alerts = read("docs/alerts.md");
    let rows = alerts.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next())
        .map(str::to_owned)
        .collect()
}

/// The names in an expression that are metrics: what has an underscore and is no label and no function.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let bare: String = expression
        .split('{')
        .map(|part| part.split_once('}').map_or(part, |(_, after)| after))
        .collect::<Vec<_>>()
        .join(" ");
    for word in bare.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '$')) {
        let is_name = word.contains('_') && word.starts_with(|c: char| c.is_ascii_lowercase());
        if is_name && word != "histogram_quantile" {
            let plain = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix));
            found.insert(plain.unwrap_or(word).to_owned());
        }
    }
    found
}

fn assert_known(what: &str, expression: &str) {
    let known = known_metrics();
    for metric in metrics_in(expression) {
        assert!(
            known.contains(&metric) || OF_THE_CLUSTER.contains(&metric.as_str()),
            "{what} asks for {metric}, which nobody measures"
        );
    }
}

#[test]
fn the_rules_are_those_that_the_documentation_explains() {
    let alerts = read("docs/alerts.md");
    let block = alerts
        .split("```yaml")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let documented = parse_documents(block.expect("the page has its rules")).expect("they are YAML");
    assert_eq!(
        rules()["groups"][0],
        documented[0]["groups"][0],
        "k3s/overlays/monitoring/rules.yaml and docs/alerts.md say different things"
    );
    let operations = read("docs/operations.md");
    for rule in rules()["groups"][1]["rules"]
        .as_array()
        .expect("a group has rules")
    {
        let alert = rule["alert"].as_str().expect("an alert has a name");
        assert!(
            operations.contains(alert),
            "docs/operations.md does not say what to do about {alert}"
        );
    }
}

#[test]
fn rules_and_dashboard_ask_for_what_is_measured() {
    for group in rules()["groups"].as_array().expect("there are groups") {
        for rule in group["rules"].as_array().expect("a group has rules") {
            let alert = rule["alert"].as_str().expect("an alert has a name");
            assert_known(alert, rule["expr"].as_str().expect("an alert has an expression"));
        }
    }
    let dashboard: Value =
        serde_json::from_str(&read("k3s/overlays/monitoring/boxoffice.json")).expect("a dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("a dashboard has panels");
    assert!(panels.len() > 15, "a dashboard shows something");
    for panel in panels {
        for target in panel["targets"].as_array().expect("a panel shows something") {
            let title = panel["title"].as_str().expect("a panel has a title");
            assert_known(
                title,
                target["expr"].as_str().expect("a target has an expression"),
            );
        }
    }
}

#[test]
fn prometheus_takes_the_rules() {
    let folder = testkit::temp_dir();
    let file = folder.path().join("rules.yaml");
    std::fs::write(&file, rules().to_string()).expect("a file can be written");
    let mut promtool = tool("BOXOFFICE_PROMTOOL", "promtool", "promtool");
    promtool.args(["check", "rules"]).arg(&file);
    let output = run(promtool);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn metrics_are_told_from_labels_and_functions() {
    let expression = "histogram_quantile(0.9, sum by (le) (rate(store_sync_seconds_bucket{a_b=\"c_d\"}[$__rate_interval]))) > up";
    assert_eq!(metrics_in(expression), ["store_sync_seconds".to_owned()].into());
}
