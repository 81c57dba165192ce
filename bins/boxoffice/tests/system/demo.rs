//! `boxoffice --demo`, as a person at a terminal meets it.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Client, Process, eventually_blocking, temp_dir};

use crate::layout::{boxoffice, free_port};
use crate::private_redis::PrivateRedis;

/// How long ctrl-C may take, on a busy machine, too: the drain alone may take 8 s. The fault bench holds each service to the
/// ten seconds that are promised (`./scripts/faults 30`).
const STOP_MAX: Duration = Duration::from_secs(30);

/// How long printed lines may take to arrive.
const PRINTED_MAX: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_finds_everything_and_adds_nothing() {
    let dir = temp_dir();
    let mut process = demo(dir.path());
    let first = tickets(&process).await;
    assert!(
        (15..=30).contains(&first.len()),
        "some twenty tickets: {}",
        first.len()
    );
    stop(&mut process, dir.path());

    let mut process = demo(dir.path());
    assert_eq!(tickets(&process).await, first);
    process.wait_for_line("all tickets are there", PRINTED_MAX);
    stop(&mut process, dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_that_it_names_can_sign_in_and_buy() {
    let dir = temp_dir();
    let mut process = demo(dir.path());
    let base = process.base().to_owned();
    process.wait_for_line(&base, PRINTED_MAX);
    let line = process.wait_for_line("Sign in", PRINTED_MAX);
    let mut words = line.split_whitespace().skip(2);
    let (email, password) = (words.next(), words.last());
    let client = Client::new(&base);
    let credentials = json!({ "email": email, "password": password });
    client.post("/api/users/signin", &credentials).expect(200).await;

    let ticket = tickets(&process).await.remove(0);
    let wish = json!({ "ticketId": ticket["id"], "price": ticket["price"] });
    let order = client.post("/api/orders", &wish).patient().expect(201).await;
    let payment = json!({ "orderId": order.field("id") });
    client.post("/api/payments", &payment).patient().expect(201).await;
    // The address that it names is the site's.
    let page = client.get("/").expect(200).await;
    assert!(page.text().contains("<!DOCTYPE html>") || page.text().contains("<!doctype html>"));
    stop(&mut process, dir.path());
}

fn demo(dir: &Path) -> Process {
    boxoffice(dir, free_port()).arg("--demo").start()
}

/// What is on sale, in a fixed order.
async fn tickets(process: &Process) -> Vec<Value> {
    let listed = Client::new(process.base())
        .get("/api/tickets?limit=100")
        .expect(200)
        .await
        .json();
    let mut listed = listed.as_array().expect("a list of tickets").clone();
    listed.sort_by_key(|ticket| ticket["id"].to_string());
    listed
}

/// ctrl-C: ends well, says so, and takes its redis-server along.
fn stop(process: &mut Process, dir: &Path) {
    let redis = PrivateRedis::of(dir);
    process.interrupt();
    let status = process.wait(STOP_MAX);
    assert_eq!(status.code(), Some(0), "{}", process.printed());
    redis.is_gone_soon();
    eventually_blocking("it says that it has stopped", PRINTED_MAX, || {
        process.stdout().contains("Stopped.").then_some(())
    });
}
