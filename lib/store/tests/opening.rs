//! Opening: who may, what is cleared away, and what is refused, with a sentence that says what to do.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Account, Bank, Memory, Place, Step, Stepped, Totals, account, id, options};
use events::{Source, TicketId, Version};
use store::engine::{Disk, Engine, EngineError, OpenEngine};
use store::{
    Change, Context, DecodeError, Indexes, LockFile, OpenError, OpenProblem, Options, Record, Store, Table,
    Tables,
};

/// A closed store of fifty rows.
fn filled(dir: &Path) {
    let mut store = Stepped::open(options(dir));
    for number in 0..50 {
        store.put(None, account(number, 1, number)).unwrap();
    }
}

fn refused(dir: &Path) -> OpenError {
    let started = Instant::now();
    let error = Store::<Totals>::open(options(dir)).expect_err("it must not open");
    assert!(started.elapsed() < Duration::from_secs(10), "{error}");
    let sentence = error.to_string();
    assert!(sentence.starts_with("the tickets store in "), "{sentence}");
    assert!(sentence.contains(&dir.display().to_string()), "{sentence}");
    error
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let store: Bank = Store::open(options(dir.path())).unwrap();
    let error = refused(dir.path());
    let pid = std::process::id().to_string();
    assert!(
        matches!(error.problem(), OpenProblem::InUse { pid: by } if *by == pid),
        "{error}"
    );
    store.close();
    Store::<Totals>::open(options(dir.path())).unwrap().close();
}

#[test]
fn whoever_only_looks_keeps_nobody_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    // As `verify` has it while it copies a store at rest.
    let looking = LockFile::look(&dir.path().join("lock")).unwrap();
    assert!(looking.is_some());
    let error = refused(dir.path());
    assert!(
        matches!(error.problem(), OpenProblem::LookedAt { .. }),
        "nobody owns it: {error}"
    );
    let patient = Options::new(Source::Tickets, dir.path());
    let opening = thread::spawn(move || Store::<Totals>::open(patient));
    drop(looking);
    opening.join().unwrap().unwrap().close();
}

#[test]
fn the_directory_is_free_when_the_last_handle_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let store: Bank = Store::open(options(dir.path())).unwrap();
        let other = store.clone();
        drop(store);
        assert!(matches!(refused(dir.path()).problem(), OpenProblem::InUse { .. }));
        drop(other);
    }
}

#[test]
fn an_unfinished_snapshot_is_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let leftover = dir.path().join("snap.00000000FFFFFFFF.generating");
    fs::write(&leftover, b"half of a snapshot").unwrap();
    let store = Stepped::open(options(dir.path()));
    assert!(!leftover.exists());
    assert_eq!(store.totals().accounts, 50);
}

#[test]
fn a_store_without_its_data_is_old() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    for (what, break_it) in [
        (
            "removed",
            Box::new(|path: &Path| fs::remove_file(path).unwrap()) as Box<dyn Fn(&Path)>,
        ),
        ("emptied", Box::new(|path: &Path| fs::write(path, b"").unwrap())),
    ] {
        break_it(&dir.path().join("db"));
        let error = refused(dir.path());
        assert!(matches!(error.problem(), OpenProblem::Old(_)), "{what}: {error}");
        assert!(error.to_string().contains("50 rows"), "{error}");
        assert!(
            error
                .to_string()
                .contains("restore it with `boxoffice restore --service tickets --from BACKUP`"),
            "{error}"
        );
    }
}

#[test]
fn a_store_that_was_set_back_is_old() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let copy = tempfile::tempdir().unwrap();
    common::copy_dir(dir.path(), copy.path());
    {
        let mut store = Stepped::open(options(dir.path()));
        store.put(None, account(99, 1, 1)).unwrap();
    }
    // The data of before, the head file of after.
    let head = fs::read(dir.path().join("head")).unwrap();
    fs::write(copy.path().join("head"), head).unwrap();
    let error = refused(copy.path());
    assert!(matches!(error.problem(), OpenProblem::Old(_)), "{error}");
}

