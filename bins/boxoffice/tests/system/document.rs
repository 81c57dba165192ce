//! What a program meets below `/api` that no service owns: the document of the whole API, and problems instead of pages.

use serde_json::Value;

use crate::harness::{Deployment, Options, System, in_both_deployments};
use crate::person::Person;

in_both_deployments!(programs_find_the_document_and_no_pages);

async fn programs_find_the_document_and_no_pages(deployment: Deployment) {
    let system = System::start(deployment, Options::default()).await;
    let somebody = Person::sign_up(&system).await;
    let document = somebody.get("/api/openapi.json").expect(200).await.json();
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1")),
        "{document:#}"
    );
    for path in [
        "/api/users/signin",
        "/api/tickets/{id}",
        "/api/orders/{id}/refund",
        "/api/payments/webhook",
        "/api/openapi.json",
        "/live",
    ] {
        assert!(
            document["paths"][path].is_object(),
            "{path} is not in {:#}",
            document["paths"]
        );
    }
    // What stands beside the paths has come along, too.
    assert!(
        document["components"]["schemas"]["Problem"].is_object(),
        "{document:#}"
    );
    assert_eq!(
        document["components"]["securitySchemes"]
            .as_object()
            .map(serde_json::Map::len),
        Some(2),
        "{document:#}"
    );
    let signed_in = &document["paths"]["/api/orders"]["post"]["security"];
    assert_eq!(signed_in.as_array().map(Vec::len), Some(2), "{signed_in:#}");

    for path in ["/api", "/api/", "/api/nothing", "/api/nothing/at/all"] {
        let answer = somebody.get(path).send().await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{path}"
        );
        assert_ne!(answer.json()["errors"], Value::Array(Vec::new()), "{path}");
    }
    let wrong = somebody.post("/api/openapi.json", &Value::Null).send().await;
    assert_eq!(wrong.status, 405);
}
