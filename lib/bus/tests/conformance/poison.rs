//! Poison: entries that none of our programs writes, and schemas from the future.

use bus::SourceState;
use testkit::eventually;

use crate::steps::Steps as _;
use crate::system::{CONVERGED, REQUESTS, STREAM, System, at, envelope};

#[tokio::test(flavor = "multi_thread")]
async fn poison_becomes_a_dead_letter_and_never_takes_the_place_of_an_event() {
    let system = System::new();
    let running = system.run();
    system.publish(1..=3).await;
    system.converges_to(3).await;
    let huge = "x".repeat(10_000_000);
    let ahead = envelope(at(1, 4), 4);
    let poison: [&[&str]; 6] = [
        &[
            "seq",
            "4",
            "type",
            "order:expired",
            "subject",
            "x",
            "envelope",
            "{",
        ],
        &[
            "seq",
            "4",
            "type",
            "order:expired",
            "subject",
            "x",
            "envelope",
            &huge,
        ],
        &["seq", "4", "type", "order:expired", "subject", "x"],
        &[
            "seq",
            "four",
            "type",
            "order:expired",
            "subject",
            "x",
            "envelope",
            &ahead,
        ],
        &[
            "seq",
            "2",
            "type",
            "order:expired",
            "subject",
            "x",
            "envelope",
            "[]",
        ],
        &["something", "else"],
    ];
    for fields in poison {
        system.inject(fields);
    }
    eventually("all of them are dead letters", CONVERGED, || async {
        (system.letters().len() == poison.len()).then_some(())
    })
    .await;
    system.publish(4..=6).await;
    system.converges_to(6).await;
    let letters = system.letters();
    assert_eq!(letters.len(), poison.len(), "{letters:?}");
    let huge = letters
        .iter()
        .find(|letter| letter.entry_bytes == 10_000_000)
        .unwrap();
    assert!(huge.entry.len() < 1_000_000, "kept only as far as is useful");
    running.stop().await;
}

