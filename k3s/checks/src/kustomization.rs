//! The text of an overlay that somebody would write over ours: other resources beside it, and settings of their own. It is
//! text only; rendering it is kubectl's business.

use std::fmt::Write as _;
use std::path::Path;

/// A `kustomization.yaml` for `folder`, which puts `resources` together and merges `settings` over theirs. All paths must be
/// canonical.
pub fn kustomization(folder: &Path, resources: &[&Path], settings: &[(&str, &str)]) -> String {
    // kustomize takes no absolute path.
    let up = "../".repeat(folder.components().count().saturating_sub(1));
    let mut text = String::from(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: boxoffice\nresources:\n",
    );
    for resource in resources {
        let down = resource.strip_prefix("/").unwrap_or(resource);
        writeln!(text, "  - {up}{}", down.display()).expect("text can grow");
    }
    text += "configMapGenerator:\n  - name: settings\n    behavior: merge\n    literals:\n";
    for (name, value) in settings {
        writeln!(text, "      - {name}={value}").expect("text can grow");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_elsewhere_is_found_from_the_folder() {
        let text = kustomization(
            Path::new("/tmp/mine"),
            &[Path::new("/src/k3s/overlays/laptop")],
            &[("RUST_LOG", "debug")],
        );
        assert!(text.contains("  - ../../src/k3s/overlays/laptop\n"), "{text}");
        assert!(text.ends_with("      - RUST_LOG=debug\n"), "{text}");
    }
}
