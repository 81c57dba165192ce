//! An image as a runtime sees it: a folder with its files, and what it says of itself.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command::{line, output, run};

/// An unpacked image.
pub(crate) struct Image {
    /// Its files.
    pub(crate) root: PathBuf,
    /// What it says of itself: `config` of an image's configuration.
    pub(crate) config: Value,
}

/// Where `scripts/k3s-images --save` has put the images.
pub(crate) fn archives() -> PathBuf {
    let variable = "BOXOFFICE_IMAGES";
    let folder = std::env::var_os(variable).unwrap_or_else(|| {
        panic!("{variable} names no folder with images: make them with `./scripts/k3s-images --save FOLDER`")
    });
    PathBuf::from(folder)
}

impl Image {
    /// Unpacks the archive of one of our programs.
    pub(crate) fn of_program(program: &str, below: &Path) -> Self {
        let archive = archives().join(format!("{program}.tar"));
        let (parts, root) = (below.join(format!("{program}.parts")), below.join(program));
        for folder in [&parts, &root] {
            fs::create_dir_all(folder).expect("a folder can be made");
        }
        run(line("tar -x").arg("-f").arg(&archive).arg("-C").arg(&parts));
        let manifest = json(&parts.join("manifest.json"));
        for layer in manifest[0]["Layers"].as_array().expect("an image has layers") {
            let layer = parts.join(layer.as_str().expect("a layer is a file"));
            run(line("tar -x --numeric-owner -p")
                .arg("-f")
                .arg(&layer)
                .arg("-C")
                .arg(&root));
        }
        let config = parts.join(
            manifest[0]["Config"]
                .as_str()
                .expect("an image has a configuration"),
        );
        Self {
            root,
            config: json(&config)["config"].clone(),
        }
    }

    /// In place of Redis' own image, which no registry here has: this machine's redis-server and what its manifest calls.
    pub(crate) fn of_redis(below: &Path) -> Self {
        let root = below.join("redis");
        for folder in ["bin", "data", "etc", "lib64", "tmp"] {
            fs::create_dir_all(root.join(folder)).expect("a folder can be made");
        }
        for (program, name) in [
            ("redis-server", "redis-server"),
            ("redis-cli", "redis-cli"),
            ("dash", "sh"),
            ("grep", "grep"),
        ] {
            let found = run(line("which").arg(program));
            let found = fs::canonicalize(found.trim()).expect("a program is a file");
            fs::copy(&found, root.join("bin").join(name)).expect("a program can be copied");
            copy_libraries(&found, &root);
        }
        Self {
            root,
            config: serde_json::json!({ "Env": ["PATH=/bin"], "WorkingDir": "/data" }),
        }
    }
}

/// Copies what a program is linked with to where it looks for it.
fn copy_libraries(program: &Path, root: &Path) {
    let linked = output(line("ldd").arg(program));
    let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
    for word in linked.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = root.join(word.trim_start_matches('/'));
        fs::create_dir_all(to.parent().expect("a library lies in a folder")).expect("a folder can be made");
        fs::copy(word, to).expect("a library can be copied");
    }
}

pub(crate) fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
