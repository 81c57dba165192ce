//! A disk that has no room left: nothing is acknowledged that is not there, and with room again the store goes on by
//! itself, whether its rows are small or need files of their own.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Account, Bank, Refusal, account, event, eventually, id, now, options};
use store::{Context, State, Store, TransactError};

/// How large the file system is.
const DISK_MIB: u64 = 24;

/// How much of it something else takes away, and gives back.
const BALLAST_BYTES: usize = 8 * 1024 * 1024;

/// How many rows are written while something else takes the room and gives it back.
const ROUNDS: u64 = 2_000;

/// Tells the copy of this program that has the small file system what it is to do, and where that is.
const PART_VARIABLE: &str = "STORE_TEST_DISK_FULL_PART";

/// Runs a test of this program again, with a small file system of its own that is gone with the process.
fn on_a_small_disk(test: &str) {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size={DISK_MIB}m small '{}' && exec \"$0\" --exact {test} --nocapture",
        dir.path().display()
    );
    // Some systems forbid it to whoever is not root; the fault bench fills a disk without it (row 12).
    let may = Command::new("unshare")
        .args(["--mount", "--map-root-user", "true"])
        .status();
    if !may.is_ok_and(|status| status.success()) {
        println!("not tried: this system permits no mount of a test's own");
        return;
    }
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(PART_VARIABLE, dir.path())
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    println!("{said}");
}

fn put(store: &Bank, row: Account) -> Result<(), Refusal> {
    let put = store.submit(Context::new(now()), move |txn| {
        txn.emit(event(1));
        Ok(txn.put(None, row)?)
    })?;
    put.blocking_recv()
        .unwrap_or_else(|_| Err(TransactError::Unavailable("turned away".into())))
}

fn row(number: u64, bytes: usize) -> Account {
    Account {
        note: "x".repeat(bytes),
        ..account(number, 1, number)
    }
}

/// Fills the disk with rows of this size, again and again, and gives it room again.
fn fills_and_recovers(test: &str, bytes: usize) {
    let Some(disk) = std::env::var_os(PART_VARIABLE) else {
        return on_a_small_disk(test);
    };
    let disk = Path::new(&disk);
    let (dir, ballast) = (disk.join("store"), disk.join("ballast"));
    fs::write(&ballast, vec![1; BALLAST_BYTES]).unwrap();
    let store: Bank = Store::open(options(&dir)).unwrap();
    let mut acknowledged = Vec::new();
    let mut number = 0;
    for room in [false, true] {
        if room {
            fs::remove_file(&ballast).unwrap();
            let healed = Instant::now();
            // Serving is not enough: a store that can't write serves until it is asked to.
            eventually("something is written again", || {
                number += 1;
                let written = put(&store, row(number, 100)).is_ok();
                if written {
                    acknowledged.push((number, 100));
                }
                written
            });
            println!("{bytes}: wrote {:?} after there was room", healed.elapsed());
        }
        let mut refused = 0;
        while refused < 5 {
            number += 1;
            let started = Instant::now();
            match put(&store, row(number, bytes)) {
                Ok(()) => acknowledged.push((number, bytes)),
                Err(TransactError::Unavailable(why)) => {
                    assert!(why.contains("no room left"), "{why}");
                    let status = store.status();
                    assert!(status.refusing.is_some());
                    assert!(matches!(status.state, State::Serving), "reading goes on");
                    refused += 1;
                }
                Err(other) => panic!("{other:?}"),
            }
            assert!(started.elapsed() < Duration::from_secs(10), "it hung");
        }
        for (number, bytes) in &acknowledged {
            eventually(
                "what was acknowledged is there",
                || matches!(store.get::<Account>(&id(*number)), Ok(Some(found)) if found == row(*number, *bytes)),
            );
        }
        println!("{bytes}: {} acknowledged", acknowledged.len());
    }
    store.close();
}

#[test]
fn small_rows_fill_the_disk() {
    fills_and_recovers("small_rows_fill_the_disk", 1_000);
}

#[test]
fn rows_of_the_size_of_outbox_rows_fill_the_disk() {
    fills_and_recovers("rows_of_the_size_of_outbox_rows_fill_the_disk", 6_000);
}

#[test]
fn rows_on_pages_with_files_of_their_own_fill_the_disk() {
    fills_and_recovers("rows_on_pages_with_files_of_their_own_fill_the_disk", 60_000);
}

#[test]
fn rows_that_need_files_of_their_own_fill_the_disk() {
    fills_and_recovers("rows_that_need_files_of_their_own_fill_the_disk", 400_000);
}

/// Something else takes all the room, and gives it back, again and again, at any moment: also in the middle of a batch.
#[test]
fn the_room_goes_in_the_middle_of_a_batch() {
    let Some(disk) = std::env::var_os(PART_VARIABLE) else {
        return on_a_small_disk("the_room_goes_in_the_middle_of_a_batch");
    };
    let disk = Path::new(&disk);
    let store: Bank = Store::open(options(&disk.join("store"))).unwrap();
    let over = AtomicBool::new(false);
    let (mut acknowledged, mut refused, mut unknown) = (Vec::new(), 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let mut ballast = File::create(disk.join("ballast")).unwrap();
                while ballast.write_all(&[1; 64 * 1024]).is_ok() {}
                drop(ballast);
                fs::remove_file(disk.join("ballast")).unwrap();
            }
        });
        for number in 0..ROUNDS {
            match put(&store, row(number, 3_000)) {
                Ok(()) => acknowledged.push(number),
                Err(TransactError::Unknown(_)) => unknown += 1,
                Err(TransactError::Unavailable(_)) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
            assert!(!store.status().writer_died);
        }
        over.store(true, Ordering::SeqCst);
    });
    println!(
        "{} acknowledged, {refused} refused, {unknown} unknown",
        acknowledged.len()
    );
    eventually("it serves again", || {
        matches!(store.status().state, State::Serving)
    });
    for number in acknowledged {
        assert_eq!(
            store.get::<Account>(&id(number)).unwrap(),
            Some(row(number, 3_000))
        );
    }
    put(&store, row(ROUNDS, 100)).unwrap();
    store.close();
}
