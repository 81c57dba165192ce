//! Trimming: never past what a reader has not acknowledged, never the last entry.

use std::time::Duration;

use bus::{Relay, RelayError, SourceState};
use events::{Seq, Source};
use store::{Context, Options, Store, TransactError};
use testkit::{RedisServer, Reply, eventually, temp_dir};

use crate::steps::Steps as _;
use crate::system::{CONVERGED, Count, STREAM, System, at, bus_at, envelope, now, number_event};

/// Appends `count` entries that are `days` old, as Redis counts days.
fn entries_of_days_ago(system: &System, days: u64, count: usize) -> Vec<String> {
    let Reply::Array(time) = system.redis.command(&["TIME"]) else {
        panic!()
    };
    let seconds: u64 = time[0].text().unwrap().parse().unwrap();
    let millis = (seconds - days * 86_400) * 1_000;
    let append = |number| format!("{millis}-{number}");
    let ids: Vec<String> = (1..=count).map(append).collect();
    for id in &ids {
        assert!(matches!(
            system.redis.command(&["XADD", STREAM, id, "a", "b"]),
            Reply::Bulk(_)
        ));
    }
    ids
}

fn read(system: &System, group: &str, count: &str, acknowledge: bool) {
    let mut command = vec!["XREADGROUP", "GROUP", group, group, "COUNT", count];
    if acknowledge {
        command.push("NOACK");
    }
    command.extend(["STREAMS", STREAM, ">"]);
    system.redis.command(&command);
}

#[tokio::test]
async fn only_what_every_reader_has_acknowledged_goes_and_only_after_a_day() {
    let system = System::new();
    let mut relay = system
        .relay()
        .with_readers(vec![Source::Orders, Source::Payments]);
    assert_eq!(relay.trim_once().await.unwrap().entries, 0, "there is no stream");
    let old = entries_of_days_ago(&system, 2, 10);
    entries_of_days_ago(&system, 0, 3);
    system.redis.command(&["XGROUP", "CREATE", STREAM, "orders", "0"]);
    read(&system, "orders", "20", true);
    assert_eq!(
        relay.trim_once().await.unwrap().entries,
        0,
        "payments has no group yet, and must not miss anything"
    );
    system
        .redis
        .command(&["XGROUP", "CREATE", STREAM, "payments", "0"]);
    assert_eq!(
        relay.trim_once().await.unwrap().entries,
        0,
        "payments has read nothing"
    );
    read(&system, "payments", "4", true);
    assert_eq!(
        relay.trim_once().await.unwrap().entries,
        4,
        "payments has acknowledged four"
    );
    read(&system, "payments", "20", false);
    assert_eq!(
        relay.trim_once().await.unwrap().entries,
        0,
        "the rest is read, but not acknowledged"
    );
    system
        .redis
        .command(&["XACK", STREAM, "payments", &old[4], &old[5], &old[7]]);
    assert_eq!(
        relay.trim_once().await.unwrap().entries,
        2,
        "one in the middle is not"
    );
    for id in &old[6..] {
        system.redis.command(&["XACK", STREAM, "payments", id]);
    }
    assert_eq!(
        relay.trim_once().await.unwrap().entries,
        4,
        "what is younger than a day stays"
    );
    assert_eq!(system.entries(), 3);
}

#[tokio::test]
async fn the_last_entry_stays_however_old_it_is() {
    let system = System::new();
    let mut relay = system.relay().with_readers(vec![Source::Orders]);
    entries_of_days_ago(&system, 3, 5);
    system.redis.command(&["XGROUP", "CREATE", STREAM, "orders", "0"]);
    read(&system, "orders", "20", true);
    assert_eq!(relay.trim_once().await.unwrap().entries, 4);
    assert_eq!(relay.trim_once().await.unwrap().entries, 0);
    assert_eq!(system.entries(), 1);
}

#[tokio::test]
async fn a_stream_that_is_too_large_loses_acknowledged_entries_early() {
    let system = System::new();
    let mut relay = system.relay().with_readers(vec![Source::Orders]);
    let script = "local big = string.rep('x', 1000000) for i = 1, 300 do redis.call('XADD', KEYS[1], '*', 'a', big) end";
    system.redis.command(&["EVAL", script, "1", STREAM]);
    system.redis.command(&["XGROUP", "CREATE", STREAM, "orders", "0"]);
    read(&system, "orders", "10", true);
    assert_eq!(
        relay.trim_once().await.unwrap().entries,
        10,
        "not more than is acknowledged"
    );
    read(&system, "orders", "300", true);
    relay.trim_once().await.unwrap();
    let left = system.entries();
    assert!(
        (200..=269).contains(&left),
        "about 256 MiB are left, not {left} MB"
    );
}

