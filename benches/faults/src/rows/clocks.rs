//! Row 14: services whose clocks are wrong. Nothing expires early, nothing stays held, nobody is refused.

use std::time::{Duration, Instant};

use crate::healed::Healed;
use crate::judge::{Verdict, settle};
use crate::market::{Market, Mix, Plan};
use crate::part::Part;
use crate::report::Outcome;
use crate::stage::Stage;
use crate::system::{Setup, System};

/// An unpaid order's time.
const HOLD_SECONDS: u64 = 4;

/// How long after its time an order may still be open (I4), with a second more for a busy machine.
const LATE_SECONDS_MAX: u64 = 6;

/// What is lost between the service's clock and ours when an order's life is timed.
const TIMING_MILLIS: u64 = 250;

const HOUR_MILLIS: i64 = 3_600_000;

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
    for world in &worlds {
        let setup = world
            .iter()
            .fold(Setup::default().hold(HOLD_SECONDS), |setup, (part, millis)| {
                setup.env(*part, "BOXOFFICE_CLOCK_OFFSET_MS", millis)
            });
        let system = System::start(&setup).await;
        let market = Market::open(&system, 4, HOLD_SECONDS, stage.seed).await;
        let begun = Instant::now();
        let (life, ()) = tokio::join!(
            an_unpaid_life(&market),
            market.purchase_all(purchases, Mix::NO_DEADLINES)
        );
        let hold = Duration::from_secs(HOLD_SECONDS);
        assert!(
            life + Duration::from_millis(TIMING_MILLIS) >= hold,
            "with {world:?} an order of {hold:?} was over after {life:?}"
        );
        latest = latest.max(life.saturating_sub(hold));
        assert!(
            latest <= Duration::from_secs(LATE_SECONDS_MAX),
            "with {world:?} an order of {hold:?} was over only after {life:?} (I4)"
        );
        stage.say(&format!("{world:?}: {:.1} s", begun.elapsed().as_secs_f64()));
        let verdict = settle(&system, &market, Healed::now(&system)).await;
        sum.times = sum.times.max(verdict.times);
        sum.acknowledged += verdict.acknowledged;
        sum.purchases += verdict.purchases;
        sum.complete += verdict.complete;
    }
    Outcome {
        done: format!(
            "{} settings of clocks; no order over early, the latest {} ms after its time",
            worlds.len(),
            latest.as_millis()
        ),
        kills: 0,
        verdict: sum,
    }
}

/// How long an order lives that nobody pays, by our clock.
async fn an_unpaid_life(market: &Market) -> Duration {
    let ticket = market.list(1).await.expect("a listing is answered 201");
    let begun = Instant::now();
    let order = market.order(0, &ticket).await.expect_taken();
    market.go_on(0, &order, Plan::LetExpire).await;
    begun.elapsed()
}
