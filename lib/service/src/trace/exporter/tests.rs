//! A collector over a real socket, in every mood: what it does to spans, and what it does not do to whoever records them.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use testkit::eventually;
use tokio::net::TcpListener;

use super::super::context::Context;
use super::super::span::Kind;
use super::*;
use crate::Clock;

/// How long anything may take here, on a machine with much else to do.
const DONE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
enum Mood {
    Takes,
    /// So many times, and takes the same after that.
    BusyAtFirst(usize),
    Refuses,
    TakesAllButOne,
    Hangs,
}

struct Collects {
    mood: Mood,
    asked: usize,
    names: Vec<String>,
}

type Shared = Arc<Mutex<Collects>>;

async fn collector(mood: Mood) -> (Destination, Shared) {
    let collects = Arc::new(Mutex::new(Collects {
        mood,
        asked: 0,
        names: Vec::new(),
    }));
    let router = Router::new()
        .route("/v1/traces", post(take))
        .with_state(Arc::clone(&collects));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (destination(&format!("http://{address}")), collects)
}

fn destination(base: &str) -> Destination {
    let found = Destination::of(|name| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| base.to_owned()));
    found.unwrap().unwrap()
}

async fn take(State(collects): State<Shared>, body: String) -> Response {
    let mood = {
        let mut collects = collects.lock().unwrap();
        collects.asked += 1;
        match collects.mood {
            Mood::BusyAtFirst(times) if collects.asked <= times => {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            Mood::BusyAtFirst(_) => Mood::Takes,
            mood @ (Mood::Takes | Mood::Refuses | Mood::TakesAllButOne | Mood::Hangs) => mood,
        }
    };
    match mood {
        Mood::Refuses => return StatusCode::BAD_REQUEST.into_response(),
        Mood::Hangs => return std::future::pending().await,
        Mood::Takes | Mood::TakesAllButOne | Mood::BusyAtFirst(_) => {}
    }
    let told: Value = serde_json::from_str(&body).unwrap();
    let spans = told["resourceSpans"][0]["scopeSpans"][0]["spans"]
        .as_array()
        .unwrap();
    let names = spans.iter().map(|span| span["name"].as_str().unwrap().to_owned());
    collects.lock().unwrap().names.extend(names);
    let rejected = if matches!(mood, Mood::TakesAllButOne) {
        "1"
    } else {
        "0"
    };
    axum::Json(json!({ "partialSuccess": { "rejectedSpans": rejected } })).into_response()
}

fn span(name: impl Into<String>) -> Span {
    Span {
        context: Context::under(None, |_| true),
        service: "orders",
        name: name.into(),
        kind: Kind::Server,
        begin: Clock::new().now(),
        lasted: Duration::from_millis(1),
        attributes: Vec::new(),
        failed: false,
    }
}

/// What is counted so far, of one kind.
fn counted(line: &str) -> usize {
    let metrics = crate::metrics().render();
    let found = metrics
        .lines()
        .find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or(0)
}

async fn count_becomes(line: &str, expected: usize) {
    eventually(&format!("{line} is {expected}"), DONE, async || {
        (counted(line) == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_arrives_also_the_last_of_it() {
    crate::metrics();
    let (destination, collects) = collector(Mood::Takes).await;
    let (exporter, traces) = begin(destination, "orders");
    exporter.record(span("first"));
    count_becomes("trace_spans_sent_total", 1).await;
    for number in 0..1_000 {
        exporter.record(span(format!("{number}")));
    }
    let unsampled = Span {
        context: Context::under(None, |_| false),
        ..span("not recorded")
    };
    exporter.record(unsampled);
    // Longer than a process would wait at its end, so that a busy machine does not fail this.
    let Traces(Some(Sending { stop, task })) = traces else {
        panic!("they are sent")
    };
    stop.send(()).unwrap();
    tokio::time::timeout(DONE, task).await.unwrap().unwrap();
    let names = collects.lock().unwrap().names.clone();
    assert_eq!(names.len(), 1_001);
    assert_eq!((names[0].as_str(), names[1_000].as_str()), ("first", "999"));
    assert_eq!(counted("trace_spans_sent_total"), 1_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_busy_is_asked_again() {
    crate::metrics();
    let (destination, collects) = collector(Mood::BusyAtFirst(PAUSES.len())).await;
    let (exporter, _traces) = begin(destination, "orders");
    exporter.record(span("patient"));
    count_becomes("trace_spans_sent_total", 1).await;
    assert_eq!(collects.lock().unwrap().names, ["patient"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_counted_and_not_sent_again() {
    crate::metrics();
    let (destination, collects) = collector(Mood::Refuses).await;
    let (exporter, _traces) = begin(destination, "orders");
    exporter.record(span("unwelcome"));
    count_becomes("trace_spans_dropped_total{why=\"refused\"}", 1).await;
    assert_eq!(collects.lock().unwrap().asked, 1);

    let (destination, _) = collector(Mood::TakesAllButOne).await;
    let (exporter, _traces) = begin(destination, "orders");
    exporter.record(span("unwelcome, too"));
    // The counters are the process's: one was counted before, and a counter that is told to begin at nothing keeps what it has.
    count_becomes("trace_spans_dropped_total{why=\"refused\"}", 2).await;
    assert_eq!(counted("trace_spans_sent_total"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_or_is_away_holds_nobody_up() {
    crate::metrics();
    let (hanging, _) = collector(Mood::Hangs).await;
    // Nobody listens on the port of a listener that is gone.
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    for destination in [hanging, destination(&format!("http://{gone}"))] {
        let dropped = counted("trace_spans_dropped_total{why=\"queue full\"}");
        let (exporter, traces) = begin(destination, "orders");
        let recording = tokio::task::spawn_blocking(move || {
            // Twice what the queue holds, and what may be on its way: the rest is dropped, and nothing waits.
            for _ in 0..2 * SPANS_QUEUED_MAX {
                exporter.record(span("too many"));
            }
            exporter
        });
        let _exporter = tokio::time::timeout(DONE, recording).await.unwrap().unwrap();
        let dropped = counted("trace_spans_dropped_total{why=\"queue full\"}") - dropped;
        assert!(dropped > 0 && dropped <= SPANS_QUEUED_MAX, "{dropped}");
        tokio::time::timeout(DONE, traces.flush())
            .await
            .expect("the end is not held up");
    }
}