#[tokio::test]
async fn the_outbox_is_trimmed_only_when_all_of_it_is_published() {
    let mut redis = RedisServer::start();
    let dir = temp_dir();
    let options = Options {
        outbox_events_max: 50,
        ..Options::new(Source::Expiration, dir.path())
    };
    let store: Store<()> = Store::open(options).unwrap();
    for first in (1..=200).step_by(20) {
        let published = store.transact(Context::new(now()), move |tx| {
            (first..first + 20).for_each(|number| tx.emit(number_event(number)));
            Ok::<_, TransactError<()>>(())
        });
        published.await.unwrap();
    }
    let mut relay = Relay::new(
        bus_at(&redis.url()),
        store.clone(),
        Source::Expiration,
        std::sync::Arc::new(()),
    );
    redis.kill();
    assert!(matches!(relay.trim_once().await, Err(RelayError::Bus(_))));
    redis.restart();
    assert_eq!(
        relay.trim_once().await.unwrap().outbox_rows,
        0,
        "nothing is published yet"
    );
    assert_eq!(store.oldest_outbox_seq(), Seq(1));
    while relay.steps().await.more {}
    assert!(relay.trim_once().await.unwrap().outbox_rows > 0);
    let oldest = store.oldest_outbox_seq();
    assert!(oldest > Seq(100) && oldest < Seq(200), "{oldest}");
    assert_eq!(redis.command(&["XLEN", STREAM]), Reply::Integer(200));
}

/// How many entries are delivered to orders and not acknowledged.
fn pending(system: &System) -> i64 {
    let Reply::Array(pending) = system.redis.command(&["XPENDING", STREAM, "orders"]) else {
        panic!("there is no group")
    };
    pending[0].integer().unwrap()
}

async fn relayed(relay: &mut Relay<Count>) {
    while relay.steps().await.more {}
}

/// It drops what it can't apply yet, and acknowledges it: what is missing comes from the outbox, or as a snapshot.
#[tokio::test]
async fn a_reader_that_waits_for_what_is_missing_holds_up_no_trimming() {
    let system = System::new();
    system.publish(1..=10).await;
    let Reply::Array(time) = system.redis.command(&["TIME"]) else {
        panic!()
    };
    let seconds: u64 = time[0].text().unwrap().parse().unwrap();
    for entry in system.expiration.outbox(Seq(4), usize::MAX).unwrap() {
        let id = format!("{}-{}", (seconds - 2 * 86_400) * 1_000, entry.seq);
        let (seq, envelope) = (entry.seq.to_string(), &entry.envelope);
        system.redis.command(&[
            "XADD",
            STREAM,
            &id,
            "seq",
            &seq,
            "type",
            "order:expired",
            "subject",
            "x",
            "envelope",
            envelope,
        ]);
    }
    let mut consumer = system.consumer();
    eventually("it has dropped and acknowledged all", CONVERGED, async || {
        let gaps = consumer.steps().await.gaps;
        let state = system.bus.status().sources[0].state.clone();
        (gaps == 0 && state == SourceState::AwaitingResend && pending(&system) == 0).then_some(())
    })
    .await;
    let mut relay = system.relay().with_readers(vec![Source::Orders]);
    assert_eq!(relay.trim_once().await.unwrap().entries, 5, "all but the last");
    // And it lacks nothing in the end.
    eventually("all is applied", CONVERGED, async || {
        relay.steps().await;
        consumer.steps().await;
        (system.applied() == (1..=10).collect::<Vec<_>>()).then_some(())
    })
    .await;
}

/// As when Redis serves a read whose connection was given up: what it takes is pending, and no one knows.
#[tokio::test]
async fn what_an_abandoned_read_took_does_not_stay_pending_once_it_was_sent_again() {
    let system = System::new();
    let (mut relay, mut consumer) = (system.relay(), system.consumer());
    system.publish(1..=3).await;
    relayed(&mut relay).await;
    eventually("the first are applied", CONVERGED, async || {
        consumer.steps().await;
        (system.applied().len() == 3).then_some(())
    })
    .await;
    system.publish([4]).await;
    relayed(&mut relay).await;
    read(&system, "orders", "1", false);
    system.publish([5]).await;
    relayed(&mut relay).await;
    eventually("nothing is pending any more", CONVERGED, async || {
        consumer.steps().await;
        relayed(&mut relay).await;
        (system.applied() == [1, 2, 3, 4, 5] && pending(&system) == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_an_abandoned_read_took_of_known_events_is_acknowledged_at_rest() {
    let system = System::new();
    let mut relay = system.relay();
    let mut consumer = system
        .consumer()
        .looking_for_pending_every(Duration::from_millis(100));
    system.publish(1..=3).await;
    relayed(&mut relay).await;
    eventually("all are applied and acknowledged", CONVERGED, async || {
        consumer.steps().await;
        (system.applied().len() == 3 && pending(&system) == 0).then_some(())
    })
    .await;
    // A repeat: it is missed by no one.
    system.inject(&[
        "seq",
        "3",
        "type",
        "order:expired",
        "subject",
        "x",
        "envelope",
        &envelope(at(1, 3), 3),
    ]);
    read(&system, "orders", "1", false);
    assert_eq!(pending(&system), 1);
    eventually("it is acknowledged", CONVERGED, async || {
        consumer.steps().await;
        (pending(&system) == 0).then_some(())
    })
    .await;
}
