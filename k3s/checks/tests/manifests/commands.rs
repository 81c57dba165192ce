//! The scripts for a cluster, run without one: dry, and against a cluster made of paper.

use std::fs;

use crate::paper::{Paper, said};
use crate::tools;

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
    let output = paper.run("k3s-up", &["--tag", "1.2.3", "--url", "http://127.0.0.1:9/"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        output.stdout.ends_with(b"http://127.0.0.1:9\n"),
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
        rendered.contains("PUBLIC_URL: http://127.0.0.1:9\n"),
        "the address is used"
    );
    assert!(
        rendered.contains("STRIPE_FORM_ACTION: http://127.0.0.1:9\n"),
        "the payment page is allowed"
    );
}

#[test]
fn what_pushes_images_is_looked_for_before_they_are_built() {
    let paper = Paper::new();
    // Everything that is here, without skopeo and without what could install it.
    let path = paper.path().join("path");
    fs::create_dir(&path).expect("a folder can be made");
    let folders = std::env::var_os("PATH").expect("there is a PATH");
    for folder in std::env::split_paths(&folders) {
        for program in fs::read_dir(folder).into_iter().flatten() {
            let program = program.expect("an entry can be read");
            let name = program.file_name();
            if name != "skopeo" && name != "apt-get" && !path.join(&name).exists() {
                std::os::unix::fs::symlink(program.path(), path.join(name)).expect("a link can be made");
            }
        }
    }
    let output = paper.run_with(
        "k3s-up",
        &["--registry", "registry.example.com/ours"],
        &[("PATH", path.to_str().expect("a temporary folder's name is text"))],
    );
    let said = said(&output);
    assert!(
        !output.status.success() && said.contains("skopeo is missing"),
        "{said}"
    );
    assert!(!said.contains("building"), "{said}");
}

#[test]
fn a_cluster_that_is_too_old_is_refused() {
    let output = Paper::new().run_with(
        "k3s-up",
        &["--tag", "1.2.3"],
        &[("SERVER_VERSION", "1.29.9+k3s1")],
    );
    assert!(
        !output.status.success() && said(&output).contains("1.30 or newer is needed"),
        "{}",
        said(&output)
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
