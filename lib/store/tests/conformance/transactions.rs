//! What a transaction does, and what it leaves when it fails.

use events::{Position, Source, Version};
use store::{Context, Panicked, TRANSACTIONS_WAITING_MAX, TransactError, TxnError, Wrote};

use crate::common::{self, Account, Place, Refusal, account, event, id, now};
use crate::{outbox, position, seqs};

pub(crate) fn a_new_row_must_be_new(place: &Place) {
    let mut store = place.open();
    store.put(None, account(1, 1, 10)).unwrap();
    assert!(matches!(
        store.put(None, account(1, 1, 99)),
        Err(TransactError::Conflict)
    ));
    assert_eq!(store.get(1), Some(account(1, 1, 10)));
    assert!(matches!(
        store.put(Some(1), account(2, 2, 99)),
        Err(TransactError::Conflict)
    ));
    assert_eq!(store.get(2), None);
}

pub(crate) fn of_two_that_read_the_same_version_one_wins(place: &Place) {
    let mut store = place.open();
    store.put(None, account(1, 1, 10)).unwrap();
    // Both have read version 1; both wait in the same batch.
    let first = store.submit(|txn| Ok(txn.put(Some(Version(1)), account(1, 2, 11))?));
    let second = store.submit(|txn| Ok(txn.put(Some(Version(1)), account(1, 2, 12))?));
    assert_eq!(store.writer.write_once(), Wrote::Batch { transactions: 2 });
    assert!(first.get().is_ok());
    assert!(matches!(second.get(), Err(TransactError::Conflict)));
    assert_eq!(store.get(1), Some(account(1, 2, 11)));
}

pub(crate) fn a_later_transaction_of_a_batch_sees_the_earlier_ones(place: &Place) {
    let mut store = place.open();
    let answers: Vec<_> = (1..=5_u64)
        .map(|version| {
            store.submit(move |txn| {
                let before = txn.get::<Account>(&id(1))?.map(|row| (row.version, row.points));
                let expected = before.map(|(version, _)| version);
                txn.put(expected, account(1, version, version * 10))?;
                assert_eq!(txn.indexes().points, version * 10);
                Ok(before.map(|(_, points)| points))
            })
        })
        .collect();
    store.writer.write_once();
    let seen: Vec<_> = answers.into_iter().map(|answer| answer.get().unwrap()).collect();
    assert_eq!(seen, [None, Some(10), Some(20), Some(30), Some(40)]);
    assert_eq!(store.store.status().batches, 1);
}

pub(crate) fn what_is_refused_or_panics_leaves_nothing(place: &Place) {
    let mut store = place.open();
    store.put(None, account(1, 1, 10)).unwrap();
    let before = store.totals();
    let refused = store.submit::<()>(|txn| {
        txn.put(Some(Version(1)), account(1, 2, 500))?;
        txn.put(None, account(2, 1, 7))?;
        txn.delete::<Account>(&id(1))?;
        txn.emit(event(1));
        txn.advance(Source::Orders, position(1))?;
        Err(TransactError::Refused("no"))
    });
    let panicked = store.submit::<()>(|txn| {
        txn.put(None, account(3, 1, 9))?;
        txn.emit(event(2));
        panic!("on purpose");
    });
    let good = store.submit(|txn| {
        txn.emit(event(3));
        Ok(())
    });
    store.writer.write_once();
    assert!(matches!(refused.get(), Err(TransactError::Refused("no"))));
    assert!(matches!(panicked.get(), Err(TransactError::Panicked(message)) if message == "on purpose"));
    assert!(good.get().is_ok());
    assert_eq!(store.totals(), before);
    assert_eq!(store.get(1), Some(account(1, 1, 10)));
    assert_eq!((store.get(2), store.get(3)), (None, None));
    assert_eq!(store.store.cursor(Source::Orders), Position::default());
    assert_eq!(seqs(&outbox(&store, 0)), [1]);
    let store = store.reopen(place.options());
    assert_eq!(store.totals(), before);
}

