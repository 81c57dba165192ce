//! The scripts for a cluster, run without one: dry, and against a kubectl that only writes down what it is told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use manifests::parse_documents;
use serde_json::Value;

use crate::tools::{self, root};

/// Every script of this kind, with what it needs to be told to do something.
const SCRIPTS: &[(&str, &[&str])] = &[
    ("k3s-up", &[]),
    ("k3s-down", &[]),
    ("k3s-logs", &[]),
    ("k3s-secrets", &["laptop"]),
    ("k3s-backup", &["now"]),
    ("k3s-rotate-key", &[]),
    ("k3s-images", &[]),
];

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
    *'config current-context'*) echo kind-test ;;
esac
"#;

/// A cluster that is made of paper.
struct Paper(testkit::TempDir);

impl Paper {
    fn new() -> Self {
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

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        self.run_with(script, arguments, &[])
    }

    fn run_with(&self, script: &str, arguments: &[&str], env: &[(&str, &str)]) -> Output {
        let real = tools::tool("BOXOFFICE_KUBECTL", "kubectl", "kubectl");
        Command::new(root().join("scripts").join(script))
            .args(arguments)
            .env("BOXOFFICE_KUBECTL", self.path().join("kubectl"))
            .env("REAL_KUBECTL", real.get_program())
            .env("RECORD", self.path())
            .env("CARGO_TARGET_DIR", self.path().join("target"))
            .env_remove("STRIPE_SECRET_KEY")
            .env_remove("STRIPE_WEBHOOK_SECRET")
            .envs(env.iter().copied())
            .stdin(std::process::Stdio::null())
            .output()
            .expect("a script can be run")
    }

    /// What was asked of the cluster.
    fn calls(&self) -> String {
        fs::read_to_string(self.path().join("calls")).expect("calls were written down")
    }

