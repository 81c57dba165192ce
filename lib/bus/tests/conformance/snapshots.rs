//! Snapshots: for readers that events can't help any more.

use std::sync::Arc;

use bus::{Consumer, SourceState};
use events::{Seq, Source};
use store::Store;
use testkit::{Reply, eventually, temp_dir};

use crate::steps::Steps as _;
use crate::system::{
    CONVERGED, Count, Mood, Notary, Note, REQUESTS, STREAM, System, at, bus_at, open, order,
};

const SNAPSHOT: &str = "snapshot:expiration:orders";

/// A system whose source has published `last` numbers and keeps only the last few of them as events.
async fn with_short_outbox(last: i64) -> System {
    let mut system = System::new();
    system.keep_events(20);
    for first in (1..=last).step_by(10) {
        system.publish(first..=last.min(first + 9)).await;
    }
    let mut relay = system.relay();
    while relay.steps().await.more {}
    relay.trim_once().await.unwrap();
    assert!(system.expiration.oldest_outbox_seq() > Seq(1));
    // What a day does to a stream that nobody else reads.
    system.redis.command(&["XTRIM", STREAM, "MAXLEN", "5"]);
    system
}

fn snapshot_entries(system: &System) -> i64 {
    system.redis.command(&["XLEN", SNAPSHOT]).integer().unwrap()
}

/// Has a snapshot made for orders, whose consumer does not run.
async fn have_one_made(system: &System, relay: &mut bus::Relay<Count>, entries: i64) {
    relay.steps().await;
    let ask = [
        "XADD", REQUESTS, "*", "kind", "resend", "group", "orders", "epoch", "1", "seq", "0",
    ];
    system.redis.command(&ask);
    eventually("a snapshot is there", CONVERGED, async || {
        relay.steps().await;
        (snapshot_entries(system) == entries).then_some(())
    })
    .await;
}

/// Takes the entry at that place out of the snapshot, counted from 1; from its end if it is negative.
fn spoil(system: &System, place: i64) {
    let count = place.abs().to_string();
    let command = if place < 0 {
        ["XREVRANGE", SNAPSHOT, "+", "-", "COUNT", &count]
    } else {
        ["XRANGE", SNAPSHOT, "-", "+", "COUNT", &count]
    };
    let Reply::Array(entries) = system.redis.command(&command) else {
        panic!("not a list")
    };
    let Some(Reply::Array(parts)) = entries.last() else {
        panic!("not an entry")
    };
    let deleted = ["XDEL", SNAPSHOT, parts[0].text().unwrap()];
    assert_eq!(system.redis.command(&deleted), Reply::Integer(1));
}

