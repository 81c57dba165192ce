//! Rows about disks: full, slow, and without power. Each service has one of its own, see `testkit::Disk`.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::{Disk, TempDir};

use crate::healed::Healed;
use crate::judge::settle;
use crate::market::{Market, Mix};
use crate::part::Part;
use crate::random::Random;
use crate::report::Outcome;
use crate::rows::pause;
use crate::stage::Stage;
use crate::system::{Setup, System};

/// An unpaid order's time: short, so that deadlines fall into the fault.
const HOLD_SECONDS: u64 = 8;

/// How many people buy at once.
const PEOPLE: usize = 12;

/// What is left at most on a disk that is about to be full: enough for a moment.
const ROOM_BYTES_MAX: u64 = 48 * 1_024;

/// How long it may take until a disk with so little room is full: a store writes over what it has freed first, and that of
/// expirations, which are few, has been seen to do with it for more than a minute.
const FULL_SECONDS_MAX: u64 = 180;

/// Between two looks at it.
const LOOK_MILLIS: u64 = 20;

/// How long a service may take to say what is wrong with its disk, and to be well again once it is.
const TOLD_SECONDS_MAX: u64 = 10;

/// How long each sync takes on a slow disk.
const SLOW_SYNC_MILLIS: u64 = 1_000;

/// What a service keeps in memory may grow by so much on a slow disk.
const GROWTH_MIB_MAX: u64 = 64;

/// How much of the end of Redis's file a power cut takes at most: it is synced once a second.
const REDIS_TAIL_BYTES_MAX: u64 = 64 * 1_024;

/// A system whose services have a disk each.
struct Disked {
    system: System,
    disks: Vec<(Part, Disk)>,
    // Where they lie; after the system, which writes there until it is gone.
    _dir: TempDir,
}

impl Disked {
    async fn start(setup: Setup) -> Self {
        let dir = testkit::temp_dir();
        let disks: Vec<(Part, Disk)> = Part::SERVICES
            .into_iter()
            .map(|part| {
                let own = dir.path().join(part.name());
                std::fs::create_dir(&own).expect("a temporary directory can be written");
                (part, Disk::under(&own))
            })
            .collect();
        let setup = disks.iter().fold(setup, |setup, (part, disk)| {
            let setup = setup.env(*part, "BOXOFFICE_DATA_DIR", &disk.dir().display());
            let env = disk.env().into_iter();
            env.fold(setup, |setup, (name, value)| {
                setup.env(*part, name, &value.display())
            })
        });
        Self {
            system: System::start(&setup).await,
            disks,
            _dir: dir,
        }
    }
}

/// Row 12: each service's disk in turn is full for a while. Nothing is acknowledged that is not kept, and the service
/// is well again by itself, in the same process.
pub(super) async fn full(stage: Stage) -> Outcome {
    let (rounds, full_millis) = stage.size((1, 1_000), (3, 8_000));
    let Disked { system, disks, _dir } = Disked::start(Setup::default().hold(HOLD_SECONDS)).await;
    let market = Market::open(&system, PEOPLE, HOLD_SECONDS, stage.seed).await;
    let purchases = market.purchases(Mix::ALL_WAYS);
    let mut random = stage.random();
    let mut refusals = 0;
    for _ in 0..rounds {
        for (part, disk) in &disks {
            let before = disk.refusals();
            let process = system.process(*part).pid();
            // In a short run no disk has any room left: until some is used up may take longer than all the rest.
            let some_room = stage.size(0, random.below(ROOM_BYTES_MAX));
            // Auth writes when somebody signs up, and hardly ever else: it gets no room at all, and somebody.
            let (room, crowd) = match part {
                Part::Auth => (0, Some(market.clone())),
                Part::Tickets | Part::Orders | Part::Expiration | Part::Payments | Part::Stripe => {
                    (some_room, None)
                }
            };
            disk.limit(Some(room));
            let refused = Arc::new(AtomicBool::new(false));
            let newcomers = crowd.map(|market| {
                let refused = Arc::clone(&refused);
                tokio::spawn(async move {
                    while !refused.load(Ordering::Relaxed) {
                        market.somebody_signs_up().await;
                    }
                })
            });
            let begun = Instant::now();
            while disk.refusals() == before {
                assert!(
                    begun.elapsed() < Duration::from_secs(FULL_SECONDS_MAX),
                    "the disk of {} does not fill up",
                    part.name()
                );
                pause(LOOK_MILLIS).await;
            }
            refused.store(true, Ordering::Relaxed);
            pause(full_millis).await;
            disk.limit(None);
            let within = stage.promised(Duration::from_secs(TOLD_SECONDS_MAX));
            tokio::time::timeout(within, system.part_ready(*part))
                .await
                .unwrap_or_else(|_| panic!("{} is not well again within {within:?}", part.name()));
            assert_eq!(
                system.process(*part).pid(),
                process,
                "{} was not to be restarted",
                part.name()
            );
            if let Some(newcomers) = newcomers {
                let answered = newcomers.await;
                assert!(
                    answered.is_ok(),
                    "whoever signs up is not answered in the end: {:?}\n{}",
                    market.ledger().copy().unexpected,
                    system.process(*part).printed()
                );
            }
            refusals += disk.refusals() - before;
            stage.say(&format!("the disk of {} was full", part.name()));
        }
    }
    let healed = Healed::now(&system);
    purchases.finish().await;
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!("each disk full {rounds} times, {refusals} writes refused"),
        kills: 0,
        verdict,
    }
}

