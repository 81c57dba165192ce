//! Running one scenario against a system, and writing down what came of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::drive::{Driven, Pace, Plan, Watcher, drive};
use crate::invariants;
use crate::live::Live;
use crate::market::{Listing, Market, MarketError};
use crate::meter::{Meter, Sample};
use crate::number::{float, per, rounded};
use crate::record::{Line, Second};
use crate::results::{Check, Limit, Point, Run, Told};
use crate::scenario::Scenario;
use crate::scrape::{Counted, scrape};
use crate::system::System;

/// How many bars a histogram has.
const BARS: u16 = 60;

/// How often it is looked whether the system has come to rest.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long that may take.
const REST_SECONDS_MAX: u64 = 30;

/// Below this share of a core the system counts as at rest: everything that followed from the load is done.
const REST_SHARE: f64 = 0.1;

/// A system, and what all runs against it share.
#[derive(Debug)]
pub struct Bench {
    /// The system.
    pub system: System,
    /// What the machine can do, as far as that was measured.
    pub limits: Vec<Limit>,
    /// Where progress is shown.
    pub live: Live,
    /// The program that checks invariants from within, if there is one.
    pub verify: Option<PathBuf>,
    /// What sets this run's people apart from those of others.
    pub prefix: String,
    markets: u32,
}

/// A scenario with the plan by which it is run.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// As on the command line.
    pub name: &'a str,
    /// For people.
    pub title: &'a str,
    /// How.
    pub plan: Plan,
}

impl Bench {
    /// Of a system.
    pub fn new(
        system: System,
        limits: Vec<Limit>,
        live: Live,
        verify: Option<PathBuf>,
        prefix: String,
    ) -> Self {
        Self {
            system,
            limits,
            live,
            verify,
            prefix,
            markets: 0,
        }
    }

    /// A market of its own for each scenario: nobody of one meets anybody of another.
    ///
    /// # Errors
    /// When people can't sign up.
    pub async fn market(&mut self, buyers: usize) -> Result<Market, MarketError> {
        self.markets += 1;
        self.live.say("signing people up");
        let run = format!("{}m{}", self.prefix, self.markets);
        Market::open(self.system.place(), &run, buyers).await
    }

    /// Runs a scenario.
    pub async fn run<S: Scenario>(&mut self, named: &Named<'_>, scenario: &Arc<S>) -> Run {
        let place = self.system.place().clone();
        let mut watch = Watch {
            meter: Meter::of(self.system.processes()),
            place: &place,
            live: &mut self.live,
            named,
            points: Vec::new(),
            counted: Counted::default(),
            ended: Counted::default(),
        };
        watch.live.begins(named);
        let driven = drive(scenario, &place, &named.plan, &mut watch).await;
        let Watch {
            meter,
            points,
            counted,
            ended,
            ..
        } = watch;
        let mut run = written(named, &driven, points);
        let operations = float(run.operations);
        run.costs = meter.costs(operations);
        let system = run.costs.iter().filter(|cost| cost.process != "boxoffice-bench");
        run.cpu_ms_per_operation = rounded(system.map(|cost| cost.cpu_ms_per_operation).sum(), 4);
        let syncs = ended.since(&counted);
        if syncs.count > 0 {
            run.syncs_per_operation = Some(rounded(per(float(syncs.count), operations), 4));
            run.syncs = Some(syncs);
        }
        self.settle(&meter, &mut run).await;
        run
    }

    /// Waits until all that follows from the load is done, and writes down what an operation cost with all of that.
    async fn settle(&mut self, meter: &Meter, run: &mut Run) {
        let begun = Instant::now();
        let mut before = meter.system_cpu_ms();
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let now = meter.system_cpu_ms();
            let share = (now - before) / float(crate::number::micros(LOOK_AGAIN)) * 1_000.0;
            before = now;
            if share < REST_SHARE || begun.elapsed() > Duration::from_secs(REST_SECONDS_MAX) {
                break;
            }
        }
        if before > 0.0 {
            let chain = rounded(per(before, float(run.operations)), 4);
            run.facts.insert("chain_cpu_ms_per_operation".to_owned(), chain);
            let settled = rounded(begun.elapsed().as_secs_f64(), 1);
            run.facts.insert("settled_after_seconds".to_owned(), settled);
        }
    }

    /// Checks the invariants: of these listings over HTTP, and of everything from within where that can be reached.
    pub async fn check(
        &mut self,
        market: Option<&Market>,
        listings: Option<&Arc<Vec<Listing>>>,
    ) -> Vec<Check> {
        self.live.say("checking the invariants");
        let mut checks = Vec::new();
        if let (Some(market), Some(listings)) = (market, listings) {
            checks.extend(invariants::of_listings(market, listings).await);
        }
        if let (Some(program), Some(verify)) = (&self.verify, self.system.verify()) {
            checks.push(invariants::by_verify(program, &verify).await);
        }
        checks
    }
}

/// Writes down what was driven.
fn written(named: &Named<'_>, driven: &Driven, points: Vec<Point>) -> Run {
    let kept = &driven.kept;
    let told = |lines: &[Line]| {
        let told = lines.iter().map(|line| Told {
            name: line.name().to_owned(),
            count: line.count(),
            latency: line.percentiles(),
        });
        told.collect()
    };
    let asked = match named.plan.pace {
        Pace::Closed => None,
        Pace::Open { per_second } => Some(per_second),
    };
    let operations = kept.operations.count();
    Run {
        scenario: named.name.to_owned(),
        title: named.title.to_owned(),
        mode: if asked.is_some() { "open" } else { "closed" }.to_owned(),
        connections: named.plan.connections,
        asked_per_second: asked,
        seconds: rounded(driven.seconds, 3),
        operations,
        failed: kept.failed,
        per_second: rounded(per(float(operations), driven.seconds), 1),
        latency: kept.operations.percentiles(),
        histogram: kept.operations.bars(BARS),
        routes: told(&kept.routes),
        stories: told(&kept.stories),
        errors: kept.errors.clone(),
        series: points,
        facts: BTreeMap::new(),
        ..Run::default()
    }
}

/// Watches a run: what it costs, and how it looks.
struct Watch<'a> {
    meter: Meter,
    place: &'a crate::place::Place,
    live: &'a mut Live,
    named: &'a Named<'a>,
    points: Vec<Point>,
    counted: Counted,
    ended: Counted,
}

impl Watcher for Watch<'_> {
    async fn begins(&mut self) {
        self.counted = scrape(self.place).await;
        self.meter.begin();
    }

    fn second(&mut self, number: u64, second: &Second) {
        let Sample {
            cpu_ms,
            resident_bytes,
        } = self.meter.sample();
        self.live.second(self.named, number, second);
        self.points.push(Point {
            second: number,
            operations: second.operations,
            failed: second.failed,
            p50_ms: second.percentiles.p50_ms,
            p99_ms: second.percentiles.p99_ms,
            cpu_ms,
            resident_bytes,
        });
    }

    async fn ends(&mut self) {
        self.ended = scrape(self.place).await;
    }
}
