//! What probes and scrapers on the inside are shown.

use serde_json::json;
use testkit::eventually;

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
