//! What readers see, and what is there after a failure or a reopening.

use events::{Position, Seq, Source, Version};
use store::{Context, State, StoreError, TransactError, Wrote};

use crate::common::{self, Account, Place, Refusal, Step, account, event, id, now};
use crate::{outbox, position};

pub(crate) fn readers_see_only_what_is_durable(place: &Place) {
    let mut store = place.open();
    store.put(None, account(1, 1, 1)).unwrap();
    store.put(None, account(2, 1, 2)).unwrap();
    store.put(None, account(4, 1, 4)).unwrap();
    let reader = store.store.clone();
    place.faults.before_sync(move || {
        let rows = |after: Option<u64>, limit| {
            let after = after.map(id);
            let rows = reader.scan::<Account>(after.as_ref(), limit).unwrap();
            rows.into_iter().map(|row| row.points).collect::<Vec<_>>()
        };
        assert_eq!(reader.get::<Account>(&id(1)).unwrap(), Some(account(1, 1, 1)));
        assert_eq!(reader.get::<Account>(&id(2)).unwrap(), Some(account(2, 1, 2)));
        assert_eq!(reader.get::<Account>(&id(3)).unwrap(), None);
        assert_eq!(rows(None, 10), [1, 2, 4]);
        assert_eq!(rows(None, 1), [1]);
        assert_eq!(rows(None, 2), [1, 2]);
        assert_eq!(rows(Some(1), 1), [2]);
        assert_eq!(rows(Some(2), 1), [4]);
        assert_eq!(rows(Some(4), 1), Vec::<u64>::new());
        assert!(reader.outbox(Seq(0), usize::MAX).unwrap().is_empty());
        assert_eq!(reader.cursor(Source::Orders), Position::default());
        assert_eq!(reader.durable().borrow().seq, Seq(0));
        // The indexes are ahead, as is said.
        assert_eq!(reader.read(|totals| totals.points), 115);
    });
    store
        .transact(|txn| {
            txn.put(Some(Version(1)), account(1, 2, 100))?;
            txn.delete::<Account>(&id(2))?;
            txn.put(None, account(3, 1, 5))?;
            txn.put(None, account(0, 1, 6))?;
            txn.emit(event(1));
            txn.advance(Source::Orders, position(1))?;
            Ok(())
        })
        .unwrap();
    let rows = store.store.scan::<Account>(None, 10).unwrap();
    assert_eq!(
        rows.iter().map(|row| row.points).collect::<Vec<_>>(),
        [6, 100, 5, 4]
    );
    assert_eq!(store.get(2), None);
    assert_eq!(outbox(&store, 0).len(), 1);
}

pub(crate) fn after_a_failure_the_outcome_is_unknown_and_the_store_recovers(place: &Place) {
    for step in [Step::Apply, Step::Flush, Step::Sync] {
        let mut store = place.open();
        let number = match step {
            Step::Apply => 10,
            Step::Flush => 20,
            Step::Sync => 30,
            Step::Prepare | Step::Open => unreachable!("not among them"),
        };
        let rows_before = store.totals().accounts;
        place.faults.fail(step, true);
        let put = store.submit(move |txn| Ok(txn.put(None, account(number, 1, 1))?));
        let refused = store.submit::<()>(|_| Err(TransactError::Refused("no")));
        assert_eq!(store.writer.write_once(), Wrote::Failed, "{step:?}");
        assert!(matches!(put.get(), Err(TransactError::Unknown(_))), "{step:?}");
        // The refusal may rest on what was lost, and changed nothing in any case.
        assert!(matches!(refused.get(), Err(TransactError::Unavailable(_))));
        assert!(matches!(store.store.status().state, State::Reopening { .. }));
        assert!(matches!(
            store.store.get::<Account>(&id(number)),
            Err(StoreError::Unavailable(_))
        ));
        let late: Result<_, Refusal> = store.store.submit(Context::new(now()), |_| Ok(()));
        assert!(matches!(late, Err(TransactError::Unavailable(_))));
        // As long as the disk is bad it does not come back.
        place.faults.fail(Step::Open, true);
        assert_eq!(store.writer.write_once(), Wrote::StillFailed);
        assert!(
            matches!(store.store.status().state, State::Reopening { error, .. } if error.contains("Open fails"))
        );
        place.faults.fail(Step::Open, false);
        place.faults.fail(step, false);
        store.recover();
        assert!(matches!(store.store.status().state, State::Serving));
        // Either outcome is a whole one, and the indexes agree with the rows.
        let survived = store.get(number).is_some();
        assert_eq!(store.totals().accounts, rows_before + u64::from(survived));
        store.put(None, account(number + 1, 1, 1)).unwrap();
        let store = store.reopen(place.options());
        assert_eq!(store.get(number).is_some(), survived);
        assert!(store.get(number + 1).is_some());
    }
}

