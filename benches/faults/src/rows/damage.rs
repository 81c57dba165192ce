//! Row 28: a store's files cut or with flipped bits. The service serves what is right, or says why it does not.
//!
//! A thousand seeds on a store by itself are the test of `lib/store`; here it is whole services among others, some of
//! which know what the damaged one has said.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::healed::Healed;
use crate::judge::settle;
use crate::market::{Market, Mix};
use crate::part::Part;
use crate::random::Random;
use crate::report::Outcome;
use crate::stage::Stage;
use crate::system::{Setup, System};

/// How long a service may take to serve or to say why not (I8), with time to start.
const TOLD_SECONDS_MAX: u64 = 12;

/// The same on a machine that is busy with other things. Not more: one that only says that it is not ready may come
/// round until then, and is waited for.
const TOLD_SECONDS_MAX_BUSY: u64 = 40;

/// How many bits are flipped at most.
const FLIPS_MAX: u64 = 8;

/// Words of which one must be in a refusal: what is wrong without what to do is no help.
const WHAT_TO_DO: [&str; 3] = ["restore", "backup", "delete"];

/// Each service in turn, its store damaged in another way each time.
pub(super) async fn each_service(stage: Stage) -> Outcome {
    let (seeds, told_seconds) = stage.size((8, TOLD_SECONDS_MAX_BUSY), (120, TOLD_SECONDS_MAX));
    let system = System::start(&Setup::default()).await;
    let market = Market::open(&system, 4, Setup::default().hold_seconds, stage.seed).await;
    market.purchase_all(12, Mix::NO_DEADLINES).await;
    let mut verdict = settle(&system, &market, Healed::now(&system)).await;
    let mut random = stage.random();
    let (mut served, mut refused) = (0, 0);
    for nth in 0..seeds {
        let part = Part::SERVICES[nth % Part::SERVICES.len()];
        system.kill(part);
        let dir = system.store_dir(part);
        let whole = system.dir().join("whole");
        copy(&dir, &whole);
        let what = harm(&dir, &mut random);
        system.spawn(part);
        let within = Duration::from_secs(told_seconds);
        match system.serves_or_says_why_not(part, within).await {
            Ok(()) => {
                // It says that all is well: then it must be.
                served += 1;
                verdict = settle(&system, &market, Healed::now(&system)).await;
            }
            Err(said) => {
                refused += 1;
                let helps = WHAT_TO_DO.iter().any(|word| said.contains(word));
                assert!(
                    helps,
                    "{}, {what}: it does not say what to do: {said}",
                    part.name()
                );
            }
        }
        let ended = system.process(part).ended().is_some();
        if !ended {
            system.kill(part);
        }
        fs::remove_dir_all(&dir).expect("a temporary directory can be changed");
        fs::rename(&whole, &dir).expect("a temporary directory can be changed");
        system.spawn(part);
        system.part_ready(part).await;
        if nth % 20 == 19 {
            stage.say(&format!("{} stores damaged", nth + 1));
        }
    }
    assert!(
        refused > 0,
        "none of {seeds} damaged stores was noticed: the damage does nothing"
    );
    market.purchase_all(8, Mix::NO_DEADLINES).await;
    verdict = crate::judge::Verdict {
        times: verdict.times,
        ..settle(&system, &market, Healed::now(&system)).await
    };
    Outcome {
        done: format!(
            "{seeds} stores: {refused} refused and said what to do, {served} served and were right"
        ),
        kills: system.kills(),
        verdict,
    }
}

/// Cuts one file of a store, or flips some of its bits; says which.
fn harm(dir: &Path, random: &mut Random) -> String {
    let mut files = files_below(dir);
    files.retain(|file| fs::metadata(file).is_ok_and(|file| file.len() > 0));
    files.sort();
    let file = random.pick(&files).expect("a store has files").clone();
    let mut bytes = fs::read(&file).expect("a store's file can be read");
    let length = u64::try_from(bytes.len()).expect("a store's file fits into memory");
    let index = |at: u64| usize::try_from(at).expect("it is below the length of a file in memory");
    let name = file.display();
    let what = if random.below(2) == 0 {
        let kept = random.below(length);
        bytes.truncate(index(kept));
        format!("{name} cut to {kept} of {length} bytes")
    } else {
        let flips = random.between(1, FLIPS_MAX);
        for _ in 0..flips {
            bytes[index(random.below(length))] ^= 1 << random.below(8);
        }
        format!("{flips} bits of {name} flipped")
    };
    fs::write(&file, bytes).expect("a store's file can be written");
    what
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a store's directory can be read");
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.expect("a store's directory can be read").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a temporary directory can be made");
    for file in files_below(from) {
        let target = to.join(file.strip_prefix(from).expect("it lies below"));
        let folder = target.parent().expect("it lies in a folder");
        fs::create_dir_all(folder).expect("a temporary directory can be made");
        fs::copy(&file, &target).expect("a store's file can be copied");
    }
}
