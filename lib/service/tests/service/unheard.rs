//! What a service says about an id that it has not heard of: 404 when it is certain, and 503 until then.

use std::time::{Duration, Instant};

use serde_json::json;
use service::READ_WAIT_MAX;
use testkit::{Answer, Client, eventually};
use tokio::task::JoinSet;

use crate::example::{Notes, Places};
use crate::world::{Running, SOON, World};

/// A machine with two cores, on which other tests run, may take so many times as long as is promised. How long it took is
/// printed; what fails here is an answer that hangs.
const BUSY: u32 = 10;

/// So many ids are made up at once.
const CROWD: usize = 2_000;

/// How long they take at most on a machine with nothing else to do, connections and all.
const CROWD_MAX: Duration = Duration::from_secs(5);

/// For how long Redis is emptied again and again.
const CHAOS: Duration = Duration::from_secs(3);

/// What another service has acknowledged is heard of here. It may take a while, but is never said not to be there.
pub(crate) async fn hears_of(client: &Client, path: &str) -> Answer {
    eventually("it is heard of", 2 * SOON, async || {
        let answer = client.get(path).send().await;
        match answer.status.as_u16() {
            200 => Some(answer),
            503 => {
                assert!(answer.header("retry-after").is_some(), "{}", answer.text());
                None
            }
            other => panic!(
                "{path} was acknowledged, and is answered {other}: {}",
                answer.text()
            ),
        }
    })
    .await
}

/// It is said not to be there, once that is certain; how long the answer took.
pub(crate) async fn does_not_exist(client: &Client, path: &str) -> Duration {
    eventually("it is said not to be there", 2 * SOON, async || {
        let begun = Instant::now();
        let answer = client.get(path).send().await;
        match answer.status.as_u16() {
            404 => Some(begun.elapsed()),
            503 => None,
            other => panic!(
                "{path} does not exist, and is answered {other}: {}",
                answer.text()
            ),
        }
    })
    .await
}

/// Whatever it says of an unknown id, it is "come again", and said in time.
async fn can_not_be_told(client: &Client, path: &str) {
    let begun = Instant::now();
    let answer = client.get(path).expect(503).await;
    assert!(answer.header("retry-after").is_some(), "{}", answer.text());
    let took = begun.elapsed();
    eprintln!("503 after {took:?}");
    assert!(took < BUSY * READ_WAIT_MAX, "{took:?}");
}

async fn publish(orders: &Running, order: impl serde::Serialize) {
    let not_due = json!({ "not_due": order });
    orders.client.post("/publish", &not_due).expect(200).await;
}

fn made_up(orders: &Running) -> String {
    format!("/orders/{}", orders.clock.order_id())
}

async fn both(world: &World) -> (Running, Running) {
    let orders = Running::start::<Places>(&world.settings()).await.unwrap();
    let notes = Running::start::<Notes>(&world.settings()).await.unwrap();
    does_not_exist(&notes.client, &made_up(&orders)).await;
    (orders, notes)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_made_up_is_not_waited_for() {
    let world = World::new();
    let (orders, notes) = both(&world).await;
    let mut took = Vec::new();
    for _ in 0..50 {
        took.push(does_not_exist(&notes.client, &made_up(&orders)).await);
    }
    took.sort();
    eprintln!("404 after {:?} in the middle, {:?} at most", took[25], took[49]);
    assert!(took[25] < BUSY * READ_WAIT_MAX / 2, "{took:?}");
    notes.stop().await;
    orders.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_with_ids_that_were_made_up_is_answered_in_time() {
    let world = World::new();
    let (orders, notes) = both(&world).await;
    let begun = Instant::now();
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let (client, path) = (notes.client.clone(), made_up(&orders));
        crowd.spawn(async move { client.get(path).send().await });
    }
    let (mut certain, mut refused) = (0, 0);
    for answer in crowd.join_all().await {
        match answer.status.as_u16() {
            404 => certain += 1,
            503 => {
                assert!(answer.header("retry-after").is_some(), "{}", answer.text());
                refused += 1;
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    let took = begun.elapsed();
    eprintln!("{certain} were told 404, {refused} to come again, within {took:?}");
    // How many are told at once is the machine's business. That everybody is answered, and that the crowd leaves nothing behind
    // that is in the way of the next, is ours.
    assert!(took < BUSY * CROWD_MAX, "{took:?}");
    does_not_exist(&notes.client, &made_up(&orders)).await;
    notes.stop().await;
    orders.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_and_not_published_is_not_said_to_be_missing() {
    let world = World::new();
    let (orders, notes) = both(&world).await;
    // Its relay is at work, and can't append.
    world.redis.command(&["SET", "events:orders", "no stream"]);
    let order = orders.clock.order_id();
    publish(&orders, order).await;
    let path = format!("/orders/{order}");
    can_not_be_told(&notes.client, &path).await;
    world.redis.command(&["DEL", "events:orders"]);
    hears_of(&notes.client, &path).await;
    does_not_exist(&notes.client, &made_up(&orders)).await;
    notes.stop().await;
    orders.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_maker_is_away_can_not_be_told() {
    let mut world = World::new();
    let (orders, notes) = both(&world).await;
    let path = made_up(&orders);
    orders.stop().await;
    can_not_be_told(&notes.client, &path).await;
    let orders = Running::start::<Places>(&world.settings()).await.unwrap();
    does_not_exist(&notes.client, &path).await;

    // Redis stands still, is full, is gone.
    world.redis.stop();
    can_not_be_told(&notes.client, &path).await;
    world.redis.resume();
    does_not_exist(&notes.client, &path).await;
    world.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    can_not_be_told(&notes.client, &path).await;
    world.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    does_not_exist(&notes.client, &path).await;
    world.redis.kill();
    can_not_be_told(&notes.client, &path).await;
    world.redis.restart();
    does_not_exist(&notes.client, &path).await;
    notes.stop().await;
    orders.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_never_said_to_be_missing_whatever_redis_loses() {
    let world = World::new();
    let (orders, notes) = both(&world).await;
    let begun = Instant::now();
    let mut round = 0;
    while begun.elapsed() < CHAOS {
        let order = orders.clock.order_id();
        publish(&orders, order).await;
        match round % 4 {
            0 => drop(world.redis.command(&["FLUSHALL"])),
            1 => drop(world.redis.command(&["DEL", "events:orders"])),
            // What is there counts as read by somebody else.
            2 => drop(
                world
                    .redis
                    .command(&["XGROUP", "SETID", "events:orders", "tickets", "$"]),
            ),
            _ => {}
        }
        hears_of(&notes.client, &format!("/orders/{order}")).await;
        round += 1;
    }
    eprintln!("{round} rounds");
    notes.stop().await;
    orders.stop().await;
}
