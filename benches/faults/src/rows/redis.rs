//! Rows in which Redis dies or forgets while people buy.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use testkit::Reply;

use crate::healed::Healed;
use crate::judge::settle;
use crate::market::{Market, Mix};
use crate::part::Part;
use crate::report::Outcome;
use crate::rows::groups::stream;
use crate::rows::pause;
use crate::stage::Stage;
use crate::system::{Setup, System};

/// An unpaid order's time in these rows: short, so that deadlines fall into the fault.
const HOLD_SECONDS: u64 = 6;

/// So many strikes do what they are to do, or never will.
const STRIKES_MAX: usize = 500;

/// How many people buy at once.
const PEOPLE: usize = 12;

/// Row 6, with the append-only file on.
pub(super) async fn killed_and_kept(stage: Stage) -> Outcome {
    killed(stage, Setup::default()).await
}

/// Row 6, with a Redis that begins empty each time.
pub(super) async fn killed_and_lost(stage: Stage) -> Outcome {
    killed(stage, Setup::default().forgetful_redis()).await
}

async fn killed(stage: Stage, setup: Setup) -> Outcome {
    let (wanted, strikes_min) = stage.size((50, 3), (600, 12));
    let strike = |system: &System, _: usize| {
        system.kill_redis();
        system.redis().restart();
    };
    let harm = Harm {
        wanted,
        strikes_min,
        every_millis: stage.size((400, 1_200), (1_500, 4_000)),
    };
    let (system, outcome) = again_and_again(stage, setup, harm, strike).await;
    Outcome {
        kills: system.kills(),
        ..outcome
    }
}

/// Row 8: FLUSHALL, every few seconds in the long form.
pub(super) async fn flushed(stage: Stage) -> Outcome {
    let (wanted, strikes_min) = stage.size((60, 4), (2_000, 20));
    let harm = Harm {
        wanted,
        strikes_min,
        every_millis: stage.size((300, 900), (3_000, 6_000)),
    };
    let strike = |system: &System, _: usize| {
        system.redis_command(&["FLUSHALL"]);
    };
    again_and_again(stage, Setup::default(), harm, strike).await.1
}

/// Row 8: one thing after another is deleted, and the connections stay up.
pub(super) async fn pieces_deleted(stage: Stage) -> Outcome {
    let (wanted, strikes_min) = stage.size((60, 15), (600, 60));
    let harm = Harm {
        wanted,
        strikes_min,
        every_millis: stage.size((150, 400), (300, 1_200)),
    };
    let deleted = Deleted::default();
    let strike = |system: &System, nth: usize| {
        let sources = Part::SERVICES;
        let turn = nth / 3;
        let stream = |turn: usize| stream(sources[turn % sources.len()]);
        // A service has said nothing yet, or nobody waits for a deadline: then there is nothing to be deleted.
        let gone = |reply: &Reply| reply.integer().is_some_and(|count| count > 0);
        match nth % 3 {
            0 => deleted
                .sets
                .count(gone(&system.redis_command(&["DEL", "deadlines"]))),
            // Whoever reads that source. Its stream has had its groups back for two turns.
            1 => {
                let stream = stream(turn);
                for reader in Part::SERVICES {
                    let destroy = ["XGROUP", "DESTROY", &stream, reader.name()];
                    // An error says that there is no such stream.
                    deleted.groups.count(gone(&system.redis().command(&destroy)));
                }
            }
            _ => deleted
                .streams
                .count(gone(&system.redis_command(&["DEL", &stream(turn + 2)]))),
        }
        deleted.each()
    };
    let (_, outcome) = again_and_again_until(stage, Setup::default(), harm, strike).await;
    Outcome {
        done: format!("{}: {deleted}", outcome.done),
        ..outcome
    }
}

/// How much of what was to be deleted was there, and is not any more.
#[derive(Default)]
struct Deleted {
    sets: Count,
    groups: Count,
    streams: Count,
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn count(&self, one: bool) {
        self.0.fetch_add(usize::from(one), Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Deleted {
    /// At least one of each kind.
    fn each(&self) -> bool {
        [&self.sets, &self.groups, &self.streams]
            .iter()
            .all(|count| count.get() > 0)
    }
}

impl fmt::Display for Deleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sets, groups, streams) = (self.sets.get(), self.groups.get(), self.streams.get());
        write!(
            f,
            "{sets} times the scheduled set, {groups} groups, {streams} streams were there and deleted"
        )
    }
}

/// How much and how often.
struct Harm {
    wanted: usize,
    strikes_min: usize,
    /// The shortest and the longest time between two strikes.
    every_millis: (u64, u64),
}

/// People buy, and something is done to Redis as long as they do.
async fn again_and_again(
    stage: Stage,
    setup: Setup,
    harm: Harm,
    strike: impl Fn(&System, usize),
) -> (System, Outcome) {
    let strike = |system: &System, nth: usize| {
        strike(system, nth);
        true
    };
    again_and_again_until(stage, setup, harm, strike).await
}

/// The same, until a strike says that those so far have done what they were to do.
async fn again_and_again_until(
    stage: Stage,
    setup: Setup,
    harm: Harm,
    strike: impl Fn(&System, usize) -> bool,
) -> (System, Outcome) {
    let setup = setup.hold(HOLD_SECONDS);
    let system = System::start(&setup).await;
    let market = Market::open(&system, PEOPLE, HOLD_SECONDS, stage.seed).await;
    let purchases = market.purchases(Mix::ALL_WAYS);
    let mut random = stage.random();
    let (mut strikes, mut enough) = (0, false);
    while purchases.finished() < harm.wanted || strikes < harm.strikes_min || !enough {
        assert!(
            enough || strikes < STRIKES_MAX,
            "{strikes} strikes have not done what they were to do"
        );
        let length = random.between(harm.every_millis.0, harm.every_millis.1);
        pause(length).await;
        enough = strike(&system, strikes);
        strikes += 1;
        if strikes % 10 == 0 {
            stage.say(&format!(
                "{strikes} strikes, {} purchases are over",
                purchases.finished()
            ));
        }
    }
    let healed = Healed::now(&system);
    purchases.finish().await;
    let verdict = settle(&system, &market, healed).await;
    let outcome = Outcome {
        done: format!("{strikes} times"),
        kills: 0,
        verdict,
    };
    (system, outcome)
}
