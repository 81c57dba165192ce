//! A check that has something to find: rows that rot on the disk of a store that serves, indexes that drift away.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

mod common;

use std::sync::Arc;

use common::{Account, Memory, Place, account, event, id, now, options};
use events::Version;
use store::engine::Disk;
use store::{Change, Context, Indexes, Store, StoreError, Tables, TransactError};

#[test]
fn a_row_that_has_rotten_is_found_while_the_store_serves() {
    let place = Place::new(Arc::new(Disk));
    let mut store = place.open();
    for number in 0..50 {
        store.put(None, account(number, 1, number)).unwrap();
        let emitted = store.transact(move |txn| {
            txn.emit(event(number));
            Ok(())
        });
        emitted.unwrap();
    }
    assert!(store.store.check_blocking().unwrap().is_good());
    for (table, what) in [(b'a', "account row"), (b'O', "outbox row"), (b'M', "meta row")] {
        place.faults.rot(Some(table));
        let report = store.store.check_blocking().unwrap();
        assert!(!report.is_good());
        assert!(
            report.problems[0].starts_with(what)
                && report.problems[0].ends_with("the checksum does not match"),
            "{report:?}"
        );
        assert!(report.problems_count >= 2, "and it is missing: {report:?}");
        place.faults.rot(None);
    }
    // What is damaged is no reason to answer wrongly, nor to stop.
    assert!(store.store.check_blocking().unwrap().is_good());
    place.faults.rot(Some(b'a'));
    assert!(matches!(store.store.rows(None, 100), Err(StoreError::Damaged(_))));
    let mut backup = store.store.backup(now()).unwrap();
    let chunks: Vec<_> = std::iter::from_fn(|| backup.blocking_next()).collect();
    let error = chunks.last().unwrap().as_ref().unwrap_err().to_string();
    assert!(error.contains("would not be whole: account row"), "{error}");
    place.faults.rot(None);
    assert!(store.store.backup(now()).is_ok());
}

/// An index that does not take everything back: what a mistake in a service would look like.
#[derive(Debug, Default, PartialEq)]
struct Drifting {
    came: u64,
}

impl Indexes for Drifting {
    fn apply(&mut self, change: &Change<'_>) {
        if let Some((None, Some(_))) = change.of::<Account>() {
            self.came += 1;
        }
    }
    fn tables() -> Tables {
        Tables::new().with::<Account>()
    }
}

#[test]
fn an_index_that_drifts_away_from_its_rows_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let options = store::Options {
        engine: Arc::new(Memory::default()),
        ..options(dir.path())
    };
    let (store, mut writer) = Store::<Drifting>::open_stepped(options).unwrap();
    let mut transact = |put: bool| {
        let answer: Result<_, common::Refusal> = store.submit(Context::new(now()), move |txn| {
            if put {
                txn.put(None, account(1, 1, 1))?;
            } else {
                assert_eq!(
                    txn.get::<Account>(&id(1))?.map(|row| row.version),
                    Some(Version(1))
                );
                txn.delete::<Account>(&id(1))?;
            }
            Ok::<(), TransactError<&'static str>>(())
        });
        writer.write_once();
        answer.unwrap().blocking_recv().unwrap().unwrap();
    };
    transact(true);
    assert!(store.check_blocking().unwrap().is_good());
    transact(false);
    let report = store.check_blocking().unwrap();
    assert_eq!(
        report.problems,
        ["the service's indexes in memory are not what its rows say"]
    );
}

#[test]
fn one_check_at_a_time_and_none_of_a_closed_store() {
    let place = Place::new(Arc::new(Memory::default()));
    let store = place.open();
    let other = store.store.clone();
    drop((store.store, store.writer));
    assert!(matches!(other.check_blocking(), Err(StoreError::Unavailable(_))));
}
