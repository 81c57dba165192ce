//! The process itself: starts on a free port, survives kill -9, stops on SIGTERM.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{KEY, text};

const START_SECONDS_MAX: u64 = 20;

struct Process {
    child: Child,
    base: String,
}

async fn start(folder: &Path) -> Process {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stripe-fake"))
        .args(["--listen", "127.0.0.1:0", "--faults", "--data-dir"])
        .arg(folder)
        .env_remove("STRIPE_SECRET_KEY")
        .env_remove("STRIPE_WEBHOOK_SECRET")
        .env_remove("STRIPE_WEBHOOK_URL")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let line = tokio::time::timeout(Duration::from_secs(START_SECONDS_MAX), lines.next_line());
    let line = line.await.expect("in time").expect("readable").expect("a line");
    let base = line
        .strip_prefix("listening on ")
        .expect("the address")
        .to_owned();
    Process { child, base }
}

async fn call(method: &str, url: &str, form: &str) -> (u16, Value) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder()
        .method(method)
        .uri(url)
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::from(form.to_owned()))
        .expect("a request");
    let response = client.request(request).await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// 24 hours from now would do; without `expires_at` the stand-in chooses them itself.
const SESSION: &str = "mode=payment&line_items[0][price_data][currency]=usd&line_items[0][price_data][unit_amount]=900\
     &line_items[0][price_data][product_data][name]=Seat&line_items[0][quantity]=1\
     &payment_intent_data[capture_method]=manual&success_url=http://shop.test/";

#[tokio::test]
async fn what_was_answered_survives_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = String::new();
    let mut intent = String::new();
    // Killed right after each answer; the next life goes on from there.
    for step in 0..5 {
        let mut process = start(folder.path()).await;
        let base = process.base.clone();
        match step {
            0 => {
                let (status, body) = call("POST", &format!("{base}/v1/checkout/sessions"), SESSION).await;
                assert_eq!(status, 200, "{body}");
                session = text(&body["id"]);
            }
            1 => {
                let form = "number=4242424242424242&expiry=12/34&cvc=123";
                assert_eq!(
                    call("POST", &format!("{base}/stripe-fake/pay/{session}"), form)
                        .await
                        .0,
                    303
                );
            }
            2 => {
                let (_, body) = call("GET", &format!("{base}/v1/checkout/sessions/{session}"), "").await;
                assert_eq!(body["status"], "complete");
                intent = text(&body["payment_intent"]);
                let (status, body) =
                    call("POST", &format!("{base}/v1/payment_intents/{intent}/capture"), "").await;
                assert_eq!((status, &body["status"]), (200, &"succeeded".into()));
            }
            3 => {
                let form = format!("payment_intent={intent}&amount=400");
                assert_eq!(call("POST", &format!("{base}/v1/refunds"), &form).await.0, 200);
            }
            _ => {
                let (_, ledger) = call("GET", &format!("{base}/stripe-fake/ledger"), "").await;
                assert_eq!(ledger["totals"]["usd"]["net"], 500, "{ledger}");
            }
        }
        process.child.kill().await.expect("killed");
    }
}

#[tokio::test]
async fn sigterm_ends_it_cleanly() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = start(folder.path()).await;
    for probe in ["healthz", "readyz"] {
        let (status, _) = call("GET", &format!("{}/{probe}", process.base), "").await;
        assert_eq!(status, 200, "{probe}");
    }
    let pid = process.child.id().expect("runs").to_string();
    let killed = Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .await
        .expect("kill runs");
    assert!(killed.success());
    let status = tokio::time::timeout(Duration::from_secs(10), process.child.wait())
        .await
        .expect("within 10 s");
    assert!(status.expect("waited for").success());
}

#[tokio::test]
async fn a_second_process_on_the_same_books_says_why_it_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let _first = start(folder.path()).await;
    let second = Command::new(env!("CARGO_BIN_EXE_stripe-fake"))
        .args(["--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path())
        .env_remove("STRIPE_SECRET_KEY")
        .output();
    let second = tokio::time::timeout(Duration::from_secs(10), second)
        .await
        .expect("at once")
        .expect("ran");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("in use by another process"), "{said}");
}
