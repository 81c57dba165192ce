//! A store that was set back: it takes its own events back from the stream, or says why it can't.

use std::time::Duration;

use bus::RelayError;
use events::Seq;
use store::{OutboxEntry, State};
use testkit::{Reply, eventually};

use crate::author::{HALF, LOST};
use crate::steps::Steps as _;
use crate::system::{CONVERGED, Count, REQUESTS, STREAM, System, at, bus_at, envelope, store_dir};

/// Takes steps until there is nothing to do; gives the error that stopped it, if one did.
async fn settle(relay: &mut bus::Relay<Count>) -> Result<(), RelayError> {
    while relay.relay_once().await?.more {}
    Ok(())
}

fn outbox(system: &System) -> Vec<OutboxEntry> {
    system.expiration.outbox(Seq(0), usize::MAX).unwrap()
}

fn why_adopting(system: &System) -> Option<String> {
    match system.expiration.status().state {
        State::Adopting { why } => Some(why.to_string()),
        _ => None,
    }
}

/// A system that has published and applied `last` numbers, and a backup after the first ten.
async fn with_backup_at_ten(last: i64) -> (System, Vec<u8>) {
    let system = System::new();
    let running = system.run();
    system.publish(1..=10).await;
    let backup = system.backup().await;
    for first in (11..=last).step_by(200) {
        system.publish(first..=last.min(first + 199)).await;
    }
    system.converges_to(last).await;
    running.stop().await;
    (system, backup)
}