    /// The objects that were applied through a pipe, in order.
    fn applied(&self) -> Vec<Value> {
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

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn every_script_explains_itself_and_refuses_what_it_does_not_know() {
    let paper = Paper::new();
    for (script, _) in SCRIPTS {
        let help = paper.run(script, &["--help"]);
        assert!(
            help.status.success() && said(&help).contains(&format!("./scripts/{script}")),
            "{script}: {}",
            said(&help)
        );
        let nonsense = paper.run(script, &["--nonsense"]);
        assert!(!nonsense.status.success(), "{script} takes anything");
        assert!(
            said(&nonsense).contains("--nonsense is no option"),
            "{script}: {}",
            said(&nonsense)
        );
    }
    assert_eq!(paper.calls(), "", "help needs no cluster");
}

#[test]
fn a_rehearsal_changes_nothing_and_says_everything() {
    for (script, arguments) in SCRIPTS {
        let paper = Paper::new();
        let output = paper.run(script, &[&["--dry-run"], *arguments].concat());
        assert!(output.status.success(), "{script}: {}", said(&output));
        assert!(said(&output).contains("would "), "{script}: {}", said(&output));
        for call in paper.calls().lines() {
            let harmless = call == "version --client" || call.starts_with("kustomize ");
            assert!(harmless, "{script} --dry-run asks the cluster: {call}");
        }
    }
}

#[test]
fn a_rehearsal_of_up_names_every_step() {
    for overlay in ["laptop", "production", "production-external-redis"] {
        let output = Paper::new().run("k3s-up", &["--dry-run", "--overlay", overlay]);
        let said = said(&output);
        assert!(output.status.success(), "{said}");
        for step in [
            "cargo build",
            "buildah build",
            "k3s ctr images import",
            "the Secret web",
            "namespace.yaml",
            "rollout status deployment/web",
        ] {
            assert!(said.contains(step), "{overlay}: {step} is missing in\n{said}");
        }
        for service in ["auth", "tickets", "orders", "expiration", "payments"] {
            assert!(
                said.contains(&format!("rollout status statefulset/{service}")),
                "{overlay}: {said}"
            );
        }
        assert_eq!(
            said.contains("rollout status statefulset/stripe-fake"),
            overlay == "laptop",
            "{said}"
        );
    }
}

#[test]
fn up_applies_one_program_after_another() {
    let paper = Paper::new();
    let output = paper.run("k3s-up", &["--tag", "1.2.3", "--url", "http://box.test/"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).ends_with("http://box.test\n") || said(&output).contains("\nhttp://box.test\n"),
        "{}",
        said(&output)
    );
    let calls = paper.calls();
    let at = |what: &str| {
        calls
            .find(what)
            .unwrap_or_else(|| panic!("{what} is missing in\n{calls}"))
    };
    let order = [
        "namespace.yaml",
        "!app.kubernetes.io/component",
        "statefulset/redis",
        "statefulset/auth",
        "statefulset/tickets",
        "deployment/web",
        "component=operator",
    ];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{calls}");
    let rendered =
        fs::read_to_string(paper.path().join("target/k3s/laptop/rendered.yaml")).expect("it was rendered");
    assert!(
        rendered.contains("image: boxoffice/auth:1.2.3"),
        "the tag is used"
    );
    assert!(
        rendered.contains("PUBLIC_URL: http://box.test\n"),
        "the address is used"
    );
    assert!(
        rendered.contains("STRIPE_FORM_ACTION: http://box.test\n"),
        "the payment page is allowed"
    );
}

#[test]
fn secrets_are_made_once_and_never_shown() {
    let paper = Paper::new();
    let output = paper.run("k3s-secrets", &["laptop"]);
    assert!(output.status.success(), "{}", said(&output));
    let made = paper.applied();
    let expected = tools::secrets("laptop");
    assert_eq!(made.len(), expected.iter().count(), "{made:#?}");
    let mut values = Vec::new();
    for secret in &made {
        let name = secret["metadata"]["name"].as_str().expect("a Secret has a name");
        let (key, value) = secret["data"]
            .as_object()
            .and_then(|data| data.iter().next())
            .expect("a Secret has a key");
        assert!(
            expected.keys(name).is_some_and(|keys| keys.contains(key)),
            "{name}/{key} is not on the list"
        );
        values.push(value.as_str().expect("a value is text").to_owned());
    }
    for value in &values {
        assert!(
            !said(&output).contains(value) && !paper.calls().contains(value),
            "a Secret is shown"
        );
    }
    values.sort();
    values.dedup();
    assert_eq!(values.len(), made.len(), "two Secrets are the same");
}

#[test]
fn production_takes_no_secret_that_moves_no_money() {
    let with = |key: &str, mode: &str| {
        let env = [
            ("STRIPE_SECRET_KEY", key),
            ("STRIPE_WEBHOOK_SECRET", "whsec_x"),
            ("STRIPE_TEST_MODE", mode),
        ];
        said(&Paper::new().run_with("k3s-secrets", &["production"], &env))
    };
    assert!(with("", "no").contains("STRIPE_SECRET_KEY is not set"));
    assert!(with("sk_test_boxoffice", "yes").contains("the stand-in's key"));
    assert!(with("sk_test_123", "no").contains("a test key"));
    assert!(with("pk_live_123", "no").contains("does not look like a secret key"));
    // What is left to be made by hand is the certificate.
    for (key, mode) in [("sk_live_123", "no"), ("sk_test_123", "yes")] {
        let said = with(key, mode);
        assert!(
            said.contains("boxoffice-tls is missing") && !said.contains(key),
            "{said}"
        );
    }
}

#[test]
fn volumes_are_not_deleted_unless_somebody_means_it() {
    let paper = Paper::new();
    let kept = paper.run("k3s-down", &[]);
    assert!(
        kept.status.success() && !paper.calls().contains("delete namespace"),
        "{}",
        said(&kept)
    );
    let nobody = paper.run("k3s-down", &["--volumes"]);
    assert!(
        !nobody.status.success() && said(&nobody).contains("nobody is here to ask"),
        "{}",
        said(&nobody)
    );
    assert!(!paper.calls().contains("delete namespace"), "{}", paper.calls());
    let meant = paper.run("k3s-down", &["--volumes", "--yes"]);
    assert!(
        meant.status.success() && paper.calls().contains("delete namespace boxoffice"),
        "{}",
        said(&meant)
    );
}

/// Jobs that scripts derive from the backup's must hold to the schemas, and do what is meant.
#[test]
fn jobs_of_operators_are_whole() {
    let cases: &[(&str, &[&str], &str)] = &[
        (
            "k3s-backup",
            &["--yes", "--accept-loss", "restore", "backup-1", "orders"],
            "restore --from /backups/backup-1 --data-dir /data --service orders --accept-loss",
        ),
        ("k3s-backup", &["list"], ""),
        (
            "k3s-rotate-key",
            &[],
            "rotate-key --service=auth=http://auth:8080",
        ),
    ];
    for (script, arguments, command) in cases {
        let paper = Paper::new();
        let output = paper.run(script, arguments);
        assert!(output.status.success(), "{script}: {}", said(&output));
        let jobs = paper.applied();
        assert_eq!(jobs.len(), 1, "{script}: {jobs:#?}");
        let file = paper.path().join("job.yaml");
        fs::write(&file, jobs[0].to_string()).expect("a file can be written");
        let wrong = tools::against_schema(&file, tools::KUBERNETES_VERSIONS[0]);
        assert!(wrong.is_empty(), "{script}: {wrong:#?}\n{:#}", jobs[0]);
        let pod = &jobs[0]["spec"]["template"]["spec"];
        let arguments: Vec<&str> = pod["containers"][0]["args"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(arguments.join(" "), *command);
        assert!(
            pod["initContainers"].is_null(),
            "{script}: nothing else runs before"
        );
        if command.starts_with("restore") {
            let mounted = pod["containers"][0]["volumeMounts"]
                .as_array()
                .expect("it has volumes");
            assert!(
                mounted
                    .iter()
                    .any(|mount| mount["name"] == "data" && mount["mountPath"] == "/data"),
                "{pod:#}"
            );
            assert!(pod["volumes"].to_string().contains("data-orders-0"), "{pod:#}");
            let calls = paper.calls();
            let at = |what: &str| {
                calls
                    .find(what)
                    .unwrap_or_else(|| panic!("{what} is missing in\n{calls}"))
            };
            assert!(
                at("--replicas 0") < at("create job") && at("create job") < at("--replicas 1"),
                "{calls}"
            );
        }
    }
}