async fn cursor_becomes(system: &System, epoch: u32, seq: u64) {
    eventually(
        "the cursor is where the snapshot stands",
        2 * CONVERGED,
        || async { (system.orders.cursor(Source::Expiration) == at(epoch, seq)).then_some(()) },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_comes_too_late_is_told_all_and_the_others_notice_nothing() {
    let system = with_short_outbox(1_000).await;
    let before = system.entries();
    let running = system.run();
    system.converges_to(1_000).await;
    eventually("the snapshot is taken away", CONVERGED, || async {
        (system.redis.command(&["EXISTS", SNAPSHOT]) == Reply::Integer(0)).then_some(())
    })
    .await;
    assert_eq!(system.entries(), before, "nothing went into the stream");
    assert_eq!(system.orders.cursor(Source::Expiration), at(1, 1_000));
    // From there on it goes by events.
    system.publish(1_001..=1_050).await;
    system.converges_to(1_050).await;
    assert!(system.letters().is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_while_it_is_made_and_applied_is_not_lost() {
    let system = with_short_outbox(2_000).await;
    let running = system.run();
    let mut last = 2_000;
    while last < 2_400 {
        system.publish(last + 1..=last + 10).await;
        last += 10;
    }
    cursor_becomes(&system, 1, 2_400).await;
    // What is newer than the snapshot was stated with it, and has come again as an event; this reader keeps no
    // versions, by which the services tell.
    let mut applied = system.applied();
    applied.sort_unstable();
    applied.dedup();
    assert_eq!(applied, (1..=last).collect::<Vec<_>>());
    running.stop().await;
}

/// The source was restored with accepted loss: what it published after the backup never happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_replaces_what_was_heard_before() {
    let mut system = System::new();
    let running = system.run();
    system.publish(1..=10).await;
    let backup = system.backup().await;
    system.publish(11..=20).await;
    system.converges_to(20).await;
    running.stop().await;
    system.restore(&backup, true);
    assert_eq!(system.expiration.status().epoch, events::Epoch(2));
    // There is no event of the new epoch yet, and the reader hears of it all the same.
    let running = system.run();
    system
        .converges_to_all_in_the_end(&(1..=10).collect::<Vec<_>>())
        .await;
    cursor_becomes(&system, 2, 0).await;
    system.publish(31..=35).await;
    let all: Vec<i64> = (1..=10).chain(31..=35).collect();
    system.converges_to_all(&all).await;
    assert_eq!(system.orders.cursor(Source::Expiration), at(2, 5));
    assert!(matches!(system.expiration.status().state, store::State::Serving));
    assert_eq!(system.bus.status().relay_trouble, None);
    running.stop().await;
}

/// Events of the new epoch that came too early to be applied. Nothing may come after them that would show that they are
/// missing: whoever waits for one of them has waited four seconds.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_between_a_snapshot_and_its_end_is_asked_for_at_once() {
    let mut system = System::new();
    let running = system.run();
    system.publish(1..=10).await;
    let backup = system.backup().await;
    system.converges_to(10).await;
    running.stop().await;
    system.restore(&backup, true);
    let mut relay = system.relay();
    relay.steps().await;
    let mut reader = system.consumer();
    reader.steps().await;
    eventually("the snapshot is whole", CONVERGED, async || {
        relay.steps().await;
        (snapshot_entries(&system) == 12).then_some(())
    })
    .await;
    system.publish(31..=33).await;
    eventually("what came after it is in the stream", CONVERGED, async || {
        relay.steps().await;
        (system.entries() == 13).then_some(())
    })
    .await;
    eventually("the snapshot is applied", CONVERGED, async || {
        reader.steps().await;
        (system.orders.cursor(Source::Expiration) == at(2, 0)).then_some(())
    })
    .await;
    let last = system
        .redis
        .command(&["XREVRANGE", REQUESTS, "+", "-", "COUNT", "1"]);
    let asks =
        r#""resend"), Bulk("group"), Bulk("orders"), Bulk("epoch"), Bulk("2"), Bulk("seq"), Bulk("0")"#;
    assert!(format!("{last:?}").contains(asks), "{last:?}");
    let running = system.run();
    let all: Vec<i64> = (1..=10).chain(31..=33).collect();
    system.converges_to_all(&all).await;
    running.stop().await;
}

/// What is left of the epoch before is over, for a reader that begins after it as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_begins_in_a_later_epoch_ends_with_what_the_source_has() {
    let mut system = System::new();
    system.publish(1..=10).await;
    let backup = system.backup().await;
    system.publish(11..=20).await;
    let mut relay = system.relay();
    while relay.steps().await.more {}
    drop(relay);
    system.restore(&backup, true);
    system.publish(31..=35).await;
    let dir = temp_dir();
    let payments: Store<Count> = open(Source::Payments, &dir);
    let late = Consumer::new(
        bus_at(&system.redis.url()),
        payments.clone(),
        Source::Expiration,
        Source::Payments,
        Arc::new(Notary::default()),
    );
    let running = system.run();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let late = tokio::spawn(late.run(async {
        stopped.await.ok();
    }));
    let expected: Vec<i64> = (1..=10).chain(31..=35).collect();
    eventually("both have what there is", 2 * CONVERGED, || async {
        let mut numbers: Vec<i64> = payments
            .scan::<Note>(None, usize::MAX)
            .unwrap()
            .iter()
            .map(|note| note.number)
            .collect();
        numbers.sort_unstable();
        (numbers == expected && system.applied() == expected).then_some(())
    })
    .await;
    stop.send(()).unwrap();
    late.await.unwrap();
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_it_is_cut_off_anywhere_and_begins_again() {
    let system = with_short_outbox(2_000).await;
    let mut relay = system.relay();
    have_one_made(&system, &mut relay, 2_002).await;
    let mut seen = false;
    let mut rounds = 0;
    while system.orders.cursor(Source::Expiration) != at(1, 2_000) {
        // Each reader dies a step later than the one before.
        rounds += 1;
        assert!(rounds < 100);
        let mut consumer = system.consumer();
        for _ in 0..(3 * rounds) {
            consumer.steps().await;
            seen |= system.bus.status().sources[0].state == SourceState::Restating;
        }
    }
    assert!(rounds > 2, "it was cut off");
    assert!(seen, "it shows");
    assert_eq!(system.applied(), (1..=2_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_one_is_not_applied_and_made_again() {
    let system = with_short_outbox(2_000).await;
    let mut relay = system.relay();
    have_one_made(&system, &mut relay, 2_002).await;
    // Its end is lost, and its maker is gone.
    spoil(&system, -1);
    drop(relay);
    let running = system.run();
    system.converges_to(2_000).await;
    running.stop().await;
}

/// Half of one would only keep a full Redis full.
#[tokio::test(flavor = "multi_thread")]
async fn one_for_which_there_is_no_room_goes_at_once_and_is_made_later() {
    let system = with_short_outbox(2_000).await;
    let mut relay = system.relay();
    relay.steps().await;
    let mut reader = system.consumer();
    eventually("it is being made", CONVERGED, async || {
        reader.steps().await;
        relay.steps().await;
        (1..1_500).contains(&snapshot_entries(&system)).then_some(())
    })
    .await;
    system.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = eventually("there is no room", CONVERGED, async || {
        relay.relay_once().await.err()
    })
    .await;
    assert!(error.to_string().contains("OOM"), "{error}");
    assert_eq!(system.redis.command(&["EXISTS", SNAPSHOT]), Reply::Integer(0));
    system.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    drop(reader);
    drop(relay);
    let running = system.run();
    system.converges_to(2_000).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_one_is_thrown_away_and_made_again() {
    let system = with_short_outbox(600).await;
    let mut relay = system.relay();
    have_one_made(&system, &mut relay, 602).await;
    spoil(&system, 300);
    drop(relay);
    let running = system.run();
    system.converges_to(600).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_while_it_is_made_and_applied() {
    let system = with_short_outbox(1_500).await;
    let running = system.run();
    for _ in 0..5 {
        eventually("a part of it is there, or all is done", CONVERGED, || async {
            let done = system.orders.cursor(Source::Expiration) == at(1, 1_500);
            (done || snapshot_entries(&system) > 0).then_some(())
        })
        .await;
        system.redis.command(&["FLUSHALL"]);
    }
    cursor_becomes(&system, 1, 1_500).await;
    assert_eq!(system.applied(), (1..=1_500).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_applied_of_it_becomes_a_dead_letter() {
    let system = with_short_outbox(600).await;
    system.mood(300, Mood::Impossible);
    let running = system.run();
    cursor_becomes(&system, 1, 600).await;
    let expected: Vec<i64> = (1..=600).filter(|number| *number != 300).collect();
    assert_eq!(system.applied(), expected);
    let letters = system.letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].entry.contains(&order(300).to_string()));
    assert_eq!(letters[0].position, Some(at(1, 600)));
    running.stop().await;
}

/// As long as the outbox has what is missing, nobody needs one.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_events_can_fill_leads_to_none() {
    let system = System::new();
    system.publish(1..=20).await;
    let mut relay = system.relay();
    while relay.steps().await.more {}
    system.redis.command(&["XTRIM", STREAM, "MAXLEN", "5"]);
    let running = system.run();
    system.converges_to(20).await;
    assert_eq!(system.redis.command(&["EXISTS", SNAPSHOT]), Reply::Integer(0));
    assert!(system.bus.status().snapshots.is_empty());
    running.stop().await;
}
