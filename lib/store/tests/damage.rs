//! Damaged files: a store is whole, or refused with a sentence that says what to do, within ten seconds.
//!
//! Each seed is one case: a store of some kind, and one or two of its files cut, emptied, removed, with flipped bits or
//! with blocks of zeros or garbage. A short run is part of the tests; a long one is asked for by the environment:
//! `STORE_DAMAGE_SEEDS=1000 cargo nextest run -p store --test damage --no-capture`.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use common::{Account, Bank, Refusal, Stepped, account, event, id, now, options};
use store::{Context, Store};
use testkit::Chance;

/// How many seeds a run has unless [`SEEDS_VARIABLE`] says otherwise, and from which one on.
const SEEDS: u64 = 60;
const SEEDS_VARIABLE: &str = "STORE_DAMAGE_SEEDS";
const FIRST_SEED_VARIABLE: &str = "STORE_DAMAGE_FIRST_SEED";

/// Longer than this is a hang.
const OPEN_SECONDS_MAX: u64 = 10;

/// After this a case is given up, and counts as a hang.
const GIVEN_UP_SECONDS: u64 = 30;

/// How many cases are looked at side by side.
const WORKERS: usize = 2;

/// A block as file systems and disks lose them.
const BLOCK_BYTES: u64 = 4_096;

/// A good store, and what is in it.
struct Good {
    kind: &'static str,
    dir: tempfile::TempDir,
    rows: BTreeMap<u64, Account>,
    head: u64,
}

impl Good {
    fn make(kind: &'static str, lives: u64, large: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut rows = BTreeMap::new();
        for life in 0..lives {
            let mut store = Stepped::open(options(dir.path()));
            for batch in 0..30 {
                let first = life * 300 + batch * 10;
                let puts: Vec<Account> = (first..first + 10)
                    .map(|number| Account {
                        note: if large && number % 50 == 7 {
                            "large ".repeat(25_000)
                        } else {
                            format!("{batch} ").repeat(60)
                        },
                        ..account(number, 1, batch)
                    })
                    .collect();
                rows.extend((first..).zip(puts.iter().cloned()));
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
        }
        Self {
            kind,
            head: rows.len() as u64,
            dir,
            rows,
        }
    }

    /// All files but the lock, which says nothing.
    fn files(dir: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files.extend(Self::files(&path));
            } else if path.file_name().is_some_and(|name| name != "lock") {
                files.push(path);
            }
        }
        files.sort();
        files
    }
}

/// Damages one file, and says how.
fn damage(chance: &mut Chance, dir: &Path, all: bool) -> String {
    let mut files = Good::files(dir);
    if !all {
        // The mark counts by being there; without it alone nothing is missing.
        files.retain(|file| file.file_name().is_some_and(|name| name != "made"));
    }
    // Mostly the file that holds the data.
    let file = if all || chance.below(2) == 0 {
        chance.pick(&files).clone()
    } else {
        dir.join("db")
    };
    let name = file.strip_prefix(dir).unwrap().display().to_string();
    let Ok(mut bytes) = fs::read(&file) else {
        return format!("{name} gone already");
    };
    // Not all of the data file is written: aim at what is.
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last as u64 + 1);
    let at = |place: u64| usize::try_from(place).unwrap();
    if used == 0 {
        fs::remove_file(&file).unwrap();
        return format!("{name} removed");
    }
    let what = match chance.below(7) {
        0 => {
            let length = chance.below(used);
            bytes.truncate(at(length));
            format!("{name} cut to {length}")
        }
        1 => {
            // As after a power cut: at the end of a block.
            let length = chance.below(used) / BLOCK_BYTES * BLOCK_BYTES;
            bytes.truncate(at(length));
            format!("{name} cut to {length}")
        }
        2 | 3 => {
            let flips = 1 + chance.below(4);
            for _ in 0..flips {
                let bit = chance.below(used * 8);
                bytes[at(bit / 8)] ^= 1 << (bit % 8);
            }
            format!("{name} with {flips} bits flipped")
        }
        4 | 5 => {
            let zeros = chance.below(2) == 0;
            let from = chance.below(used) / BLOCK_BYTES * BLOCK_BYTES;
            let to = (from + BLOCK_BYTES * (1 + chance.below(4))).min(bytes.len() as u64);
            for byte in &mut bytes[at(from)..at(to)] {
                *byte = if zeros {
                    0
                } else {
                    chance.number().to_le_bytes()[0]
                };
            }
            let with = if zeros { "zeros" } else { "garbage" };
            format!("{name} with {with} from {from} to {to}")
        }
        _ => {
            fs::remove_file(&file).unwrap();
            return format!("{name} removed");
        }
    };
    fs::write(&file, bytes).unwrap();
    what
}

