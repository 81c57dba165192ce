//! Pages of the site: rendered from answers that lie there, without a service or a socket. The landing page twice: as most
//! see it, when the list is as it was, and when something in it has changed since the last one who looked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::routing::get;
use axum::{Json, Router};
use criterion::Criterion;
use http::Request;
use serde_json::{Value, json};
use service::Clock;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

/// As many as the landing page shows.
const TICKETS: usize = 24;

const PAGE_BYTES_MAX: usize = 1 << 20;

pub(crate) fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime can be started");
    let clock = Clock::new();
    let ticket = ticket(&clock, 0);
    let id = ticket["id"].as_str().expect("it has one").to_owned();
    let listed: Vec<Value> = (0..TICKETS).map(|number| self::ticket(&clock, number)).collect();
    let version = Arc::new(AtomicU64::new(1));
    let latest = Arc::clone(&version);
    let api = Router::new()
        .route(
            "/api/tickets",
            get(async move || {
                let mut listed = listed;
                listed[0]["version"] = latest.load(Ordering::Relaxed).into();
                Json(listed)
            }),
        )
        .route("/api/tickets/{id}", get(async move || Json(ticket)))
        .route(
            "/api/users/currentuser",
            get(async || Json(json!({ "currentUser": null }))),
        );
    let url = "http://127.0.0.1:8080".parse().expect("an address");
    let settings = web::Settings::new(url, web::Clock::of_process(clock));
    let site = web::router(settings, web::Upstream::in_process(api));
    let mut group = criterion.benchmark_group("page");
    let (landing, ticket) = ("/".to_owned(), format!("/tickets/{id}"));
    for (name, path, changes) in [
        ("landing", &landing, 0),
        ("landing, the list has changed", &landing, 1),
        ("ticket", &ticket, 0),
    ] {
        runtime.block_on(page(&site, path));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                version.fetch_add(changes, Ordering::Relaxed);
                runtime.block_on(page(&site, path))
            })
        });
    }
    group.finish();
}

async fn page(site: &Router, path: &str) -> usize {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let answer = site
        .clone()
        .oneshot(request)
        .await
        .expect("a router always answers");
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    let bytes = axum::body::to_bytes(answer.into_body(), PAGE_BYTES_MAX).await;
    bytes.expect("a page is not that long").len()
}

fn ticket(clock: &Clock, number: usize) -> Value {
    let now = clock.now().to_string();
    json!({
        "id": clock.ticket_id().to_string(), "title": format!("Two seats, row {number}"), "description": "", "price": 45,
        "currency": "usd", "quantity": 2, "available": 1, "venue": "Old Harbour Hall, Bergen",
        "startsAt": "2027-06-12T18:00:00Z", "timeZone": "Europe/Oslo", "userId": clock.user_id().to_string(),
        "version": 1, "createdAt": now, "updatedAt": now,
    })
}
