//! Rows in which Redis dies or forgets while people buy.

use crate::healed::Healed;
use crate::judge::settle;
use crate::market::{Market, Mix};
use crate::part::Part;
use crate::report::Outcome;
use crate::rows::pause;
use crate::stage::Stage;
use crate::system::{Setup, System};

/// An unpaid order's time in these rows: short, so that deadlines fall into the fault.
const HOLD_SECONDS: u64 = 6;

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
    let (wanted, strikes_min) = stage.size((60, 8), (600, 60));
    let harm = Harm {
        wanted,
        strikes_min,
        every_millis: stage.size((150, 400), (300, 1_200)),
    };
    let strike = |system: &System, nth: usize| {
        let sources = Part::SERVICES;
        let source = sources[nth / 3 % sources.len()].name();
        let stream = format!("events:{source}");
        match nth % 3 {
            0 => {
                system.redis_command(&["DEL", "deadlines"]);
            }
            1 => {
                system.redis_command(&["DEL", &stream]);
            }
            // Whoever reads that source; a group that is not there is none that could be destroyed.
            _ => {
                for reader in Part::SERVICES {
                    // An error means that the stream is gone already, and its groups with it.
                    drop(
                        system
                            .redis()
                            .command(&["XGROUP", "DESTROY", &stream, reader.name()]),
                    );
                }
            }
        };
    };
    again_and_again(stage, Setup::default(), harm, strike).await.1
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
    let setup = setup.hold(HOLD_SECONDS);
    let system = System::start(&setup).await;
    let market = Market::open(&system, PEOPLE, HOLD_SECONDS, stage.seed).await;
    let purchases = market.purchases(Mix::ALL_WAYS);
    let mut random = stage.random();
    let mut strikes = 0;
    while purchases.finished() < harm.wanted || strikes < harm.strikes_min {
        let length = random.between(harm.every_millis.0, harm.every_millis.1);
        pause(length).await;
        strike(&system, strikes);
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
