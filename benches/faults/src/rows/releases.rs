//! Row 31: the services are replaced one after another by the next release, by the one after that, and back, while people buy.
//! What was accepted is done, what one release has written the next one and the one before it read, and one that is two
//! releases behind refuses to open a store that it can't read, instead of guessing.

use std::time::{Duration, Instant};

use crate::healed::Healed;
use crate::judge::settle;
use crate::market::{Market, Mix};
use crate::part::Part;
use crate::release::Release;
use crate::report::Outcome;
use crate::rows::accepted::Accepted;
use crate::rows::groups::stream;
use crate::rows::pause;
use crate::rows::restarts::{gone_in_time, takes_no_connections};
use crate::stage::Stage;
use crate::system::{Setup, System};

/// How long an unpaid order holds its tickets: short, so that some run out while everything is replaced.
const HOLD_SECONDS: u64 = 6;

/// How many people buy.
const PEOPLE: usize = 8;

/// Writes that a service has accepted and not answered when it is told to stop.
const ACCEPTED_A_STOP: usize = 2;

/// How long a service is away beside what it takes to stop and to start. How people bear a longer absence is `upgrade::`'s, of the
/// tests of the whole system.
const AWAY_MILLIS: u64 = 100;

/// How long a release may take to say that it can't read a store.
const REFUSED_SECONDS_MAX: u64 = 10;

/// How long it may take until each service has published something.
const WRITTEN_SECONDS_MAX: u64 = 150;

/// Between two looks at the streams, and so many of their last entries are looked at.
const LOOK_MILLIS: u64 = 200;
const LOOKED_AT: &str = "500";

/// The way, from the programs that ship: each step is one release forward or back, and each pair of neighbours works side by
/// side in both directions.
const WAY: [Release; 5] = [
    Release::Tomorrow,
    Release::Today,
    Release::Tomorrow,
    Release::Overmorrow,
    Release::Tomorrow,
];

/// How long a release stays before the next one comes, at least: so many purchases.
const PURCHASES_EACH: (usize, usize) = (3, 60);

/// Upgrades and downgrades by one release, under purchases; then a downgrade by two.
pub(super) async fn there_and_back(stage: Stage) -> Outcome {
    let each = stage.size(PURCHASES_EACH.0, PURCHASES_EACH.1);
    let system = System::start(&Setup::default().hold(HOLD_SECONDS)).await;
    for part in Part::SERVICES {
        replace(&stage, &system, part, Release::Today, Vec::new(), None).await;
    }
    let market = Market::open(&system, PEOPLE, HOLD_SECONDS, stage.seed).await;
    let ticket = market.list(100_000).await.expect("a listing is answered 201");
    let purchases = market.purchases(Mix::ALL_WAYS);
    let (mut completed, mut newer) = (0, 0);
    for (step, release) in WAY.into_iter().enumerate() {
        for part in Part::SERVICES {
            let mut accepted = Vec::new();
            for nth in 0..accepted_by(part) {
                let key = format!("accepted-{step}-{nth}");
                accepted.extend(Accepted::by(part, &system, &market, &ticket, &key).await);
            }
            completed += accepted.len();
            replace(&stage, &system, part, release, accepted, Some(&market)).await;
        }
        market.somebody_signs_up().await;
        purchases.reach(purchases.finished() + each).await;
        if release == Release::Overmorrow {
            newer = all_have_written(&system, &market, &ticket).await;
        }
        stage.say(&format!(
            "all are of {} now, {} purchases are over",
            release.name(),
            purchases.finished()
        ));
    }
    let healed = Healed::now(&system);
    purchases.finish().await;
    let verdict = settle(&system, &market, healed).await;
    for part in Part::SERVICES {
        refused_by_today(&stage, &system, part).await;
    }
    // They are back, and nothing has happened to anything.
    let verdict_after = settle(&system, &market, Healed::now(&system)).await;
    assert_eq!(
        verdict_after.acknowledged, verdict.acknowledged,
        "nobody has written anything meanwhile"
    );
    Outcome {
        done: format!(
            "{} replacements of a service, {} of them with purchases under way, by programs that are one release apart; \
             {completed} writes accepted before a stop and completed after it; at least {newer} events in a shape that the programs \
             that ship do not know; those refused the five stores written since, and said why",
            (WAY.len() + 1) * Part::SERVICES.len(),
            WAY.len() * Part::SERVICES.len(),
        ),
        kills: system.kills(),
        verdict,
    }
}

/// One service by another release of it, as an orchestrator does: SIGTERM, and once it is gone, the other program on the
/// same store and the same port. What it has accepted until then is completed.
async fn replace(
    stage: &Stage,
    system: &System,
    part: Part,
    release: Release,
    accepted: Vec<Accepted>,
    market: Option<&Market>,
) {
    system.process(part).terminate();
    tokio::join!(gone_in_time(stage, system, part), async {
        if let Some(market) = market {
            takes_no_connections(stage, system, part).await;
            for write in accepted {
                write.completed(market).await;
            }
        }
    });
    pause(AWAY_MILLIS).await;
    system.spawn_release(part, release);
    system.part_ready(part).await;
}

/// How many writes a service is to have accepted when it is told to stop. None of payments: an order may run out while they
/// wait, and then can't be paid for a good reason; row 30 holds them, with orders that last.
fn accepted_by(part: Part) -> usize {
    match part {
        Part::Auth | Part::Tickets | Part::Orders => ACCEPTED_A_STOP,
        Part::Expiration | Part::Payments | Part::Stripe => 0,
    }
}

/// Waits until each service has published in the shape that comes after tomorrow; how many such events there are, at least.
/// An order that nobody pays gives the expiration service something to say.
async fn all_have_written(system: &System, market: &Market, ticket: &str) -> usize {
    let begun = Instant::now();
    market.order(0, ticket).await.expect_taken();
    loop {
        let counts = Part::SERVICES.map(|part| in_the_new_shape(system, part));
        if counts.iter().all(|count| *count > 0) {
            return counts.iter().sum();
        }
        let waited = begun.elapsed();
        assert!(
            waited < Duration::from_secs(WRITTEN_SECONDS_MAX),
            "so many events are in the new shape after {waited:?}: {counts:?}"
        );
        pause(LOOK_MILLIS).await;
    }
}

/// How many of the last events in a service's stream are in the shape that comes after tomorrow.
fn in_the_new_shape(system: &System, part: Part) -> usize {
    let entries = system.redis_command(&["XREVRANGE", &stream(part), "+", "-", "COUNT", LOOKED_AT]);
    format!("{entries:?}").matches("tomorrow").count()
}

/// The program that ships does not open a store in which there are rows of the release after the next, and says so; the next
/// release does.
async fn refused_by_today(stage: &Stage, system: &System, part: Part) {
    system.process(part).terminate();
    gone_in_time(stage, system, part).await;
    system.spawn_release(part, Release::Today);
    let within = stage.promised(Duration::from_secs(REFUSED_SECONDS_MAX));
    let begun = Instant::now();
    let why = system
        .serves_or_says_why_not(part, within)
        .await
        .expect_err("a store with rows in a shape that nobody knew when it was written can't be read");
    assert!(
        why.contains("newer"),
        "{} does not say that a newer program has written its store: {why}",
        part.name()
    );
    stage.say(&format!(
        "{} refused after {} ms",
        part.name(),
        begun.elapsed().as_millis()
    ));
    system.kill(part);
    system.spawn_release(part, Release::Tomorrow);
    system.part_ready(part).await;
}
