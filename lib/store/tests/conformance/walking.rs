//! Walking over all rows, and checking them beside the writer.

use events::Source;
use store::{Context, DeadLetter, RowKey};

use crate::common::{Account, Place, Refusal, Stepped, account, event, id, now};
use crate::position;

fn walked(store: &Stepped, limit: usize) -> Vec<u64> {
    let mut points = Vec::new();
    let mut after: Option<RowKey> = None;
    loop {
        let page = store.store.rows(after.as_ref(), limit).unwrap();
        let full = page.len() == limit;
        after = page.last().map(|(key, _)| key.to_string().parse().unwrap());
        points.extend(
            page.iter()
                .map(|(_, row)| row.of::<Account>().expect("it is the only kind").points),
        );
        if !full {
            return points;
        }
    }
}

fn filled(place: &Place) -> Stepped {
    let mut store = place.open();
    for number in 0..30 {
        store
            .transact(move |txn| {
                txn.put(None, account(number, 1, number))?;
                txn.emit(event(number));
                txn.advance(Source::Orders, position(number + 1))?;
                Ok(())
            })
            .unwrap();
    }
    store
}

pub(crate) fn all_rows_of_the_service_are_walked_over_and_no_others(place: &Place) {
    let mut store = filled(place);
    store
        .transact(|txn| {
            Ok(txn.bury(DeadLetter {
                source: Source::Orders,
                id: "1-7".to_owned(),
                position: None,
                event_type: "order:created".to_owned(),
                reason: "impossible".to_owned(),
                tries: 5,
                buried_at: now(),
                entry: String::new(),
                entry_bytes: 0,
            })?)
        })
        .unwrap();
    let all: Vec<u64> = (0..30).collect();
    for limit in [1, 7, 30, 31, 1_000] {
        assert_eq!(walked(&store, limit), all, "in pages of {limit}");
    }
    // What is being written is not there yet, and what is being deleted still is.
    let walker = store.store.clone();
    place.faults.before_sync(move || {
        let keys = walker.rows(None, 1_000).unwrap().len();
        assert_eq!(keys, 30);
    });
    store
        .transact(|txn| {
            txn.delete::<Account>(&id(3))?;
            txn.put(None, account(99, 1, 99))?;
            txn.put(None, account(98, 1, 98))?;
            Ok(())
        })
        .unwrap();
    assert_eq!(walked(&store, 10).len(), 31);
}

pub(crate) fn a_check_finds_nothing_wrong_whatever_was_done(place: &Place) {
    let mut store = filled(place);
    let before = store.store.check_blocking().unwrap();
    assert!(before.is_good(), "{before:?}");
    assert_eq!(before.rows, store.store.status().keys);
    assert_eq!(before.head, position(30));
    let refused = store.transact::<()>(|txn| {
        txn.put_any(account(1, 2, 1_000))?;
        txn.delete::<Account>(&id(2))?;
        Err(store::TransactError::Refused("no"))
    });
    assert!(refused.is_err());
    assert_eq!(store.store.check_blocking().unwrap(), before);
    store
        .transact(|txn| {
            txn.put_any(account(1, 2, 1_000))?;
            txn.delete::<Account>(&id(2))?;
            Ok(())
        })
        .unwrap();
    let changed = store.store.check_blocking().unwrap();
    assert!(changed.is_good(), "{changed:?}");
    assert_ne!(changed.state_hash, before.state_hash);
    // Back again by another way: what counts is what is there.
    store
        .transact(|txn| {
            txn.put_any(account(1, 1, 1))?;
            txn.put_any(account(2, 1, 2))?;
            txn.emit(event(1));
            txn.advance(Source::Orders, position(31))?;
            Ok(())
        })
        .unwrap();
    let again = store.store.check_blocking().unwrap();
    assert!(again.is_good(), "{again:?}");
    assert_eq!(again.state_hash, before.state_hash);
    assert_eq!(again.rows, before.rows + 1);
    let store = store.reopen(place.options());
    assert_eq!(store.store.check_blocking().unwrap(), again);
}

pub(crate) fn a_check_follows_the_writer(place: &Place) {
    // More rows than one chunk, and changes on both sides of what has been read.
    let mut store = place.open();
    store
        .transact(|txn| {
            for number in 0..5_000 {
                txn.put(None, account(number, 1, number))?;
            }
            Ok(())
        })
        .unwrap();
    let checks = std::thread::spawn({
        let store = store.store.clone();
        move || {
            (0..8)
                .map(|_| store.check_blocking().unwrap())
                .collect::<Vec<_>>()
        }
    });
    let mut version = 1;
    while !checks.is_finished() {
        let put = store
            .store
            .submit(Context::new(now()), move |txn| -> Result<(), Refusal> {
                for number in [version % 50, 4_000 + version % 900, 5_000 + version] {
                    txn.put_any(account(number, version + 1, version))?;
                }
                txn.delete::<Account>(&id(version % 3_000))?;
                txn.emit(event(version));
                Ok(())
            });
        store.writer.write_once();
        put.unwrap().blocking_recv().unwrap().unwrap();
        version += 1;
    }
    for report in checks.join().unwrap() {
        assert!(report.is_good(), "{report:?}");
    }
    assert!(version > 2, "nothing was written meanwhile");
}