#[test]
fn a_head_file_that_lags_is_fine_and_one_that_is_wrong_is_not() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let head = dir.path().join("head");
    let before = fs::read(&head).unwrap();
    {
        let mut store = Stepped::open(options(dir.path()));
        store.put(None, account(99, 1, 1)).unwrap();
    }
    let after = fs::read(&head).unwrap();
    assert_ne!(before, after);
    // As after a power cut: it is not synced.
    fs::write(&head, &before).unwrap();
    assert_eq!(Stepped::open(options(dir.path())).totals().accounts, 51);
    fs::write(&head, &after[..20]).unwrap();
    assert!(matches!(refused(dir.path()).problem(), OpenProblem::Damaged(_)));
    fs::remove_file(&head).unwrap();
    assert!(matches!(refused(dir.path()).problem(), OpenProblem::Damaged(_)));
    fs::write(&head, &after).unwrap();
    assert_eq!(Stepped::open(options(dir.path())).totals().accounts, 51);
}

#[test]
fn a_store_that_was_killed_while_it_was_made_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(Stepped::open(options(dir.path())));
    // The first batch is there, the head file is not, nor the mark that comes after it.
    fs::remove_file(dir.path().join("head")).unwrap();
    fs::remove_file(dir.path().join("made")).unwrap();
    let mut store = Stepped::open(options(dir.path()));
    store.put(None, account(1, 1, 1)).unwrap();
    drop(store);
    assert!(Stepped::open(options(dir.path())).get(1).is_some());
    // Nothing but the directory and the lock is there, or an engine without a row.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("lock"), b"").unwrap();
    fs::write(dir.path().join("db"), b"").unwrap();
    assert_eq!(Stepped::open(options(dir.path())).totals().accounts, 0);
}

#[test]
fn rows_of_another_service_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let error = Store::<()>::open(options(dir.path())).expect_err("it knows no accounts");
    assert!(matches!(error.problem(), OpenProblem::Newer(_)), "{error}");
}

/// What the next version of the small service writes into the same table.
#[derive(Clone)]
struct AccountOfTomorrow(Account);

impl Record for AccountOfTomorrow {
    const TABLE: Table = Account::TABLE;
    const SCHEMA: u8 = 2;
    type Key = TicketId;

    fn key(&self) -> TicketId {
        self.0.id
    }
    fn version(&self) -> Version {
        self.0.version
    }
    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }
    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        // Old rows are read by their own schema.
        Account::decode(schema.min(1), bytes).map(Self)
    }
}

#[derive(Default, PartialEq)]
struct Tomorrow;

impl Indexes for Tomorrow {
    fn apply(&mut self, _change: &Change<'_>) {}
    fn tables() -> Tables {
        Tables::new().with::<AccountOfTomorrow>()
    }
}

#[test]
fn after_an_upgrade_old_rows_are_read_and_after_a_downgrade_new_ones_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let (store, mut writer) = Store::<Tomorrow>::open_stepped(options(dir.path())).unwrap();
    let upgraded: Result<_, common::Refusal> = store.submit(Context::new(common::now()), |txn| {
        let mut row = txn.get::<AccountOfTomorrow>(&id(7))?.expect("an old row is read");
        row.0.version = Version(2);
        Ok(txn.put(Some(Version(1)), row)?)
    });
    writer.write_once();
    upgraded.unwrap().blocking_recv().unwrap().unwrap();
    drop((store, writer));
    let error = refused(dir.path());
    assert!(matches!(error.problem(), OpenProblem::Newer(_)), "{error}");
    assert!(error.to_string().contains("start that version again"), "{error}");
}

#[test]
#[should_panic(expected = "share the byte 'a'")]
fn two_kinds_of_rows_can_t_share_a_table() {
    drop(Tables::new().with::<Account>().with::<AccountOfTomorrow>());
}

