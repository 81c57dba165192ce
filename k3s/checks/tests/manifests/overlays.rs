//! The overlays as they are: nothing may be wrong with them.

use std::path::{Path, PathBuf};

use manifests::{check, parse_documents};

use crate::tools::{self, KUBERNETES_VERSIONS, OVERLAYS};

#[test]
fn nothing_is_wrong_with_any_overlay() {
    let programs = tools::programs();
    for overlay in OVERLAYS {
        let wrong = check(&tools::bundle(overlay), &programs);
        assert!(wrong.is_empty(), "{overlay}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn every_overlay_holds_to_the_schemas_of_kubernetes() {
    let folder = testkit::temp_dir();
    let files = write_overlays(folder.path());
    for version in KUBERNETES_VERSIONS {
        let wrong = tools::against_schema(&files, version);
        assert!(wrong.is_empty(), "Kubernetes {version}:\n{}", wrong.join("\n"));
    }
}

/// Every overlay, rendered into a file of its name.
fn write_overlays(folder: &Path) -> Vec<PathBuf> {
    let write = |overlay: &&str| {
        let file = folder.join(format!("{overlay}.yaml"));
        let rendered = tools::render(&tools::root().join("k3s/overlays").join(overlay));
        std::fs::write(&file, rendered).expect("a file can be written");
        file
    };
    OVERLAYS.iter().map(write).collect()
}

#[test]
fn the_linter_finds_nothing_but_what_is_explained() {
    let folder = testkit::temp_dir();
    let mut checkov = tools::tool("BOXOFFICE_CHECKOV", "checkov/bin/checkov", "checkov");
    checkov
        .args([
            "--quiet",
            "--compact",
            "--framework",
            "kubernetes",
            "--config-file",
        ])
        .arg(tools::root().join("k3s/checkov.yaml"));
    for file in write_overlays(folder.path()) {
        checkov.arg("--file").arg(file);
    }
    let output = tools::run(checkov);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("Failed checks: 0"),
        "{said}"
    );
}

/// kustomize merges silently where a key stands twice in one file of ours.
#[test]
fn no_key_stands_twice_in_any_file() {
    let mut folders = vec![tools::root().join("k3s")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = std::fs::read_to_string(&path).expect("a manifest is text");
                parse_documents(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                files += 1;
            }
        }
    }
    assert!(
        files > 20,
        "only {files} files were found: look in the right place"
    );
}