/// Row 13: every sync takes a second. What is answered is kept, memory stays bounded.
pub(super) async fn slow(stage: Stage) -> Outcome {
    let seconds = stage.size(6, 60);
    let Disked { system, disks, _dir } = Disked::start(Setup::default().hold(HOLD_SECONDS)).await;
    let market = Market::open(&system, PEOPLE, HOLD_SECONDS, stage.seed).await;
    market.purchase_all(8, Mix::NO_DEADLINES).await;
    let before = system.memory_mib();
    let slow = |delay| disks.iter().for_each(|(_, disk)| disk.slow_syncs(delay));
    slow(Duration::from_millis(SLOW_SYNC_MILLIS));
    let purchases = market.purchases(Mix::ALL_WAYS);
    let begun = Instant::now();
    market.list(1).await.expect("a listing is answered 201");
    let listed = begun.elapsed();
    assert!(
        listed >= Duration::from_millis(SLOW_SYNC_MILLIS),
        "a listing was answered after {listed:?}, so it was not synced, or the disk is not slow"
    );
    let rest = Duration::from_secs(seconds).saturating_sub(begun.elapsed());
    pause(u64::try_from(rest.as_millis()).unwrap_or(0)).await;
    system.memory_grew_little(&before, GROWTH_MIB_MAX);
    slow(Duration::ZERO);
    let healed = Healed::now(&system);
    purchases.finish().await;
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!(
            "{seconds} s of syncs of {SLOW_SYNC_MILLIS} ms each; a listing took {} ms",
            listed.as_millis()
        ),
        kills: 0,
        verdict,
    }
}

/// The power goes, of all services and Redis at once, again and again; of what was not synced each disk keeps what
/// chance says. Stripe is another company and has power.
pub(super) async fn without_power(stage: Stage) -> Outcome {
    let (cuts, up_millis) = stage.size((3, 1_500), (40, 4_000));
    let Disked {
        system,
        mut disks,
        _dir,
    } = Disked::start(Setup::default().hold(HOLD_SECONDS)).await;
    let market = Market::open(&system, PEOPLE, HOLD_SECONDS, stage.seed).await;
    let purchases = market.purchases(Mix::ALL_WAYS);
    let mut random = stage.random();
    for cut in 1..=cuts {
        pause(random.between(up_millis / 3, up_millis)).await;
        // All stand still before the first is killed, so that none sees another one die.
        for part in Part::SERVICES {
            system.process(part).stop();
        }
        for part in Part::SERVICES {
            system.kill(part);
        }
        system.kill_redis();
        for (_, disk) in &mut disks {
            disk.cut_power(random.number());
        }
        cut_redis(system.redis().dir(), &mut random);
        system.redis().restart();
        for part in Part::SERVICES {
            system.spawn(part);
        }
        for part in Part::SERVICES {
            system.part_ready(part).await;
        }
        stage.say(&format!(
            "{cut} cuts, {} purchases are over",
            purchases.finished()
        ));
    }
    let healed = Healed::now(&system);
    purchases.finish().await;
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!("{cuts} times the power of everything but Stripe"),
        kills: system.kills(),
        verdict,
    }
}

/// Redis's append-only file as a power cut leaves it: whole, without its end, or gone.
fn cut_redis(dir: &Path, random: &mut Random) {
    let append_only = dir.join("appendonlydir");
    match random.between(0, 2) {
        0 => {}
        1 => {
            let listed = std::fs::read_dir(&append_only).expect("Redis has written its file");
            let files: Vec<PathBuf> = listed
                .map(|entry| entry.expect("Redis's directory can be read").path())
                .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
                .collect();
            for path in files {
                let file = OpenOptions::new()
                    .write(true)
                    .open(path)
                    .expect("Redis's file can be opened");
                let length = file.metadata().expect("an open file has a length").len();
                let kept = length.saturating_sub(random.between(0, REDIS_TAIL_BYTES_MAX));
                file.set_len(kept).expect("a file can be cut");
            }
        }
        _ => std::fs::remove_dir_all(&append_only).expect("Redis's directory can be removed"),
    }
}