#[test]
fn a_directory_that_can_t_be_made_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(
        refused(&file.join("store")).problem(),
        OpenProblem::Io { .. }
    ));
}

/// Whoever wrote it may have been killed before it was on the disk.
#[test]
fn nothing_is_answered_before_what_was_found_is_on_the_disk() {
    let place = Place::new(Arc::new(Disk));
    let mut store = place.open();
    store.put(None, account(1, 1, 1)).unwrap();
    drop(store);
    place.faults.fail(Step::Sync, true);
    let error = Store::<Totals>::open(place.options()).expect_err("its rows may be gone after a power cut");
    assert!(matches!(error.problem(), OpenProblem::Io { .. }), "{error}");
    place.faults.fail(Step::Sync, false);
    assert!(place.open().get(1).is_some());
}

/// An engine that can't be opened, in one way or the other.
enum Hopeless {
    Panics,
    Hangs,
}

impl OpenEngine for Hopeless {
    fn open(&self, _dir: &Path) -> Result<Box<dyn Engine>, EngineError> {
        match self {
            Self::Panics => panic!("it can't be"),
            Self::Hangs => loop {
                std::thread::park();
            },
        }
    }
    fn exists(&self, _dir: &Path) -> bool {
        true
    }
    fn bytes(&self, _dir: &Path) -> u64 {
        0
    }
    fn clear_leftovers(&self, _dir: &Path) -> Result<(), EngineError> {
        Ok(())
    }
}

#[test]
fn an_engine_that_panics_or_hangs_ends_with_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let open = |engine, open_bound| {
        Store::<Totals>::open(Options {
            engine: Arc::new(engine),
            open_bound,
            ..options(dir.path())
        })
        .expect_err("it must not open")
    };
    let error = open(Hopeless::Panics, Duration::from_secs(20));
    assert!(error.to_string().contains("it can't be"), "{error}");
    let error = open(Hopeless::Hangs, Duration::from_millis(100));
    assert!(matches!(error.problem(), OpenProblem::Slow { .. }), "{error}");
}

#[test]
fn a_row_whose_bytes_changed_is_found_at_open() {
    let engine = Memory::default();
    let dir = tempfile::tempdir().unwrap();
    let options = || Options {
        engine: Arc::new(engine.clone()),
        ..options(dir.path())
    };
    let mut store = Stepped::open(options());
    store.put(None, account(1, 1, 1)).unwrap();
    store.put(None, account(2, 1, 2)).unwrap();
    drop(store);
    let good = engine.rows();
    for (name, change) in [
        (
            "a flipped bit",
            Box::new(|rows: &mut common::Bytes| {
                *rows.values_mut().next_back().unwrap().last_mut().unwrap() ^= 1
            }) as Box<dyn Fn(&mut common::Bytes)>,
        ),
        (
            "a lost row",
            Box::new(|rows| {
                rows.pop_last();
            }),
        ),
        (
            "values exchanged",
            Box::new(|rows| {
                let (last, value) = rows.pop_last().unwrap();
                let other = rows.keys().next_back().unwrap().clone();
                let swapped = rows.insert(other, value).unwrap();
                rows.insert(last, swapped);
            }),
        ),
        (
            "a row too many",
            Box::new(|rows| {
                let extra = rows.values().next_back().unwrap().clone();
                rows.insert(b"azzzz".to_vec(), extra);
            }),
        ),
    ] {
        let mut rows = good.clone();
        change(&mut rows);
        engine.set_rows(rows);
        let error = Store::<Totals>::open(options()).expect_err(name);
        assert!(
            matches!(error.problem(), OpenProblem::Damaged(_)),
            "{name}: {error}"
        );
    }
    engine.set_rows(good);
    assert_eq!(
        Stepped::open(options()).get(2).map(|row: Account| row.id),
        Some(id(2))
    );
}
