//! Backups and what is made of them: whole or refused, of one moment, and never in the way.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Account, Bank, Place, Refusal, Step, Totals, account, event, eventually, id, now, options};
use events::{Epoch, Position, Seq, Source};
use proptest::prelude::*;
use store::engine::Disk;
use store::{
    BackupError, Context, OpenProblem, OutboxEntry, RestoreError, RestoreOptions, Restored, State, Store,
    inspect_backup, restore,
};

fn transact(
    store: &Bank,
    f: impl FnOnce(&mut store::Txn<'_, Totals>) -> Result<(), Refusal> + Send + 'static,
) -> Result<(), Refusal> {
    let answer = store.submit(Context::new(now()), f)?;
    answer.blocking_recv().unwrap()
}

fn put(store: &Bank, number: u64) {
    let put = transact(store, move |txn| {
        txn.emit(event(number));
        txn.advance(Source::Orders, at(1, number + 1))?;
        Ok(txn.put(None, account(number, 1, number))?)
    });
    put.unwrap();
}

fn filled(dir: &Path, rows: u64) -> Bank {
    let store: Bank = Store::open(options(dir)).unwrap();
    (0..rows).for_each(|number| put(&store, number));
    store
}

fn taken(store: &Bank) -> Vec<u8> {
    let mut backup = store.backup(now()).unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = backup.blocking_next() {
        bytes.extend(chunk.unwrap());
    }
    bytes
}

const fn at(epoch: u32, seq: u64) -> Position {
    Position {
        epoch: Epoch(epoch),
        seq: Seq(seq),
    }
}

fn wanted() -> RestoreOptions {
    RestoreOptions::new(Source::Tickets, now())
}

fn restored(bytes: &[u8], dir: &Path) -> Restored {
    restore(bytes, dir, &wanted()).unwrap()
}

/// What a store holds that a backup should hold.
#[derive(Debug, PartialEq)]
struct Contents {
    rows: Vec<Account>,
    outbox: Vec<OutboxEntry>,
    cursor: Position,
    head: Seq,
    totals: Totals,
    state: String,
}

fn contents(store: &Bank) -> Contents {
    let report = store.check_blocking().unwrap();
    assert!(report.is_good(), "{report:?}");
    let rows = store.rows(None, usize::MAX).unwrap();
    Contents {
        rows: rows
            .iter()
            .map(|(_, row)| row.of::<Account>().unwrap().clone())
            .collect(),
        outbox: store.outbox(Seq(0), usize::MAX).unwrap(),
        cursor: store.cursor(Source::Orders),
        head: store.status().head,
        totals: store.read(Clone::clone),
        state: report.state_hash.to_string(),
    }
}

#[test]
fn a_restored_store_is_the_one_that_was_backed_up_and_waits_for_its_stream() {
    let (from, above) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = filled(from.path(), 200);
    let before = contents(&store);
    let bytes = taken(&store);
    let manifest = inspect_backup(&*bytes).unwrap();
    assert_eq!((manifest.source, manifest.head), (Source::Tickets, at(1, 200)));
    assert_eq!(manifest.keys, store.status().keys);
    assert_eq!(manifest.taken_at, now());
    put(&store, 200);

    let dir = above.path().join("tickets");
    let done = restored(&bytes, &dir);
    assert_eq!(
        done,
        Restored {
            manifest,
            head: at(1, 200),
            previous: None
        }
    );
    let store: Bank = Store::open(options(&dir)).unwrap();
    assert!(store.was_restored());
    assert!(matches!(store.status().state, State::Adopting { .. }));
    assert_eq!(contents(&store), before);
    store.end_adopting().unwrap();
    put(&store, 200);
    store.close();
    assert_eq!(names(above.path()), ["tickets"]);
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_there_is_kept_and_a_store_in_use_is_left_alone() {
    let above = tempfile::tempdir().unwrap();
    let dir = above.path().join("tickets");
    let store = filled(&dir, 10);
    let bytes = taken(&store);
    put(&store, 10);
    let error = restore(&*bytes, &dir, &wanted()).unwrap_err();
    assert!(
        matches!(&error, RestoreError::Open(error) if matches!(error.problem(), OpenProblem::InUse { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("stop that one first"), "{error}");
    put(&store, 11);
    store.close();
    let kept: Vec<PathBuf> = (0..2)
        .map(|_| restored(&bytes, &dir).previous.expect("there was one"))
        .collect();
    assert_eq!(kept[0], above.path().join("tickets.before-20270115T080000Z"));
    assert_eq!(kept[1], above.path().join("tickets.before-20270115T080000Z-2"));
    let first: Bank = Store::open(options(&kept[0])).unwrap();
    assert_eq!(first.status().head, Seq(12));
    first.close();
    assert_eq!(names(above.path()).len(), 3);
}

#[test]
fn an_accepted_loss_begins_the_next_epoch() {
    let above = tempfile::tempdir().unwrap();
    let dir = above.path().join("tickets");
    let store = filled(&dir, 10);
    let (bytes, before) = (taken(&store), contents(&store));
    store.close();
    let accepting = RestoreOptions {
        accept_loss: true,
        ..wanted()
    };
    // Each time beyond the one that was there, although the backup is of the first.
    for epoch in [2, 3] {
        let done = restore(&*bytes, &dir, &accepting).unwrap();
        assert_eq!(done.head, at(epoch, 0));
        let store: Bank = Store::open(options(&dir)).unwrap();
        assert!(!store.was_restored());
        assert!(
            store.recollects(),
            "that others have lost nothing is not accepted by it"
        );
        store.end_recollecting().unwrap();
        assert!(!store.recollects());
        assert!(matches!(store.status().state, State::Serving));
        let status = store.status();
        assert_eq!((status.epoch, status.head), (Epoch(epoch), Seq(0)));
        assert_eq!(store.oldest_outbox_seq(), Seq(1));
        let now = contents(&store);
        assert_eq!(
            (&now.rows, &now.state, now.cursor),
            (&before.rows, &before.state, at(1, 10))
        );
        assert!(now.outbox.is_empty());
        put(&store, 10);
        let entry = store.outbox(Seq(0), usize::MAX).unwrap().remove(0);
        assert!(
            entry.envelope.contains(&format!("\"tickets-{epoch}-1\"")),
            "{}",
            entry.envelope
        );
        store.close();
    }
    let beyond = RestoreOptions {
        epoch_reached: Epoch(7),
        ..accepting
    };
    assert_eq!(restore(&*bytes, &dir, &beyond).unwrap().head, at(8, 0));
}

#[test]
fn what_is_no_whole_backup_of_this_service_is_refused_and_nothing_changes() {
    let above = tempfile::tempdir().unwrap();
    let dir = above.path().join("tickets");
    let store = filled(&dir, 30);
    let bytes = taken(&store);
    let before = contents(&store);
    store.close();
    let foreign = RestoreOptions::new(Source::Orders, now());
    let error = restore(&*bytes, &dir, &foreign).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("of the tickets store and not of the orders store"),
        "{error}"
    );
    let refuse = |what: &str, bytes: &[u8]| {
        assert!(inspect_backup(bytes).is_err(), "{what}");
        let error = restore(bytes, &dir, &wanted()).expect_err(what);
        assert!(
            matches!(&error, RestoreError::Damaged(_)) && error.to_string().ends_with("use another one"),
            "{what}: {error}"
        );
        assert_eq!(names(above.path()), ["tickets"], "{what}");
    };
    refuse("nothing", b"");
    refuse("something else", b"PK\x03\x04 some archive");
    for place in (0..bytes.len()).step_by(211) {
        let mut flipped = bytes.clone();
        flipped[place] ^= 4;
        refuse(&format!("byte {place} flipped"), &flipped);
        refuse(&format!("the first {place} bytes"), &bytes[..place]);
    }
    refuse("a byte too many", &[&*bytes, b"!"].concat());
    let store: Bank = Store::open(options(&dir)).unwrap();
    assert_eq!(contents(&store), before);
    store.close();
}

#[test]
fn what_a_killed_restoration_has_left_is_cleared_away_or_kept() {
    let above = tempfile::tempdir().unwrap();
    let dir = above.path().join("tickets");
    let store = filled(&dir, 3);
    let bytes = taken(&store);
    store.close();
    let left = above.path().join("tickets.restoring");
    fs::create_dir(&left).unwrap();
    for file in ["unfinished", "db", "head", "lock"] {
        fs::write(left.join(file), b"half of a store").unwrap();
    }
    restored(&bytes, &dir);
    assert_eq!(names(above.path()).len(), 2, "what was there and what is there");
    // Killed after the exchange: what was there before is still called so.
    common::copy_dir(&dir, &left);
    restored(&bytes, &dir);
    assert_eq!(names(above.path()).len(), 4);
    assert!(!left.exists());
}

#[test]
fn a_backup_that_nobody_takes_does_not_hold_up_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), 5_000);
    let mut slow = store.backup(now()).unwrap();
    assert_eq!(store.backup(now()).unwrap_err(), BackupError::Busy);
    // Beyond what waits for whoever takes it.
    let note = "x".repeat(1024 * 1024);
    for number in 0..80 {
        let row = Account {
            note: note.clone(),
            ..account(10_000, 1, number)
        };
        transact(&store, move |txn| Ok(txn.put_any(row)?)).unwrap();
    }
    // It stands in nobody's way, and whoever comes back to it hears what has become of it.
    let other = taken(&store);
    assert!(inspect_backup(&*other).is_ok());
    let mut last = None;
    while let Some(chunk) = slow.blocking_next() {
        last = Some(chunk);
    }
    assert_eq!(last.unwrap().unwrap_err(), BackupError::TooSlow);
    store.close();
}

#[test]
fn whoever_stops_taking_a_backup_stands_in_the_way_of_no_other_for_long() {
    let dir = tempfile::tempdir().unwrap();
    // More than what waits for whoever takes it, and nothing is written meanwhile.
    let store = filled(dir.path(), 0);
    transact(&store, |txn| {
        for number in 0..5_000 {
            txn.put(None, account(number, 1, 0))?;
        }
        Ok(())
    })
    .unwrap();
    let mut stalled = store
        .backup_with_patience(now(), Duration::from_millis(50))
        .unwrap();
    assert!(stalled.blocking_next().unwrap().is_ok());
    let mut next = None;
    eventually("the next one can be taken", || {
        next = store.backup(now()).ok();
        next.is_some()
    });
    // Whoever comes back hears what has become of theirs.
    let mut last = None;
    while let Some(chunk) = stalled.blocking_next() {
        last = Some(chunk);
    }
    assert_eq!(last.unwrap().unwrap_err(), BackupError::TooSlow);
    let mut bytes = Vec::new();
    while let Some(chunk) = next.as_mut().unwrap().blocking_next() {
        bytes.extend(chunk.unwrap());
    }
    assert!(inspect_backup(&*bytes).is_ok());
    store.close();
}

#[test]
fn a_backup_over_a_failed_batch_is_no_backup() {
    let place = Place::new(Arc::new(Disk));
    let store: Bank = Store::open(place.options()).unwrap();
    (0..3_000).for_each(|number| put(&store, number));
    let mut backup = store.backup(now()).unwrap();
    assert!(backup.blocking_next().unwrap().is_ok());
    place.faults.fail_once(Step::Sync);
    transact(&store, |txn| Ok(txn.put(None, account(9_000, 1, 1))?)).unwrap_err();
    let mut last = None;
    while let Some(chunk) = backup.blocking_next() {
        last = Some(chunk);
    }
    let error = last.unwrap().unwrap_err();
    assert!(matches!(&error, BackupError::Unavailable(_)), "{error}");
    eventually("it serves again", || {
        matches!(store.status().state, State::Serving)
    });
    assert!(inspect_backup(&*taken(&store)).is_ok());
    // Whoever goes away in the middle is not missed.
    drop(store.backup(now()).unwrap());
    eventually("the next one can be taken", || store.backup(now()).is_ok());
    store.close();
}

#[test]
fn a_closed_store_is_looked_at_without_a_trace() {
    let above = tempfile::tempdir().unwrap();
    let dir = above.path().join("tickets");
    let absent = Bank::open_copy(&options(&dir), &above.path().join("copy")).unwrap_err();
    assert!(matches!(absent.problem(), OpenProblem::Absent), "{absent}");
    assert!(!dir.exists());
    let store = filled(&dir, 20);
    let before = contents(&store);
    let in_use = Bank::open_copy(&options(&dir), &above.path().join("copy")).unwrap_err();
    assert!(matches!(in_use.problem(), OpenProblem::InUse { .. }), "{in_use}");
    store.close();
    // What a kill left behind, which a start would clear away.
    fs::write(dir.join("snap.00000000FFFFFFFF.generating"), b"half").unwrap();
    let bytes = |dir: &Path| -> BTreeMap<PathBuf, Vec<u8>> {
        let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.is_file());
        files
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    };
    let original = bytes(&dir);
    let copy = Bank::open_copy(&options(&dir), &above.path().join("copy")).unwrap();
    assert_eq!(contents(&copy), before);
    put(&copy, 20);
    copy.close();
    assert_eq!(bytes(&dir), original);
    // What is wrong is told of the original.
    let head = fs::read(dir.join("head")).unwrap();
    fs::write(dir.join("head"), &head[..9]).unwrap();
    let error = Bank::open_copy(&options(&dir), &above.path().join("other")).unwrap_err();
    assert!(error.to_string().contains(&*dir.to_string_lossy()), "{error}");
    assert!(matches!(error.problem(), OpenProblem::Damaged(_)), "{error}");
}

