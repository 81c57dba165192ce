//! Row 14: services whose clocks are wrong. Nothing expires early, nothing stays held, nobody is refused.

use std::time::{Duration, Instant};

use events::Timestamp;
use serde_json::Value;
use testkit::Reply;
use tokio::task::JoinSet;

use crate::healed::Healed;
use crate::judge::{Verdict, settle};
use crate::market::{Market, Mix, Plan};
use crate::part::Part;
use crate::report::Outcome;
use crate::rows::groups::{items, stream, value};
use crate::rows::pause;
use crate::stage::Stage;
use crate::system::{Setup, System};

/// An unpaid order's time.
const HOLD_SECONDS: u64 = 4;

/// How long after its time an order may still be open (I4), with a second more for a busy machine.
const LATE_SECONDS_MAX: u64 = 6;

/// What is lost between the service's clock and ours when an order's life is timed.
const TIMING_MILLIS: u64 = 250;

const HOUR_MILLIS: i64 = 3_600_000;

/// So near to what it is to be off by a service's clock is found to be, by events that come a moment after they were
/// made: half of the smallest offset.
const NEAR_MILLIS: i64 = 7_500;

/// How long it may take until a service with a wrong clock has told of something.
const TOLD_SECONDS_MAX: u64 = 60;

/// So many of a service's last events are looked at.
const EVENTS_SEEN_MAX: &str = "100";

/// Between two looks at them.
const LOOK_MILLIS: u64 = 20;

/// One service an hour off.
pub(super) async fn an_hour_off(stage: Stage) -> Outcome {
    let all: Vec<Vec<(Part, i64)>> = Part::SERVICES
        .into_iter()
        .flat_map(|part| [vec![(part, HOUR_MILLIS)], vec![(part, -HOUR_MILLIS)]])
        .collect();
    // The two that deal with deadlines, an hour ahead and an hour behind.
    let of_deadlines = |world: &&Vec<(Part, i64)>| {
        let deals = |(part, _): &(Part, i64)| matches!(part, Part::Orders | Part::Expiration);
        world.iter().all(deals)
    };
    let short = all.iter().filter(of_deadlines).cloned().collect();
    let worlds = stage.size(short, all);
    in_worlds(stage, worlds).await
}

/// Two services thirty seconds apart.
pub(super) async fn half_a_minute_apart(stage: Stage) -> Outcome {
    let short = vec![
        vec![(Part::Orders, 15_000), (Part::Expiration, -15_000)],
        vec![(Part::Orders, -15_000), (Part::Payments, 15_000)],
    ];
    let mut long = short.clone();
    long.extend([
        vec![(Part::Orders, -15_000), (Part::Expiration, 15_000)],
        vec![(Part::Tickets, -15_000), (Part::Orders, 15_000)],
        vec![(Part::Auth, 15_000), (Part::Tickets, -15_000)],
    ]);
    let worlds = stage.size(short, long);
    in_worlds(stage, worlds).await
}

async fn in_worlds(stage: Stage, worlds: Vec<Vec<(Part, i64)>>) -> Outcome {
    let purchases = stage.size(8, 60);
    let mut sum = Verdict::default();
    let mut latest = Duration::ZERO;
    let mut orders = 0;
    for world in &worlds {
        let setup = world
            .iter()
            .fold(Setup::default().hold(HOLD_SECONDS), |setup, (part, millis)| {
                setup.env(*part, "BOXOFFICE_CLOCK_OFFSET_MS", millis)
            });
        let system = System::start(&setup).await;
        let market = Market::open(&system, 4, HOLD_SECONDS, stage.seed).await;
        let begun = Instant::now();
        let (lives, (), (), ()) = tokio::join!(
            unpaid_lives(&market),
            market.purchase_all(purchases, Mix::NO_DEADLINES),
            // So that each service has something to tell.
            market.somebody_signs_up(),
            clocks_are_off(&system, world),
        );
        let hold = Duration::from_secs(HOLD_SECONDS);
        for life in lives {
            assert!(
                life + Duration::from_millis(TIMING_MILLIS) >= hold,
                "with {world:?} an order of {hold:?} was over after {life:?}"
            );
            orders += 1;
            latest = latest.max(life.saturating_sub(hold));
            assert!(
                latest <= stage.promised(Duration::from_secs(LATE_SECONDS_MAX)),
                "with {world:?} an order of {hold:?} was over only after {life:?} (I4)"
            );
        }
        stage.say(&format!("{world:?}: {:.1} s", begun.elapsed().as_secs_f64()));
        let verdict = settle(&system, &market, Healed::now(&system)).await;
        sum.times = sum.times.max(verdict.times);
        sum.acknowledged += verdict.acknowledged;
        sum.purchases += verdict.purchases;
        sum.complete += verdict.complete;
    }
    Outcome {
        done: format!(
            "{} settings of clocks, each seen in events; none of {orders} orders over early, the latest {} ms after its time",
            worlds.len(),
            latest.as_millis()
        ),
        kills: 0,
        verdict: sum,
    }
}

/// How long orders live that nobody pays, one of each buyer, by our clock.
async fn unpaid_lives(market: &Market) -> Vec<Duration> {
    let mut lives = JoinSet::new();
    for buyer in 0..market.buyers().len() {
        let market = market.clone();
        lives.spawn(async move {
            let ticket = market.list(1).await.expect("a listing is answered 201");
            let begun = Instant::now();
            let order = market.order(buyer, &ticket).await.expect_taken();
            market.go_on(buyer, &order, Plan::LetExpire).await;
            begun.elapsed()
        });
    }
    lives.join_all().await
}

/// Waits until each service whose clock is to be wrong has told of something at a time that is as wrong.
async fn clocks_are_off(system: &System, world: &[(Part, i64)]) {
    let begun = Instant::now();
    for (part, offset) in world {
        let is_so = |off: &i64| (off - offset).abs() <= NEAR_MILLIS;
        loop {
            let off = clock_off_millis(system, *part);
            if off.as_ref().is_some_and(is_so) {
                break;
            }
            let waited = begun.elapsed();
            assert!(
                waited < Duration::from_secs(TOLD_SECONDS_MAX),
                "the clock of {} is to be {offset} ms off; by its last events it is {off:?}",
                part.name()
            );
            pause(LOOK_MILLIS).await;
        }
    }
}

/// By how much the times of a service's last events are off from when Redis got them, whose clock is the machine's. One
/// that came late looks older than it is: the most counts.
fn clock_off_millis(system: &System, part: Part) -> Option<i64> {
    let last = system.redis_command(&["XREVRANGE", &stream(part), "+", "-", "COUNT", EVENTS_SEEN_MAX]);
    let off = |entry: &Reply| {
        let [id, fields] = items(entry) else { return None };
        let came: i64 = id.text()?.split_once('-')?.0.parse().ok()?;
        let envelope = value(fields, "envelope")?.text()?;
        let envelope: Value = serde_json::from_str(envelope).ok()?;
        let made: Timestamp = envelope["time"].as_str()?.parse().ok()?;
        Some(made.as_millis() - came)
    };
    items(&last).iter().filter_map(off).max()
}
