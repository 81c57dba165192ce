//! A cluster that is made of paper: a kubectl that renders as the real one does, says what a healthy cluster would, and
//! keeps what it is given.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use manifests::parse_documents;
use serde_json::Value;

use crate::tools::{self, root};

/// What stands in for kubectl: it renders as kubectl does, says what a healthy cluster would, and keeps what it is given.
const RECORDER: &str = r#"#!/usr/bin/env bash
set -eu
printf '%s\n' "$*" >> "$RECORD/calls"
case "$*" in
    'version --client') echo 'Client Version: v1.32.0' ;;
    kustomize*) exec "$REAL_KUBECTL" "$@" ;;
    *'create job'*'--dry-run=client'*) cat "$RECORD/job.json" ;;
    *'apply --filename -'* | *'--filename -') cat > "$RECORD/applied-$(wc -l < "$RECORD/calls")" ;;
    *'get job'*) echo Complete ;;
    version*) echo "Server Version: v${SERVER_VERSION:-1.32.1+k3s1}" ;;
    *'config current-context'*) echo kind-test ;;
esac
"#;

/// A cluster that is made of paper.
pub(crate) struct Paper(testkit::TempDir);

impl Paper {
    pub(crate) fn new() -> Self {
        let folder = testkit::temp_dir();
        let kubectl = folder.path().join("kubectl");
        fs::write(&kubectl, RECORDER).expect("a file can be written");
        fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).expect("a mode can be changed");
        // What `kubectl create job --from cronjob/backup` would make of the overlay's.
        let bundle = tools::bundle("laptop");
        let backup = bundle.find("CronJob", "backup").expect("there is a backup");
        let mut job = serde_json::json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "from-cronjob", "namespace": "boxoffice" } });
        job["spec"] = backup.value()["spec"]["jobTemplate"]["spec"].clone();
        fs::write(folder.path().join("job.json"), job.to_string()).expect("a file can be written");
        fs::write(folder.path().join("calls"), "").expect("a file can be written");
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn run(&self, script: &str, arguments: &[&str]) -> Output {
        self.run_with(script, arguments, &[])
    }

    pub(crate) fn run_with(&self, script: &str, arguments: &[&str], env: &[(&str, &str)]) -> Output {
        let real = tools::tool("BOXOFFICE_KUBECTL", "kubectl", "kubectl");
        Command::new(root().join("scripts").join(script))
            .args(arguments)
            .env("BOXOFFICE_KUBECTL", self.path().join("kubectl"))
            .env("REAL_KUBECTL", real.get_program())
            .env("RECORD", self.path())
            .env("CARGO_TARGET_DIR", self.path().join("target"))
            // Nobody is at that address.
            .env("no_proxy", "*")
            .env_remove("STRIPE_SECRET_KEY")
            .env_remove("STRIPE_WEBHOOK_SECRET")
            .envs(env.iter().copied())
            .stdin(std::process::Stdio::null())
            .output()
            .expect("a script can be run")
    }

    /// What was asked of the cluster.
    pub(crate) fn calls(&self) -> String {
        fs::read_to_string(self.path().join("calls")).expect("calls were written down")
    }

    /// The objects that were applied through a pipe, in order.
    pub(crate) fn applied(&self) -> Vec<Value> {
        let mut files: Vec<_> = fs::read_dir(self.path())
            .expect("a folder can be read")
            .map(|entry| entry.expect("an entry can be read").path())
            .filter(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("applied-"))
            })
            .collect();
        files.sort_by_key(|path| {
            fs::metadata(path)
                .and_then(|data| data.modified())
                .expect("a file has a time")
        });
        let read = |path| fs::read_to_string(path).expect("a file can be read");
        files
            .into_iter()
            .flat_map(|path| parse_documents(&read(path)).expect("YAML is applied"))
            .collect()
    }
}

/// Everything that a script printed.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
