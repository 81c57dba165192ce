//! The program, as it is used: against a system that it starts, and against results that lie there.

use std::process::{Command, Output};

use load::results::{Check, Results};
use testkit::{bin, temp_dir};

fn bench(args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_boxoffice-bench"))
        .args(args)
        .output();
    output.expect("the program can be run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One small run for all that is asked of its result: starting a system is what takes time.
fn small_run(out: &str) -> Output {
    let program = bin("boxoffice");
    let program = program.to_str().expect("a path of text");
    bench(&[
        "run",
        "reserve",
        "--seconds",
        "1",
        "--warm-up",
        "0.2",
        "--connections",
        "4",
        "--listings",
        "3",
        "--quiet",
        "--program",
        program,
        "--out",
        out,
    ])
}

#[test]
fn a_run_is_written_down_shown_checked_and_compared() {
    let dir = temp_dir();
    let out = dir.path().join("out");
    let out = out.to_str().expect("a path of text");
    let output = small_run(out);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );

    let json = format!("{out}/results.json");
    let written = std::fs::read_to_string(&json).expect("the results are written");
    let mut results: Results =
        serde_json::from_str(&written).expect("they have the shape that is documented");
    let run = results.run("reserve").expect("the scenario was run");
    assert!(run.operations > 0 && run.failed == 0, "{:?}", run.errors);
    assert!(
        run.cpu_ms_per_operation > 0.0 && run.syncs_per_operation.is_some(),
        "{run:?}"
    );
    let processes: Vec<&str> = run.costs.iter().map(|cost| cost.process.as_str()).collect();
    assert!(
        processes.contains(&"redis-server") && processes.contains(&"boxoffice-bench"),
        "{processes:?}"
    );
    assert_eq!(
        run.invariants.len(),
        4,
        "three over HTTP, and verify: {:?}",
        run.invariants
    );
    assert!(!results.is_broken());

    let page = std::fs::read_to_string(format!("{out}/report.html")).expect("the report is written");
    assert!(page.ends_with("</html>\n") && page.contains("<svg"));
    for outside in ["http://", "https://", "url(", "<script", "@import", "src="] {
        assert!(
            !page.contains(outside),
            "the report needs nothing from elsewhere, but has {outside}"
        );
    }

    // A result in which something is broken: the report says so in words, not by colour alone.
    results.results[0].invariants.push(Check {
        name: "a <planted> defect".to_owned(),
        holds: false,
        said: "one ticket was sold twice".to_owned(),
    });
    results.results[0].per_second *= 2.0;
    let broken = format!("{out}/broken.json");
    std::fs::write(
        &broken,
        serde_json::to_string(&results).expect("it can be written"),
    )
    .expect("it is written");
    assert_eq!(bench(&["report", &broken]).status.code(), Some(0));
    let page = std::fs::read_to_string(format!("{out}/broken.html")).expect("the report is written");
    assert!(page.contains("✗ broken") && page.contains("a &lt;planted&gt; defect"));

    let compared = bench(&["compare", &json, &broken]);
    assert!(
        text(&compared.stdout).contains("+100 % ▲"),
        "{}",
        text(&compared.stdout)
    );
}

#[test]
fn a_broken_invariant_is_a_failure_of_the_program() {
    // A system whose own check says that it is broken: `verify` of this program always does.
    let dir = temp_dir();
    let liar = dir.path().join("boxoffice");
    let real = bin("boxoffice");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = verify ]; then echo '{{\"ok\":false,\"stores\":[],\"violations\":[{{\"sentence\":\"I1: sold twice\"}}]}}'; exit 1; fi\nexec '{}' \"$@\"\n",
        real.display()
    );
    std::fs::write(&liar, script).expect("it can be written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&liar, mode).expect("it can be made a program");
    let out = dir.path().join("out");
    let output = bench(&[
        "run",
        "list",
        "--seconds",
        "1",
        "--warm-up",
        "0.2",
        "--connections",
        "2",
        "--quiet",
        "--program",
        liar.to_str().expect("a path of text"),
        "--out",
        out.to_str().expect("a path of text"),
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("INVARIANTS ARE BROKEN") && text(&output.stdout).contains("sold twice")
    );
}

#[test]
fn services_that_are_processes_of_their_own_are_told_apart_by_what_they_cost() {
    let dir = temp_dir();
    let out = dir.path().join("out");
    let out = out.to_str().expect("a path of text");
    let program = bin("boxoffice");
    let program = program.to_str().expect("a path of text");
    // The system counts a process's time in hundredths of a second: each must have taken some.
    let output = bench(&[
        "run",
        "reserve",
        "--apart",
        "--seconds",
        "5",
        "--warm-up",
        "0.2",
        "--connections",
        "2",
        "--listings",
        "2",
        "--quiet",
        "--program",
        program,
        "--out",
        out,
    ]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    let written = std::fs::read_to_string(format!("{out}/results.json")).expect("the results are written");
    let results: Results = serde_json::from_str(&written).expect("they have the shape that is documented");
    let run = results.run("reserve").expect("the scenario was run");
    let cpu_of = |name: &str| {
        let cost = run.costs.iter().find(|cost| cost.process == name);
        cost.map(|cost| cost.cpu_ms)
    };
    for service in ["orders", "tickets", "expiration", "payments", "redis-server"] {
        assert!(
            cpu_of(service).is_some_and(|ms| ms > 0.0),
            "{service}: {:?}",
            run.costs
        );
    }
    assert_eq!(
        run.invariants.len(),
        4,
        "verify reaches them, too: {:?}",
        run.invariants
    );
}

#[test]
fn what_can_t_be_measured_is_said_in_a_sentence() {
    for (args, said) in [
        (&["run", "list", "--base", "http://192.0.2.1:80"][..], "--remote"),
        (
            &["run", "list", "--base", "http://127.0.0.1:1"][..],
            "no connection",
        ),
        (
            &["run", "list", "--program", "/nowhere/boxoffice"][..],
            "build it",
        ),
        (
            &["compare", "/nowhere/a.json", "/nowhere/b.json"][..],
            "/nowhere/a.json",
        ),
    ] {
        let output = bench(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            text(&output.stderr).contains(said),
            "{args:?}: {}",
            text(&output.stderr)
        );
    }
}
