//! All of it, one scenario after the other, in less than ten minutes; with `--quick` in a minute and a half.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use service::Clock;

use crate::catalog::{self, Asked, BenchError, Kind};
use crate::limits;
use crate::live::Live;
use crate::machine::Machine;
use crate::number::rounded;
use crate::results::{Limit, Results, Run, SCHEMA};
use crate::run::Bench;
use crate::system::{Launch, Started, System};
use crate::targets;

/// What runs against one system, in this order. What leaves much behind comes last.
const TOGETHER: [Kind; 11] = [
    Kind::Rest,
    Kind::List,
    Kind::Landing,
    Kind::Page,
    Kind::SignUp,
    Kind::SignIn,
    Kind::Purchase,
    Kind::ReservePaced,
    Kind::Reserve,
    Kind::ReserveHot,
    Kind::Mix,
];

/// What each has a system of its own for.
pub const APART: [Kind; 3] = [Kind::Create, Kind::Expiry, Kind::Scale];

/// How the whole is run.
#[derive(Debug)]
pub struct Suite {
    /// How the system is started.
    pub launch: Launch,
    /// Shorter and smaller.
    pub quick: bool,
    /// Only these; all if there are none.
    pub only: Vec<Kind>,
    /// What may be asked for instead of what is usual, for each of them.
    pub asked: Asked,
}

/// Runs all of it.
///
/// # Errors
/// When a scenario could not be run at all.
pub async fn run(suite: &Suite, live: Live) -> Result<Results, BenchError> {
    let begun = Instant::now();
    let clock = Clock::new();
    let started = clock.now();
    let machine = Machine::here(&suite.launch.below);
    let mut live = live;
    about(&mut live, &machine);
    let limits = measure_limits(&mut live, &suite.launch.below, suite.quick).await?;
    let asked = Asked {
        quick: suite.quick,
        ..suite.asked
    };
    let is_wanted = |kind: &Kind| suite.only.is_empty() || suite.only.contains(kind);
    let mut results = Vec::new();
    live.tell("What the system does:");
    let together: Vec<Kind> = TOGETHER.into_iter().filter(is_wanted).collect();
    if !together.is_empty() {
        results.extend(on_one_system(suite, &together, &asked, &mut live, &limits, &clock).await?);
    }
    for kind in APART.into_iter().filter(is_wanted) {
        results.extend(on_one_system(suite, &[kind], &asked, &mut live, &limits, &clock).await?);
    }
    let mut results = Results {
        schema: SCHEMA,
        program: format!("boxoffice-bench {}", env!("CARGO_PKG_VERSION")),
        started: started.to_string(),
        took_seconds: rounded(begun.elapsed().as_secs_f64(), 1),
        machine,
        limits,
        results,
        targets: Vec::new(),
    };
    results.targets = targets::judge(&results);
    Ok(results)
}

/// What a reader of the figures must know first.
pub fn about(live: &mut Live, machine: &Machine) {
    live.tell(&format!(
        "{} with {} cores, {} on {}, {} build, {:.1} others wanted a core",
        machine.cpu, machine.cores, machine.kernel, machine.file_system, machine.build, machine.load_at_start
    ));
    if !machine.has_a_disk() {
        live.tell("The stores lie in memory: syncs cost nothing here, and no figure of a write means anything. Name a folder on a disk with --below.");
    }
    if machine.build == "debug" {
        live.tell("This is a debug build: its figures say nothing about speed.");
    }
}

/// The limits of this machine.
///
/// # Errors
/// When one can't be measured.
pub async fn measure_limits(live: &mut Live, below: &Path, quick: bool) -> Result<Vec<Limit>, BenchError> {
    live.tell("What this machine can do at most:");
    let each = Duration::from_millis(if quick { 1_000 } else { 4_000 });
    let measured = limits::measure(below, each, 64, |limit| live.limit(limit)).await;
    measured.map_err(|error| BenchError::Failed(error.to_string()))
}

async fn on_one_system(
    suite: &Suite,
    kinds: &[Kind],
    asked: &Asked,
    live: &mut Live,
    limits: &[Limit],
    clock: &Clock,
) -> Result<Vec<Run>, BenchError> {
    live.say("starting the system");
    let hold_seconds = kinds.iter().map(|kind| kind.hold_seconds(asked)).min();
    let launch = Launch {
        hold_seconds: hold_seconds.unwrap_or(suite.launch.hold_seconds),
        ..suite.launch.clone()
    };
    let verify: PathBuf = launch.program.clone();
    let system = System::Started(Box::new(Started::start(&launch)?));
    let prefix = format!("b{}", clock.now().as_millis());
    let taken = std::mem::replace(live, Live::new(true));
    let mut bench = Bench::new(system, limits.to_vec(), taken, Some(verify), prefix);
    let mut runs = Vec::new();
    let mut failed = None;
    for kind in kinds {
        match catalog::run(&mut bench, *kind, asked).await {
            Ok(run) => runs.push(run),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    *live = std::mem::replace(&mut bench.live, Live::new(true));
    live.say("stopping the system");
    // Stopping waits for the system; nothing else runs here meanwhile.
    drop(bench);
    match failed {
        Some(error) => Err(error),
        None => Ok(runs),
    }
}
