//! A master that is killed, and the copy that takes its place: the bus finds it, and nothing is lost or doubled.

use std::time::Duration;

use testkit::{RedisServer, Watched, eventually};

use crate::system::{System, bus_at};

/// How long the bus may take to find the new master and to catch up, on a machine with other things to do.
const FOUND: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_killed_and_comes_back_loses_nothing() {
    let mut redis = tokio::task::spawn_blocking(Watched::start).await.unwrap();
    let mut system = System::on(RedisServer::start());
    system.bus = bus_at(&redis.url());
    let running = system.run();
    system.publish(1..=300).await;
    all_applied(&system, 300).await;
    // Of these the master may have some that its copy has not: they are lost with it, and published again.
    system.publish(301..=400).await;
    let mut redis = tokio::task::spawn_blocking(move || {
        redis.kill_master();
        redis
    })
    .await
    .unwrap();
    system.publish(401..=500).await;
    all_applied(&system, 500).await;
    // The one that was killed comes back with nothing, believes for a moment that it is the master, and is made a copy.
    let _back = tokio::task::spawn_blocking(move || {
        redis.bring_back();
        redis
    })
    .await
    .unwrap();
    system.publish(501..=510).await;
    all_applied(&system, 510).await;
    assert!(system.letters().is_empty());
    eventually("all is well", FOUND, || async {
        let status = system.bus.status();
        (status.connected && status.relay_trouble.is_none()).then_some(())
    })
    .await;
    running.stop().await;
}

/// One that was a master and became a copy while it stood still: it is alive, and refuses to be written to.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_was_only_away_is_not_taken_for_one() {
    let mut redis = tokio::task::spawn_blocking(Watched::start).await.unwrap();
    let mut system = System::on(RedisServer::start());
    system.bus = bus_at(&redis.url());
    let running = system.run();
    system.publish(1..=100).await;
    all_applied(&system, 100).await;
    // Asked once: the answer may be another one the next time.
    let master = redis.master();
    let former = master.port();
    master.stop();
    redis = tokio::task::spawn_blocking(move || {
        redis.until_another_than(former);
        redis
    })
    .await
    .unwrap();
    system.publish(101..=200).await;
    all_applied(&system, 200).await;
    redis.server(former).resume();
    system.publish(201..=300).await;
    all_applied(&system, 300).await;
    assert!(system.letters().is_empty());
    running.stop().await;
}

/// Waits until exactly 1 to `last` were applied, in order.
pub(crate) async fn all_applied(system: &System, last: i64) {
    let expected: Vec<i64> = (1..=last).collect();
    eventually("all numbers are applied", FOUND, || async {
        let applied = system.applied();
        assert!(applied.len() <= expected.len(), "applied twice: {applied:?}");
        (applied == expected).then_some(())
    })
    .await;
}
