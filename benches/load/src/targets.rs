//! What this project sets out to reach, and whether a run has reached it.
//!
//! Each is a row of the table in docs/performance.md, in the same order. A row whose scenario was not run is left out,
//! rather than told as missed or reached.

use crate::limits::{ARGON2ID, BARE_HTTP, GROUP_COMMIT};
use crate::number::per;
use crate::results::{Results, Run, Target};

const PERCENT: f64 = 100.0;

/// The targets of a run.
pub fn judge(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    let run = |name: &str| results.run(name);
    if let Some(run) = run("reserve") {
        targets.extend(share(
            run,
            "reservations, distinct tickets, of group commit",
            GROUP_COMMIT,
            35.0,
        ));
    }
    if let (Some(distinct), Some(hot)) = (run("reserve"), run("reserve-hot")) {
        let share = per(hot.per_second, distinct.per_second) * PERCENT;
        targets.push(Target::at_least(
            "reservations, one hot listing, of distinct",
            share,
            80.0,
            "%",
        ));
    }
    if let Some(cpu) = run("reserve").and_then(|run| run.facts.get("chain_cpu_ms_per_operation")) {
        let name = "CPU of all processes for one reservation, its chain of events included";
        targets.push(Target::at_most(name, *cpu, 0.25, "ms"));
    }
    targets.extend(run("reserve-paced").into_iter().flat_map(paced));
    for (scenario, name, share_min) in [
        ("list", "list of 50 tickets as JSON, of bare HTTP", 30.0),
        ("landing", "landing page, of bare HTTP", 15.0),
        ("page", "ticket page, of bare HTTP", 20.0),
    ] {
        targets.extend(run(scenario).and_then(|run| share(run, name, BARE_HTTP, share_min)));
    }
    if let Some(run) = run("purchase") {
        targets.push(Target::at_least("whole purchases", run.per_second, 300.0, "/s"));
    }
    if let Some(run) = run("sign-up") {
        targets.extend(share(run, "sign-ups, of argon2id", ARGON2ID, 90.0));
        if let Some(lists) = run.stories.iter().find(|story| story.name.starts_with("beside")) {
            let name = "200 lists/s during sign-ups, p99";
            targets.push(Target::at_most(name, lists.latency.p99_ms, 25.0, "ms"));
        }
    }
    targets.extend(run("expiry").into_iter().flat_map(expiry));
    targets.extend(run("scale").into_iter().flat_map(scale));
    if let Some(run) = run("rest") {
        let fact = |name: &str| run.facts.get(name).copied();
        targets.extend(fact("resident_mib").map(|mib| Target::at_most("at rest, memory", mib, 100.0, "MiB")));
        targets
            .extend(fact("core_percent").map(|share| Target::at_most("at rest, of a core", share, 1.0, "%")));
    }
    targets
}

fn share(run: &Run, name: &str, limit: &str, at_least: f64) -> Option<Target> {
    let ratio = run.ratio(limit)?;
    Some(Target::at_least(name, ratio * PERCENT, at_least, "%"))
}

/// Three syncs in a row, and what each hop adds: measured against the syncs of the same run.
fn paced(run: &Run) -> Vec<Target> {
    let (Some(story), Some(syncs)) = (run.story("order to awaiting:payment"), &run.syncs) else {
        return Vec::new();
    };
    let at = run.asked_per_second.unwrap_or(run.per_second);
    let name = |which: &str| format!("created to awaiting:payment at {at:.0}/s, {which}");
    vec![
        Target::at_most(name("p50"), story.latency.p50_ms, 5.0 * syncs.p50_ms + 5.0, "ms"),
        Target::at_most(
            name("p99"),
            story.latency.p99_ms,
            10.0 * syncs.p99_ms + 10.0,
            "ms",
        ),
    ]
}

fn expiry(run: &Run) -> Vec<Target> {
    let fact = |name: &str| run.facts.get(name).copied();
    let late = fact("late_p99_ms").map(|late| {
        let holds = fact("holds").unwrap_or_default();
        let name = format!("{holds:.0} holds that end over {:.0} s, late by p99", run.seconds);
        Target::at_most(name, late, 250.0, "ms")
    });
    let last = fact("at_once_last_after_seconds").map(|seconds| {
        let holds = fact("at_once_holds").unwrap_or_default();
        let name = format!("{holds:.0} holds that end at once, the last cancelled after");
        Target::at_most(name, seconds, 3.0, "s")
    });
    late.into_iter().chain(last).collect()
}

fn scale(run: &Run) -> Vec<Target> {
    let fact = |name: &str| run.facts.get(name).copied();
    let (few, many) = (
        fact("tickets_few").unwrap_or_default(),
        fact("tickets_many").unwrap_or_default(),
    );
    let name = |what: &str| format!("from {few:.0} to {many:.0} tickets: {what}");
    let growth =
        fact("p99_growth").map(|growth| Target::at_most(name("p99 of a reservation"), growth, 1.5, "times"));
    let start = fact("start_seconds").map(|start| Target::at_most(name("start"), start, 15.0, "s"));
    let resident = fact("resident_mib").map(|mib| Target::at_most(name("resident"), mib, 1_430.5, "MiB"));
    growth.into_iter().chain(start).chain(resident).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::results::{Limit, SCHEMA};

    fn results(runs: Vec<Run>) -> Results {
        Results {
            schema: SCHEMA,
            program: String::new(),
            started: String::new(),
            took_seconds: 0.0,
            machine: Machine::default(),
            limits: Vec::new(),
            results: runs,
            targets: Vec::new(),
        }
    }

    fn reserve(name: &str, per_second: f64) -> Run {
        let limits = [Limit {
            name: GROUP_COMMIT.to_owned(),
            value: 10_000.0,
            unit: "/s".to_owned(),
            how: String::new(),
        }];
        let mut run = Run {
            scenario: name.to_owned(),
            per_second,
            ..Run::default()
        };
        run.compare_with(&limits, GROUP_COMMIT);
        run
    }

    #[test]
    fn what_was_not_run_is_neither_reached_nor_missed() {
        assert_eq!(judge(&results(Vec::new())), Vec::new());
    }

    #[test]
    fn reservations_are_judged_by_the_stores_own_rate_and_by_each_other() {
        let judged = judge(&results(vec![
            reserve("reserve", 3_600.0),
            reserve("reserve-hot", 2_800.0),
        ]));
        let told: Vec<(f64, bool)> = judged.iter().map(|target| (target.value, target.holds)).collect();
        assert_eq!(told, [(36.0, true), (77.778, false)]);
    }
}
