//! yamllint over the manifests as they were written: what rendering hides, such as a key that stands twice.

use std::path::Path;

use crate::tools::{root, run, tool};

/// What it says against files; nothing when it has nothing to say.
fn said_of(path: &Path) -> String {
    let mut yamllint = tool("BOXOFFICE_YAMLLINT", "yamllint/bin/yamllint", "yamllint");
    yamllint
        .args(["--strict", "--format", "parsable", "--config-file"])
        .arg(root().join("k3s/yamllint.yaml"))
        .arg(path);
    let output = run(yamllint);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    // Silence counts only together with its word that all is well.
    assert_eq!(
        output.status.success(),
        said.is_empty(),
        "{}: {said}",
        output.status
    );
    said
}

#[test]
fn yamllint_finds_nothing_in_the_manifests() {
    for folder in ["base", "components", "overlays", "checkov.yaml", "yamllint.yaml"] {
        assert_eq!(said_of(&root().join("k3s").join(folder)), "", "{folder}");
    }
}

#[test]
fn yamllint_finds_what_it_is_there_for() {
    let folder = testkit::temp_dir();
    for (name, text, found) in [
        ("twice", "replicas: 1\nreplicas: 2\n", "key-duplicates"),
        ("octal", "mode: 0644\n", "octal-values"),
        ("yes", "enabled: yes\n", "truthy"),
        ("indented", "spec:\n  a: 1\n   b: 2\n", "syntax"),
    ] {
        let file = folder.path().join(format!("{name}.yaml"));
        std::fs::write(&file, text).expect("a file can be written");
        let said = said_of(&file);
        assert!(said.contains(found), "{name}: {said}");
    }
}
