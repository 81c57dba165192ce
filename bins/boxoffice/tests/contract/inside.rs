//! What probes and scrapers on the inside are shown.

use serde_json::json;
use testkit::{Client, Process, eventually, temp_dir};

use crate::app::{App, SOON};
use crate::checks::{has_exactly, problem};

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics_have_their_shapes() {
    let app = App::start();
    let client = app.anyone();
    let live = client.get("/healthz").expect(200).await;
    assert_eq!(live.json(), json!({"live": true}));

    let ready = eventually("the bus is connected everywhere", SOON, async || {
        let ready = client.get("/readyz").send().await;
        if ready.status != 200 {
            // A moment ago it was started: it says what it waits for.
            problem(&ready, 503);
            return None;
        }
        let ready = ready.json();
        let connected = |service: &serde_json::Value| service["bus"] == "connected";
        let all = ready["services"]
            .as_array()
            .is_some_and(|all| all.iter().all(connected));
        all.then_some(ready)
    })
    .await;
    has_exactly(&ready, &["ready", "services"]);
    assert_eq!(ready["ready"], true);
    let mut names = Vec::new();
    for service in ready["services"].as_array().unwrap() {
        has_exactly(
            service,
            &["service", "live", "ready", "store", "signingKeys", "bus"],
        );
        assert_eq!(service["live"], true);
        assert_eq!(service["ready"], true);
        assert_eq!(service["store"], "serving");
        assert!(service["signingKeys"].as_u64() > Some(0));
        names.push(service["service"].as_str().unwrap());
    }
    names.sort_unstable();
    assert_eq!(names, ["auth", "expiration", "orders", "payments", "tickets"]);

    app.person("ann").await.lists(1).await;
    let metrics = client.get("/metrics").expect(200).await;
    let text = metrics.text();
    for name in [
        "bus_relayed_total",
        "store_transactions_total",
        "store_failures_total",
    ] {
        assert!(
            text.contains(&format!("# TYPE {name} counter")),
            "{name} in\n{text}"
        );
    }
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(
            name.starts_with(|letter: char| letter.is_ascii_lowercase()),
            "{line}"
        );
    }
    // Nothing that people have said is in there.
    assert!(
        !text.contains("example.org") && !text.contains("A show"),
        "{text}"
    );
}

/// A service by itself, with neither bus nor auth: it says what it lacks, and does what it can.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_by_itself_has_its_own_paths_and_no_others() {
    let dir = temp_dir();
    let service = Process::of("tickets")
        .arg("--listen")
        .arg("127.0.0.1:0")
        .arg("--data-dir")
        .arg(dir.path())
        .arg("--redis-url")
        .arg("redis://127.0.0.1:9")
        .start();
    let client = Client::new(service.base());
    assert_eq!(
        client.get("/healthz").expect(200).await.json(),
        json!({"live": true})
    );
    problem(&client.get("/readyz").send().await, 503);
    client.get("/metrics").expect(200).await;
    let status = client.get("/internal/status").expect(200).await.json();
    assert_eq!(status["service"], "tickets");
    assert_eq!(status["bus"]["connected"], false);
    let document = client.get("/api/openapi.json").expect(200).await.json();
    let paths: Vec<&str> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        paths,
        ["/api/tickets", "/api/tickets/{id}", "/api/tickets/{id}/orders"]
    );
    assert_eq!(client.get("/api/tickets").expect(200).await.json(), json!([]));
    problem(
        &client
            .post("/api/tickets", &json!({"title": "x", "price": 1}))
            .send()
            .await,
        401,
    );
    for path in [
        "/api/orders",
        "/api/users/currentuser",
        "/api/payments",
        "/",
        "/live",
        "/v1/refunds",
    ] {
        problem(&client.get(path).send().await, 404);
    }
    for path in ["/healthz", "/readyz", "/metrics", "/internal/status"] {
        problem(&client.post(path, &json!({})).send().await, 405);
    }
}

/// What is for the inside is not for the public: the one port of a laptop shows it to the laptop only, and what
/// operators see of a service stands behind the site's own page.
#[tokio::test(flavor = "multi_thread")]
async fn the_public_port_has_no_inside() {
    let app = App::start();
    let ann = app.person("ann").await;
    for path in [
        "/internal/status",
        "/internal/events?subject=x",
        "/api/internal/status",
    ] {
        assert_eq!(ann.get(path).send().await.status, 404, "{path}");
    }
}
