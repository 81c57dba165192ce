//! Truncated files and flipped bits: a store is whole, or refused with a sentence, within ten seconds.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Account, Stepped, Totals, account, event, id, options};
use store::Store;

/// A reproducible sequence of numbers (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn filled(dir: &Path) -> BTreeMap<u64, Account> {
    let mut store = Stepped::open(options(dir));
    let mut rows = BTreeMap::new();
    for batch in 0..60_u64 {
        let puts: Vec<_> = (0..10)
            .map(|number| Account {
                note: format!("{batch} ").repeat(60),
                ..account(batch * 10 + number, 1, batch)
            })
            .collect();
        rows.extend((batch * 10..).zip(puts.iter().cloned()));
        store
            .transact(move |txn| {
                for row in puts {
                    txn.put(None, row)?;
                    txn.emit(event(batch));
                }
                Ok(())
            })
            .unwrap();
    }
    rows
}

/// The engine's files, of which one is damaged.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.file_name().is_some_and(|name| name != "lock"))
        .collect();
    files.sort();
    files
}

/// Opens what was damaged: says whether it opened, and then it must be whole.
fn whole_or_refused(what: &str, dir: &Path, rows: &BTreeMap<u64, Account>) -> bool {
    let started = Instant::now();
    let opened = Store::<Totals>::open(options(dir));
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "{what}: took {took:?}");
    match opened {
        Ok(store) => {
            for (number, row) in rows {
                assert_eq!(
                    store.get::<Account>(&id(*number)).unwrap().as_ref(),
                    Some(row),
                    "{what}"
                );
            }
            assert_eq!(store.read(|totals| totals.accounts), rows.len() as u64, "{what}");
            assert_eq!(store.status().head.0, rows.len() as u64, "{what}");
            store.close();
            true
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(
                sentence.contains("restore it with `boxoffice restore --service tickets --from BACKUP`"),
                "{what}: {sentence}"
            );
            println!("{what}: after {took:?} {sentence}");
            false
        }
    }
}

fn damage(name: &str, seeds: std::ops::Range<u64>, change: impl Fn(&mut Numbers, &Path, Vec<u8>)) {
    let good = tempfile::tempdir().unwrap();
    let rows = filled(good.path());
    let copy = tempfile::tempdir().unwrap();
    common::copy_dir(good.path(), copy.path());
    assert!(whole_or_refused("an undamaged copy", copy.path(), &rows));
    let mut opened = 0;
    for seed in seeds.clone() {
        let mut numbers = Numbers(seed);
        let dir = tempfile::tempdir().unwrap();
        common::copy_dir(good.path(), dir.path());
        let files = files(dir.path());
        // Mostly the file that holds the data.
        let file = match numbers.below(4) {
            0 => files[usize::try_from(numbers.below(files.len() as u64)).unwrap()].clone(),
            _ => dir.path().join("db"),
        };
        let bytes = fs::read(&file).unwrap();
        change(&mut numbers, &file, bytes);
        let what = format!("{name}, seed {seed}, {}", file.display());
        opened += u64::from(whole_or_refused(&what, dir.path(), &rows));
    }
    println!("{name}: of {seeds:?} {opened} opened whole, the others were refused");
}

#[test]
fn a_truncated_file_is_never_taken_for_the_whole() {
    damage("truncated", 0..30, |numbers, file, bytes| {
        let length = usize::try_from(numbers.below(bytes.len() as u64)).unwrap();
        fs::write(file, &bytes[..length]).unwrap();
    });
}

#[test]
fn flipped_bits_are_never_taken_for_the_truth() {
    damage("flipped", 0..30, |numbers, file, mut bytes| {
        // Not all of the data file is written: aim at what is.
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(1, |last| last + 1);
        for _ in 0..=numbers.below(3) {
            let bit = numbers.below(used as u64 * 8);
            bytes[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
        }
        fs::write(file, bytes).unwrap();
    });
}
