//! The relay: everything durable, in order, whatever becomes of the stream.

use std::time::Duration;

use bus::RelayError;
use events::{Cause, Envelope, Seq, Source};
use store::{Context, State, TransactError};
use testkit::{RedisServer, Reply};

use crate::steps::Steps as _;
use crate::system::{CONVERGED, Notary, REQUESTS, STREAM, System, at, envelope, now, number_event};

/// Relays until there is nothing left; gives how many events were appended.
async fn drain(relay: &mut bus::Relay<crate::system::Count>) -> usize {
    let mut events = 0;
    loop {
        let step = relay.steps().await;
        events += step.events;
        if !step.more {
            return events;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_in_order_and_once() {
    let system = System::new();
    let running = system.run();
    for first in (1..=2_000).step_by(50) {
        system.publish(first..first + 50).await;
    }
    system.converges_to(2_000).await;
    assert_eq!(system.entries(), 2_000);
    let status = system.bus.status();
    assert!(status.connected, "{status:?}");
    assert_eq!(status.relayed, at(1, 2_000));
    assert_eq!(status.sources[0].cursor, at(1, 2_000));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cause_and_trace_travel_with_the_events() {
    let system = System::with(
        RedisServer::start(),
        Notary {
            answers: true,
            ..Notary::default()
        },
    );
    let running = system.run();
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let context = Context {
        now: now(),
        traceparent: Some(traceparent.to_owned()),
    };
    let published = system.expiration.transact(context, |tx| {
        tx.emit(number_event(1));
        Ok::<_, TransactError<()>>(())
    });
    published.await.unwrap();
    system.publish([2]).await;
    system.converges_to(2).await;
    let answers = system.orders.outbox(Seq(0), usize::MAX).unwrap();
    let answers: Vec<Envelope> = answers
        .iter()
        .map(|entry| Envelope::from_json(&entry.envelope).unwrap())
        .collect();
    assert_eq!(answers[0].traceparent.as_deref(), Some(traceparent));
    assert_eq!(answers[0].cause, Some(Cause::new(Source::Expiration, at(1, 1))));
    assert_eq!(answers[1].traceparent, None);
    assert_eq!(answers[1].cause, Some(Cause::new(Source::Expiration, at(1, 2))));
    running.stop().await;
}

#[tokio::test]
async fn a_lost_reply_is_adopted_and_nothing_is_doubled() {
    let system = System::new();
    let (mut first, mut second) = (system.relay(), system.relay());
    system.publish(1..=3).await;
    assert_eq!(drain(&mut first).await, 3);
    system.publish(4..=5).await;
    // To the first relay it looks as if its own append had arrived and only the reply were lost.
    assert_eq!(drain(&mut second).await, 2);
    assert_eq!(drain(&mut first).await, 0);
    system.publish([6]).await;
    assert_eq!(drain(&mut first).await, 1);
    assert_eq!(drain(&mut second).await, 0);
    assert_eq!(system.entries(), 6);
}

#[tokio::test]
async fn a_relay_that_was_cut_off_anywhere_goes_on_without_a_gap() {
    let system = System::new();
    system.publish(1..=500).await;
    let mut relay = system.relay();
    for micros in (0..3_000).step_by(100) {
        // The step is dropped wherever it happens to be.
        tokio::time::timeout(Duration::from_micros(micros), relay.relay_once())
            .await
            .ok();
    }
    drain(&mut relay).await;
    assert_eq!(system.entries(), 500);
}

#[tokio::test]
async fn what_redis_lost_is_published_again_from_there() {
    let system = System::new();
    let mut relay = system.relay();
    system.publish(1..=10).await;
    drain(&mut relay).await;
    // The end is lost, as after a kill with a late sync.
    let Reply::Array(last) = system
        .redis
        .command(&["XREVRANGE", STREAM, "+", "-", "COUNT", "4"])
    else {
        panic!("not a list");
    };
    for entry in last {
        let Reply::Array(parts) = entry else {
            panic!("not an entry")
        };
        system.redis.command(&["XDEL", STREAM, parts[0].text().unwrap()]);
    }
    system.publish([11]).await;
    assert_eq!(drain(&mut relay).await, 5);
    assert_eq!(system.entries(), 11);
    // All of it is lost.
    system.redis.command(&["FLUSHALL"]);
    let mut again = system.relay();
    assert_eq!(drain(&mut again).await, 11);
}

#[tokio::test]
async fn an_idle_relay_notices_an_emptied_redis() {
    let system = System::new();
    let running = system.run();
    system.publish(1..=3).await;
    system.converges_to(3).await;
    system.redis.command(&["FLUSHALL"]);
    testkit::eventually("the stream is back", CONVERGED, || async {
        (system.entries() == 3).then_some(())
    })
    .await;
    system.publish([4]).await;
    system.converges_to(4).await;
    running.stop().await;
}

#[tokio::test]
async fn a_store_behind_its_own_stream_is_old_and_publishes_nothing() {
    let system = System::new();
    system.publish(1..=3).await;
    let ahead = envelope(at(1, 4), 4);
    system.inject(&[
        "seq",
        "4",
        "type",
        "order:expired",
        "subject",
        "x",
        "envelope",
        &ahead,
    ]);
    let mut relay = system.relay();
    let error = relay.relay_once().await.unwrap_err();
    assert!(matches!(error, RelayError::StoreOld(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("goes on to 1-4, but its store ends at 1-3"),
        "{error}"
    );
    assert!(matches!(system.expiration.status().state, State::Old { .. }));
    assert_eq!(system.entries(), 1);
    assert!(relay.relay_once().await.is_err());
}

#[tokio::test]
async fn a_store_behind_a_reader_is_old() {
    let system = System::new();
    system.publish(1..=3).await;
    let mut relay = system.relay();
    drain(&mut relay).await;
    let statement = ["kind", "statement", "group", "orders", "epoch", "1", "seq", "3"];
    let state = |fields: &[&str]| {
        let mut command = vec!["XADD", REQUESTS, "*"];
        command.extend(fields);
        system.redis.command(&command)
    };
    state(&statement);
    drain(&mut system.relay()).await;
    state(&["kind", "statement", "group", "orders", "epoch", "1", "seq", "9"]);
    let error = system.relay().relay_once().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("orders has applied the events of expiration up to 1-9"),
        "{error}"
    );
    assert!(matches!(system.expiration.status().state, State::Old { .. }));
}

#[tokio::test]
async fn a_later_epoch_publishes_all_that_it_keeps() {
    let system = System::new();
    // The stream ends in an epoch that came before this store's... seen from a store of epoch 1, epoch 0.
    let before = envelope(at(0, 70), 70);
    system.inject(&[
        "seq",
        "70",
        "type",
        "order:expired",
        "subject",
        "x",
        "envelope",
        &before,
    ]);
    system.publish(1..=3).await;
    assert_eq!(drain(&mut system.relay()).await, 3);
}

#[tokio::test]
async fn what_can_not_be_read_at_the_end_of_the_stream_is_passed_over() {
    let system = System::new();
    let mut relay = system.relay();
    system.publish(1..=3).await;
    drain(&mut relay).await;
    system.inject(&[
        "seq",
        "999",
        "type",
        "order:expired",
        "subject",
        "x",
        "envelope",
        "{",
    ]);
    system.inject(&["nothing", "known"]);
    system.publish([4]).await;
    assert_eq!(drain(&mut relay).await, 1);
    assert_eq!(drain(&mut system.relay()).await, 0);
    assert_eq!(system.entries(), 6);
}

#[tokio::test]
async fn a_restarted_service_goes_on_where_its_stream_ends() {
    let mut system = System::new();
    system.publish(1..=3).await;
    drain(&mut system.relay()).await;
    system.publish(4..=5).await;
    system.reopen_expiration();
    assert_eq!(drain(&mut system.relay()).await, 2);
    assert_eq!(system.entries(), 5);
}

#[tokio::test]
async fn a_resend_goes_back_once_however_many_ask() {
    let system = System::new();
    let mut relay = system.relay();
    system.publish(1..=10).await;
    drain(&mut relay).await;
    let ask = |seq: &str| {
        system.redis.command(&[
            "XADD", REQUESTS, "*", "kind", "resend", "group", "orders", "epoch", "1", "seq", seq,
        ])
    };
    ask("6");
    ask("4");
    ask("5");
    ask("10");
    // It looks for requests once a second.
    let again = testkit::eventually("the resend", CONVERGED, async || {
        let events = relay.steps().await.events;
        (events > 0).then_some(events)
    });
    assert_eq!(again.await, 6, "from 5 to 10, once");
    assert_eq!(drain(&mut relay).await, 0);
    assert_eq!(system.entries(), 16);
}

fn ask_resend_after(system: &System, seq: &str) {
    system.redis.command(&[
        "XADD", REQUESTS, "*", "kind", "resend", "group", "orders", "epoch", "1", "seq", seq,
    ]);
}

#[tokio::test]
async fn a_resend_that_failed_before_it_began_is_made_up_for() {
    let system = System::new();
    let mut relay = system.relay();
    system.publish(1..=10).await;
    drain(&mut relay).await;
    // When the request is taken, the stream is not as it was left.
    system.inject(&["nothing", "known"]);
    ask_resend_after(&system, "4");
    testkit::eventually("the resend is refused by the stream", CONVERGED, async || {
        let step = relay.steps().await;
        step.more.then_some(())
    })
    .await;
    assert_eq!(drain(&mut relay).await, 0);
    assert_eq!(system.entries(), 11);
    ask_resend_after(&system, "4");
    let again = testkit::eventually("the resend", CONVERGED, async || {
        let events = relay.steps().await.events;
        (events > 0).then_some(events)
    });
    assert_eq!(again.await, 6, "from 5 to 10");
}

#[tokio::test]
async fn requests_are_read_from_a_redis_whose_ids_begin_anew() {
    let system = System::new();
    let mut relay = system.relay();
    system.publish(1..=10).await;
    drain(&mut relay).await;
    // A server whose clock is far ahead.
    system.redis.command(&[
        "XADD",
        REQUESTS,
        "9999999999999-1",
        "kind",
        "statement",
        "group",
        "orders",
        "epoch",
        "1",
        "seq",
        "10",
    ]);
    drain(&mut system.relay()).await;
    let mut relay = system.relay();
    drain(&mut relay).await;
    // Another one is put in its place, with what the streams held, but its own requests.
    system.redis.command(&["DEL", REQUESTS]);
    system
        .redis
        .command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let again = testkit::eventually("the resend", CONVERGED, async || {
        ask_resend_after(&system, "4");
        let events = relay.relay_once().await.map_or(0, |step| step.events);
        (events > 0).then_some(events)
    });
    assert_eq!(again.await, 6, "from 5 to 10");
}

/// What was asked while the connection was gone is heard: nobody has to ask again.
#[tokio::test]
async fn a_request_made_between_two_connections_is_answered() {
    let system = System::new();
    let mut relay = system.relay();
    system.publish(1..=10).await;
    drain(&mut relay).await;
    system
        .redis
        .command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    ask_resend_after(&system, "4");
    let again = testkit::eventually("the resend", CONVERGED, async || {
        let events = relay.relay_once().await.map_or(0, |step| step.events);
        (events > 0).then_some(events)
    });
    assert_eq!(again.await, 6, "from 5 to 10");
    assert_eq!(drain(&mut relay).await, 0);
}
