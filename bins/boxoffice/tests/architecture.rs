//! The arrows between the crates, and the purity of every `domain.rs`, as ARCHITECTURE.md draws them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which of our own crates each crate may depend on. What is not listed is not allowed.
const ARROWS: &[(&str, &[&str])] = &[
    ("events", &[]),
    ("errors", &[]),
    ("session", &["events", "errors"]),
    ("failpoint", &[]),
    ("invariants", &["events"]),
    ("store", &["events", "failpoint"]),
    ("bus", &["events", "store", "failpoint"]),
    (
        "service",
        &["events", "errors", "session", "store", "bus", "invariants"],
    ),
    ("testkit", &[]),
    ("manifests", &[]),
    (
        "auth",
        &[
            "events",
            "errors",
            "session",
            "store",
            "bus",
            "service",
            "invariants",
        ],
    ),
    (
        "tickets",
        &[
            "events",
            "errors",
            "session",
            "store",
            "bus",
            "service",
            "invariants",
        ],
    ),
    (
        "orders",
        &[
            "events",
            "errors",
            "session",
            "store",
            "bus",
            "service",
            "invariants",
        ],
    ),
    (
        "expiration",
        &[
            "events",
            "errors",
            "session",
            "store",
            "bus",
            "service",
            "invariants",
        ],
    ),
    (
        "payments",
        &[
            "events",
            "failpoint",
            "errors",
            "session",
            "store",
            "bus",
            "service",
            "invariants",
        ],
    ),
    ("web", &["events", "errors", "session", "store", "bus", "service"]),
    ("stripe-fake", &[]),
    (
        "boxoffice",
        &[
            "events",
            "errors",
            "session",
            "store",
            "bus",
            "invariants",
            "service",
            "auth",
            "tickets",
            "orders",
            "expiration",
            "payments",
            "stripe-fake",
            "web",
        ],
    ),
    (
        "faults",
        &[
            "events",
            "failpoint",
            "invariants",
            "store",
            "service",
            "auth",
            "tickets",
            "orders",
            "expiration",
            "payments",
            "stripe-fake",
            "testkit",
        ],
    ),
    ("load", &["events", "orders", "service", "store"]),
];

/// Outside crates that only one of ours may name.
const ONLY_IN: &[(&str, &str)] = &[
    ("sled", "store"),
    ("redis", "bus"),
    ("argon2", "auth or load"),
    ("jsonwebtoken", "session"),
    ("askama", "web or stripe-fake"),
    ("async-stripe", "payments"),
    ("async-stripe-core", "payments"),
    ("async-stripe-checkout", "payments"),
    ("async-stripe-webhook", "payments"),
    ("async-stripe-shared", "payments"),
    ("async-stripe-types", "payments"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("bins/boxoffice lies two folders down")
        .to_path_buf()
}

/// What cargo knows of the crates of the workspace.
fn packages() -> Vec<serde_json::Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"]
        .as_array()
        .expect("a list of packages")
        .clone()
}

