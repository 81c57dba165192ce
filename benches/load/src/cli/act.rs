//! Doing what the command line asks for.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use service::Clock;

use super::{All, Command, Limits, Run, Search, Start, SystemArgs, WhereTo};
use crate::catalog::{self, Asked, BenchError, Kind};
use crate::compare;
use crate::html;
use crate::live::{Live, thousands};
use crate::machine::Machine;
use crate::number::rounded;
use crate::place::{Base, Place};
use crate::results::{Results, SCHEMA};
use crate::run::Bench;
use crate::search;
use crate::suite::{self, Suite};
use crate::system::{Launch, Started, System};
use crate::table;
use crate::targets;

/// How long one try of a search is measured, unless it is said.
const TRY_SECONDS: f64 = 5.0;

/// With which rate a search begins, unless it is said.
const FIRST_RATE: f64 = 200.0;

pub(super) async fn act(command: Command) -> Result<ExitCode, BenchError> {
    match command {
        Command::All(all) => self::all(all).await,
        Command::Run(run) => self::run(run).await,
        Command::Search(search) => self::search(search).await,
        Command::Limits(limits) => self::limits(limits).await,
        Command::Compare { before, after } => {
            let lines = compare::lines(&read(&before)?, &read(&after)?);
            Ok(print(&lines))
        }
        Command::Report { json, html } => {
            let results = read(&json)?;
            let html = html.unwrap_or_else(|| json.with_extension("html"));
            write(&html, &html::page(&results))?;
            Ok(print(&[format!("{} is written", html.display())]))
        }
        Command::ServeHello => Err(failed("this is answered before")),
    }
}

async fn all(all: All) -> Result<ExitCode, BenchError> {
    let suite = Suite {
        launch: launch(&all.start, 900)?,
        quick: all.quick,
        only: all.only,
        asked: all.how.asked(all.quick),
    };
    let results = suite::run(&suite, Live::new(all.where_to.quiet)).await?;
    finish(&results, &all.where_to)
}

async fn run(run: Run) -> Result<ExitCode, BenchError> {
    let asked = run.how.asked(false);
    let begun = Instant::now();
    let clock = Clock::new();
    let started = clock.now();
    let mut live = Live::new(run.where_to.quiet);
    let below = below(&run.system.start);
    let machine = Machine::here(&below);
    suite::about(&mut live, &machine);
    let limits = if run.limits {
        suite::measure_limits(&mut live, &below, false).await?
    } else {
        Vec::new()
    };
    let mut runs = Vec::new();
    for kinds in systems(&run.scenarios, run.system.base.is_some()) {
        let mut bench = bench(&run.system, &kinds, &asked, live, limits.clone(), &clock)?;
        for kind in kinds {
            runs.push(catalog::run(&mut bench, kind, &asked).await?);
        }
        live = std::mem::replace(&mut bench.live, Live::new(true));
    }
    let mut results = Results {
        schema: SCHEMA,
        program: format!("boxoffice-bench {}", env!("CARGO_PKG_VERSION")),
        started: started.to_string(),
        took_seconds: rounded(begun.elapsed().as_secs_f64(), 1),
        machine,
        limits,
        results: runs,
        targets: Vec::new(),
    };
    results.targets = targets::judge(&results);
    finish(&results, &run.where_to)
}