/// Entries that agree with themselves as far as number and envelope go, but are no events of this source.
#[tokio::test(flavor = "multi_thread")]
async fn a_stray_entry_with_a_place_far_ahead_poisons_neither_relay_nor_consumer() {
    let system = System::new();
    let running = system.run();
    system.publish(1..=3).await;
    system.converges_to(3).await;
    let ahead = envelope(at(1, 999), 999);
    let strays = [
        ("nonsense", r#"{"epoch":1,"seq":999}"#.to_owned()),
        ("order:expired", r#"{"epoch":1,"seq":999}"#.to_owned()),
        ("nonsense", ahead.replace("order:expired", "nonsense")),
        ("order:created", ahead.replace("order:expired", "order:created")),
        ("order:notdue", ahead.clone()),
        (
            "order:expired",
            ahead.replace("\"source\":\"expiration\"", "\"source\":\"orders\""),
        ),
        (
            "order:expired",
            ahead.replace("expiration-1-999", "expiration-1-99"),
        ),
    ];
    for (number, (event_type, envelope)) in (4..).zip(&strays) {
        system.inject(&[
            "seq", "999", "type", event_type, "subject", "x", "envelope", envelope,
        ]);
        system.publish([number]).await;
        system.converges_to(number).await;
    }
    system.inject(&[
        "seq",
        "999",
        "type",
        "nonsense",
        "subject",
        "x",
        "envelope",
        &strays[0].1,
    ]);
    eventually("all of them are dead letters", CONVERGED, || async {
        (system.letters().len() == strays.len() + 1).then_some(())
    })
    .await;
    // A relay that begins finds the stray one last.
    running.stop().await;
    let running = system.run();
    let last = 4 + i64::try_from(strays.len()).unwrap();
    system.publish([last]).await;
    system.converges_to(last).await;
    system
        .state_becomes("at rest", |state| *state == SourceState::Reading)
        .await;
    let status = system.bus.status();
    assert_eq!(status.relay_trouble, None);
    assert_eq!(status.sources[0].lag(), 0, "{status:?}");
    assert!(matches!(system.expiration.status().state, store::State::Serving));
    running.stop().await;
}

/// The source itself has nothing better to say: then, and only then, the cursor passes it.
#[tokio::test]
async fn what_its_source_repeats_is_passed() {
    let system = System::new();
    let inject = |seq: u64, envelope: &str| {
        system.inject(&[
            "seq",
            &seq.to_string(),
            "type",
            "order:expired",
            "subject",
            "x",
            "envelope",
            envelope,
        ])
    };
    inject(1, &envelope(at(1, 1), 1));
    inject(2, "garbage");
    inject(3, "garbage as well");
    inject(4, &envelope(at(1, 4), 4));
    let mut consumer = system.consumer();
    eventually("it asks for what it can't read", CONVERGED, async || {
        consumer.steps().await;
        let requests = system.redis.command(&["XLEN", REQUESTS]).integer()?;
        (requests == 2).then_some(())
    })
    .await;
    assert_eq!(system.applied(), [1]);
    assert_eq!(system.letters().len(), 2);
    inject(2, "garbage");
    inject(3, "garbage as well");
    inject(4, &envelope(at(1, 4), 4));
    eventually("the rest is applied", CONVERGED, async || {
        consumer.steps().await;
        (system.applied() == [1, 4]).then_some(())
    })
    .await;
    let ids: Vec<String> = system.letters().into_iter().map(|letter| letter.id).collect();
    assert_eq!(ids, ["1-2", "1-3"], "one letter each, by the place that they had");
    // Sent again later, it is known.
    inject(2, "garbage");
    consumer.steps().await;
    assert_eq!(system.letters().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_type_that_nobody_knows_is_a_dead_letter() {
    let system = System::new();
    let unknown = envelope(at(1, 1), 1).replace("order:expired", "order:teleported");
    let inject = |envelope: &str, event_type: &str, seq: &str| {
        system.inject(&[
            "seq", seq, "type", event_type, "subject", "x", "envelope", envelope,
        ])
    };
    let mut consumer = system.consumer();
    inject(&unknown, "order:teleported", "1");
    eventually("it is recorded", CONVERGED, async || {
        consumer.steps().await;
        (system.letters().len() == 1).then_some(())
    })
    .await;
    assert!(system.letters()[0].reason.contains("order:teleported"));
    inject(&unknown, "order:teleported", "1");
    inject(&envelope(at(1, 2), 2), "order:expired", "2");
    eventually("the rest is applied", CONVERGED, async || {
        consumer.steps().await;
        (system.applied() == [2]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_stops_the_consumer_loudly_and_only_until_it_is_known() {
    let system = System::new();
    let newer = envelope(at(1, 2), 2).replace("order:expired:1", "order:expired:2");
    let good = envelope(at(1, 1), 1);
    system.inject(&[
        "seq",
        "1",
        "type",
        "order:expired",
        "subject",
        "x",
        "envelope",
        &good,
    ]);
    let id = system.inject(&[
        "seq",
        "2",
        "type",
        "order:expired",
        "subject",
        "x",
        "envelope",
        &newer,
    ]);
    let after = envelope(at(1, 3), 3);
    system.inject(&[
        "seq",
        "3",
        "type",
        "order:expired",
        "subject",
        "x",
        "envelope",
        &after,
    ]);
    let mut consumer = system.consumer();
    let mut stopped = bus::Consumed::default();
    while stopped.pause.is_none() {
        stopped = consumer.steps().await;
    }
    assert_eq!(system.applied(), [1]);
    assert!(system.letters().is_empty(), "it is no poison");
    let state = system.bus.status().sources[0].state.clone();
    assert!(
        matches!(&state, SourceState::Stopped(why) if why.contains("upgrade this service")),
        "{state}"
    );
    assert!(consumer.steps().await.pause.is_some(), "it stands still");
    // As if it had learnt the schema: what it could not read is there in one that it knows.
    system.redis.command(&["XDEL", STREAM, &id]);
    let known = envelope(at(1, 2), 2);
    system.inject(&[
        "seq",
        "2",
        "type",
        "order:expired",
        "subject",
        "x",
        "envelope",
        &known,
    ]);
    system.inject(&[
        "seq",
        "3",
        "type",
        "order:expired",
        "subject",
        "x",
        "envelope",
        &after,
    ]);
    eventually("it goes on", CONVERGED, async || {
        consumer.steps().await;
        (system.applied() == [1, 2, 3]).then_some(())
    })
    .await;
    let state = system.bus.status().sources[0].state.clone();
    assert_eq!(state, SourceState::Reading);
}