/// Each crate of the workspace with what its programs and libraries (not its tests) depend on.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    packages()
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"]
                .as_array()
                .expect("a list of dependencies");
            let normal = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| dependency["name"].as_str().expect("a name").to_owned());
            (
                package["name"].as_str().expect("a name").to_owned(),
                normal.collect(),
            )
        })
        .collect()
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let mut wrong = Vec::new();
    for (name, dependencies) in dependencies() {
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            wrong.push(format!(
                "{name} is new: draw its arrows in ARCHITECTURE.md and here"
            ));
            continue;
        };
        for dependency in dependencies {
            if ours.contains(dependency.as_str()) && !allowed.contains(&dependency.as_str()) {
                wrong.push(format!("{name} must not depend on {dependency}"));
            }
            if let Some((_, only)) = ONLY_IN.iter().find(|(outside, _)| *outside == dependency)
                && !only.split(" or ").any(|only| only == name)
            {
                wrong.push(format!(
                    "{dependency} belongs to {only}, but {name} depends on it"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What makes a domain impure, with what to do instead.
const IMPURITIES: &[(&str, &str)] = &[
    ("async ", "a decision is not asynchronous"),
    (".await", "a decision does not wait"),
    ("SystemTime", "time comes in as an argument"),
    ("Instant", "time comes in as an argument"),
    ("::now()", "time comes in as an argument"),
    ("Uuid", "ids come in as arguments"),
    ("now_v7", "ids come in as arguments"),
    ("rand", "chance comes in as an argument"),
    ("std::fs", "I/O belongs to the edge"),
    ("std::io", "I/O belongs to the edge"),
    ("std::net", "I/O belongs to the edge"),
    ("std::env", "configuration comes in as an argument"),
    ("std::thread", "a decision runs where it is called"),
    ("std::sync", "a decision shares nothing"),
    ("println!", "I/O belongs to the edge"),
    ("tracing", "logs are written at the edge"),
    ("unsafe", "not here"),
    ("crate::", "a domain stands alone in its crate"),
    ("service::", "only events and std are allowed"),
    ("store::", "only events and std are allowed"),
    ("bus::", "only events and std are allowed"),
    ("session::", "only events and std are allowed"),
    ("tokio", "only events and std are allowed"),
    ("jiff", "only events and std are allowed"),
    ("serde", "only events and std are allowed"),
];

fn impurities(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default().trim();
        for (impurity, instead) in IMPURITIES {
            if code.contains(impurity) {
                found.push(format!("line {}: `{impurity}`: {instead}", number + 1));
            }
        }
        let imported = code
            .strip_prefix("use ")
            .or_else(|| code.strip_prefix("pub use "));
        if let Some(path) = imported {
            let from = path.split([':', ';', ' ']).next().unwrap_or_default();
            if !["std", "events", "self", "super"].contains(&from) {
                found.push(format!(
                    "line {}: imports {from}; only events and std are allowed",
                    number + 1
                ));
            }
        }
    }
    found
}

fn domains() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for service in ["auth", "tickets", "orders", "expiration", "payments"] {
        let folder = root().join("bins").join(service).join("src");
        files.push(folder.join("domain.rs"));
        let parts = std::fs::read_dir(folder.join("domain")).into_iter().flatten();
        files.extend(
            parts
                .filter_map(Result::ok)
                .map(|entry| entry.path())
                .filter(|path| {
                    path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs")
                }),
        );
    }
    files
}

#[test]
fn every_domain_is_pure() {
    let mut wrong = Vec::new();
    for file in domains() {
        let source =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let name = file.strip_prefix(root()).unwrap_or(&file).display().to_string();
        wrong.extend(
            impurities(&source)
                .into_iter()
                .map(|found| format!("{name}: {found}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_impure_domain_would_be_seen() {
    for impure in [
        "use tokio::time;",
        "pub async fn decide() {}",
        "let now = Timestamp::now();",
        "use crate::store;",
    ] {
        assert!(!impurities(impure).is_empty(), "{impure}");
    }
    assert_eq!(
        impurities("use std::fmt;\nuse events::{Event, Money};\n/// Uuid\nfn f() {} // tokio\n"),
        [""; 0]
    );
}

#[test]
fn only_the_store_names_sled() {
    let mut wrong = Vec::new();
    let mut folders = vec![root().join("lib"), root().join("bins"), root().join("web")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)
            .expect("a folder of the workspace")
            .filter_map(Result::ok)
        {
            let path = entry.path();
            if path.is_dir() {
                if path != root().join("lib/store")
                    && !path.ends_with("node_modules")
                    && !path.ends_with("target")
                {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("architecture.rs")
            {
                let source = std::fs::read_to_string(&path).expect("a source file");
                if source.contains("sled::") {
                    wrong.push(path.display().to_string());
                }
            }
        }
    }
    assert!(wrong.is_empty(), "only lib/store may name sled: {wrong:?}");
}

/// The features of a package that are on by themselves or turn failpoints on, and the dependencies (of its tests and
/// build scripts too) that do.
fn turns_failpoints_on(package: &serde_json::Value) -> Vec<String> {
    let mut found = Vec::new();
    let features = package["features"].as_object().expect("a table of features");
    for (feature, turned_on) in features {
        let turned_on = turned_on.as_array().expect("a list of features");
        if turned_on.iter().any(|name| {
            ["failpoint/enabled", "failpoint?/enabled"]
                .iter()
                .any(|on| name == on)
        }) {
            found.push(format!("feature {feature}"));
        }
    }
    for dependency in package["dependencies"]
        .as_array()
        .expect("a list of dependencies")
    {
        // Whoever has the bench with its failpoints has them too.
        let on = match dependency["name"].as_str() {
            Some("failpoint") => "enabled",
            Some("faults") => "failpoints",
            _ => continue,
        };
        let features = dependency["features"].as_array().expect("a list of features");
        if features.iter().any(|feature| feature == on) {
            found.push(format!("dependency {}", dependency["name"]));
        }
    }
    found
}

/// Failpoints are for the bench alone, and even there only when they are asked for.
#[test]
fn only_the_fault_bench_turns_failpoints_on() {
    let mut found = BTreeMap::new();
    for package in packages() {
        let name = package["name"].as_str().expect("a name").to_owned();
        if ["faults", "failpoint"].contains(&name.as_str()) {
            let default = package["features"].get("default");
            assert!(
                default.is_none(),
                "{name} turns features on by itself: {default:?}"
            );
        }
        let by = turns_failpoints_on(&package);
        if !by.is_empty() {
            found.insert(name, by);
        }
    }
    let expected = BTreeMap::from([("faults".to_owned(), vec!["feature failpoints".to_owned()])]);
    assert_eq!(
        found, expected,
        "only benches/faults may turn failpoint/enabled on"
    );
}

/// The programs that ship.
const SHIPPED: [&str; 6] = ["auth", "tickets", "orders", "expiration", "payments", "boxoffice"];

/// The variable that arms failpoints. Only a program that has them names it.
const FAILPOINTS_VARIABLE: &str = "BOXOFFICE_FAILPOINTS";

/// How much of a program is looked through at a time.
const LOOKED_THROUGH_BYTES: usize = 1024 * 1024;

/// Whether a program has failpoints; nothing if it was not built.
fn has_failpoints(program: &Path) -> Option<bool> {
    let bytes = match std::fs::read(program) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{}: {error}", program.display()),
    };
    let mut parts = (0..bytes.len()).step_by(LOOKED_THROUGH_BYTES).map(|from| {
        let to = from + LOOKED_THROUGH_BYTES + FAILPOINTS_VARIABLE.len();
        &bytes[from..to.min(bytes.len())]
    });
    // The text is plain, so that what is no text around it does not matter.
    Some(parts.any(|part| String::from_utf8_lossy(part).contains(FAILPOINTS_VARIABLE)))
}

#[test]
fn no_program_that_ships_has_failpoints() {
    let this = std::env::current_exe().expect("a test knows where it lies");
    assert_eq!(has_failpoints(&this), Some(true), "this one names the variable");
    let profile = this
        .ancestors()
        .nth(2)
        .expect("a test lies in target/PROFILE/deps");
    for program in SHIPPED {
        let armed = has_failpoints(&profile.join(program));
        assert_ne!(
            armed,
            Some(true),
            "{program} in {} has failpoints",
            profile.display()
        );
    }
    assert_eq!(
        has_failpoints(&profile.join("boxoffice")),
        Some(false),
        "it is built with this test"
    );
}
