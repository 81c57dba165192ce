//! kill -9 in the middle of restorations: in the place lies what was there before or what was restored, whole.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Account, Bank, Refusal, account, event, now, options};
use events::Source;
use store::{Context, RestoreOptions, Store, restore};

/// How often the restoring process is killed.
const KILLS: u64 = 15;

/// How many rows each of the two backups has.
const ROWS: [u64; 2] = [300, 500];

/// Tells the copy of this program that is killed what it is.
const DIR_VARIABLE: &str = "STORE_TEST_RESTORE_DIR";

/// Not a test by itself: what runs in the process that is killed. It restores the two backups in turn.
#[test]
fn child_that_restores_until_it_is_killed() {
    let Some(above) = std::env::var_os(DIR_VARIABLE) else {
        return;
    };
    let above = Path::new(&above);
    let mut kept = Vec::new();
    for number in 0_usize.. {
        let backup = fs::read(above.join(format!("backup-{}", number % 2))).unwrap();
        let wanted = RestoreOptions::new(Source::Tickets, now());
        let restored = restore(&*backup, &above.join("tickets"), &wanted).unwrap();
        println!("RESTORED {number}");
        std::io::stdout().flush().unwrap();
        // Only so that the test needs little room.
        kept.extend(restored.previous);
        for kept in kept.drain(..) {
            fs::remove_dir_all(kept).unwrap();
        }
    }
}

fn make_backup(above: &Path, number: usize) {
    let dir = above.join(format!("original-{number}"));
    let store: Bank = Store::open(options(&dir)).unwrap();
    let rows = ROWS[number];
    let filled: Result<(), Refusal> = store
        .submit(Context::new(now()), move |txn| {
            for row in 0..rows {
                txn.put(None, account(row, 1, number as u64))?;
                txn.emit(event(row));
            }
            Ok(())
        })
        .unwrap()
        .blocking_recv()
        .unwrap();
    filled.unwrap();
    let mut backup = store.backup(now()).unwrap();
    let bytes: Vec<u8> = std::iter::from_fn(|| backup.blocking_next())
        .flat_map(Result::unwrap)
        .collect();
    fs::write(above.join(format!("backup-{number}")), bytes).unwrap();
    store.close();
}

#[test]
fn a_restoration_that_is_killed_leaves_the_one_or_the_other() {
    let above = tempfile::tempdir().unwrap();
    make_backup(above.path(), 0);
    make_backup(above.path(), 1);
    let mut found = [0; 2];
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_restores_until_it_is_killed", "--nocapture"])
            .env(DIR_VARIABLE, above.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = 0;
        while heard < 2 + kill % 3 {
            let line = lines.next().expect("it restores until it is killed").unwrap();
            heard += u64::from(line.contains("RESTORED"));
        }
        // Each time at another moment of the restoration that has begun since.
        let moment = Instant::now() + Duration::from_micros(kill * 1_700);
        while Instant::now() < moment {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let store: Bank = Store::open(options(&above.path().join("tickets"))).unwrap();
        assert!(store.was_restored());
        let rows = store.rows(None, usize::MAX).unwrap();
        let which = usize::try_from(rows[0].1.of::<Account>().unwrap().points).unwrap();
        assert_eq!(rows.len() as u64, ROWS[which], "kill {kill}");
        assert_eq!(store.status().head.0, ROWS[which]);
        assert!(store.check_blocking().unwrap().is_good());
        found[which] += 1;
        store.close();
    }
    println!("after {KILLS} kills there were {found:?}");
}
