//! The power goes, at any moment, in the middle of writing: nothing that was acknowledged is lost, nothing is torn,
//! and the store opens by itself. `testkit::Disk` says what of a disk survives.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

mod common;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{Account, Bank, Refusal, account, event, id, now, options};
use events::{Seq, Version};
use store::{Context, Store};
use testkit::disk::{Disk, Image};
use testkit::{Chance, eventually_blocking, temp_dir};

/// How often the power goes for good, and the store is written on from what was left. The long form is for the
/// fault bench, which sets the variables.
const CUTS: usize = 3;
/// How many other moments of each life are looked at, too.
const MOMENTS_PER_CUT: usize = 12;
/// How many of a life's records are made while the store opens, or soon after.
const OPENING_RECORDS: usize = 120;
const CUTS_VARIABLE: &str = "STORE_TEST_POWER_CUTS";
const MOMENTS_VARIABLE: &str = "STORE_TEST_POWER_CUT_MOMENTS";
const SEED_VARIABLE: &str = "STORE_TEST_POWER_CUT_SEED";

/// How many clients the process writes for.
const CLIENTS: usize = 8;
/// How many acknowledgements a life has to see, at least, before its power goes.
const ACKNOWLEDGED_MIN: usize = 150;
/// Now and then a row is as large as they come, so that sled puts a page of them into a file of its own.
const LARGE_NOTE_BYTES: usize = 20 * 1024;
const LARGE_NOTE_EVERY: u64 = 11;
/// How long the process may take to write that much.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells the copy of this program that is killed what it is.
const DIR_VARIABLE: &str = "STORE_TEST_POWER_CUT_DIR";
/// Names the file in which the copy says what was acknowledged: on the same disk, so that the journal has it in
/// order, and another one for each life, because the power cut takes of this one as well.
const ACKS_VARIABLE: &str = "STORE_TEST_POWER_CUT_ACKS";
const STORE: &str = "data/store";

/// Not a test by itself: what runs in the process that is killed.
#[test]
fn child_that_writes_until_the_power_goes() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else {
        return;
    };
    let dir = Path::new(&dir);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let store: Bank = Store::open(options(&dir.join(STORE))).unwrap();
        let acks = dir.join(std::env::var_os(ACKS_VARIABLE).unwrap());
        let acks = OpenOptions::new().append(true).create_new(true).open(acks);
        let acks = Arc::new(acks.unwrap());
        let clients: Vec<_> = (0..CLIENTS as u64)
            .map(|client| {
                let (store, acks) = (store.clone(), Arc::clone(&acks));
                tokio::spawn(async move {
                    loop {
                        let points = raise(&store, client).await;
                        let mut file: &File = &acks;
                        // One write: what the journal has of it, it has whole.
                        file.write_all(format!("{client} {points}\n").as_bytes()).unwrap();
                    }
                })
            })
            .collect();
        let first = clients.into_iter().next().expect("there are clients");
        let _: std::convert::Infallible = first.await.expect("it is killed before it fails");
    });
}

/// Raises both accounts of a client, with an event each, in one transaction.
async fn raise(store: &Bank, client: u64) -> u64 {
    let raised: Result<u64, Refusal> = store
        .transact(Context::new(now()), move |txn| {
            let mut points = 0;
            for number in [client * 2, client * 2 + 1] {
                let row = txn.get::<Account>(&id(number))?;
                let version = row.map_or(0, |row| row.version.0);
                points = version + 1;
                let expected = (version > 0).then_some(Version(version));
                let mut raised = account(number, points, points);
                if points % LARGE_NOTE_EVERY == client {
                    raised.note = "x".repeat(LARGE_NOTE_BYTES);
                }
                txn.put(expected, raised)?;
                txn.emit(event(number));
            }
            Ok(points)
        })
        .await;
    raised.unwrap()
}

