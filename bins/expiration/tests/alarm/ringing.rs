//! What is announced, when, and how often.

use std::collections::HashSet;
use std::time::Duration;

use bus::DUE_ORDERS_MAX;
use service::ShutdownTrigger;
use testkit::eventually;

use crate::world::{HOLD, SOON, World, ring};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_is_due_is_announced_once_and_not_early() {
    let world = World::new();
    let mut alarm = world.alarm();
    let order = world.place().await;
    let pause = ring(&mut alarm).await;
    assert_eq!(pause, SECOND, "the deadline is far off");
    assert_eq!(world.in_set(), [order]);

    world.clock.advance(HOLD - 10 * SECOND);
    ring(&mut alarm).await;
    assert_eq!(world.announced(), []);
    assert_eq!(world.in_set(), [order]);

    world.clock.advance(10 * SECOND);
    ring(&mut alarm).await;
    assert_eq!(world.announced(), [order]);
    assert_eq!(world.in_set(), []);

    world.clock.advance(HOUR);
    ring(&mut alarm).await;
    assert_eq!(world.announced(), [order]);
}

#[tokio::test]
async fn a_thousand_deadlines_at_once_are_announced_without_a_pause() {
    let world = World::new();
    let mut alarm = world.alarm();
    let orders = world.place_many(1_000).await;
    ring(&mut alarm).await;
    world.clock.advance(HOLD);
    let mut rings = 1;
    while ring(&mut alarm).await.is_zero() {
        rings += 1;
    }
    assert!(
        rings <= orders.len() / DUE_ORDERS_MAX + 1,
        "as few steps as can be, {rings} were needed"
    );
    let announced = world.announced();
    assert_eq!(announced.len(), orders.len());
    assert_eq!(
        announced.into_iter().collect::<HashSet<_>>(),
        orders.into_iter().collect()
    );
    assert_eq!(world.in_set(), []);
}

#[tokio::test]
async fn a_settled_order_leaves_the_set_and_is_never_announced() {
    let world = World::new();
    let mut alarm = world.alarm();
    let (paid, open) = (world.place().await, world.place().await);
    ring(&mut alarm).await;
    assert_eq!(world.in_set(), [paid, open]);
    world.settle(paid).await;
    ring(&mut alarm).await;
    assert_eq!(world.in_set(), [open]);
    world.clock.advance(HOLD);
    ring(&mut alarm).await;
    assert_eq!(world.announced(), [open]);
}

#[tokio::test]
async fn the_store_decides_what_is_due_not_the_set() {
    let world = World::new();
    let mut alarm = world.deaf_alarm();
    let (settled, postponed) = (world.place().await, world.place().await);
    ring(&mut alarm).await;
    assert_eq!(world.in_set(), [settled, postponed]);
    // The set is told of none of this, and its size is right: it says that the first two are due.
    world.settle(settled).await;
    world.postpone(postponed, 2 * HOLD).await;
    let placed = world.place().await;
    world.clock.advance(HOLD);
    ring(&mut alarm).await;
    assert_eq!(world.announced(), []);
    assert_eq!(world.in_set(), [postponed], "moved to where it belongs");
    // Now the size is wrong.
    ring(&mut alarm).await;
    assert_eq!(world.announced(), [placed]);
    world.clock.advance(HOLD);
    ring(&mut alarm).await;
    assert_eq!(world.announced(), [placed, postponed]);
}

#[tokio::test]
async fn a_clock_ahead_rings_early_and_is_put_off() {
    let world = World::new();
    let mut alarm = world.alarm();
    // The orders service's clock is an hour behind ours: its deadline has passed already by our clock.
    let order = world.clock.order_id();
    world.place_at(order, world.clock.now().minus(HOUR)).await;
    ring(&mut alarm).await;
    assert_eq!(world.announced(), [order]);
    assert_eq!(world.in_set(), []);

    world.postpone(order, HOLD).await;
    ring(&mut alarm).await;
    assert_eq!(world.in_set(), [order]);
    world.clock.advance(HOLD - 10 * SECOND);
    ring(&mut alarm).await;
    assert_eq!(world.announced(), [order], "not before the time is over");
    world.clock.advance(10 * SECOND);
    ring(&mut alarm).await;
    assert_eq!(world.announced(), [order, order]);
}

#[tokio::test]
async fn a_clock_behind_makes_nothing_late() {
    let world = World::new();
    let mut alarm = world.alarm();
    let order = world.clock.order_id();
    world.place_at(order, world.clock.now().plus(HOUR)).await;
    world.clock.advance(HOLD);
    ring(&mut alarm).await;
    assert_eq!(world.announced(), [order], "the order's own length has passed");
}

#[tokio::test]
async fn a_restart_announces_nothing_twice() {
    let world = World::new();
    let now = world.clock.now();
    let (early, late) = (world.place().await, world.place().await);
    world.postpone(late, 2 * HOLD).await;
    ring(&mut world.alarm()).await;
    world.clock.advance(HOLD);
    ring(&mut world.alarm()).await;
    assert_eq!(world.announced(), [early]);

    // Killed after the commit, before the order was taken out of the set.
    world.smuggle(&early.to_string(), now);
    let world = world.reopened();
    let mut alarm = world.alarm();
    ring(&mut alarm).await;
    assert_eq!(world.announced(), [early]);
    assert_eq!(world.in_set(), [late]);
    world.clock.advance(HOLD);
    ring(&mut alarm).await;
    assert_eq!(world.announced(), [early, late]);
}

#[tokio::test]
async fn the_loop_rings_by_itself_and_ends_at_the_shutdown() {
    let world = World::new();
    let (trigger, shutdown) = ShutdownTrigger::new();
    let running = tokio::spawn(world.alarm().run(shutdown));
    let order = world.place().await;
    eventually("the order is in the set", SOON, async || {
        (world.in_set() == [order]).then_some(())
    })
    .await;
    world.clock.advance(HOLD);
    eventually("the order is announced", SOON, async || {
        (world.announced() == [order]).then_some(())
    })
    .await;
    trigger.begin();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap();
}