pub(crate) fn a_part_can_fail_without_the_rest(place: &Place) {
    let mut store = place.open();
    store
        .transact(|txn| {
            txn.put(None, account(1, 1, 1))?;
            let failed: Result<(), &str> = txn.attempt(|txn| {
                txn.put(None, account(2, 1, 2)).unwrap();
                txn.emit(event(2));
                Err("no")
            });
            assert_eq!(failed, Err("no"));
            let panicked: Result<Result<(), ()>, Panicked> = txn.attempt_catching(|txn| {
                txn.put(Some(Version(1)), account(1, 2, 3)).unwrap();
                txn.emit(event(3));
                panic!("poison {}", 3)
            });
            assert_eq!(panicked, Err(Panicked("poison 3".to_owned())));
            txn.emit(event(4));
            Ok(())
        })
        .unwrap();
    assert_eq!(store.get(1), Some(account(1, 1, 1)));
    assert_eq!(store.get(2), None);
    assert_eq!(store.totals().points, 1);
    assert_eq!(outbox(&store, 0).len(), 1);
    assert!(outbox(&store, 0)[0].envelope.contains("tickets-1-1"));
}

pub(crate) fn an_error_converts_for_every_caller(place: &Place) {
    let mut store = place.open();
    let conflict = store.transact(|txn| {
        assert!(matches!(
            txn.put(Some(Version(3)), account(1, 4, 1)),
            Err(TxnError::Conflict)
        ));
        txn.put(Some(Version(3)), account(1, 4, 1))?;
        Ok(())
    });
    assert!(matches!(
        conflict.map_err(|error| error.map_refused(str::len)),
        Err(TransactError::Conflict)
    ));
}

pub(crate) fn too_many_are_turned_away_at_once(place: &Place) {
    let mut store = place.open();
    let mut answers: Vec<_> = (0..TRANSACTIONS_WAITING_MAX)
        .map(|_| store.submit(|_| Ok(())))
        .collect();
    let busy: Result<_, Refusal> = store.store.submit(Context::new(now()), |_| Ok(()));
    assert!(matches!(busy, Err(TransactError::Busy)));
    assert_eq!(store.writer.write_once(), Wrote::Batch { transactions: 1_024 });
    assert!(answers[1_024].is_pending());
    drop(answers.drain(..1_024));
    // Closing turns away what has not run.
    drop(store.writer);
    assert!(answers.into_iter().all(common::Answer::turned_away));
}

pub(crate) fn large_and_tiny_rows_come_back(place: &Place) {
    let mut store = place.open();
    let row = |number: u64, bytes: usize| Account {
        note: "x".repeat(bytes),
        ..account(number, 1, 1)
    };
    let sizes = [0, 1, 5_000, 200_000, 1_000_000];
    for (number, bytes) in (0..).zip(sizes) {
        store.put(None, row(number, bytes)).unwrap();
    }
    let store = store.reopen(place.options());
    for (number, bytes) in (0..).zip(sizes) {
        assert_eq!(store.get(number), Some(row(number, bytes)), "{bytes} bytes");
    }
}

pub(crate) fn walking_over_a_table_sees_what_the_batch_has_made_of_it(place: &Place) {
    let mut store = place.open();
    for number in 1..=5 {
        store.put(None, account(number, 1, 10)).unwrap();
    }
    store
        .transact(|txn| {
            txn.delete::<Account>(&id(2))?;
            txn.put(Some(Version(1)), account(3, 2, 99))?;
            txn.put(None, account(6, 1, 7))?;
            let mut seen: Vec<(events::TicketId, u64)> = Vec::new();
            loop {
                let last = seen.last().map(|(id, _)| *id);
                let page = txn.scan::<Account>(last.as_ref(), 2)?;
                let ended = page.len() < 2;
                seen.extend(page.into_iter().map(|row| (row.id, row.points)));
                if ended {
                    break;
                }
            }
            let expected = [(1, 10), (3, 99), (4, 10), (5, 10), (6, 7)];
            assert_eq!(seen, expected.map(|(number, points)| (id(number), points)));
            Ok(())
        })
        .unwrap();
}
