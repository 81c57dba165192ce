//! More than the service can do, and a disk that takes its time: every request is answered, within bounds.

use std::time::{Duration, Instant};

use serde_json::json;
use service::TRANSACTION_ANSWER_MAX;
use testkit::{Answer, Client};
use tokio::task::JoinSet;

use crate::stall::Stall;
use crate::world::{World, token, with_key};

const AT_ONCE: usize = 2_000;
/// Where nobody gets through, fewer show the same.
const AT_ONCE_IN_VAIN: usize = 500;
/// What a machine with two cores, on which other tests run, may add to a bound.
const SLACK: Duration = Duration::from_secs(20);
/// How much more memory a later round may leave behind than the first one.
const GROWTH_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// All at once, each over a connection of its own; how each was answered, and how long the slowest one took.
async fn crowd(ann: &Client, at_once: usize, text: &str) -> (Vec<Answer>, Duration) {
    let started = Instant::now();
    let mut asking = JoinSet::new();
    for _ in 0..at_once {
        let (ann, note) = (ann.clone(), json!({ "text": text }));
        asking.spawn(async move { (ann.post("/notes", &note).send().await, started.elapsed()) });
    }
    let answered = asking.join_all().await;
    let slowest = answered.iter().map(|(_, took)| *took).max().unwrap_or_default();
    (
        answered.into_iter().map(|(response, _)| response).collect(),
        slowest,
    )
}

fn count(responses: &[Answer], status: u16) -> usize {
    responses
        .iter()
        .filter(|response| response.status == status)
        .count()
}

/// What this process, server and clients together, has in memory.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_at_once_on_a_slow_disk_are_all_answered() {
    let world = World::new();
    let (auth, notes) = with_key(&world).await;
    let ann = notes.client.with_bearer(token(&notes.clock).1);
    // Every batch takes a second, as with a disk whose syncs do.
    let slow = Stall::each_batch(&notes.client, Duration::from_secs(1));
    let mut resident_after_first = 0;
    for round in 0..3 {
        let (responses, slowest) = crowd(&ann, AT_ONCE, "slow").await;
        assert!(slowest < TRANSACTION_ANSWER_MAX + SLACK, "{slowest:?}");
        let (done, refused) = (count(&responses, 201), count(&responses, 503));
        assert_eq!(done + refused, AT_ONCE, "every answer is one or the other");
        assert!(done > 0, "nothing was done at all");
        if round == 0 {
            resident_after_first = resident_bytes();
        }
    }
    slow.end().await;
    let grown = resident_bytes().saturating_sub(resident_after_first);
    assert!(
        grown < GROWTH_BYTES_MAX,
        "{grown} bytes more than after the first round"
    );
    // Nothing is left over: the next request is as quick as ever.
    ann.post("/notes", &json!({"text": "quick"})).expect(201).await;
    notes.stop().await;
    auth.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_keeps_nobody_waiting() {
    let world = World::new();
    let (auth, notes) = with_key(&world).await;
    let ann = notes.client.with_bearer(token(&notes.clock).1);
    let known = ann.post("/notes", &json!({"text": "before"})).expect(201).await;
    let path = format!("/notes/{}", known.field("id"));
    let hang = Stall::for_now(&notes.client).await;

    let (crowd, reading) = tokio::join!(crowd(&ann, AT_ONCE_IN_VAIN, "hang"), async {
        let started = Instant::now();
        notes.client.get(&path).expect(200).await;
        started.elapsed()
    });
    let (responses, slowest) = crowd;
    assert!(reading < SLACK, "reads go on beside the disk: {reading:?}");
    assert!(slowest < TRANSACTION_ANSWER_MAX + SLACK, "{slowest:?}");
    assert_eq!(count(&responses, 503), AT_ONCE_IN_VAIN);
    for response in &responses {
        assert!(response.header("retry-after").is_some(), "{}", response.text());
        // None of them had begun, so that it is known of each that nothing was changed.
        assert!(!response.text().contains("not known"), "{}", response.text());
    }
    let metrics = notes.client.get("/metrics").expect(200).await.text();
    assert!(metrics.contains("store_transactions_given_up_total"), "{metrics}");

    hang.end().await;
    ann.post("/notes", &json!({"text": "after"})).expect(201).await;
    let count = notes.client.get("/notes").expect(200).await;
    assert_eq!(count.text(), "2", "what was taken back was not done");
    notes.stop().await;
    auth.stop().await;
}
