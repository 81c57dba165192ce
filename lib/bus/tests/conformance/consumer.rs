//! The consumer: what is next is applied, what is not is dropped and asked for.

use std::time::Duration;

use bus::{ConsumeError, SourceState};
use events::Source;
use testkit::{Reply, eventually};

use crate::steps::Steps as _;
use crate::system::{CONVERGED, Mood, REQUESTS, STREAM, System, at, bus_at, envelope};

fn pending(system: &System) -> i64 {
    match system.redis.command(&["XPENDING", STREAM, "orders"]) {
        Reply::Array(summary) => summary[0].integer().unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn relay_all(system: &System) {
    let mut relay = system.relay();
    while relay.steps().await.more {}
}

/// Takes steps until one reads nothing.
async fn consume_all(
    consumer: &mut bus::Consumer<crate::system::Count, crate::system::Notary>,
) -> bus::Consumed {
    let mut sum = bus::Consumed::default();
    let mut idle = 0;
    // The first step that reads nothing only ends the reading of pending entries.
    while idle < 2 {
        let step = consumer.steps().await;
        idle = if step.read == 0 && step.pause.is_none() {
            idle + 1
        } else {
            0
        };
        sum.read += step.read;
        sum.applied += step.applied;
        sum.duplicates += step.duplicates;
        sum.gaps += step.gaps;
        sum.stale += step.stale;
        sum.buried += step.buried;
    }
    sum
}

#[tokio::test]
async fn what_was_read_but_not_acknowledged_is_read_again_first() {
    let system = System::new();
    system.publish(1..=5).await;
    relay_all(&system).await;
    // A reader took three entries and died.
    system.redis.command(&["XGROUP", "CREATE", STREAM, "orders", "0"]);
    let read = [
        "XREADGROUP",
        "GROUP",
        "orders",
        "orders",
        "COUNT",
        "3",
        "STREAMS",
        STREAM,
        ">",
    ];
    system.redis.command(&read);
    assert_eq!(pending(&system), 3);
    let mut consumer = system.consumer();
    let consumed = consume_all(&mut consumer).await;
    assert_eq!((consumed.applied, consumed.duplicates, consumed.gaps), (5, 0, 0));
    system.converges_to(5).await;
    assert_eq!(pending(&system), 0);
}

#[tokio::test]
async fn what_was_applied_but_not_acknowledged_is_dropped() {
    let system = System::new();
    system.publish(1..=5).await;
    relay_all(&system).await;
    let mut consumer = system.consumer();
    while consumer.steps().await.applied == 0 {}
    // It dies between its commit and the acknowledgement, which would go with the next read.
    drop(consumer);
    assert_eq!(pending(&system), 5);
    let consumed = consume_all(&mut system.consumer()).await;
    assert_eq!((consumed.applied, consumed.duplicates), (0, 5));
    assert_eq!(pending(&system), 0);
}

#[tokio::test]
async fn entries_that_another_reader_has_claimed_do_no_harm() {
    let system = System::new();
    system.publish(1..=5).await;
    relay_all(&system).await;
    let mut consumer = system.consumer();
    while consumer.steps().await.applied == 0 {}
    // Somebody thought it dead, took its entries over, and never finished them.
    system
        .redis
        .command(&["XAUTOCLAIM", STREAM, "orders", "someone", "0", "0"]);
    system.publish([6]).await;
    relay_all(&system).await;
    consume_all(&mut consumer).await;
    system.converges_to(6).await;
    assert_eq!(
        pending(&system),
        0,
        "an acknowledgement counts whoever has claimed the entry"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_five_times_is_applied_once() {
    let system = System::new();
    system.publish(1..=100).await;
    relay_all(&system).await;
    let script = "for i = 1, 4 do for _, e in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 100)) do \
                  redis.call('XADD', KEYS[1], '*', unpack(e[2])) end end";
    system.redis.command(&["EVAL", script, "1", STREAM]);
    assert_eq!(system.entries(), 500);
    let consumed = consume_all(&mut system.consumer()).await;
    assert_eq!((consumed.applied, consumed.duplicates), (100, 400));
    system.converges_to(100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_refilled_and_nothing_is_skipped() {
    let system = System::new();
    system.publish(1..=20).await;
    relay_all(&system).await;
    // Trimmed past what the group has read (row 11), and a hole on top.
    system.redis.command(&["XTRIM", STREAM, "MAXLEN", "10"]);
    let Reply::Array(entries) = system.redis.command(&["XRANGE", STREAM, "-", "+"]) else {
        panic!()
    };
    let Reply::Array(hole) = &entries[4] else { panic!() };
    system.redis.command(&["XDEL", STREAM, hole[0].text().unwrap()]);
    let running = system.run();
    system.converges_to(20).await;
    system.publish(21..=25).await;
    system.converges_to(25).await;
    // 9 that were left, one resend of 20, 5 new ones: a gap is asked for once.
    assert_eq!(system.entries(), 34);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_far_behind_is_asked_for_once() {
    let system = System::new();
    system.publish(1..=3_000).await;
    relay_all(&system).await;
    delete_entry(&system, 3);
    let running = system.run();
    system.converges_to(3_000).await;
    // The reader drops six read batches before it comes to what it asked for; it must not ask again for each.
    assert_eq!(system.entries(), 2_999 + 2_998);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_reader_lacks_another_one_takes_for_repeats() {
    let system = System::new();
    let dir = testkit::temp_dir();
    let payments = store::Store::open(store::Options::new(Source::Payments, dir.path())).unwrap();
    system.publish(1..=10).await;
    relay_all(&system).await;
    let notary = std::sync::Arc::clone(&system.notary);
    let mut other = bus::Consumer::new(
        bus_at(&system.redis.url()),
        payments.clone(),
        Source::Expiration,
        Source::Payments,
        notary,
    )
    .waiting_at_most(Duration::from_millis(20));
    assert_eq!(consume_all(&mut other).await.applied, 10);
    delete_entry(&system, 3);
    let running = system.run();
    system.converges_to(10).await;
    let seen = consume_all(&mut other).await;
    assert_eq!((seen.applied, seen.duplicates, seen.gaps), (0, 8, 0));
    assert_eq!(payments.cursor(Source::Expiration), at(1, 10));
    running.stop().await;
}

/// Deletes the entry at that place of the stream, counted from 1.
fn delete_entry(system: &System, place: usize) {
    let Reply::Array(entries) =
        system
            .redis
            .command(&["XRANGE", STREAM, "-", "+", "COUNT", &place.to_string()])
    else {
        panic!("not a list");
    };
    let Some(Reply::Array(parts)) = entries.last() else {
        panic!("not an entry")
    };
    assert_eq!(
        system.redis.command(&["XDEL", STREAM, parts[0].text().unwrap()]),
        Reply::Integer(1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_and_forgotten_is_asked_for_at_rest() {
    let system = System::new();
    system.publish(1..=5).await;
    relay_all(&system).await;
    // The group stands at the end, although nothing was applied, and no further event will show the gap.
    system.redis.command(&["XGROUP", "CREATE", STREAM, "orders", "$"]);
    let running = system.run();
    system.converges_to(5).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_lost_is_made_again() {
    let system = System::new();
    system.publish(1..=5).await;
    relay_all(&system).await;
    system.redis.command(&["XGROUP", "CREATE", STREAM, "orders", "$"]);
    let mut consumer = system.consumer();
    let resends = || match system.redis.command(&["XRANGE", REQUESTS, "-", "+"]) {
        Reply::Array(requests) => {
            let resend = |request: &&Reply| format!("{request:?}").contains("resend");
            requests.iter().filter(resend).count()
        }
        other => panic!("{other:?}"),
    };
    eventually("the first request", CONVERGED, async || {
        consumer.steps().await;
        (resends() == 1).then_some(())
    })
    .await;
    // Nobody answers it, and it is gone.
    system.redis.command(&["DEL", REQUESTS]);
    eventually("the second request", CONVERGED, async || {
        consumer.steps().await;
        (resends() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_group_or_the_stream_deleted_under_a_blocked_reader() {
    let system = System::new();
    let running = system.run();
    system.publish(1..=3).await;
    system.converges_to(3).await;
    system.redis.command(&["XGROUP", "DESTROY", STREAM, "orders"]);
    system.publish(4..=6).await;
    system.converges_to(6).await;
    system.redis.command(&["DEL", STREAM]);
    system.publish(7..=9).await;
    system.converges_to(9).await;
    running.stop().await;
}

#[tokio::test]
async fn only_what_concerns_the_service_is_read_but_the_cursor_passes_all() {
    let system = System::new();
    let other = envelope(at(1, 1), 1).replace("order:expired", "order:created");
    // Never read beyond its head: it is nonsense beyond it.
    system.inject(&[
        "seq",
        "1",
        "type",
        "order:created",
        "subject",
        "x",
        "envelope",
        &other,
    ]);
    let mut consumer = system.consumer();
    let consumed = consume_all(&mut consumer).await;
    // But expiration does not publish orders: even its head is not believed.
    assert_eq!((consumed.applied, consumed.buried), (0, 1));
}

#[tokio::test]
async fn an_impossible_event_is_tried_again_in_place_and_then_harms_no_other() {
    let system = System::new();
    system.mood(3, Mood::Impossible);
    system.publish(1..=5).await;
    relay_all(&system).await;
    let mut consumer = system.consumer();
    let begun = std::time::Instant::now();
    let mut pauses = Duration::ZERO;
    while system.applied().len() < 4 {
        pauses += consumer.steps().await.pause.unwrap_or_default();
    }
    // Others move on within a second, as far as that is up to the consumer. That they do, round trips and syncs included, is
    // what the fault bench measures (`./scripts/faults poison`).
    assert!(pauses < Duration::from_secs(1), "{pauses:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(system.applied(), [1, 2, 4, 5]);
    let letters = system.letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].id.as_str(), letters[0].position, letters[0].tries),
        ("1-3", Some(at(1, 3)), 5)
    );
    assert_eq!(
        (letters[0].event_type.as_str(), letters[0].reason.as_str()),
        ("order:expired", "it can't be")
    );
    assert_eq!(letters[0].entry, envelope(at(1, 3), 3));
    assert_eq!(system.orders.cursor(Source::Expiration), at(1, 5));
}

#[tokio::test]
async fn what_is_impossible_only_for_a_while_is_no_dead_letter() {
    let system = System::new();
    system.mood(2, Mood::ImpossibleUntil(4));
    system.publish(1..=3).await;
    relay_all(&system).await;
    consume_all(&mut system.consumer()).await;
    assert_eq!(system.applied(), [1, 2, 3]);
    assert!(system.letters().is_empty());
}

#[tokio::test]
async fn a_handler_that_panics_loses_only_that_event() {
    let system = System::new();
    system.mood(1, Mood::Panics);
    system.mood(3, Mood::Panics);
    system.publish(1..=4).await;
    relay_all(&system).await;
    consume_all(&mut system.consumer()).await;
    assert_eq!(system.applied(), [2, 4]);
    let reasons: Vec<_> = system.letters().into_iter().map(|letter| letter.reason).collect();
    assert_eq!(
        reasons,
        ["its handler panicked: the handler is out of its mind"; 2]
    );
}

#[tokio::test]
async fn what_comes_too_late_is_counted_and_changes_nothing() {
    let system = System::new();
    system.mood(2, Mood::Stale);
    system.publish(1..=3).await;
    relay_all(&system).await;
    let consumed = consume_all(&mut system.consumer()).await;
    assert_eq!((consumed.applied, consumed.stale), (2, 1));
    assert_eq!(system.applied(), [1, 3]);
}

#[tokio::test]
async fn a_store_that_can_not_be_written_is_no_poison() {
    let system = System::new();
    system.publish(1..=3).await;
    relay_all(&system).await;
    system.orders.mark_old("for the test");
    let mut consumer = system.consumer();
    // The first step only finds that nothing is pending.
    assert_eq!(consumer.steps().await.read, 0);
    for _ in 0..8 {
        let error = consumer.consume_once().await.unwrap_err();
        assert!(matches!(error, ConsumeError::Store(_)), "{error}");
    }
    let status = system.bus.status();
    assert!(
        matches!(status.sources[0].state, SourceState::StoreUnavailable(_)),
        "{status:?}"
    );
    assert!(status.connected, "the bus is not to blame");
    assert_eq!(pending(&system), 3);
}

#[tokio::test]
async fn a_new_epoch_of_a_source_is_not_entered_by_its_events_alone() {
    let system = System::new();
    for (position, number) in [
        (at(1, 1), 1),
        (at(1, 2), 2),
        (at(2, 1), 3),
        (at(1, 3), 9),
        (at(2, 2), 4),
    ] {
        let seq = position.seq.to_string();
        system.inject(&[
            "seq",
            &seq,
            "type",
            "order:expired",
            "subject",
            "x",
            "envelope",
            &envelope(position, number),
        ]);
    }
    let consumed = consume_all(&mut system.consumer()).await;
    assert_eq!(system.applied(), [1, 2, 9]);
    assert_eq!(
        consumed.gaps, 2,
        "what the source has lost only a snapshot can tell"
    );
    assert_eq!(system.bus.status().sources[0].state, SourceState::AwaitingResend);
}

#[tokio::test]
async fn how_far_it_is_behind_can_be_seen() {
    let system = System::new();
    system.publish(1..=1_200).await;
    relay_all(&system).await;
    let mut consumer = system.consumer();
    while consumer.steps().await.applied == 0 {}
    let status = system.bus.status();
    assert_eq!(
        (status.sources[0].cursor, status.sources[0].head),
        (at(1, 512), Some(at(1, 1_200)))
    );
    assert_eq!(status.sources[0].lag(), 688);
    consume_all(&mut consumer).await;
    assert_eq!(system.bus.status().sources[0].lag(), 0);
}