fn says(system: &System, error: &RelayError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{text} does not say {word}");
    }
    assert!(
        text.contains("boxoffice restore --service expiration --from BACKUP --accept-loss"),
        "{text}"
    );
    assert!(matches!(system.expiration.status().state, State::Old { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_stream_still_has_comes_back_word_for_word() {
    let (mut system, backup) = with_backup_at_ten(20).await;
    let before = outbox(&system);
    system.set_back(&backup);
    assert_eq!(system.kept(), (1..=10).collect::<Vec<_>>());
    settle(&mut system.relay()).await.unwrap();
    assert_eq!(system.kept(), (1..=20).collect::<Vec<_>>());
    assert_eq!(outbox(&system), before);
    let taken = system.bus.status().taken_back;
    assert_eq!((taken.events, taken.without_count), (10, 1));
    assert!(
        taken.without[0].contains(&format!("{HALF} has lost its other half")),
        "{taken:?}"
    );
    // And it goes on as if nothing had happened.
    let running = system.run();
    eventually("it serves", CONVERGED, async || {
        matches!(system.expiration.status().state, State::Serving).then_some(())
    })
    .await;
    system.publish([21]).await;
    system.converges_to(21).await;
    assert_eq!(system.entries(), 21);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_and_garbage_and_other_epochs_are_passed_over() {
    let (mut system, backup) = with_backup_at_ten(20).await;
    let before = outbox(&system);
    let inject = |seq: &str, envelope: &str| {
        system.inject(&[
            "seq",
            seq,
            "type",
            "order:expired",
            "subject",
            "x",
            "envelope",
            envelope,
        ]);
    };
    // A hole that a resend has filled further back, out of order with what stands around it.
    let Reply::Array(entries) = system.redis.command(&["XRANGE", STREAM, "-", "+"]) else {
        panic!()
    };
    let Reply::Array(hole) = &entries[12] else {
        panic!()
    };
    system.redis.command(&["XDEL", STREAM, hole[0].text().unwrap()]);
    inject("11", "{");
    inject("11", &envelope(at(0, 11), 77));
    inject("13", &before[12].envelope);
    inject("14", &before[13].envelope);
    inject("999", "nonsense");
    inject("20", &before[19].envelope);
    system.inject(&["nothing", "known"]);
    system.set_back(&backup);
    settle(&mut system.relay()).await.unwrap();
    assert_eq!(system.kept(), (1..=20).collect::<Vec<_>>());
    assert_eq!(outbox(&system), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_disk_comes_back_from_a_stream_that_has_everything() {
    let (mut system, _) = with_backup_at_ten(700).await;
    system.lose_expiration();
    settle(&mut system.relay()).await.unwrap();
    assert_eq!(system.kept(), (1..=700).collect::<Vec<_>>());
    assert_eq!(system.expiration.status().head, Seq(700));
}

#[tokio::test(flavor = "multi_thread")]
async fn adopting_is_cut_off_anywhere_and_goes_on() {
    let (mut system, backup) = with_backup_at_ten(3_000).await;
    system.set_back(&backup);
    let mut relay = system.relay();
    for round in 0..60 {
        // The step is dropped wherever it happens to be; now and then the service starts anew.
        let micros = Duration::from_micros(500 + round * 300);
        tokio::time::timeout(micros, settle(&mut relay)).await.ok();
        if round % 7 == 3 {
            drop(relay);
            system.reopen_expiration();
            relay = system.relay();
        }
    }
    let mut reader = system.consumer();
    eventually("it serves", CONVERGED, async || {
        reader.steps().await;
        settle(&mut relay).await.unwrap();
        matches!(system.expiration.status().state, State::Serving).then_some(())
    })
    .await;
    assert_eq!(system.kept(), (1..=3_000).collect::<Vec<_>>());
    assert_eq!(system.entries(), 3_000, "nothing was published twice");
}

/// It was set back, nobody noticed, and it has written something else in the place of what was lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_has_gone_on_by_itself_is_refused() {
    for written in [3, 10, 15] {
        let (mut system, backup) = with_backup_at_ten(20).await;
        system.set_back(&backup);
        system.publish(101..=100 + written).await;
        let error = settle(&mut system.relay()).await.unwrap_err();
        says(
            &system,
            &error,
            &["tell different things of expiration-1-", "has gone on by itself"],
        );
        assert_eq!(system.entries(), 20, "nothing of it was published");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_from_the_stream_is_said_and_nothing_is_changed() {
    let (mut system, backup) = with_backup_at_ten(20).await;
    let Reply::Array(entries) = system.redis.command(&["XRANGE", STREAM, "-", "+"]) else {
        panic!()
    };
    let Reply::Array(hole) = &entries[14] else {
        panic!()
    };
    system.redis.command(&["XDEL", STREAM, hole[0].text().unwrap()]);
    system.set_back(&backup);
    assert!(
        !system.expiration.recollects(),
        "nothing says that it was set back"
    );
    let mut relay = system.relay();
    let error = settle(&mut relay).await.unwrap_err();
    says(
        &system,
        &error,
        &["goes on to 1-20", "ends at 1-10", "number 15 is missing"],
    );
    assert!(settle(&mut relay).await.is_err(), "it stays so");
    assert!(system.expiration.recollects(), "nor is it a witness for others");
    system.reopen_expiration();
    assert_eq!(system.kept(), (1..=10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_ahead_of_store_and_stream_is_evidence() {
    let (mut system, backup) = with_backup_at_ten(20).await;
    system.redis.command(&["FLUSHALL"]);
    system.set_back(&backup);
    let statement = [
        "XADD",
        REQUESTS,
        "*",
        "kind",
        "statement",
        "group",
        "orders",
        "epoch",
        "1",
        "seq",
        "20",
    ];
    system.redis.command(&statement);
    let error = settle(&mut system.relay()).await.unwrap_err();
    says(
        &system,
        &error,
        &[
            "orders has applied the events of expiration up to 1-20",
            "ends at 1-10",
        ],
    );
    assert_eq!(
        system.redis.command(&["EXISTS", STREAM]),
        Reply::Integer(0),
        "nothing was published"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_can_not_take_back_is_said() {
    let (mut system, backup) = with_backup_at_ten(12).await;
    system.publish([LOST]).await;
    settle(&mut system.relay()).await.unwrap();
    system.set_back(&backup);
    let error = settle(&mut system.relay()).await.unwrap_err();
    says(
        &system,
        &error,
        &["expiration-1-13: it contradicts what is stored"],
    );
}

/// A backup after which nothing was published: only the readers can tell that.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_waits_for_its_readers() {
    let (mut system, _) = with_backup_at_ten(10).await;
    let backup = system.backup().await;
    system.redis.command(&["FLUSHALL"]);
    system.restore(&backup, false);
    let mut relay = system.relay();
    let compared = relay.compared();
    settle(&mut relay).await.unwrap();
    compared.await;
    let why = why_adopting(&system).expect("it does not serve yet");
    assert!(why.contains("waits to hear from orders"), "{why}");
    assert_eq!(
        system.redis.command(&["EXISTS", STREAM]),
        Reply::Integer(0),
        "nothing was published"
    );
    // What was said before it asked is no answer.
    drop(relay);
    let mut relay = system.relay();
    settle(&mut relay).await.unwrap();
    assert!(why_adopting(&system).is_some());
    let running = system.run();
    eventually("it serves", CONVERGED, || async {
        matches!(system.expiration.status().state, State::Serving).then_some(())
    })
    .await;
    assert!(!system.expiration.was_restored());
    system.publish([11]).await;
    system.converges_to(11).await;
    running.stop().await;
}

/// A backup, and Redis wiped as well: what was published since is nowhere, and the readers know it.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_whose_stream_is_gone_refuses_when_its_readers_speak() {
    let (mut system, backup) = with_backup_at_ten(20).await;
    system.redis.command(&["FLUSHALL"]);
    system.restore(&backup, false);
    let running = system.run();
    eventually("it refuses", CONVERGED, || async {
        let trouble = system.bus.status().relay_trouble?;
        trouble.contains("--accept-loss").then_some(())
    })
    .await;
    assert!(matches!(system.expiration.status().state, State::Old { .. }));
    running.stop().await;
}

/// A backup of everything, and no stream: whoever speaks knows no more than the store itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_among_restored_readers_refuses_when_its_stream_is_gone() {
    let (mut system, _) = with_backup_at_ten(10).await;
    let backup = system.backup().await;
    system.redis.command(&["FLUSHALL"]);
    system.restore(&backup, false);
    std::fs::write(store_dir(&system.dirs.1).join("restored"), "by a test").unwrap();
    let running = system.run();
    eventually("it refuses", CONVERGED, || async {
        let trouble = system.bus.status().relay_trouble?;
        (trouble.contains("nobody can tell") && trouble.contains("--accept-loss")).then_some(())
    })
    .await;
    assert!(matches!(system.expiration.status().state, State::Old { .. }));
    running.stop().await;
}

/// Redis has lost its end with the machine: the stream goes beyond the backup, and a reader beyond the stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_set_back_waits_for_the_reader_that_knows_more_and_says_for_whom() {
    for marked in [true, false] {
        let (mut system, backup) = with_backup_at_ten(20).await;
        let Reply::Array(entries) = system.redis.command(&["XRANGE", STREAM, "-", "+"]) else {
            panic!()
        };
        for entry in &entries[15..] {
            let Reply::Array(entry) = entry else { panic!() };
            system.redis.command(&["XDEL", STREAM, entry[0].text().unwrap()]);
        }
        // What was said before is lost as well.
        system.redis.command(&["DEL", REQUESTS]);
        if marked {
            system.restore(&backup, false);
        } else {
            system.set_back(&backup);
        }
        let mut relay = system.relay();
        settle(&mut relay).await.unwrap();
        assert_eq!(system.kept(), (1..=15).collect::<Vec<_>>());
        let why = why_adopting(&system).expect("it does not serve yet");
        assert!(why.contains("waits to hear from orders"), "{why}");
        let mut reader = system.consumer();
        let error = eventually("it hears that it lacks something", CONVERGED, async || {
            reader.steps().await;
            settle(&mut relay).await.err()
        })
        .await;
        let words = ["orders has applied", "up to 1-20", "ends at 1-15"];
        says(&system, &error, &words);
    }
}

/// A reader whose own store takes back what it lost holds what it has read, and is waited for by this one.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_can_not_write_answers_all_the_same() {
    let (mut system, backup) = with_backup_at_ten(20).await;
    let mut relay = system.relay();
    system.publish([21]).await;
    settle(&mut relay).await.unwrap();
    system.orders.begin_adopting("by a test");
    let mut reader = system.consumer();
    eventually("it holds something", CONVERGED, async || {
        reader.consume_once().await.err()
    })
    .await;
    drop(relay);
    system.restore(&backup, false);
    let mut relay = system.relay();
    eventually("it serves", CONVERGED, async || {
        settle(&mut relay).await.unwrap();
        assert!(reader.consume_once().await.is_err(), "it still holds it");
        matches!(system.expiration.status().state, State::Serving).then_some(())
    })
    .await;
    assert_eq!(system.kept(), (1..=21).collect::<Vec<_>>());
}

/// That the loss of the reader's store was accepted, or that it has taken back its own events, says nothing of its source.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_cursors_are_restored_is_no_witness_whatever_became_of_its_own_events() {
    let (mut system, _) = with_backup_at_ten(10).await;
    std::fs::write(store_dir(&system.dirs.1).join("cursors"), "by a test").unwrap();
    assert!(!system.orders.was_restored());
    let backup = system.backup().await;
    system.redis.command(&["FLUSHALL"]);
    system.restore(&backup, false);
    let running = system.run();
    eventually("it refuses", CONVERGED, || async {
        let trouble = system.bus.status().relay_trouble?;
        trouble.contains("nobody can tell").then_some(())
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_a_past_is_compared_at_once() {
    let system = System::new();
    let mut relay = system.relay();
    let compared = relay.compared();
    relay.steps().await;
    compared.await;
    assert!(matches!(system.expiration.status().state, State::Serving));
    // Nor does anybody wait for a relay that is gone.
    let compared = bus::Relay::new(
        bus_at("redis://127.0.0.1:1"),
        system.expiration.clone(),
        events::Source::Expiration,
        std::sync::Arc::new(()),
    )
    .compared();
    compared.await;
}

/// While it runs: Redis comes back with more than the store has.
#[tokio::test(flavor = "multi_thread")]
async fn what_shows_only_later_is_taken_back_as_well() {
    let (mut system, backup) = with_backup_at_ten(20).await;
    system.redis.stop();
    system.set_back(&backup);
    let running = system.run();
    assert!(
        matches!(system.expiration.status().state, State::Serving),
        "nothing is known yet"
    );
    system.redis.resume();
    eventually("it has everything, and serves", 2 * CONVERGED, || async {
        let serves = matches!(system.expiration.status().state, State::Serving);
        (serves && system.kept() == (1..=20).collect::<Vec<_>>()).then_some(())
    })
    .await;
    system.publish([21]).await;
    system.converges_to(21).await;
    running.stop().await;
}
