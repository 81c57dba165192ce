//! Redis flushed, killed, stopped, full, absent: everything converges, and nothing hangs.

use std::time::Duration;

use bus::SourceState;
use testkit::{RedisOptions, RedisServer, Reply, eventually};

use crate::steps::Steps as _;
use crate::system::{CONVERGED, STREAM, System};

/// How long relay and consumer may take to stop on a busy machine. A service cuts off what takes longer than a second and a
/// half; that it is gone in time itself is measured by the fault bench (`./scripts/faults 30`).
const STOPPED_MAX: Duration = Duration::from_secs(10);

/// How often they are stopped until one stop was not held up.
const STOPS_MAX: u32 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn flushed_again_and_again_in_the_middle_of_everything() {
    let system = System::new();
    let running = system.run();
    let mut last = 0;
    for round in 0..20 {
        system.publish(last + 1..=last + 40).await;
        last += 40;
        if round % 2 == 0 {
            system.redis.command(&["FLUSHALL"]);
        }
        system.publish(last + 1..=last + 5).await;
        last += 5;
    }
    system.converges_to(last).await;
    assert!(system.letters().is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_killed_and_restarted_with_its_file() {
    killed_and_restarted(RedisOptions {
        append_only: true,
        memory_bytes_max: None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_killed_and_restarted_with_nothing() {
    killed_and_restarted(RedisOptions::default()).await;
}

async fn killed_and_restarted(options: RedisOptions) {
    let mut system = System::on(RedisServer::with(options));
    let running = system.run();
    let mut last = 0;
    for _ in 0..5 {
        system.publish(last + 1..=last + 100).await;
        system.redis.kill();
        system.publish(last + 101..=last + 150).await;
        system.redis.restart();
        system.publish(last + 151..=last + 200).await;
        last += 200;
    }
    system.converges_to(last).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_down_at_the_start_is_degraded_and_no_more() {
    let mut redis = RedisServer::start();
    redis.kill();
    let mut system = System::on(redis);
    let running = system.run();
    system.publish(1..=10).await;
    eventually("the trouble is seen", CONVERGED, || async {
        let status = system.bus.status();
        (!status.connected && status.relay_trouble.is_some()).then_some(())
    })
    .await;
    assert_eq!(system.bus.status().sources[0].state, SourceState::Connecting);
    system.redis.restart();
    system.converges_to(10).await;
    eventually("all is well", CONVERGED, || async {
        let status = system.bus.status();
        (status.connected && status.relay_trouble.is_none()).then_some(())
    })
    .await;
    running.stop().await;
}

/// As long as nobody reads, nothing can go.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_waited_for() {
    let options = RedisOptions {
        append_only: false,
        memory_bytes_max: Some(3_000_000),
    };
    let system = System::on(RedisServer::with(options));
    // The group is there, its reader is not.
    let mut reader = system.consumer();
    reader.steps().await;
    drop(reader);
    let mut relay = system.relay();
    let mut last = 0;
    while last < 6_000 {
        system.publish(last + 1..=last + 500).await;
        last += 500;
    }
    let error = loop {
        match relay.relay_once().await {
            Ok(relayed) => assert!(relayed.more, "all of it was published"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("OOM"), "{error}");
    let relayed = system.bus.status().relayed.seq.0;
    assert!(relayed > 0 && relayed < 6_000);
    assert_eq!(
        system.entries(),
        i64::try_from(relayed).unwrap(),
        "what is not read stays"
    );
    system.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let running = system.run();
    system.converges_to(last).await;
    running.stop().await;
}

/// What is read goes at once when there is no room, so that the rest finds some.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_makes_room_by_itself_as_it_is_read() {
    let options = RedisOptions {
        append_only: false,
        memory_bytes_max: Some(3_000_000),
    };
    let system = System::on(RedisServer::with(options));
    let mut reader = system.consumer();
    reader.steps().await;
    drop(reader);
    let mut last = 0;
    while last < 8_000 {
        system.publish(last + 1..=last + 500).await;
        last += 500;
    }
    let mut relay = system.relay();
    while relay.relay_once().await.is_ok() {}
    drop(relay);
    // The reader comes to a Redis that is full already.
    let running = system.run();
    eventually("all is applied", 2 * CONVERGED, || async {
        (system.applied().len() == 8_000).then_some(())
    })
    .await;
    assert_eq!(system.applied(), (1..=last).collect::<Vec<_>>());
    assert!(system.entries() < 6_000);
    running.stop().await;
}

/// As a service starts: its consumers wait until its relay has compared, and only they can make room.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_comes_to_a_full_redis_compares_and_shows_itself_later() {
    let system = System::new();
    let mut reader = system.consumer();
    reader.steps().await;
    system.publish(1..=100).await;
    let mut relay = system.relay();
    while relay.steps().await.more {}
    drop(relay);
    system.redis.command(&["DEL", "roll:expiration"]);
    system.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut relay = system.relay();
    let compared = relay.compared();
    while relay.steps().await.more {}
    compared.await;
    let trouble = system.bus.status().relay_trouble;
    assert!(trouble.is_some_and(|trouble| trouble.contains("redis is full")));
    // What is there is read all the same, and goes: that is what makes room.
    eventually("all is applied, and gone", CONVERGED, async || {
        reader.steps().await;
        relay.steps().await;
        (system.applied().len() == 100 && system.entries() == 1).then_some(())
    })
    .await;
    system.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    eventually("the relay shows itself", CONVERGED, async || {
        reader.steps().await;
        relay.steps().await;
        let shown = system.redis.command(&["EXISTS", "roll:expiration"]).integer();
        (system.bus.status().relay_trouble.is_none() && shown == Some(1)).then_some(())
    })
    .await;
}

/// Its stream has the only copy of what it has lost: that is no room to be made.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_set_back_meets_a_full_redis_and_loses_nothing() {
    let mut system = System::new();
    let running = system.run();
    system.publish(1..=10).await;
    let backup = system.backup().await;
    system.publish(11..=20).await;
    system.converges_to(20).await;
    running.stop().await;
    system.set_back(&backup);
    system.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut relay = system.relay();
    for _ in 0..3 {
        relay.steps().await;
    }
    assert_eq!(system.kept(), (1..=20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stands_still_is_waited_for_and_stopping_is_prompt() {
    let system = System::new();
    let running = system.run();
    system.publish(1..=10).await;
    system.converges_to(10).await;
    system.redis.stop();
    system.publish(11..=20).await;
    // By the answers that do not come, which takes some seconds.
    eventually("it is noticed", 2 * CONVERGED, || async {
        (!system.bus.status().connected).then_some(())
    })
    .await;
    let took = running.stop().await;
    assert!(took < STOPPED_MAX, "stopping took {took:?}");
    system.redis.resume();
    let running = system.run();
    system.converges_to(20).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_is_prompt_and_publishes_what_is_durable() {
    let system = System::new();
    let running = system.run();
    system.publish(1..=5).await;
    system.converges_to(5).await;
    system
        .state_becomes("at rest", |state| *state == SourceState::Reading)
        .await;
    system.publish(6..=10).await;
    let mut last = 10;
    let mut took = running.stop().await;
    assert!(took < STOPPED_MAX, "stopping took {took:?}");
    // What is durable is published, unless that takes longer than a stop may: then, on a busy machine, it is stopped again.
    for _ in 0..STOPS_MAX {
        if system.entries() == last {
            break;
        }
        let running = system.run();
        system.converges_to(last).await;
        system.publish(last + 1..=last + 5).await;
        last += 5;
        took = running.stop().await;
        assert!(took < STOPPED_MAX, "stopping took {took:?}");
    }
    assert_eq!(system.entries(), last, "a stop took {took:?}");
    let running = system.run();
    system.converges_to(last).await;
    // Stopped between a commit and its acknowledgement it leaves entries pending, which the next start drops: so it is
    // asked while it runs.
    eventually("what was applied is acknowledged", CONVERGED, async || {
        let Reply::Array(pending) = system.redis.command(&["XPENDING", STREAM, "orders"]) else {
            panic!("XPENDING answers with an array")
        };
        (pending[0].integer() == Some(0)).then_some(())
    })
    .await;
    running.stop().await;
}
