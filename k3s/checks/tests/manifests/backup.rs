//! What the backup's job does beside the backup, and the jobs that scripts derive from it.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::paper::{Paper, said};
use crate::tools;

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
            "rotate-key --service=auth=http://auth:9090",
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
        let wrong = tools::against_schema(&[file], tools::KUBERNETES_VERSIONS[0]);
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

/// What makes room on the volume of the backups, run as the manifest says.
#[test]
fn old_and_broken_off_backups_go_and_the_newest_stay() {
    let bundle = tools::bundle("laptop");
    let backup = bundle.find("CronJob", "backup").expect("there is a backup");
    let prune = &backup.value()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["initContainers"][0];
    let command: Vec<&str> = prune["command"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let [shell, options, script] = command.as_slice() else {
        panic!("it is a shell script: {command:?}");
    };
    let folder = testkit::temp_dir();
    let run = || {
        let script = script.replace("/backups", &folder.path().display().to_string());
        let output = Command::new(shell)
            .args([options, script.as_str()])
            .output()
            .expect("a shell can be run");
        assert!(output.status.success(), "{}", said(&output));
    };
    run();
    for number in 10..30 {
        let name = folder.path().join(format!("backup-{number}"));
        fs::create_dir(&name).expect("a folder can be made");
        if number != 29 {
            fs::write(name.join("manifest.json"), "{}").expect("a file can be written");
        }
        let day = format!("2026-11-{number}");
        let touched = Command::new("touch")
            .args(["--date", &day])
            .arg(&name)
            .status()
            .expect("touch can be run");
        assert!(touched.success());
    }
    run();
    let mut left: Vec<String> = fs::read_dir(folder.path())
        .expect("a folder can be read")
        .map(|entry| {
            entry
                .expect("an entry can be read")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    left.sort();
    let newest: Vec<String> = (15..29).map(|number| format!("backup-{number}")).collect();
    assert_eq!(left, newest);
}
