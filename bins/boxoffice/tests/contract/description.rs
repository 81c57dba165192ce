//! The OpenAPI document: complete, consistent in itself, and true.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::app::{App, text};
use crate::edges::PATHS;

const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

#[tokio::test(flavor = "multi_thread")]
async fn the_description_lists_every_route_and_resolves_in_itself() {
    let app = App::start();
    let document = app.anyone().get("/api/openapi.json").expect(200).await;
    assert_eq!(document.header("content-type"), Some("application/json"));
    let document = document.json();
    assert!(
        text(&document, "openapi").starts_with("3.1."),
        "{}",
        document["openapi"]
    );
    for field in ["title", "version"] {
        assert!(!text(&document["info"], field).is_empty());
    }
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            let methods = methods.filter(|key| METHODS.contains(&key.as_str()));
            methods.map(move |method| (path.clone(), method.to_uppercase()))
        })
        .collect();
    let contract: BTreeSet<(String, String)> = PATHS
        .iter()
        .chain(&[("/live", &["GET"] as &[&str])])
        .flat_map(|(path, methods)| {
            methods
                .iter()
                .map(|method| ((*path).to_owned(), (*method).to_owned()))
        })
        .collect();
    assert_eq!(described, contract);
    let mut names = BTreeSet::new();
    for (path, method) in &described {
        let operation = &document["paths"][path][method.to_lowercase()];
        is_described(&document, operation, &format!("{method} {path}"));
        assert!(
            names.insert(text(operation, "operationId")),
            "{method} {path}: its name is taken"
        );
    }
    resolves(&document, &document);
}

fn is_described(document: &Value, operation: &Value, what: &str) {
    assert!(!text(operation, "summary").is_empty(), "{what}: no summary");
    let responses = operation["responses"].as_object().unwrap();
    assert!(responses.keys().any(|status| status.starts_with('2')), "{what}");
    // The other two belong to no service, and read nothing that could be wrong.
    assert!(
        responses.contains_key("default") || ["GET /live", "GET /api/openapi.json"].contains(&what),
        "{what}: what else may come is not described"
    );
    for (status, response) in responses {
        assert!(!text(response, "description").is_empty(), "{what}: {status}");
        if status.starts_with(['4', '5', 'd']) {
            let kinds: Vec<&String> = response["content"]
                .as_object()
                .into_iter()
                .flat_map(|c| c.keys())
                .collect();
            assert_eq!(kinds, ["application/problem+json"], "{what}: {status}");
        }
    }
    for requirement in operation["security"].as_array().into_iter().flatten() {
        for scheme in requirement.as_object().unwrap().keys() {
            let scheme = &document["components"]["securitySchemes"][scheme];
            assert!(
                scheme.is_object(),
                "{what}: its way of signing in is not described"
            );
        }
        assert!(responses.contains_key("401"), "{what}: no 401");
    }
    let path = what.split(' ').nth(1).unwrap_or_default();
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let in_path = parameters.filter(|parameter| parameter["in"] == "path").count();
    assert_eq!(
        in_path,
        path.matches('{').count(),
        "{what}: the parameters of its path"
    );
}

/// Every reference leads somewhere.
fn resolves(document: &Value, value: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let pointer = reference.trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            fields.values().for_each(|field| resolves(document, field));
        }
        Value::Array(items) => items.iter().for_each(|item| resolves(document, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
