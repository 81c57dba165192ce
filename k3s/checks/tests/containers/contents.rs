//! What is in each image, before anything of it runs: one static program, what it is made of, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::cluster::root;
use crate::command::{line, run};
use crate::image::{Image, json};

/// The programs that images are made of, as `scripts/lib-k3s.sh` lists them.
const PROGRAMS: [&str; 8] = [
    "auth",
    "tickets",
    "orders",
    "expiration",
    "payments",
    "web",
    "stripe-fake",
    "boxoffice",
];

/// Where the labels of images have their names from.
const LABELS: &str = "org.opencontainers.image";

#[test]
fn each_image_holds_one_static_program_and_what_it_is_made_of() {
    let folder = testkit::temp_dir();
    let crates = Crates::read();
    for program in PROGRAMS {
        let image = Image::of_program(program, folder.path());
        is_labelled(program, &image.config);
        let files: BTreeSet<String> = fs::read_dir(&image.root)
            .expect("an image has files")
            .map(|entry| {
                entry
                    .expect("an entry can be read")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        let expected = [
            program.to_owned(),
            format!("{program}.cdx.json"),
            "data".to_owned(),
        ];
        assert_eq!(
            files,
            expected.into(),
            "{program}: no shell, no library, nothing that is not needed"
        );
        let headers = run(line("readelf --program-headers --wide").arg(image.root.join(program)));
        assert!(
            !headers.contains("INTERP"),
            "{program} asks for a loader:\n{headers}"
        );
        crates.are_listed(program, &json(&image.root.join(format!("{program}.cdx.json"))));
    }
}

fn is_labelled(program: &str, config: &Value) {
    let label = |name: &str| {
        config["Labels"][format!("{LABELS}.{name}")]
            .as_str()
            .unwrap_or_default()
    };
    assert_eq!(label("title"), format!("boxoffice/{program}"));
    assert_eq!(label("vendor"), "Boxoffice");
    assert_eq!(label("licenses"), "MIT OR Apache-2.0");
    assert!(!label("description").is_empty(), "{program} says what it is");
    let version = label("version");
    // The version, of which sources, and how it was built, unless as what ships.
    let sources = version.split('-').nth(1).unwrap_or_default();
    assert!(
        version.starts_with(env!("CARGO_PKG_VERSION")) && sources.len() == 12,
        "{program} says `{version}` and not of which sources it is"
    );
    assert_eq!(config["User"], "65532:65532", "{program}");
    assert_eq!(config["Entrypoint"], serde_json::json!([format!("/{program}")]));
}

/// What cargo knows about the crates, asked in another way than the bills of materials are made.
struct Crates {
    /// Our own packages, with what each names as a dependency.
    ours: Value,
    /// Everything in `Cargo.lock`: name, version, checksum.
    locked: BTreeSet<(String, String, String)>,
}

impl Crates {
    fn read() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
        let mut metadata = std::process::Command::new(cargo);
        metadata
            .args(["metadata", "--locked", "--no-deps", "--format-version", "1"])
            .current_dir(root());
        let ours: Value = serde_json::from_str(&run(&mut metadata)).expect("cargo speaks JSON");
        Self {
            ours: ours["packages"].clone(),
            locked: locked(&root().join("Cargo.lock")),
        }
    }

    /// Holds a program's bill of materials against what cargo knows: the program itself, every crate that it and the crates
    /// of ours below it name, and for each that is not ours the very content that `Cargo.lock` wants.
    fn are_listed(&self, program: &str, bill: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        assert_eq!(bill["bomFormat"], "CycloneDX", "{program}");
        assert_eq!(bill["specVersion"], "1.5", "{program}");
        assert_eq!(bill["metadata"]["component"]["name"], program);
        assert_eq!(
            bill["metadata"]["component"]["version"],
            env!("CARGO_PKG_VERSION")
        );
        let components = bill["components"]
            .as_array()
            .expect("a program is made of something");
        let listed: BTreeSet<String> = components.iter().map(|one| text(&one["name"])).collect();
        for name in self.needed_by(program) {
            assert!(listed.contains(&name), "{program} is made of {name}, too");
        }
        for one in components {
            let (name, version) = (text(&one["name"]), text(&one["version"]));
            assert!(
                one["licenses"][0]["expression"].is_string(),
                "{program}: {name} has a licence"
            );
            if self.package(&name).is_some() {
                continue;
            }
            assert_eq!(one["purl"], format!("pkg:cargo/{name}@{version}"));
            let content = text(&one["hashes"][0]["content"]);
            let wanted = (name, version, content);
            assert!(
                self.locked.contains(&wanted),
                "{program}: {wanted:?} is not in Cargo.lock"
            );
        }
    }

    fn package(&self, name: &str) -> Option<&Value> {
        self.ours
            .as_array()?
            .iter()
            .find(|package| package["name"] == name)
    }

    /// What a package of ours needs for sure, and what those of ours below it need.
    fn needed_by(&self, package: &str) -> BTreeSet<String> {
        let mut needed = BTreeSet::new();
        let mut open = vec![package.to_owned()];
        while let Some(package) = open.pop() {
            let package = self.package(&package).expect("it is one of ours");
            for one in package["dependencies"].as_array().into_iter().flatten() {
                // Neither for tests nor for build scripts, whatever is switched on, on every system.
                let certain = one["kind"].is_null() && one["optional"] == false && one["target"].is_null();
                let name = one["name"].as_str().expect("a dependency has a name");
                if certain && needed.insert(name.to_owned()) && self.package(name).is_some() {
                    open.push(name.to_owned());
                }
            }
        }
        needed
    }
}

/// Every crate of a registry in a lock file.
fn locked(file: &Path) -> BTreeSet<(String, String, String)> {
    let text = fs::read_to_string(file).expect("Cargo.lock is there");
    let value = |package: &str, key: &str| {
        let line = package
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{key} = \"")))?;
        line.strip_suffix('"').map(str::to_owned)
    };
    text.split("[[package]]")
        .filter_map(|package| {
            Some((
                value(package, "name")?,
                value(package, "version")?,
                value(package, "checksum")?,
            ))
        })
        .collect()
}
