//! A store that takes back what it has lost: what it answers meanwhile, what it takes, and how that ends.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

mod common;

use std::fs;
use std::sync::Arc;

use common::{Account, Bank, Memory, Place, Refusal, Step, account, event, eventually, id, now, options};
use events::{Epoch, Position, Seq, Source};
use store::engine::Disk;
use store::{Context, CursorError, OutboxEntry, State, Store, StoreError, TransactError};

async fn put(store: &Bank, number: u64) -> Result<(), Refusal> {
    store
        .transact(Context::new(now()), move |txn| {
            txn.emit(event(number));
            Ok(txn.put(None, account(number, 1, number))?)
        })
        .await
}

/// The events of a store that had come further, and rows that they tell of.
async fn further(up_to: u64) -> Vec<OutboxEntry> {
    let place = Place::new(Arc::new(Memory::default()));
    let store: Bank = Store::open(place.options()).unwrap();
    for number in 1..=up_to {
        put(&store, number).await.unwrap();
    }
    store.outbox(Seq(0), usize::MAX).unwrap()
}

async fn adopt(store: &Bank, entries: &[OutboxEntry]) -> Result<(), Refusal> {
    let numbers: Vec<u64> = entries.iter().map(|entry| entry.seq.0).collect();
    store
        .adopt(Context::new(now()), entries.to_vec(), move |txn| {
            for number in numbers {
                txn.put_any(account(number, 1, number))?;
            }
            Ok(())
        })
        .await
}

async fn close(store: Bank) {
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
}

fn is_adopting(store: &Bank) -> bool {
    matches!(store.status().state, State::Adopting { why } if &*why == "the stream is ahead of it")
}

