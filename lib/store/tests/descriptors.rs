//! A process that has run out of file descriptors: the store goes on, and takes nothing for damage.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

mod common;

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use common::{Account, Bank, Place, Refusal, Step, account, event, eventually, id, now, options};
use events::Seq;
use store::engine::Disk;
use store::{Context, OpenProblem, State, Store, TransactError};

/// How many descriptors the process may have: all of them are in use soon.
const DESCRIPTORS_MAX: u32 = 128;

/// A row so large that the engine puts its page into a file of its own.
const LARGE_BYTES: usize = 200_000;

/// Tells the copy of this program that has few descriptors what it is to do.
const PART_VARIABLE: &str = "STORE_TEST_DESCRIPTORS_PART";

/// Runs a test of this program again in a process of its own that has few descriptors.
fn with_few_descriptors(test: &str) {
    let program = std::env::current_exe().unwrap();
    let limited = format!("ulimit -n {DESCRIPTORS_MAX} && exec \"$0\" --exact {test} --nocapture");
    let output = Command::new("sh")
        .arg("-c")
        .arg(limited)
        .arg(program)
        .env(PART_VARIABLE, test)
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

fn is_limited(test: &str) -> bool {
    std::env::var(PART_VARIABLE).is_ok_and(|part| part == test)
}

/// Takes every descriptor that is left.
fn take_all() -> Vec<File> {
    let mut taken = Vec::new();
    let error = loop {
        match File::open("/dev/null") {
            Ok(file) => taken.push(file),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("Too many open files"), "{error}");
    taken
}

fn put(store: &Bank, row: Account) -> Result<(), Refusal> {
    let put = store.submit(Context::new(now()), move |txn| {
        txn.emit(event(1));
        Ok(txn.put(None, row)?)
    });
    put.unwrap().blocking_recv().unwrap()
}

fn large(number: u64) -> Account {
    Account {
        note: "x".repeat(LARGE_BYTES),
        ..account(number, 1, number)
    }
}

#[test]
fn writing_goes_on_without_a_descriptor() {
    if !is_limited("writing_goes_on_without_a_descriptor") {
        return with_few_descriptors("writing_goes_on_without_a_descriptor");
    }
    let place = Place::new(Arc::new(Disk));
    let store: Bank = Store::open(place.options()).unwrap();
    put(&store, account(1, 1, 1)).unwrap();
    let taken = take_all();
    for number in 10..60 {
        put(&store, account(number, 1, number)).unwrap();
    }
    assert_eq!(store.outbox(Seq(0), usize::MAX).unwrap().len(), 51);
    // A handle that has failed can't be opened again now, and says what that is: nothing is damaged.
    place.faults.fail_once(Step::Sync);
    put(&store, account(3, 1, 3)).unwrap_err();
    eventually("it says why it does not serve", || match store.status().state {
        State::Reopening { error, .. } => {
            assert!(!error.contains("damaged"), "{error}");
            error.contains("Too many open files")
        }
        State::Serving | State::Adopting { .. } | State::Old { .. } | State::Closed => false,
    });
    drop(taken);
    eventually("it serves again", || {
        matches!(store.status().state, State::Serving)
    });
    assert_eq!(store.get::<Account>(&id(59)).unwrap(), Some(account(59, 1, 59)));
    put(&store, account(4, 1, 4)).unwrap();
    store.close();
}

/// The engine puts large pages into files of their own, and does not survive it when it can't.
#[test]
fn a_batch_that_may_need_a_descriptor_is_refused_before_it_harms() {
    if !is_limited("a_batch_that_may_need_a_descriptor_is_refused_before_it_harms") {
        return with_few_descriptors("a_batch_that_may_need_a_descriptor_is_refused_before_it_harms");
    }
    for rows_before in [vec![], vec![large(2)]] {
        let place = Place::new(Arc::new(Disk));
        let store: Bank = Store::open(place.options()).unwrap();
        put(&store, account(1, 1, 1)).unwrap();
        let row = if rows_before.is_empty() {
            large(3)
        } else {
            account(3, 1, 3)
        };
        for row in rows_before {
            put(&store, row).unwrap();
        }
        let taken = take_all();
        let refused = put(&store, row.clone()).unwrap_err();
        assert!(
            matches!(&refused, TransactError::Unavailable(why) if why.contains("Too many open files")),
            "{refused:?}"
        );
        assert!(
            matches!(store.status().state, State::Serving),
            "the engine was not harmed"
        );
        drop(taken);
        put(&store, row.clone()).unwrap();
        assert_eq!(store.get::<Account>(&id(3)).unwrap(), Some(row));
        store.close();
    }
}

#[test]
fn opening_never_takes_a_lack_of_descriptors_for_damage() {
    if !is_limited("opening_never_takes_a_lack_of_descriptors_for_damage") {
        return with_few_descriptors("opening_never_takes_a_lack_of_descriptors_for_damage");
    }
    let dir = tempfile::tempdir().unwrap();
    let open = |dir: &Path| Store::open(options(dir));
    let store: Bank = open(dir.path()).unwrap();
    for number in 0..20 {
        put(&store, large(number)).unwrap();
    }
    store.close();
    // Wherever in the course of opening the last descriptor goes.
    let mut refused = 0;
    for left in 0.. {
        let mut taken = take_all();
        taken.truncate(taken.len() - left);
        let opened: Result<Bank, _> = open(dir.path());
        drop(taken);
        match opened {
            Ok(store) => {
                assert_eq!(store.get::<Account>(&id(7)).unwrap(), Some(large(7)));
                store.close();
                break;
            }
            Err(error) => {
                assert!(
                    matches!(error.problem(), OpenProblem::Io { .. }),
                    "{left} left: {error}"
                );
                assert!(
                    error.to_string().contains("Too many open files"),
                    "{left} left: {error}"
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 3, "only {refused} descriptors are needed");
}
