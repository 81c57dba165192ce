//! docs/operations.md, as somebody types it: every script in it is there, and knows the options that it is given; what is named
//! of the cluster is what the manifests make.

use std::process::Command;

use crate::tools::{bundle, root, run};

/// Fewer commands than this means that the page is written otherwise than it is read here.
const COMMANDS_MIN: usize = 20;

/// What the page's commands name in a cluster is there in this overlay.
const OVERLAY: &str = "production";

fn page() -> String {
    std::fs::read_to_string(root().join("docs/operations.md")).expect("the page is there")
}

/// What the page has to type: up to the end of the line, of the code, or of what is no comment.
fn commands<'a>(page: &'a str, begin: &'a str) -> impl Iterator<Item = &'a str> {
    page.split(begin).skip(1).map(|rest| {
        let end = rest.find(['\n', '`', '#']).unwrap_or(rest.len());
        rest[..end].trim()
    })
}

#[test]
fn every_script_is_there_and_knows_its_options() {
    let page = page();
    let mut found = 0;
    for command in commands(&page, "./scripts/") {
        found += 1;
        let mut words = command.split_whitespace();
        let script = root().join("scripts").join(words.next().unwrap_or_default());
        assert!(script.is_file(), "./scripts/{command}");
        let options: Vec<&str> = words.filter(|word| word.starts_with("--")).collect();
        // Asked only of those that are given options: one that knows none does what it is there for, whatever it is told.
        if !options.is_empty() {
            let mut help = Command::new(script);
            help.arg("--help");
            let help = String::from_utf8_lossy(&run(help).stdout).into_owned();
            for option in options {
                assert!(help.contains(option), "./scripts/{command}: {option} is unknown");
            }
        }
    }
    assert!(found >= COMMANDS_MIN, "{found} commands");
}

#[test]
fn what_it_names_in_the_cluster_is_made_by_the_manifests() {
    let (page, bundle) = (page(), bundle(OVERLAY));
    let mut found = 0;
    for (kind, begin) in [("StatefulSet", "statefulset/"), ("Deployment", "deployment/")] {
        for rest in page.split(begin).skip(1) {
            let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '-'));
            let name = &rest[..end.unwrap_or(rest.len())];
            found += 1;
            let made = bundle
                .objects
                .iter()
                .any(|object| object.kind() == kind && object.name() == name);
            assert!(made, "no {kind} is called {name}");
        }
    }
    assert!(found > 5, "{found} names");
}
