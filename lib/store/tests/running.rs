//! The store as services use it: its own thread, many callers, time that passes.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{
    Account, Bank, Memory, Place, Refusal, Step, account, at, event, eventually, id, now, options, user,
};
use events::{Seq, Version};
use store::engine::Disk;
use store::{Context, IdempotencyKey, Options, Remembered, State, Store, StoreError, TransactError};

async fn put(store: &Bank, expected: Option<u64>, row: Account) -> Result<(), Refusal> {
    store
        .transact(Context::new(now()), move |txn| {
            Ok(txn.put(expected.map(Version), row)?)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_take_points_from_one_row_without_a_conflict() {
    let dir = tempfile::tempdir().unwrap();
    let store: Bank = Store::open(options(dir.path())).unwrap();
    put(&store, None, account(1, 1, 500)).await.unwrap();
    let callers: Vec<_> = (0..1_000)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let taken: Result<(), Refusal> = store
                    .transact(Context::new(now()), move |txn| {
                        let row = txn.get::<Account>(&id(1))?.expect("it was put");
                        let points = row
                            .points
                            .checked_sub(1)
                            .ok_or(TransactError::Refused("none left"))?;
                        txn.put(Some(row.version), account(1, row.version.0 + 1, points))?;
                        txn.emit(event(number));
                        Ok(())
                    })
                    .await;
                match taken {
                    Ok(()) => true,
                    Err(TransactError::Refused("none left")) => false,
                    Err(other) => panic!("{other:?}"),
                }
            })
        })
        .collect();
    let mut served = 0;
    for caller in callers {
        served += u64::from(caller.await.unwrap());
    }
    assert_eq!(served, 500);
    assert_eq!(
        store.get::<Account>(&id(1)).unwrap().map(|row| row.points),
        Some(0)
    );
    assert_eq!(store.status().head, Seq(500));
    assert_eq!(store.durable().borrow().seq, Seq(500));
    assert!(store.status().batches < 500, "they share syncs");
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    let store: Bank = Store::open(options(dir.path())).unwrap();
    assert_eq!(store.outbox(Seq(0), usize::MAX).unwrap().len(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_row_is_woken_by_that_row_only() {
    let dir = tempfile::tempdir().unwrap();
    let store: Bank = Store::open(options(dir.path())).unwrap();
    let (mut mine, mut other) = (
        Box::pin(store.changed::<Account>(&id(1)).wait()),
        Box::pin(store.changed::<Account>(&id(2)).wait()),
    );
    drop(store.changed::<Account>(&id(1)));
    put(&store, None, account(1, 1, 1)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), &mut mine)
        .await
        .expect("the row was put");
    // The other one is still pending when asked.
    assert!(tokio::time::timeout(Duration::ZERO, &mut other).await.is_err());
    // Closing wakes everyone: there will be no change any more.
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), other)
        .await
        .expect("the store was closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_disk_is_survived_and_a_closed_store_says_so() {
    let place = Place::new(Arc::new(Disk));
    let store: Bank = Store::open(place.options()).unwrap();
    put(&store, None, account(1, 1, 1)).await.unwrap();
    let woken = store.changed::<Account>(&id(9));
    place.faults.fail(Step::Sync, true);
    assert!(matches!(
        put(&store, None, account(2, 1, 2)).await,
        Err(TransactError::Unknown(_))
    ));
    // While the sync fails the store does not come back; with room on the disk it does.
    place.faults.fail(Step::Sync, false);
    eventually("the store serves again", || {
        matches!(store.status().state, State::Serving)
    });
    tokio::time::timeout(Duration::from_secs(5), woken.wait())
        .await
        .expect("a reopening wakes all");
    put(&store, None, account(3, 1, 3)).await.unwrap();
    assert_eq!(store.get::<Account>(&id(1)).unwrap(), Some(account(1, 1, 1)));
    let other = store.clone();
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    assert!(matches!(
        put(&other, None, account(4, 1, 4)).await,
        Err(TransactError::Unavailable(_))
    ));
    assert!(matches!(
        other.get::<Account>(&id(1)),
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(other.status().state, State::Closed));
}

/// An answer whose caller has gone away, and that panics when it is thrown away in his stead.
struct Explosive;

impl Drop for Explosive {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "it was asked to panic");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_dies_is_told_from_a_store_that_was_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store: Bank = Store::open(options(dir.path())).unwrap();
    assert!(!store.status().writer_died);
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let answer = store.submit(Context::new(now()), move |_| -> Result<Explosive, Refusal> {
        gone.recv().unwrap();
        Ok(Explosive)
    });
    drop(answer);
    go.send(()).unwrap();
    eventually("the writer's death shows", || store.status().writer_died);
    eventually("it does not serve", || {
        matches!(store.status().state, State::Closed)
    });
    let refused = put(&store, None, account(1, 1, 1)).await.unwrap_err();
    assert!(
        matches!(&refused, TransactError::Unavailable(why) if why.contains("writer has died")),
        "{refused:?}"
    );
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    let store: Bank = Store::open(options(dir.path())).unwrap();
    let other = store.clone();
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    assert!(matches!(other.status().state, State::Closed));
    assert!(!other.status().writer_died, "it was asked to");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_does_not_close_is_left_behind_and_shows() {
    let place = Place::new(Arc::new(Memory::default()));
    let store: Bank = Store::open(place.options()).unwrap();
    put(&store, None, account(1, 1, 1)).await.unwrap();
    place.faults.hang_when_dropped();
    place.faults.fail_once(Step::Sync);
    assert!(matches!(
        put(&store, None, account(2, 1, 2)).await,
        Err(TransactError::Unknown(_))
    ));
    eventually("that shows", || store.status().writer_died);
    assert!(matches!(
        put(&store, None, account(3, 1, 3)).await,
        Err(TransactError::Unavailable(_))
    ));
    // Closing does not wait for what never ends.
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_outbox_is_never_beyond_the_head() {
    let place = Place::new(Arc::new(Memory::default()));
    let store: Bank = Store::open(place.options()).unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let relay = {
        let (store, stop) = (store.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut last = Seq(0);
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                if let Some(entry) = store.outbox(last, usize::MAX).unwrap().last() {
                    last = entry.seq;
                    let head = store.durable().borrow().seq;
                    assert!(last <= head, "event {last} is published, and the head is {head}");
                }
            }
        })
    };
    for batch in 0..200_u64 {
        let emitted: Result<(), Refusal> = store
            .transact(Context::new(now()), move |txn| {
                // Many rows, for each of which someone might wait and would have to be woken.
                for number in 0..200 {
                    txn.put(None, account(batch * 1_000 + number, 1, 1))?;
                }
                txn.emit(event(batch));
                Ok(())
            })
            .await;
        emitted.unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    relay.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_writes_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let store: Bank = Store::open(options(dir.path())).unwrap();
    let waiting: Vec<_> = (0..3_000)
        .map(|number| {
            store
                .submit(Context::new(now()), move |txn| -> Result<(), Refusal> {
                    Ok(txn.put(None, account(number, 1, 1))?)
                })
                .unwrap()
        })
        .collect();
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    let store: Bank = Store::open(options(dir.path())).unwrap();
    assert_eq!(store.read(|totals| totals.accounts), 3_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_is_trimmed_by_age_and_by_count_and_never_wholly() {
    let place = Place::new(Arc::new(Memory::default()));
    let options = || Options {
        outbox_age_max: Duration::from_secs(100),
        outbox_events_max: 10,
        ..place.options()
    };
    let store: Bank = Store::open(options()).unwrap();
    let emit = async |seconds: i64| {
        let emitted: Result<(), Refusal> = store
            .transact(Context::new(at(seconds)), move |txn| {
                txn.emit(event(1));
                Ok(())
            })
            .await;
        emitted.unwrap();
    };
    assert_eq!(store.oldest_outbox_seq(), Seq(1));
    for seconds in 0..20 {
        emit(seconds).await;
    }
    // By count.
    assert_eq!(store.trim_outbox(at(20)).await.unwrap(), 10);
    assert_eq!(store.oldest_outbox_seq(), Seq(11));
    // By age.
    assert_eq!(store.trim_outbox(at(115)).await.unwrap(), 5);
    assert_eq!(store.oldest_outbox_seq(), Seq(16));
    assert_eq!(store.trim_outbox(at(115)).await.unwrap(), 0);
    assert_eq!(
        store
            .outbox(Seq(0), usize::MAX)
            .unwrap()
            .first()
            .map(|entry| entry.seq),
        Some(Seq(16))
    );
    // The last one stays, however old it is.
    assert_eq!(store.trim_outbox(at(1_000_000)).await.unwrap(), 4);
    assert_eq!(store.oldest_outbox_seq(), Seq(20));
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    let store: Bank = Store::open(options()).unwrap();
    assert_eq!((store.status().oldest, store.status().head), (Seq(20), Seq(20)));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_swept_away_when_their_day_is_over() {
    let place = Place::new(Arc::new(Memory::default()));
    let store: Bank = Store::open(place.options()).unwrap();
    for number in 0..5 {
        let key = IdempotencyKey {
            user: user(number),
            route: "POST /api/tickets",
            key: "key".to_owned(),
            body_digest: [0; 32],
        };
        let answer = Remembered {
            status: 201,
            headers: Vec::new(),
            body: String::new(),
        };
        let seconds = i64::try_from(number).unwrap() * 3_600;
        let remembered: Result<(), Refusal> = store
            .transact(Context::new(at(seconds)), move |txn| {
                Ok(txn.remember(key, answer)?)
            })
            .await;
        remembered.unwrap();
    }
    let hour = 3_600;
    assert_eq!(store.sweep(at(24 * hour - 1)).await.unwrap(), 0);
    assert_eq!(store.sweep(at(25 * hour)).await.unwrap(), 2);
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    let store: Bank = Store::open(place.options()).unwrap();
    assert_eq!(store.status().keys, 3);
    assert_eq!(store.sweep(at(48 * hour)).await.unwrap(), 3);
    assert_eq!(store.status().keys, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_pages_never_see_half_of_a_transaction_s_rows_as_absent() {
    // One writer moves points between two rows; readers beside it find each row, always, and a version that
    // was acknowledged is never taken back.
    let dir = tempfile::tempdir().unwrap();
    let store: Bank = Store::open(options(dir.path())).unwrap();
    put(&store, None, account(1, 1, 1_000)).await.unwrap();
    put(&store, None, account(2, 1, 0)).await.unwrap();
    let reader = {
        let store = store.clone();
        std::thread::spawn(move || {
            let mut newest = 0;
            while newest < 200 {
                let row = store.get::<Account>(&id(1)).unwrap().expect("it is always there");
                assert!(row.version.0 >= newest, "{} after {newest}", row.version.0);
                newest = row.version.0;
                let rows = store.scan::<Account>(None, 10).unwrap();
                assert_eq!(rows.len(), 2);
                assert!(rows[0].version.0 >= newest);
            }
        })
    };
    for version in 1..=200_u64 {
        let moved: Result<(), Refusal> = store
            .transact(Context::new(now()), move |txn| {
                txn.put(Some(Version(version)), account(1, version + 1, 1_000 - version))?;
                Ok(txn.put(Some(Version(version)), account(2, version + 1, version))?)
            })
            .await;
        moved.unwrap();
        assert_eq!(
            store.get::<Account>(&id(1)).unwrap().map(|row| row.version.0),
            Some(version + 1)
        );
    }
    reader.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_disk_that_fails_again_and_again_nothing_acknowledged_is_lost() {
    let place = Place::new(Arc::new(Disk));
    let store: Bank = Store::open(place.options()).unwrap();
    let clients: Vec<_> = (0..8_u64)
        .map(|client| {
            let (store, faults) = (store.clone(), Arc::clone(&place.faults));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                let mut number = client * 10_000;
                while acknowledged.len() < 100 {
                    number += 1;
                    match put(&store, None, account(number, 1, number)).await {
                        Ok(()) => acknowledged.push(number),
                        // May be there or not, but is not to be waited for.
                        Err(TransactError::Unknown(_)) => {}
                        Err(TransactError::Unavailable(_)) => {
                            let store = store.clone();
                            tokio::task::spawn_blocking(move || {
                                eventually("it serves", || matches!(store.status().state, State::Serving));
                            })
                            .await
                            .unwrap();
                        }
                        Err(other) => panic!("{other:?}"),
                    }
                    if number % 40 == client {
                        let step =
                            [Step::Apply, Step::Flush, Step::Sync][usize::try_from(number / 40 % 3).unwrap()];
                        faults.fail_once(step);
                    }
                }
                acknowledged
            })
        })
        .collect();
    let mut acknowledged = Vec::new();
    for client in clients {
        acknowledged.extend(client.await.unwrap());
    }
    for step in [Step::Apply, Step::Flush, Step::Sync] {
        place.faults.fail(step, false);
    }
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    let store: Bank = Store::open(place.options()).unwrap();
    for number in &acknowledged {
        assert!(
            store.get::<Account>(&id(*number)).unwrap().is_some(),
            "{number} was acknowledged"
        );
    }
    assert_eq!(acknowledged.len(), 800);
    let rows = store.scan::<Account>(None, 10_000).unwrap();
    assert_eq!(rows.len() as u64, store.read(|totals| totals.accounts));
}
