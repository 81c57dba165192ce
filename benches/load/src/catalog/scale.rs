//! How cost grows: reservations among few tickets and among many, how long a start takes then, and how much memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Asked, BUYERS_MAX, BenchError, count, size};
use crate::meter::Meter;
use crate::number::{float, per, rounded};
use crate::results::Run;
use crate::run::{Bench, Named};
use crate::scenario::reserve::Reserve;
use crate::system::System;

/// How many tickets there are at first.
const FEW: u64 = 10_000;
const FEW_QUICK: u64 = 500;

/// How many there are in the end, if they can be listed in time.
const MANY: u64 = 1_000_000;
const MANY_QUICK: u64 = 3_000;

/// How long listing them may take; what is reached by then is what is measured, and its number is told.
const GROWING_SECONDS_MAX: u64 = 150;

/// So many are listed between two looks at the clock.
const CHUNK: u64 = 5_000;

pub(super) async fn run(bench: &mut Bench, named: &Named<'_>, asked: &Asked) -> Result<Run, BenchError> {
    if !matches!(bench.system, System::Started(_)) {
        return Err(BenchError::NotOurs("scale"));
    }
    let many = count(asked, MANY, MANY_QUICK);
    let few = (if asked.quick { FEW_QUICK } else { FEW }).min(many);
    let market = bench.market(BUYERS_MAX).await?;
    bench.live.say("listing the first tickets");
    let scenario = Arc::new(Reserve::prepare(&market, size(few), false).await?);
    let before = bench.run(named, &scenario).await;
    let mut tickets = few;
    let begun = Instant::now();
    while tickets < many && begun.elapsed() < Duration::from_secs(GROWING_SECONDS_MAX) {
        let more = CHUNK.min(many - tickets);
        market.list(size(more), 1).await?;
        tickets += more;
        let per_second = per(float(tickets - few), begun.elapsed().as_secs_f64());
        bench.live.say(&format!(
            "listing tickets: {tickets} of {many}, {per_second:.0}/s"
        ));
    }
    let mut run = bench.run(named, &scenario).await;
    let fact = |run: &mut Run, name: &str, value: f64| {
        run.facts.insert(name.to_owned(), rounded(value, 3));
    };
    fact(&mut run, "tickets_few", float(few));
    fact(&mut run, "tickets_many", float(tickets));
    fact(&mut run, "few_p50_ms", before.latency.p50_ms);
    fact(&mut run, "few_p99_ms", before.latency.p99_ms);
    fact(&mut run, "few_per_second", before.per_second);
    let growth = per(run.latency.p99_ms, before.latency.p99_ms);
    fact(&mut run, "p99_growth", growth);
    let listings = scenario.listings();
    run.invariants = bench.check(Some(&market), Some(&listings)).await;
    restart(bench)?;
    if let System::Started(started) = &bench.system {
        fact(&mut run, "start_seconds", started.took().as_secs_f64());
    }
    let mut meter = Meter::of(bench.system.processes());
    let resident = float(meter.sample().resident_bytes) / f64::from(1 << 20);
    fact(&mut run, "resident_after_start_mib", resident);
    let at_most = run
        .series
        .iter()
        .map(|point| point.resident_bytes)
        .max()
        .unwrap_or(0);
    fact(&mut run, "resident_mib", float(at_most) / f64::from(1 << 20));
    Ok(run)
}

fn restart(bench: &mut Bench) -> Result<(), BenchError> {
    bench.live.say("stopping and starting the system");
    match &mut bench.system {
        System::Started(started) => Ok(started.restart()?),
        System::Running { .. } => Err(BenchError::NotOurs("scale")),
    }
}