/// What one writer does while backups are taken.
#[derive(Debug, Clone)]
enum Change {
    Put { number: u64, bytes: usize },
    Delete { number: u64 },
    Trim,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0_u64..3_000, 0_usize..300).prop_map(|(number, bytes)| Change::Put { number, bytes }),
        2 => (0_u64..3_000).prop_map(|number| Change::Delete { number }),
        1 => Just(Change::Trim),
    ]
}

fn apply(store: &Bank, step: u64, change: &Change) {
    match change.clone() {
        Change::Put { number, bytes } => transact(store, move |txn| {
            txn.emit(event(step));
            // The last step stands in the store itself, so that its state can be told from its rows.
            txn.put_any(account(1_000_000, 1, step))?;
            Ok(txn.put_any(Account {
                note: "x".repeat(bytes),
                ..account(number, 1, step)
            })?)
        })
        .unwrap(),
        Change::Delete { number } => transact(store, move |txn| {
            txn.put_any(account(1_000_000, 1, step))?;
            Ok(txn.delete::<Account>(&id(number))?)
        })
        .unwrap(),
        Change::Trim => {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
                .block_on(store.trim_outbox(common::at(10_000_000)))
                .unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Each backup is the state after some batch between its beginning and its end, as an account of the changes has it.
    #[test]
    fn a_backup_is_of_one_moment_while_others_write(changes in proptest::collection::vec(change(), 60..120)) {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path(), 0);
        transact(&store, |txn| {
            for number in 0..3_000 {
                txn.put(None, account(number, 1, 0))?;
            }
            Ok(())
        })
        .unwrap();
        let over = AtomicBool::new(false);
        let backups = std::thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let mut backups = Vec::new();
                while !over.load(Ordering::SeqCst) || backups.is_empty() {
                    let begun = store.status().batches;
                    let bytes = taken(&store);
                    backups.push((begun, bytes, store.status().batches));
                }
                backups
            });
            for (step, change) in (1..).zip(&changes) {
                apply(&store, step, change);
            }
            over.store(true, Ordering::SeqCst);
            taker.join().unwrap()
        });
        store.close();
        let picked = [0, backups.len() / 2, backups.len() - 1];
        for (begun, bytes, ended) in picked.map(|number| &backups[number]) {
            let above = tempfile::tempdir().unwrap();
            let place = above.path().join("tickets");
            let manifest = restored(bytes, &place).manifest;
            prop_assert!((*begun..=*ended).contains(&manifest.batch));
            let store: Bank = Store::open(options(&place)).unwrap();
            let now = contents(&store);
            store.close();
            // The account of what was done up to the step that the store says it has seen.
            let mut rows: BTreeMap<_, _> = (0..3_000).map(|number| (id(number), account(number, 1, 0))).collect();
            let last = now.rows.iter().find(|row| row.id == id(1_000_000)).map_or(0, |row| row.points);
            for (step, change) in (1..=last).zip(&changes) {
                match change {
                    Change::Put { number, bytes } => {
                        rows.insert(id(*number), Account { note: "x".repeat(*bytes), ..account(*number, 1, step) });
                    }
                    Change::Delete { number } => {
                        rows.remove(&id(*number));
                    }
                    Change::Trim => continue,
                }
                rows.insert(id(1_000_000), account(1_000_000, 1, step));
            }
            prop_assert_eq!(&now.rows, &rows.into_values().collect::<Vec<_>>());
        }
    }
}