/// What came of a case.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// It opened, and everything was there, also after it was written and opened again.
    Whole,
    /// It was refused, in words that say what to do.
    Refused(String),
    Wrong(String),
    Hung(Duration),
}

fn judge(dir: &Path, good: &Good) -> Verdict {
    for life in 0..2 {
        let started = Instant::now();
        let opened = Store::open(options(dir));
        let took = started.elapsed();
        if took > Duration::from_secs(OPEN_SECONDS_MAX) {
            return Verdict::Hung(took);
        }
        let store: Bank = match opened {
            Ok(store) => store,
            Err(error) if life == 1 => return Verdict::Wrong(format!("opened once, and then: {error}")),
            Err(error) => {
                let sentence = error.to_string();
                return if sentence
                    .contains("restore it with `boxoffice restore --service tickets --from BACKUP`")
                {
                    Verdict::Refused(sentence)
                } else {
                    Verdict::Wrong(format!("refused without a way out: {sentence}"))
                };
            }
        };
        for (number, row) in &good.rows {
            match store.get::<Account>(&id(*number)) {
                Ok(Some(found)) if found == *row => {}
                other => return Verdict::Wrong(format!("row {number} is {other:?}")),
            }
        }
        let head = store.status().head.0;
        let events = store
            .outbox(events::Seq(0), usize::MAX)
            .map(|events| events.len() as u64);
        let accounts = store.read(|totals| totals.accounts);
        let written = good.rows.len() as u64 + life;
        if (head, accounts) != (good.head, written) || events.as_ref().ok() != Some(&good.head) {
            return Verdict::Wrong(format!("{head} events ({events:?}), {accounts} rows"));
        }
        let put: Result<(), Refusal> = store
            .submit(Context::new(now()), move |txn| {
                Ok(txn.put(None, account(1_000_000 + life, 1, 1))?)
            })
            .unwrap()
            .blocking_recv()
            .unwrap();
        if let Err(error) = put {
            return Verdict::Wrong(format!("it can't be written: {error}"));
        }
        store.close();
    }
    Verdict::Whole
}

/// One case, from its seed alone.
fn case(seed: u64, goods: &[Good]) -> (String, Verdict) {
    let mut chance = Chance::new(seed);
    let good = chance.pick(goods);
    let dir = tempfile::tempdir().unwrap();
    common::copy_dir(good.dir.path(), dir.path());
    let mut what = damage(&mut chance, dir.path(), false);
    if chance.below(3) == 0 {
        what = format!("{what}, and {}", damage(&mut chance, dir.path(), true));
    }
    (format!("{}: {what}", good.kind), judge(dir.path(), good))
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("it is a number"))
}

#[test]
fn damage_is_never_taken_for_the_truth_and_never_hangs() {
    let goods: &'static [Good] = Box::leak(Box::new([
        Good::make("a young store", 1, false),
        Good::make("a store that was opened again", 3, false),
        Good::make("a store with large rows", 2, true),
    ]));
    for good in goods {
        let copy = tempfile::tempdir().unwrap();
        common::copy_dir(good.dir.path(), copy.path());
        assert_eq!(judge(copy.path(), good), Verdict::Whole, "an undamaged copy");
    }
    let first = setting(FIRST_SEED_VARIABLE, 0);
    let seeds = setting(SEEDS_VARIABLE, SEEDS);
    let next = AtomicU64::new(first);
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= first + seeds {
                        break;
                    }
                    // On a thread of its own, which is left behind if it hangs.
                    let (done, judged) = mpsc::channel();
                    std::thread::spawn(move || done.send(case(seed, goods)).unwrap());
                    let given_up = Duration::from_secs(GIVEN_UP_SECONDS);
                    let (what, verdict) = judged
                        .recv_timeout(given_up)
                        .unwrap_or_else(|_| ("unknown".to_owned(), Verdict::Hung(given_up)));
                    println!("seed {seed}, {what}: {verdict:?}");
                    verdicts.lock().unwrap().push((seed, what, verdict));
                }
            });
        }
    });
    let verdicts = verdicts.into_inner().unwrap();
    let count = |like: fn(&Verdict) -> bool| verdicts.iter().filter(|(_, _, verdict)| like(verdict)).count();
    println!(
        "{} seeds from {first}: {} opened whole, {} refused in words that say what to do, {} wrong, {} hung over \
         {OPEN_SECONDS_MAX} s",
        verdicts.len(),
        count(|verdict| matches!(verdict, Verdict::Whole)),
        count(|verdict| matches!(verdict, Verdict::Refused(_))),
        count(|verdict| matches!(verdict, Verdict::Wrong(_))),
        count(|verdict| matches!(verdict, Verdict::Hung(_))),
    );
    let bad: Vec<_> = verdicts
        .iter()
        .filter(|(_, _, verdict)| matches!(verdict, Verdict::Wrong(_) | Verdict::Hung(_)))
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
}
