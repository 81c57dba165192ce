//! `tests/broken`: manifests with one error each. Each file says what is changed in an overlay and what must be said about
//! it; an error that is not found fails the test.

use std::collections::BTreeMap;

use manifests::{Bundle, Object, check, parse_documents};
use serde_json::Value;

use crate::tools;

/// Fewer cases than this means that the folder was not found.
const CASES_MIN: usize = 40;

/// One file of the folder.
struct Case {
    name: String,
    overlay: String,
    /// Who must find it: this crate, or the schemas.
    by: String,
    found: String,
    changes: Vec<Value>,
}

fn cases() -> Vec<Case> {
    let folder = tools::root().join("k3s/checks/tests/broken");
    let mut cases: Vec<Case> = std::fs::read_dir(folder)
        .expect("the folder of broken manifests is there")
        .map(|entry| {
            let path = entry.expect("an entry can be read").path();
            let text = std::fs::read_to_string(&path).expect("a case is text");
            let name = path
                .file_stem()
                .expect("a file has a name")
                .to_string_lossy()
                .into_owned();
            let documents = parse_documents(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let case = &documents[0];
            let text_or = |key: &str, otherwise: &str| case[key].as_str().unwrap_or(otherwise).to_owned();
            Case {
                overlay: text_or("overlay", "laptop"),
                by: text_or("by", "check"),
                found: case["found"]
                    .as_str()
                    .unwrap_or_else(|| panic!("{name}: says what is found"))
                    .to_owned(),
                changes: case["change"]
                    .as_array()
                    .unwrap_or_else(|| panic!("{name}: changes something"))
                    .clone(),
                name,
            }
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

/// Makes one change; what it changes must be there, so that a case can't go stale unnoticed.
fn apply(bundle: &mut Bundle, change: &Value, case: &str) {
    if !change["new"].is_null() {
        bundle.objects.push(Object::new(change["new"].clone()));
        return;
    }
    let text = |key: &str| {
        change[key]
            .as_str()
            .unwrap_or_else(|| panic!("{case}: a change says its {key}"))
    };
    let (kind, name) = (text("kind"), text("name"));
    let names = |object: &Object| {
        // Generated names end with a hash of their content.
        object.kind() == kind
            && (object.name() == name
                || object.name().starts_with(&format!("{name}-")) && kind == "ConfigMap")
    };
    let index = bundle
        .objects
        .iter()
        .position(names)
        .unwrap_or_else(|| panic!("{case}: {kind} {name} does not exist"));
    let Some(path) = change["path"].as_str() else {
        let object = bundle.objects.remove(index);
        if change["twice"] == true {
            bundle.objects.push(object.clone());
            bundle.objects.push(object);
        }
        return;
    };
    let (parent, last) = path.rsplit_once('/').expect("a pointer begins with a slash");
    let last = last.replace("~1", "/").replace("~0", "~");
    let parent = walk(bundle.objects[index].value_mut(), parent)
        .unwrap_or_else(|| panic!("{case}: {parent} does not exist in {kind} {name}"));
    match (parent, change.get("to")) {
        (Value::Object(parent), Some(value)) => {
            parent.insert(last, value.clone());
        }
        (Value::Object(parent), None) => {
            parent
                .remove(&last)
                .unwrap_or_else(|| panic!("{case}: {path} does not exist"));
        }
        (Value::Array(parent), Some(value)) if last == "-" => parent.push(value.clone()),
        (Value::Array(parent), value) => {
            let index = match last.strip_prefix('@') {
                Some(name) => parent.iter().position(|element| element["name"] == name),
                None => last.parse().ok(),
            };
            let index = index.unwrap_or_else(|| panic!("{case}: {path} does not exist"));
            match value {
                Some(value) => parent[index] = value.clone(),
                None => drop(parent.remove(index)),
            }
        }
        _ => panic!("{case}: {path} leads into something that has no parts"),
    }
}

/// Follows a JSON pointer, in which `@NAME` stands for the element of a list that is called so.
fn walk<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    path.split('/')
        .skip(1)
        .try_fold(value, |at, segment| match segment.strip_prefix('@') {
            Some(name) => at
                .as_array_mut()?
                .iter_mut()
                .find(|element| element["name"] == name),
            None => at.pointer_mut(&format!("/{segment}")),
        })
}

#[test]
fn every_planted_error_is_found() {
    let programs = tools::programs();
    let whole: BTreeMap<&str, Bundle> = tools::OVERLAYS
        .iter()
        .map(|overlay| (*overlay, tools::bundle(overlay)))
        .collect();
    let folder = testkit::temp_dir();
    let cases = cases();
    assert!(cases.len() >= CASES_MIN, "only {} cases were found", cases.len());
    let mut missed = Vec::new();
    for case in cases {
        let mut bundle = whole[case.overlay.as_str()].clone();
        for change in &case.changes {
            apply(&mut bundle, change, &case.name);
        }
        let wrong = if case.by == "schema" {
            let file = folder.path().join(format!("{}.yaml", case.name));
            // JSON is YAML, and only what was changed needs to be looked at.
            let changed =
                |object: &&Object| case.changes.iter().any(|change| change["name"] == object.name());
            let documents: String = bundle
                .objects
                .iter()
                .filter(changed)
                .map(|object| format!("---\n{}\n", object.value()))
                .collect();
            std::fs::write(&file, documents).expect("a file can be written");
            tools::against_schema(&[file], tools::KUBERNETES_VERSIONS[0])
        } else {
            check(&bundle, &programs)
        };
        if !wrong.iter().any(|sentence| sentence.contains(&case.found)) {
            missed.push(format!(
                "{}: `{}` was not said, but: {wrong:#?}",
                case.name, case.found
            ));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
