//! The scheduled set: due in order, in small parts, and only gone when it is removed.

use bus::{DUE_ORDERS_MAX, ScheduledSet};
use events::{OrderId, Timestamp};
use testkit::{RedisServer, Reply};

use crate::system::{bus_at, order};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

#[tokio::test]
async fn deadlines_come_due_in_order_and_stay_until_they_are_removed() {
    let redis = RedisServer::start();
    let set = ScheduledSet::new(&bus_at(&redis.url()), "deadlines");
    assert!(set.is_empty().await.unwrap());
    assert_eq!(set.next_deadline().await.unwrap(), None);
    set.schedule(&[(order(3), at(30)), (order(1), at(10)), (order(2), at(20))])
        .await
        .unwrap();
    assert_eq!(set.len().await.unwrap(), 3);
    assert_eq!(set.next_deadline().await.unwrap(), Some(at(10)));
    assert_eq!(set.due(at(9), 200).await.unwrap(), []);
    assert_eq!(set.due(at(10), 200).await.unwrap(), [order(1)]);
    assert_eq!(set.due(at(25), 200).await.unwrap(), [order(1), order(2)]);
    assert_eq!(set.due(at(25), 1).await.unwrap(), [order(1)]);
    set.remove(&[order(1), order(9)]).await.unwrap();
    assert_eq!(set.due(at(99), 200).await.unwrap(), [order(2), order(3)]);
    set.schedule(&[(order(2), at(40))]).await.unwrap();
    assert_eq!(
        set.due(at(99), 200).await.unwrap(),
        [order(3), order(2)],
        "put in again, it is moved"
    );
    set.schedule(&[]).await.unwrap();
    set.remove(&[]).await.unwrap();
}

#[tokio::test]
async fn many_go_in_and_a_bounded_part_comes_out_at_a_time() {
    let redis = RedisServer::start();
    let set = ScheduledSet::new(&bus_at(&redis.url()), "deadlines");
    let all: Vec<(OrderId, Timestamp)> = (0..2_500).map(|number| (order(number), at(number))).collect();
    set.schedule(&all).await.unwrap();
    assert_eq!(set.len().await.unwrap(), 2_500);
    let mut taken = Vec::new();
    loop {
        let due = set.due(at(10_000), 1_000).await.unwrap();
        assert!(due.len() <= DUE_ORDERS_MAX);
        if due.is_empty() {
            break;
        }
        set.remove(&due).await.unwrap();
        taken.extend(due);
    }
    assert_eq!(taken, all.into_iter().map(|(order, _)| order).collect::<Vec<_>>());
}

#[tokio::test]
async fn milliseconds_and_far_deadlines_are_exact() {
    let redis = RedisServer::start();
    let set = ScheduledSet::new(&bus_at(&redis.url()), "deadlines");
    for millis in [1, 1_700_000_000_123, 4_102_444_800_999] {
        set.schedule(&[(order(1), Timestamp::from_millis(millis))])
            .await
            .unwrap();
        assert_eq!(
            set.next_deadline().await.unwrap(),
            Some(Timestamp::from_millis(millis))
        );
        assert_eq!(set.due(Timestamp::from_millis(millis - 1), 1).await.unwrap(), []);
        assert_eq!(
            set.due(Timestamp::from_millis(millis), 1).await.unwrap(),
            [order(1)]
        );
    }
}

#[tokio::test]
async fn strangers_in_the_set_do_not_stand_in_the_way() {
    let redis = RedisServer::start();
    let set = ScheduledSet::new(&bus_at(&redis.url()), "deadlines");
    redis.command(&["ZADD", "deadlines", "1", "nonsense"]);
    set.schedule(&[(order(1), at(10))]).await.unwrap();
    set.due(at(99), 1).await.unwrap();
    assert_eq!(set.due(at(99), 1).await.unwrap(), [order(1)]);
    assert_eq!(redis.command(&["ZCARD", "deadlines"]), Reply::Integer(1));
}

#[tokio::test]
async fn a_reconnect_can_be_seen_so_that_everything_is_put_back() {
    let mut redis = RedisServer::start();
    let set = ScheduledSet::new(&bus_at(&redis.url()), "deadlines");
    set.schedule(&[(order(1), at(10))]).await.unwrap();
    let before = set.opened().await;
    redis.restart();
    testkit::eventually("it answers again", crate::system::CONVERGED, || async {
        set.len().await.ok()
    })
    .await;
    assert_ne!(set.opened().await, before);
    assert!(set.is_empty().await.unwrap(), "Redis has lost it, as it may");
}
