//! The server's bounds over real sockets: slow clients, too many of them, headers without end.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it should be"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use service::http::{REQUESTS_IN_FLIGHT_MAX, edge};
use service::{Bounds, ShutdownTrigger};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

const SOON: Duration = Duration::from_secs(30);

/// How soon whoever finds no place is told so. A machine that does something else may hold up any one of them, and not half.
/// The fault bench holds all of them to it (`./scripts/faults too-many-at-once`).
const REFUSED_MAX: Duration = Duration::from_millis(100);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

struct Server {
    address: String,
    trigger: ShutdownTrigger,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start(bounds: Bounds) -> Self {
        let (trigger, shutdown) = ShutdownTrigger::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = edge(
            Router::new()
                .route("/", get(async || "here"))
                .route("/never", get(std::future::pending::<()>)),
        );
        let serving = tokio::spawn(service::serve_within(bounds, listener, router, shutdown));
        Self {
            address,
            trigger,
            serving,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }
}

fn bounds() -> Bounds {
    Bounds {
        connections_max: 4,
        header_wait_max: Duration::from_millis(300),
        drain_max: Duration::from_millis(300),
    }
}

/// Reads until the other side closes, within a bound.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await;
    // A reset says the same as an end here.
    let (Ok(_) | Err(_)) = read.expect("the server closes the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_dropped() {
    let server = Server::start(bounds()).await;
    let mut silent = server.connect().await;
    assert_eq!(rest(&mut silent).await, "");

    // One that never stops sending a header has no more time than one that sends nothing.
    let mut dripping = server.connect().await;
    dripping.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    let started = Instant::now();
    let mut drip = tokio::time::interval(Duration::from_millis(20));
    while dripping.write_all(b"a").await.is_ok() {
        assert!(started.elapsed() < SOON, "a client may drip for ever");
        drip.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_one_too_many_is_told_so_at_once() {
    let server = Server::start(Bounds {
        // The four must not lose their places meanwhile.
        header_wait_max: Duration::from_secs(120),
        ..bounds()
    })
    .await;
    let mut places = Vec::new();
    for _ in 0..4 {
        let mut stream = server.connect().await;
        stream.write_all(REQUEST).await.unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        places.push(stream);
    }
    // More than can be turned away at once, and some of them never say a word.
    let mut silent = Vec::new();
    for number in 0..100 {
        if number % 2 == 0 {
            silent.push(server.connect().await);
            continue;
        }
        // Whoever says nothing for half a second hears nothing either, and on a busy machine this test may be that slow.
        let answer = testkit::eventually("the refusal is heard", SOON, async || {
            let mut stream = server.connect().await;
            stream.write_all(REQUEST).await.ok()?;
            Some(rest(&mut stream).await).filter(|answer| !answer.is_empty())
        })
        .await;
        assert!(
            answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
            "{answer}"
        );
        assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["status"], 503);
    }
    drop(places.pop());
    testkit::eventually("a place to be free", SOON, || async {
        let mut stream = server.connect().await;
        stream.write_all(REQUEST).await.ok()?;
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.ok()?;
        (&answer == b"HTTP/1.1 200 OK").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_when_all_places_are_taken_is_told_so_at_once() {
    let held = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&held);
    let hold = async move || {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<()>().await;
    };
    let router = edge(Router::new().route("/hold", get(hold)));
    let ask = |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request)
    };
    let mut holding = tokio::task::JoinSet::new();
    for _ in 0..REQUESTS_IN_FLIGHT_MAX {
        holding.spawn(ask("/hold"));
    }
    testkit::eventually("all places to be taken", SOON, || async {
        (held.load(Ordering::SeqCst) == REQUESTS_IN_FLIGHT_MAX).then_some(())
    })
    .await;
    let mut times = Vec::new();
    for _ in 0..1_000 {
        let began = Instant::now();
        let refused = ask("/hold").await.unwrap();
        times.push(began.elapsed());
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"));
    }
    times.sort();
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    assert!(median < REFUSED_MAX, "{median:?}");
    assert!(slowest < SOON, "{slowest:?}");
    assert_eq!(held.load(Ordering::SeqCst), REQUESTS_IN_FLIGHT_MAX);
    drop(holding);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_bounded() {
    let server = Server::start(bounds()).await;
    let long = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "a".repeat(64 * 1024)
    );
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(100));
    for request in [long, many] {
        let mut stream = server.connect().await;
        // The server may close before it has read it all.
        let (Ok(()) | Err(_)) = stream.write_all(request.as_bytes()).await;
        let answer = rest(&mut stream).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
            "{answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_has_an_end() {
    let server = Server::start(bounds()).await;
    let mut stuck = server.connect().await;
    stuck
        .write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    server.trigger.begin();
    tokio::time::timeout(SOON, server.serving).await.unwrap().unwrap();
}