async fn search(search: Search) -> Result<ExitCode, BenchError> {
    let Search {
        scenario,
        p99_ms,
        system,
        how,
        where_to,
    } = search;
    let first = how.rate.unwrap_or(FIRST_RATE);
    let mut asked = Asked {
        seconds: how.seconds.or(Some(TRY_SECONDS)),
        connections: how.connections.map(usize::from).or(Some(256)),
        ..how.asked(false)
    };
    let clock = Clock::new();
    let live = Live::new(where_to.quiet);
    let mut bench = bench(&system, &[scenario], &asked, live, Vec::new(), &clock)?;
    let mut under_way = search::Search::new(p99_ms, first);
    let mut is_broken = false;
    while let Some(rate) = under_way.next() {
        asked.rate = Some(rate);
        let run = catalog::run(&mut bench, scenario, &asked).await?;
        let kept = under_way.keeps(&run);
        is_broken |= run.broken().next().is_some();
        bench.live.tell(&format!(
            "  {} at {}/s",
            if kept { "keeps the goal" } else { "is too slow" },
            thousands(rate)
        ));
        under_way.tried(kept);
    }
    let found = match under_way.best() {
        Some(rate) => format!(
            "{}: {}/s is the highest rate found with a p99 of at most {p99_ms} ms",
            scenario.name(),
            thousands(rate)
        ),
        None => format!(
            "{}: no rate that was tried keeps a p99 of {p99_ms} ms",
            scenario.name()
        ),
    };
    print(&[found]);
    Ok(if is_broken {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

async fn limits(limits: Limits) -> Result<ExitCode, BenchError> {
    let mut live = Live::new(false);
    let below = below(&limits.start);
    suite::about(&mut live, &Machine::here(&below));
    suite::measure_limits(&mut live, &below, limits.quick).await?;
    Ok(ExitCode::SUCCESS)
}

/// Which scenarios share a system: all of them one that runs already; of those that are started here, each that needs it has
/// one of its own. Holds that end within a minute, as one of them has them, would be taken for lost orders by the others.
fn systems(kinds: &[Kind], runs_already: bool) -> Vec<Vec<Kind>> {
    let (apart, together): (Vec<Kind>, Vec<Kind>) = kinds
        .iter()
        .partition(|kind| !runs_already && suite::APART.contains(kind));
    let mut systems: Vec<Vec<Kind>> = apart.into_iter().map(|kind| vec![kind]).collect();
    if !together.is_empty() {
        systems.insert(0, together);
    }
    systems
}

/// The system that the command line names, or one that is started for it.
fn bench(
    args: &SystemArgs,
    kinds: &[Kind],
    asked: &Asked,
    mut live: Live,
    limits: Vec<crate::results::Limit>,
    clock: &Clock,
) -> Result<Bench, BenchError> {
    let program = program(&args.start)?;
    let system = match &args.base {
        Some(base) => {
            let base: Base = base.parse().map_err(|error: String| failed(&error))?;
            let mut place = Place::at(base);
            for part in &args.parts {
                place = place
                    .with_part(part)
                    .map_err(|error| failed(&error.to_string()))?;
            }
            if !args.remote {
                place = place.only_here().map_err(|error| failed(&error.to_string()))?;
            }
            System::Running {
                place,
                data_dir: args.data_dir.clone(),
            }
        }
        None => {
            live.say("starting the system");
            let hold_seconds = kinds.iter().map(|kind| kind.hold_seconds(asked)).min();
            let launch = launch(&args.start, hold_seconds.unwrap_or(900))?;
            System::Started(Box::new(Started::start(&launch)?))
        }
    };
    let prefix = format!("b{}", clock.now().as_millis());
    let verify = program.is_file().then_some(program);
    Ok(Bench::new(system, limits, live, verify, prefix))
}

fn launch(start: &Start, hold_seconds: u64) -> Result<Launch, BenchError> {
    Ok(Launch {
        program: program(start)?,
        below: below(start),
        hold_seconds,
        args: start.args.clone(),
        apart: start.apart,
    })
}

fn below(start: &Start) -> PathBuf {
    start.below.clone().unwrap_or_else(std::env::temp_dir)
}

fn program(start: &Start) -> Result<PathBuf, BenchError> {
    if let Some(program) = &start.program {
        return Ok(program.clone());
    }
    let me = std::env::current_exe().map_err(|error| failed(&error.to_string()))?;
    Ok(me.with_file_name("boxoffice"))
}

/// Writes the results down, prints the table, and says how it went.
fn finish(results: &Results, where_to: &WhereTo) -> Result<ExitCode, BenchError> {
    let WhereTo { out, strict, .. } = where_to;
    std::fs::create_dir_all(out).map_err(|error| failed(&format!("{}: {error}", out.display())))?;
    let json = serde_json::to_string_pretty(results).map_err(|error| failed(&error.to_string()))?;
    write(&out.join("results.json"), &json)?;
    write(&out.join("report.html"), &html::page(results))?;
    let mut lines = table::lines(results);
    lines.push(format!(
        "{} and report.html beside it, after {:.0} s",
        out.join("results.json").display(),
        results.took_seconds
    ));
    print(&lines);
    let missed = results.targets.iter().any(|target| !target.holds);
    let is_bad = results.is_broken() || (*strict && missed);
    Ok(if is_bad {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

fn read(file: &Path) -> Result<Results, BenchError> {
    let text =
        std::fs::read_to_string(file).map_err(|error| failed(&format!("{}: {error}", file.display())))?;
    let results: Results = serde_json::from_str(&text).map_err(|error| {
        failed(&format!(
            "{} is no result of this program: {error}",
            file.display()
        ))
    })?;
    if results.schema > SCHEMA {
        return Err(failed(&format!(
            "{} was written by a newer version of this program (schema {}, this one reads up to {SCHEMA})",
            file.display(),
            results.schema
        )));
    }
    Ok(results)
}

fn write(file: &Path, text: &str) -> Result<(), BenchError> {
    std::fs::write(file, text).map_err(|error| failed(&format!("{}: {error}", file.display())))
}

fn print(lines: &[String]) -> ExitCode {
    for line in lines {
        service::print_line(line);
    }
    ExitCode::SUCCESS
}

fn failed(why: &str) -> BenchError {
    BenchError::Failed(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_holds_early_shares_its_system_with_nobody() {
        let asked = [Kind::Expiry, Kind::Reserve, Kind::Scale, Kind::Mix];
        let told = systems(&asked, false);
        assert_eq!(
            told,
            [
                vec![Kind::Reserve, Kind::Mix],
                vec![Kind::Expiry],
                vec![Kind::Scale]
            ]
        );
        assert_eq!(systems(&asked, true), [asked.to_vec()]);
    }
}
