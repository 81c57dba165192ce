//! The tools that the checks call, and where they are.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use manifests::{Bundle, Program, Programs, Secrets};

/// The versions of Kubernetes whose schemas must hold: the oldest with everything that is used here (a preStop that
/// sleeps, on by default), and a recent one. Exact: without the third number the checker takes none, and says nothing.
pub(crate) const KUBERNETES_VERSIONS: &[&str] = &["1.30.0", "1.35.0"];

/// All overlays.
pub(crate) const OVERLAYS: &[&str] = &["laptop", "production", "production-external-redis", MONITORING];

/// The overlay that is applied beside one of the others.
const MONITORING: &str = "monitoring";

/// The programs that images are made of.
const PROGRAMS: &[&str] = &[
    "auth",
    "tickets",
    "orders",
    "expiration",
    "payments",
    "web",
    "stripe-fake",
];

/// The program whose commands operators run.
const OPERATOR: &str = "boxoffice";

/// The top of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("k3s/checks lies two folders down")
        .to_path_buf()
}

/// A tool that a variable names, or that lies where the scripts install it, or in `PATH`.
pub(crate) fn tool(variable: &str, installed: &str, name: &str) -> Command {
    if let Some(path) = std::env::var_os(variable) {
        return Command::new(path);
    }
    let test = std::env::current_exe().expect("a running test knows where its own file is");
    let target = test
        .ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "deps"))
        .and_then(|deps| deps.ancestors().nth(2))
        .expect("a test executable lies in target/<profile>/deps");
    let beside = target.join("tools").join(installed);
    Command::new(if beside.is_file() {
        beside
    } else {
        PathBuf::from(name)
    })
}

/// Runs a tool to its end.
pub(crate) fn run(mut command: Command) -> Output {
    let called = format!("{command:?}");
    command.output().unwrap_or_else(|error| {
        panic!("{called} can't be run ({error}): `. scripts/lib-k3s.sh` and `need_manifest_tools` install what is missing")
    })
}

/// What `kubectl kustomize` makes of a folder.
pub(crate) fn render(folder: &Path) -> String {
    let mut kubectl = tool("BOXOFFICE_KUBECTL", "kubectl", "kubectl");
    kubectl.arg("kustomize").arg(folder);
    let output = run(kubectl);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", folder.display());
    // A deprecated field is still rendered, but said on stderr.
    assert_eq!(said, "", "{}", folder.display());
    String::from_utf8(output.stdout).expect("manifests are text")
}

/// An overlay, rendered and read, with the Secrets that the script makes for it.
pub(crate) fn bundle(overlay: &str) -> Bundle {
    let mut rendered = render(&root().join("k3s/overlays").join(overlay));
    let mut overlay = overlay;
    if overlay == MONITORING {
        // It is applied beside another one, and only makes sense with what that one brings.
        overlay = "laptop";
        rendered = render(&root().join("k3s/overlays").join(overlay)) + "---\n" + &rendered;
    }
    Bundle::parse(overlay, &rendered, secrets(overlay)).expect("what kustomize renders is YAML")
}

/// The Secrets that the script makes for an overlay.
pub(crate) fn secrets(overlay: &str) -> Secrets {
    let list = std::fs::read_to_string(root().join("k3s/secrets.txt")).expect("the list of Secrets is there");
    Secrets::parse(&list, overlay).expect("the list of Secrets can be read")
}

/// What each program says of itself.
pub(crate) fn programs() -> Programs {
    let help = |name: &str, command: Option<&str>| {
        let mut program = Command::new(testkit::bin(name));
        program.args(command).arg("--help");
        let output = run(program);
        assert!(
            output.status.success(),
            "{name} {command:?} does not explain itself"
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut programs: Programs = PROGRAMS
        .iter()
        .map(|name| ((*name).to_owned(), Program::from_help(&help(name, None))))
        .collect();
    // An operator's command has settings of its own.
    let backup = Program::from_help(&help(OPERATOR, Some("backup")));
    programs.insert(OPERATOR.to_owned(), backup);
    programs
}

/// What the schemas of Kubernetes say against manifests, for one version; nothing when they hold.
pub(crate) fn against_schema(files: &[PathBuf], version: &str) -> Vec<String> {
    let mut validate = tool(
        "BOXOFFICE_KUBERNETES_VALIDATE",
        "kubernetes-validate/bin/kubernetes-validate",
        "kubernetes-validate",
    );
    validate
        .args(["--strict", "--kubernetes-version", version])
        .args(files);
    let output = run(validate);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let mut wrong: Vec<String> = said
        .lines()
        .filter(|line| line.starts_with("ERROR") || line.starts_with("WARN") || line.starts_with("FATAL"))
        .filter(|line| !is_of_no_schema(line))
        .map(str::to_owned)
        .collect();
    // It answers 0 to what it only warns of, so silence is believed only together with that.
    if wrong.is_empty() && !output.status.success() {
        wrong.push(said);
    }
    wrong
}

/// Kinds that operators bring, of which the schemas of Kubernetes say nothing; each is listed here.
fn is_of_no_schema(line: &str) -> bool {
    [
        "kind Middleware with",
        "kind ServiceMonitor with",
        "kind PrometheusRule with",
    ]
    .iter()
    .any(|kind| line.contains("Couldn't find schema") && line.contains(kind))
}
