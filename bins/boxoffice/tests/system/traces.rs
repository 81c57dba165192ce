//! Where a collector is named, one click is one trace, from the page that was clicked on to the last service that hears of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use testkit::eventually;
use tokio::net::TcpListener;

use crate::harness::{Deployment, Options, System};
use crate::person::Person;

/// How long a span may take to the collector, on a machine with other things to do.
const TOLD: Duration = Duration::from_secs(60);

/// One span as the collector got it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    service: String,
    name: String,
    trace: String,
    id: String,
    parent: Option<String>,
}

type Spans = Arc<Mutex<Vec<Told>>>;

/// A collector: takes what it is told, and keeps it.
async fn collector() -> (String, Spans) {
    let spans = Spans::default();
    let router = Router::new()
        .route("/v1/traces", post(take))
        .with_state(Arc::clone(&spans));
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("the loopback has a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    tokio::spawn(async move {
        axum::serve(listener, router)
            .await
            .expect("it serves until the test ends")
    });
    (format!("http://{address}"), spans)
}

async fn take(State(spans): State<Spans>, Json(told): Json<Value>) -> Json<Value> {
    let list = |value: &Value| value.as_array().expect("OTLP has a list there").clone();
    let text = |value: &Value| value.as_str().expect("OTLP has a text there").to_owned();
    for resource in list(&told["resourceSpans"]) {
        let named = list(&resource["resource"]["attributes"]);
        let named = named.iter().find(|attribute| attribute["key"] == "service.name");
        let service = text(&named.expect("every service has a name")["value"]["stringValue"]);
        for scope in list(&resource["scopeSpans"]) {
            for span in list(&scope["spans"]) {
                spans
                    .lock()
                    .expect("no test panics while it holds them")
                    .push(Told {
                        service: service.clone(),
                        name: text(&span["name"]),
                        trace: text(&span["traceId"]),
                        id: text(&span["spanId"]),
                        parent: span["parentSpanId"].as_str().map(str::to_owned),
                    });
            }
        }
    }
    Json(serde_json::json!({}))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_click_is_one_trace_through_every_service() {
    let (collector, spans) = collector().await;
    let mut system = System::start_told(
        Deployment::Separate,
        Options::default(),
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector)],
    )
    .await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(1).await;
    let clicked = reserves(&buyer, &ticket).await;
    // Whom a reservation concerns: the page, the order, the hold, the answer to it, the payment's replica, the deadline.
    let expected = [
        ("web", "POST /tickets/{id}"),
        ("orders", "POST /api/orders"),
        ("tickets", "process order:created"),
        ("payments", "process order:created"),
        ("expiration", "process order:created"),
        ("orders", "process ticket:reserved"),
        ("payments", "process order:awaitingpayment"),
    ];
    let told = eventually("the whole story is told", TOLD, async || {
        let spans = spans.lock().unwrap();
        let told: Vec<Told> = spans
            .iter()
            .filter(|span| span.trace == clicked)
            .cloned()
            .collect();
        let names: BTreeSet<(&str, &str)> = told
            .iter()
            .map(|span| (span.service.as_str(), span.name.as_str()))
            .collect();
        expected.iter().all(|step| names.contains(step)).then_some(told)
    })
    .await;
    // Each stands under the one that led to it, and the click under nothing.
    let by_id: BTreeMap<&str, &Told> = told.iter().map(|span| (span.id.as_str(), span)).collect();
    for span in &told {
        match &span.parent {
            None => assert_eq!((span.service.as_str(), span.name.as_str()), expected[0]),
            Some(parent) => assert!(by_id.contains_key(parent.as_str()), "{span:?} of {told:?}"),
        }
    }
    let of = |service: &str, name: &str| {
        let found = told
            .iter()
            .find(|span| span.service == service && span.name == name);
        found.unwrap().clone()
    };
    let answer = of("orders", "process ticket:reserved");
    let hold = of("tickets", "process order:created");
    let order = of("orders", "POST /api/orders");
    assert_eq!(answer.parent, Some(hold.id));
    assert_eq!(hold.parent, Some(order.id.clone()));
    assert_eq!(order.parent, Some(of("web", "POST /tickets/{id}").id));
    // Probes are nobody's doing.
    assert!(
        spans
            .lock()
            .unwrap()
            .iter()
            .all(|span| !span.name.contains("/readyz"))
    );
    system.terminate(Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_changes_nothing() {
    // Nobody listens on the port of a listener that is gone.
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let mut system = System::start_told(
        Deployment::OneProcess,
        Options::default(),
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{gone}"))],
    )
    .await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(1).await;
    buyer.buys(&ticket).await;
    system.terminate(Duration::from_secs(30));
}

/// Reserves a ticket on its page; the id of the trace that this click is.
async fn reserves(buyer: &Person, ticket: &str) -> String {
    let path = format!("/tickets/{ticket}");
    eventually("it is reserved on its page", TOLD, async || {
        let page = buyer.get(&path).try_send().await.ok()?.text();
        let form = &page[page.find(&format!("action=\"{path}\""))?..];
        let form = &form[..form.find("</form>")?];
        let fields: Vec<(&str, &str)> = form
            .split("<input ")
            .skip(1)
            .filter_map(|input| {
                let value = |name: &str| input.split_once(&format!("{name}=\""))?.1.split('"').next();
                Some((value("name")?, value("value")?))
            })
            .collect();
        let answer = buyer.at(&path).form(&path, &fields).try_send().await.ok()?;
        let trace = answer.header("x-trace-id")?.to_owned();
        (answer.status == 303).then_some(trace)
    })
    .await
}