fn start(disk: &Disk, acks: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_writes_until_the_power_goes", "--nocapture"])
        .env(DIR_VARIABLE, disk.dir())
        .env(ACKS_VARIABLE, acks)
        .envs(disk.env())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets a process write on the disk for a while, and kills it.
fn live(disk: &Disk, name: &str) {
    let acks = disk.dir().join(name);
    let count =
        || std::fs::read(&acks).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count());
    let mut child = start(disk, name);
    eventually_blocking("enough is acknowledged", PATIENCE, || {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        (count() >= ACKNOWLEDGED_MIN).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The most that each client was told.
fn acknowledged(acks: &[u8]) -> [u64; CLIENTS] {
    let mut most = [0; CLIENTS];
    for line in String::from_utf8(acks.to_vec()).unwrap().lines() {
        let (client, points) = line.split_once(' ').unwrap();
        let seen: &mut u64 = &mut most[client.parse::<usize>().unwrap()];
        *seen = points.parse::<u64>().unwrap().max(*seen);
    }
    most
}

/// What is wrong with what a power cut left, if anything is.
fn judge(dir: &Path, acknowledged: &[u64; CLIENTS]) -> Result<(), String> {
    let store: Bank = match Store::open(options(&dir.join(STORE))) {
        Ok(store) => store,
        // Cut while it was made for the first time: there is nothing in it, and the refusal says so.
        Err(error) if *acknowledged == [0; CLIENTS] && error.to_string().contains("to begin anew") => {
            return Ok(());
        }
        Err(error) => return Err(error.to_string()),
    };
    let mut total = 0;
    for (client, points) in (0_u64..).zip(acknowledged) {
        let [one, two] = [client * 2, client * 2 + 1].map(|number| {
            let row = store.get::<Account>(&id(number)).unwrap();
            row.map_or(0, |row| row.version.0)
        });
        if one != two {
            return Err(format!("torn: client {client} {one} {two}"));
        }
        if one < *points {
            return Err(format!(
                "lost: client {client} was told {points}, there are {one}"
            ));
        }
        total += one * 2;
    }
    let events = store
        .outbox(Seq(0), usize::MAX)
        .map_err(|error| error.to_string())?;
    let head = store.status().head.0;
    store.close();
    if head != total || events.len() as u64 != total {
        return Err(format!("{total} effects, {} events, head {head}", events.len()));
    }
    Ok(())
}

fn judge_image(image: &Image, acknowledged: &[u64; CLIENTS]) -> Result<(), String> {
    let dir = temp_dir();
    image.write(dir.path());
    judge(dir.path(), acknowledged)
}

fn setting(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |value| value.parse().unwrap())
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_moment() {
    let seed = setting(SEED_VARIABLE, 1);
    let mut chance = Chance::new(seed);
    let dir = temp_dir();
    let mut disk = Disk::under(dir.path());
    let mut told = [0; CLIENTS];
    let mut wrong = Vec::new();
    for cut in 0..setting(CUTS_VARIABLE, CUTS as u64) {
        let name = format!("acks-{cut}");
        live(&disk, &name);
        let history = disk.history();
        for _ in 0..setting(MOMENTS_VARIABLE, MOMENTS_PER_CUT as u64) {
            // Half of them while the store opens: there the engine tidies up what the cut before has left.
            let among = if chance.happens(1, 2) {
                OPENING_RECORDS
            } else {
                history.len()
            };
            let at = chance.index(0..among.min(history.len()) + 1);
            let moment = history.moment(at);
            let acks = moment.with_power().file(&name).map_or([0; CLIENTS], acknowledged);
            let most = std::array::from_fn(|client| acks[client].max(told[client]));
            let image = moment.after_cut(&mut chance);
            if let Err(what) = judge_image(&image, &most) {
                wrong.push(format!(
                    "seed {seed}, life {cut}, record {at} of {}: {what}",
                    history.len()
                ));
            }
        }
        let acks = std::fs::read(disk.dir().join(&name)).unwrap();
        for (told, acked) in told.iter_mut().zip(acknowledged(&acks)) {
            *told = acked.max(*told);
        }
        disk.cut_power(chance.number());
        if let Err(what) = judge_image(&Image::read(disk.dir()), &told) {
            panic!("seed {seed}, after life {cut}: {what}\n{}", wrong.join("\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_disk_that_lies_about_its_syncs_would_be_seen() {
    let mut chance = Chance::new(1);
    let dir = temp_dir();
    let disk = Disk::under(dir.path());
    disk.ignore_syncs(true);
    live(&disk, "acks");
    let told = acknowledged(&std::fs::read(disk.dir().join("acks")).unwrap());
    let history = disk.history();
    let moment = history.moment(history.len());
    let lost = (0..10).filter(|_| judge_image(&moment.after_cut(&mut chance), &told).is_err());
    assert!(
        lost.count() >= 5,
        "without syncs nearly every cut loses something"
    );
}