pub(crate) fn a_batch_for_which_there_is_no_room_changes_nothing_and_reading_goes_on(place: &Place) {
    let mut store = place.open();
    store.put(None, account(1, 1, 10)).unwrap();
    store
        .transact(|txn| Ok(txn.advance(Source::Orders, position(1))?))
        .unwrap();
    let before = (store.totals(), store.store.status().batches);
    place.faults.fail(Step::Prepare, true);
    for _ in 0..2 {
        let put = store.submit(|txn| {
            txn.put(Some(Version(1)), account(1, 2, 11))?;
            txn.put(None, account(2, 1, 20))?;
            txn.advance(Source::Orders, position(2))?;
            txn.emit(event(1));
            Ok(())
        });
        let refused = store.submit::<()>(|_| Err(TransactError::Refused("no")));
        let looked = store.submit(|txn| Ok(txn.get::<Account>(&id(1))?));
        assert_eq!(store.writer.write_once(), Wrote::Refused);
        assert!(matches!(put.get(), Err(TransactError::Unavailable(_))));
        // It may rest on what the refused ones had staged.
        assert!(matches!(refused.get(), Err(TransactError::Unavailable(_))));
        assert!(matches!(looked.get(), Err(TransactError::Unavailable(_))));
        let status = store.store.status();
        assert!(matches!(status.state, State::Serving));
        assert!(status.refusing.is_some_and(|why| why.contains("Prepare fails")));
        assert_eq!((store.totals(), status.batches), before);
        assert_eq!(store.get(1), Some(account(1, 1, 10)));
        assert_eq!(store.store.cursor(Source::Orders), position(1));
        assert!(store.store.check_blocking().unwrap().is_good());
    }
    // What writes nothing needs no room.
    assert_eq!(
        store.transact(|txn| Ok(txn.get::<Account>(&id(1))?)).unwrap(),
        Some(account(1, 1, 10))
    );
    place.faults.fail(Step::Prepare, false);
    store
        .transact(|txn| {
            txn.put(Some(Version(1)), account(1, 2, 11))?;
            txn.emit(event(1));
            Ok(txn.advance(Source::Orders, position(2))?)
        })
        .unwrap();
    assert!(store.store.status().refusing.is_none());
    assert_eq!(store.store.status().head, Seq(1));
}

pub(crate) fn an_index_that_panics_is_rebuilt(place: &Place) {
    let mut store = place.open();
    store.put(None, account(1, 1, 10)).unwrap();
    let before = store.totals();
    let bad = Account {
        note: common::PANICS_THE_INDEX.to_owned(),
        ..account(2, 1, 1)
    };
    let answer = store.submit(move |txn| Ok(txn.put(None, bad)?));
    assert_eq!(store.writer.write_once(), Wrote::Failed);
    assert!(answer.get().is_err());
    store.recover();
    assert_eq!(store.totals(), before);
    assert_eq!(store.get(2), None);
    store.put(None, account(3, 1, 1)).unwrap();
}

pub(crate) fn everything_is_there_again_after_a_reopening(place: &Place) {
    let mut store = place.open();
    for number in 1..=50 {
        store
            .transact(move |txn| {
                txn.put(None, account(number, 1, number))?;
                txn.emit(event(number));
                Ok(())
            })
            .unwrap();
    }
    for number in 1..=10 {
        store
            .transact(move |txn| Ok(txn.delete::<Account>(&id(number))?))
            .unwrap();
    }
    let (totals, events, status) = (store.totals(), outbox(&store, 0), store.store.status());
    let store = store.reopen(place.options());
    assert_eq!(store.totals(), totals);
    assert_eq!(totals.accounts, 40);
    assert_eq!(outbox(&store, 0), events);
    let again = store.store.status();
    assert_eq!(
        (again.head, again.keys, again.batches),
        (status.head, status.keys, status.batches)
    );
    assert_eq!(again.head, Seq(50));
}

pub(crate) fn an_old_store_does_not_serve(place: &Place) {
    let mut store = place.open();
    store.put(None, account(1, 1, 1)).unwrap();
    let waiting = store.submit(|_| Ok(()));
    store.store.mark_old("the stream is ahead of it");
    assert!(waiting.turned_away());
    assert!(matches!(
        store.store.get::<Account>(&id(1)),
        Err(StoreError::Unavailable(why)) if &*why == "the stream is ahead of it"
    ));
    assert_eq!(store.writer.write_once(), Wrote::Nothing);
    assert!(matches!(store.store.status().state, State::Old { .. }));
    let store = store.reopen(place.options());
    assert!(store.get(1).is_some());
}
