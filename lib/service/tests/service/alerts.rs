//! `docs/alerts.md`: every name in it is one that the running system tells, and every metric in the code stands in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use testkit::eventually;

use crate::world::{SOON, World, token, with_key_and};

/// What our metrics begin with.
const FAMILIES: [&str; 9] = [
    "http_",
    "service_",
    "store_",
    "invariant_",
    "bus_",
    "trace_",
    "auth_",
    "tickets_",
    "payments_",
];

/// What only one service has, and this test does not run, or what is told only where there is a collector.
const ELSEWHERE: [&str; 4] = ["auth_", "tickets_", "payments_", "trace_"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn alerts() -> String {
    fs::read_to_string(root().join("docs/alerts.md")).unwrap()
}

/// The names of metrics in a text: words that begin as one of ours does.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| FAMILIES.iter().any(|family| word.starts_with(family)))
        .map(|word| word.trim_end_matches("_bucket").to_owned())
        .collect()
}

/// The names that the rules of the page go by.
fn named_by_rules(page: &str) -> BTreeSet<String> {
    let (_, rest) = page.split_once("```yaml\n").unwrap();
    let (rules, _) = rest.split_once("```").unwrap();
    let expressions = rules.split("expr:").skip(1);
    expressions
        .flat_map(|rest| {
            let end = rest.find("labels:").expect("every rule has labels");
            let end = rest.find("for:").map_or(end, |begin| begin.min(end));
            names(&rest[..end])
        })
        .collect()
}

/// The first column of the table of all metrics.
fn named_by_table(page: &str) -> BTreeSet<String> {
    let (_, table) = page.split_once("## All metrics").unwrap();
    table
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| `")?
                .split_once('`')
                .map(|(name, _)| name.to_owned())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_in_the_alerts_is_told_by_the_running_system() {
    let world = World::new();
    let mut settings = world.settings();
    settings.check_seconds = 1;
    let (auth, notes) = with_key_and(&world, &settings).await;
    let ann = notes.client.with_bearer(token(&notes.clock).1);
    ann.post("/notes", &json!({"text": "a"})).expect(201).await;
    let page = alerts();
    let wanted: BTreeSet<String> = named_by_rules(&page)
        .into_iter()
        .chain(named_by_table(&page))
        .filter(|name| !ELSEWHERE.iter().any(|family| name.starts_with(family)))
        .collect();
    assert!(wanted.len() > 30, "{wanted:?}");
    eventually("every metric to be told", SOON, || async {
        let told = notes.client.get("/metrics").send().await.text();
        let told = |name: &String| {
            told.lines().any(|line| {
                line.split_whitespace().nth(1).unwrap_or_default() == "TYPE"
                    && line.split_whitespace().nth(2) == Some(name.as_str())
            })
        };
        let missing: Vec<&String> = wanted.iter().filter(|name| !told(name)).collect();
        missing.is_empty().then_some(())
    })
    .await;
    notes.stop().await;
    auth.stop().await;
}

#[test]
fn every_metric_in_the_code_stands_on_the_page_and_the_other_way_round() {
    let mut in_code = BTreeSet::new();
    for folder in [
        "lib/bus",
        "lib/store",
        "lib/service",
        "bins/auth",
        "bins/tickets",
        "bins/payments",
        "bins/boxoffice",
    ] {
        sources(&root().join(folder).join("src"), &mut |text| {
            in_code.extend(literals(text))
        });
    }
    let page = alerts();
    let in_table = named_by_table(&page);
    for name in named_by_rules(&page) {
        assert!(in_table.contains(&name), "{name} of a rule is not in the table");
    }
    assert_eq!(in_table, in_code);
}

#[test]
fn every_rule_says_what_to_do() {
    let page = alerts();
    let mut rules = 0;
    for line in page.lines() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            rules += 1;
            assert!(
                page.contains(&format!("**{name}.** ")),
                "what to do about {name}?"
            );
        }
    }
    assert!(rules >= 12, "{rules} rules");
}

/// Whole string literals that are a metric's name: one of our families, and what a metric ends with.
fn literals(text: &str) -> impl Iterator<Item = String> + '_ {
    const ENDS: [&str; 15] = [
        "_total",
        "_seconds",
        "_events",
        "_bytes",
        "_rows",
        "_head",
        "_letters",
        "_waiting",
        "_transactions",
        "_jobs",
        "_holds",
        "_pending",
        "_live",
        "_ready",
        "_serving",
    ];
    text.split('"').filter_map(|word| {
        let is_name = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let ours = FAMILIES.iter().any(|family| word.starts_with(family));
        let ends = ENDS.iter().any(|end| word.ends_with(end)) || word.ends_with("_connected");
        (is_name && ours && ends).then(|| word.to_owned())
    })
}

fn sources(folder: &Path, see: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, see);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            see(&fs::read_to_string(&path).unwrap());
        }
    }
}
