//! Two runs side by side: what became faster, what slower, and what may be chance.

use crate::live::{millis, thousands};
use crate::number::per;
use crate::results::Results;

/// A change by less than this is not told as one: runs on the same machine differ by about as much.
const CHANCE: f64 = 0.05;

/// The comparison, as lines.
pub fn lines(before: &Results, after: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    if before.machine != after.machine {
        lines.extend(apart(before, after));
    }
    lines.push(format!(
        "{:<14} {:>10} {:>10} {:>9}   {:>9} {:>9} {:>9}   {:>8} {:>8} {:>9}",
        "scenario", "per s", "", "", "p99 ms", "", "", "CPU/op", "", ""
    ));
    for new in &after.results {
        let Some(old) = before.run(&new.scenario) else {
            lines.push(format!("{:<14} is new", new.scenario));
            continue;
        };
        lines.push(format!(
            "{:<14} {:>10} {:>10} {:>9}   {:>9} {:>9} {:>9}   {:>8} {:>8} {:>9}",
            new.scenario,
            thousands(old.per_second),
            thousands(new.per_second),
            change(old.per_second, new.per_second, true),
            millis(old.latency.p99_ms),
            millis(new.latency.p99_ms),
            change(old.latency.p99_ms, new.latency.p99_ms, false),
            format!("{:.3}", old.cpu_ms_per_operation),
            format!("{:.3}", new.cpu_ms_per_operation),
            change(old.cpu_ms_per_operation, new.cpu_ms_per_operation, false),
        ));
    }
    let gone = before
        .results
        .iter()
        .filter(|old| after.run(&old.scenario).is_none());
    lines.extend(gone.map(|old| format!("{:<14} was not run any more", old.scenario)));
    lines.extend(targets(before, after));
    lines
}

/// What makes the two hard to compare.
fn apart(before: &Results, after: &Results) -> Vec<String> {
    let (old, new) = (&before.machine, &after.machine);
    let mut lines = Vec::new();
    for (what, old, new) in [
        ("processor", &old.cpu, &new.cpu),
        ("build", &old.build, &new.build),
        ("file system", &old.file_system, &new.file_system),
    ] {
        if old != new {
            lines.push(format!("Not the same {what}: {old} before, {new} now."));
        }
    }
    if old.cores != new.cores {
        lines.push(format!(
            "Not as many cores: {} before, {} now.",
            old.cores, new.cores
        ));
    }
    lines
}

/// By how much something changed, and whether that is good.
fn change(old: f64, new: f64, more_is_better: bool) -> String {
    if old <= 0.0 {
        return "-".to_owned();
    }
    let by = per(new - old, old);
    if by.abs() < CHANCE {
        return "=".to_owned();
    }
    let is_better = (by > 0.0) == more_is_better;
    format!("{:+.0} % {}", by * 100.0, if is_better { "▲" } else { "▼" })
}

/// Targets that one run reached and the other did not.
fn targets(before: &Results, after: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for new in &after.targets {
        let old = before.targets.iter().find(|old| old.name == new.name);
        match old.map(|old| old.holds) {
            Some(false) if new.holds => lines.push(format!("reached now: {}", new.name)),
            Some(true) if !new.holds => lines.push(format!("missed now: {}", new.name)),
            Some(_) | None => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_with_what_it_means() {
        assert_eq!(change(100.0, 103.0, true), "=");
        assert_eq!(change(100.0, 120.0, true), "+20 % ▲");
        assert_eq!(change(100.0, 120.0, false), "+20 % ▼");
        assert_eq!(change(100.0, 50.0, false), "-50 % ▲");
        assert_eq!(change(0.0, 50.0, false), "-");
    }
}