fn places() -> [Place; 2] {
    [
        Place::new(Arc::new(Disk)),
        Place::new(Arc::new(Memory::default())),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_comes_back_as_it_was_and_then_the_store_serves() {
    let lost = further(9).await;
    for place in places() {
        let store: Bank = Store::open(place.options()).unwrap();
        for number in 1..=3 {
            put(&store, number).await.unwrap();
        }
        let changed = store.changed::<Account>(&id(9));
        store.begin_adopting("the stream is ahead of it");
        changed.wait().await;
        assert!(is_adopting(&store));
        let refused = put(&store, 100).await.unwrap_err();
        assert!(
            matches!(&refused, TransactError::Unavailable(why) if &**why == "the stream is ahead of it"),
            "{refused:?}"
        );
        assert!(matches!(
            store.get::<Account>(&id(1)),
            Err(StoreError::Unavailable(_))
        ));
        assert!(store.scan::<Account>(None, 10).is_err());
        assert_eq!(store.rows(None, 10).unwrap().len(), 3);
        assert_eq!(store.outbox(Seq(0), usize::MAX).unwrap(), lost[..3]);

        adopt(&store, &lost[3..5]).await.unwrap();
        adopt(&store, &lost[5..]).await.unwrap();
        assert_eq!(store.durable().borrow().seq, Seq(9));
        assert_eq!(store.outbox(Seq(0), usize::MAX).unwrap(), lost);
        store.end_adopting().unwrap();
        assert!(matches!(store.status().state, State::Serving));
        assert_eq!(store.get::<Account>(&id(9)).unwrap(), Some(account(9, 1, 9)));
        assert!(store.check().await.unwrap().is_good());
        put(&store, 10).await.unwrap();
        close(store).await;
        let store: Bank = Store::open(place.options()).unwrap();
        assert_eq!(store.status().head, Seq(10));
        assert_eq!(store.outbox(Seq(0), usize::MAX).unwrap()[..9], lost);
        close(store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_follows_is_adopted_and_only_while_adopting() {
    let lost = further(6).await;
    let place = Place::new(Arc::new(Memory::default()));
    let store: Bank = Store::open(place.options()).unwrap();
    let early = adopt(&store, &lost[..1]).await.unwrap_err();
    assert!(matches!(early, TransactError::Unavailable(_)), "{early:?}");
    store.begin_adopting("the stream is ahead of it");
    let gap = adopt(&store, &lost[2..]).await.unwrap_err();
    let expected = Position {
        epoch: Epoch(1),
        seq: Seq(1),
    };
    assert!(
        matches!(gap, TransactError::Cursor(CursorError::Gap { expected: e }) if e == expected),
        "{gap:?}"
    );
    let hole = [lost[0].clone(), lost[2].clone()];
    assert!(matches!(
        adopt(&store, &hole).await,
        Err(TransactError::Cursor(CursorError::Gap { .. }))
    ));
    assert!(
        store.rows(None, 10).unwrap().is_empty(),
        "nothing of them is kept"
    );
    adopt(&store, &lost[..2]).await.unwrap();
    assert!(matches!(
        adopt(&store, &lost[..2]).await,
        Err(TransactError::Cursor(CursorError::Duplicate))
    ));
    let emitting: Result<(), Refusal> = store
        .adopt(Context::new(now()), lost[2..3].to_vec(), |txn| {
            txn.emit(event(1));
            Ok(())
        })
        .await;
    assert!(
        matches!(&emitting, Err(TransactError::Panicked(why)) if why.contains("emits nothing")),
        "{emitting:?}"
    );
    let refusing: Result<(), Refusal> = store
        .adopt(Context::new(now()), lost[2..3].to_vec(), |_| {
            Err(TransactError::Refused("no"))
        })
        .await;
    assert!(matches!(refusing, Err(TransactError::Refused("no"))));
    assert_eq!(store.status().head, Seq(2));
    close(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_disk_in_the_middle_of_it_changes_nothing() {
    let lost = further(4).await;
    let place = Place::new(Arc::new(Disk));
    let store: Bank = Store::open(place.options()).unwrap();
    store.begin_adopting("the stream is ahead of it");
    adopt(&store, &lost[..2]).await.unwrap();
    place.faults.fail_once(Step::Sync);
    assert!(matches!(
        adopt(&store, &lost[2..]).await,
        Err(TransactError::Unknown(_))
    ));
    eventually("it is open again, and adopts", || is_adopting(&store));
    let from = usize::try_from(store.status().head.0).unwrap();
    adopt(&store, &lost[from..]).await.unwrap();
    assert!(put(&store, 9).await.is_err());
    store.end_adopting().unwrap();
    assert_eq!(store.scan::<Account>(None, 10).unwrap().len(), 4);
    close(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_the_mark_adopts_at_every_start_until_it_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let store: Bank = Store::open(options(dir.path())).unwrap();
    assert!(!store.was_restored());
    put(&store, 1).await.unwrap();
    close(store).await;
    fs::write(dir.path().join("restored"), "by a test").unwrap();
    for _ in 0..2 {
        let store: Bank = Store::open(options(dir.path())).unwrap();
        assert!(store.was_restored());
        assert!(matches!(store.status().state, State::Adopting { .. }));
        let refused = put(&store, 2).await.unwrap_err().to_string();
        assert!(refused.contains("restored from a backup"), "{refused}");
        close(store).await;
    }
    let store: Bank = Store::open(options(dir.path())).unwrap();
    store.end_adopting().unwrap();
    assert!(!store.was_restored() && !store.recollects());
    put(&store, 2).await.unwrap();
    close(store).await;
    let store: Bank = Store::open(options(dir.path())).unwrap();
    assert!(matches!(store.status().state, State::Serving));
    close(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_stopped_while_it_takes_its_events_back_goes_on_with_it_at_the_next_start() {
    let lost = further(2).await;
    let dir = tempfile::tempdir().unwrap();
    let store: Bank = Store::open(options(dir.path())).unwrap();
    store.begin_adopting("the stream is ahead of it");
    assert!(!store.was_restored(), "nothing is taken back yet");
    assert!(!store.recollects(), "nobody has said so yet");
    for _ in 0..2 {
        store.begin_recollecting().unwrap();
        assert!(store.recollects() && !store.was_restored());
    }
    adopt(&store, &lost[..1]).await.unwrap();
    close(store).await;
    let store: Bank = Store::open(options(dir.path())).unwrap();
    assert!(matches!(store.status().state, State::Adopting { .. }));
    adopt(&store, &lost[1..]).await.unwrap();
    store.end_adopting().unwrap();
    assert!(store.recollects(), "its cursors are as old as before");
    assert!(!store.was_restored());
    close(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_given_up_does_not_adopt_any_more() {
    let place = Place::new(Arc::new(Memory::default()));
    let store: Bank = Store::open(place.options()).unwrap();
    store.begin_adopting("the stream is ahead of it");
    store.mark_old("and the stream is gone");
    assert!(store.rows(None, 1).is_err());
    let refused = adopt(&store, &further(1).await).await.unwrap_err();
    assert!(
        matches!(&refused, TransactError::Unavailable(why) if &**why == "and the stream is gone"),
        "{refused:?}"
    );
    close(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_s_end_sets_the_cursor_wherever_it_stood() {
    let place = Place::new(Arc::new(Memory::default()));
    let store: Bank = Store::open(place.options()).unwrap();
    let at = |epoch, seq| Position {
        epoch: Epoch(epoch),
        seq: Seq(seq),
    };
    for position in [at(1, 70), at(2, 5), at(1, 7)] {
        let set: Result<(), Refusal> = store
            .transact(Context::new(now()), move |txn| {
                txn.set_cursor(Source::Orders, position);
                assert_eq!(txn.cursor(Source::Orders), position);
                Ok(())
            })
            .await;
        set.unwrap();
        assert_eq!(store.cursor(Source::Orders), position);
    }
    let next: Result<(), Refusal> = store
        .transact(Context::new(now()), move |txn| {
            Ok(txn.advance(Source::Orders, at(1, 8))?)
        })
        .await;
    next.unwrap();
    close(store).await;
}
