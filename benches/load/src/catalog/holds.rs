//! The expiry storm: holds that end over a minute, and then many that end in the same moment.
//!
//! Orders can't be placed all in one moment, and each has its own deadline. So for the second part the system is stopped
//! (SIGSTOP) while the deadlines pass, and goes on (SIGCONT) with all of them due at once: what a laptop that wakes up
//! sees.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use service::Clock;

use super::{Asked, BUYERS_MAX, BenchError, Kind, count, rate, size};
use crate::drive::{Pace, Plan};
use crate::number::float;
use crate::results::{Check, Run};
use crate::run::{Bench, Named};
use crate::scenario::expiry::Holds;
use crate::system::System;

/// How many holds end over the time that is measured.
const HOLDS: u64 = 100_000;
const HOLDS_QUICK: u64 = 1_000;

/// One in so many of them ends together with others, in the second part.
const AT_ONCE_ONE_OF: u64 = 10;

/// So many connections place the holds of the second part, as fast as they can.
const AT_ONCE_CONNECTIONS: usize = 64;

/// How long a hold is. It must be longer than it takes to place those of the second part.
const HOLD_SECONDS: u64 = 20;
const HOLD_SECONDS_QUICK: u64 = 6;

/// How long after its end everything must be on sale again, before it counts as lost.
const BACK_SECONDS_MAX: u64 = 60;

pub(super) fn hold_seconds(asked: &Asked) -> u64 {
    if asked.quick {
        HOLD_SECONDS_QUICK
    } else {
        HOLD_SECONDS
    }
}

pub(super) async fn run(bench: &mut Bench, named: &Named<'_>, asked: &Asked) -> Result<Run, BenchError> {
    let holds = count(asked, HOLDS, HOLDS_QUICK);
    let plan = Plan {
        pace: Pace::Open {
            per_second: rate(holds, named.plan.measured),
        },
        warm_up: Duration::ZERO,
        ..named.plan
    };
    let clock = Clock::new();
    let market = bench.market(BUYERS_MAX).await?;
    bench.live.say("listing tickets");
    let scenario = Arc::new(Holds::prepare(&market, Kind::Expiry.listings(asked), &clock).await?);
    let over_time = Named { plan, ..*named };
    let mut run = bench.run(&over_time, &scenario).await;
    bench.live.say("waiting for the holds to end");
    let (late, wrong) = scenario.lateness().await;
    let back = scenario.all_back(Duration::from_secs(BACK_SECONDS_MAX)).await;
    run.facts.insert("late_p50_ms".to_owned(), late.quantile_ms(0.5));
    run.facts.insert("late_p99_ms".to_owned(), late.quantile_ms(0.99));
    run.facts.insert("late_followed".to_owned(), float(late.count()));
    run.facts.insert("holds".to_owned(), float(run.operations));
    run.invariants.push(Check {
        name: "every followed hold ends after its deadline, and soon".to_owned(),
        holds: wrong.is_empty(),
        said: wrong.first().map_or_else(
            || format!("{} followed", late.count()),
            |why| format!("{} did not: {why}", wrong.len()),
        ),
    });
    run.invariants.push(Check {
        name: "every piece of them is on sale again".to_owned(),
        holds: back.is_some(),
        said: match back {
            Some(after) => format!("{:.1} s after the last end", after.as_secs_f64()),
            None => format!("not within {BACK_SECONDS_MAX} s"),
        },
    });
    let listings = scenario.listings();
    run.invariants
        .extend(bench.check(Some(&market), Some(&listings)).await);
    at_once(bench, named, asked, holds / AT_ONCE_ONE_OF, &clock, &mut run).await?;
    Ok(run)
}

/// Holds that are all due in the moment in which the system goes on.
async fn at_once(
    bench: &mut Bench,
    named: &Named<'_>,
    asked: &Asked,
    holds: u64,
    clock: &Clock,
    run: &mut Run,
) -> Result<(), BenchError> {
    let System::Started(_) = &bench.system else {
        return Ok(());
    };
    let market = bench.market(BUYERS_MAX).await?;
    let scenario = Arc::new(Holds::prepare(&market, Kind::Expiry.listings(asked), clock).await?);
    bench.live.say("placing holds that will end at once");
    // Placed within half of how long they hold, so that none ends before the system is stopped.
    let seconds = float(hold_seconds(asked)) / 2.0;
    let plan = Plan {
        connections: AT_ONCE_CONNECTIONS,
        pace: Pace::Open {
            per_second: float(holds) / seconds,
        },
        warm_up: Duration::ZERO,
        measured: Duration::from_secs_f64(seconds),
        drain: named.plan.drain,
    };
    let placed = bench.run(&Named { plan, ..*named }, &scenario).await;
    let Some((first, last)) = scenario.deadlines() else {
        return Err(BenchError::Failed("no hold could be placed".to_owned()));
    };
    let System::Started(started) = &bench.system else {
        return Ok(());
    };
    let stopped_in_time = clock.now() < first;
    started.signal(Signal::STOP);
    // The unfollowed ones end with those that are followed, give or take what lies between two of them.
    let margin = Duration::from_secs(1);
    tokio::time::sleep(last.plus(margin).since(clock.now())).await;
    started.signal(Signal::CONT);
    let back = scenario.all_back(Duration::from_secs(BACK_SECONDS_MAX)).await;
    run.facts
        .insert("at_once_holds".to_owned(), float(placed.operations));
    let seconds = back.map_or(float(BACK_SECONDS_MAX), |back| back.as_secs_f64());
    run.facts.insert(
        "at_once_last_after_seconds".to_owned(),
        crate::number::rounded(seconds, 3),
    );
    run.invariants.push(Check {
        name: "every hold that ended at once is on sale again".to_owned(),
        holds: back.is_some() && placed.failed == 0,
        said: if stopped_in_time {
            format!("{} holds", size(placed.operations))
        } else {
            format!(
                "{} holds, some of which ended before the others",
                size(placed.operations)
            )
        },
    });
    let listings = scenario.listings();
    run.invariants
        .extend(bench.check(Some(&market), Some(&listings)).await);
    Ok(())
}
