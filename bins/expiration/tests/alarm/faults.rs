//! A set that is lost, damaged or out of reach.

use std::sync::atomic::{AtomicBool, Ordering};

use expiration::alarm::{AlarmError, SET_NAME};
use expiration::hints::HINTS_MAX;
use service::ShutdownTrigger;
use testkit::{Reply, eventually};

use crate::world::{HOLD, SOON, World, ring};

#[tokio::test]
async fn a_set_that_is_lost_is_filled_again_at_the_next_step() {
    let world = World::new();
    let mut alarm = world.alarm();
    let orders = [world.place().await, world.place().await, world.place().await];
    ring(&mut alarm).await;
    assert_eq!(world.in_set(), orders);
    let one = orders[1].to_string();
    for (damage, fills) in [
        (vec!["FLUSHALL"], 2),
        (vec!["DEL", SET_NAME], 3),
        (vec!["ZREM", SET_NAME, &one], 4),
    ] {
        world.redis.command(&damage);
        for _ in 0..3 {
            ring(&mut alarm).await;
        }
        assert_eq!(world.in_set(), orders, "after {damage:?}");
        assert_eq!(alarm.fills(), fills, "once for {damage:?}");
    }
    // Lost together with the moment: filled and announced in the same step.
    world.redis.command(&["FLUSHALL"]);
    world.clock.advance(HOLD);
    ring(&mut alarm).await;
    assert_eq!(world.announced(), orders);
}

#[tokio::test]
async fn a_restarted_redis_is_filled_again() {
    let mut world = World::new();
    let mut alarm = world.alarm();
    let order = world.place().await;
    ring(&mut alarm).await;
    world.redis.kill();
    for _ in 0..2 {
        assert!(matches!(alarm.ring_once().await, Err(AlarmError::Set(_))));
    }
    let meanwhile = world.place().await;
    assert!(alarm.ring_once().await.is_err());
    world.redis.restart();
    assert_eq!(world.in_set(), [], "it kept nothing");
    ring(&mut alarm).await;
    assert_eq!(world.in_set(), [order, meanwhile]);
}

#[tokio::test]
async fn strays_go_away() {
    let world = World::new();
    let mut alarm = world.alarm();
    let order = world.place().await;
    ring(&mut alarm).await;
    let stray = world.clock.order_id().to_string();
    let (past, future) = (
        world.clock.now().minus(HOLD),
        world.clock.now().plus(1_000 * HOLD),
    );
    for (member, deadline) in [
        (stray.as_str(), past),
        (stray.as_str(), future),
        ("no order", past),
        ("no order", future),
    ] {
        world.smuggle(member, deadline);
        ring(&mut alarm).await;
        assert_eq!(world.in_set(), [order], "{member} at {deadline}");
    }
    // Two differences that even out show as soon as the stray has rung.
    world.smuggle(&stray, past);
    world.redis.command(&["ZREM", SET_NAME, &order.to_string()]);
    ring(&mut alarm).await;
    ring(&mut alarm).await;
    assert_eq!(world.in_set(), [order]);
    assert_eq!(world.announced(), []);
}

#[tokio::test]
async fn a_key_that_is_no_set_is_told_and_got_over() {
    let world = World::new();
    let mut alarm = world.alarm();
    let order = world.place().await;
    world.redis.command(&["SET", SET_NAME, "a text"]);
    assert!(matches!(alarm.ring_once().await, Err(AlarmError::Set(_))));
    world.redis.command(&["DEL", SET_NAME]);
    ring(&mut alarm).await;
    assert_eq!(world.in_set(), [order]);
}

#[tokio::test]
async fn a_full_redis_loses_no_hint() {
    let world = World::new();
    let mut alarm = world.alarm();
    let settled = world.place().await;
    ring(&mut alarm).await;
    let full = world.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(full, Reply::Status("OK".into()));
    let order = world.place().await;
    world.settle(settled).await;
    assert!(matches!(alarm.ring_once().await, Err(AlarmError::Set(_))));
    assert!(matches!(alarm.ring_once().await, Err(AlarmError::Set(_))));
    world.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    ring(&mut alarm).await;
    assert_eq!(world.in_set(), [order]);
}

#[tokio::test]
async fn more_hints_than_are_kept_are_made_up_for() {
    let world = World::new();
    let mut alarm = world.alarm();
    let settled = world.place().await;
    ring(&mut alarm).await;
    // As many came as went: the size of the set tells nothing.
    world.settle(settled).await;
    let order = world.place().await;
    for _ in 0..HINTS_MAX {
        world.hints.push(world.clock.order_id());
    }
    ring(&mut alarm).await;
    assert_eq!(world.in_set(), [order]);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_on_their_way_are_no_reason_to_fill_the_set_again() {
    let world = World::new();
    let mut alarm = world.alarm();
    ring(&mut alarm).await;
    let placed = AtomicBool::new(false);
    let placing = async {
        for _ in 0..200 {
            world.place().await;
        }
        placed.store(true, Ordering::SeqCst);
    };
    let ringing = async {
        // Never still: each step finds what has come since the one before. None is broken off half-way, as the loop's
        // never are: a step that is takes the hints that it holds with it.
        while !placed.load(Ordering::SeqCst) {
            ring(&mut alarm).await;
        }
    };
    tokio::join!(placing, ringing);
    ring(&mut alarm).await;
    assert_eq!(world.in_set().len(), 200);
    assert_eq!(alarm.fills(), 1, "only for the first connection");
}

#[tokio::test]
async fn the_loop_outlives_a_redis_that_is_down() {
    let mut world = World::new();
    world.redis.kill();
    let (trigger, shutdown) = ShutdownTrigger::new();
    let running = tokio::spawn(world.alarm().run(shutdown));
    let order = world.place().await;
    world.redis.restart();
    eventually("the order is in the set", SOON, async || {
        (world.in_set() == [order]).then_some(())
    })
    .await;
    world.redis.kill();
    world.clock.advance(HOLD);
    world.redis.restart();
    eventually("the order is announced", SOON, async || {
        (world.announced() == [order]).then_some(())
    })
    .await;
    world.redis.kill();
    trigger.begin();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap();
}
