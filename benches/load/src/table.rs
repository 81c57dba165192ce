//! The end of a run in words and columns.

use crate::live::{millis, thousands};
use crate::results::{Results, Run, Target};

/// How many kinds of errors of a scenario are told.
const ERRORS_TOLD_MAX: usize = 3;

/// All of a run, as lines.
pub fn lines(results: &Results) -> Vec<String> {
    let mut lines = vec![String::new()];
    lines.push(format!(
        "{:<14} {:>9} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8} {:>7}  share of limit",
        "scenario", "per s", "p50 ms", "p99 ms", "p99.9", "max ms", "CPU ms/op", "syncs/op", "failed"
    ));
    for run in &results.results {
        lines.push(row(run));
        lines.extend(below(run));
    }
    if !results.targets.is_empty() {
        lines.push(String::new());
        lines.push("targets".to_owned());
        lines.extend(results.targets.iter().map(target));
        let held = results.targets.iter().filter(|target| target.holds).count();
        lines.push(format!("  {held} of {} hold", results.targets.len()));
    }
    let broken: Vec<String> = results.results.iter().flat_map(broken).collect();
    lines.push(String::new());
    if broken.is_empty() {
        let checks: usize = results.results.iter().map(|run| run.invariants.len()).sum();
        lines.push(match checks {
            0 => "No invariants were checked: give --data-dir for that.".to_owned(),
            checks => format!("All {checks} checks of the invariants hold."),
        });
    } else {
        lines.push("INVARIANTS ARE BROKEN:".to_owned());
        lines.extend(broken);
    }
    lines
}

fn row(run: &Run) -> String {
    let shares: Vec<String> = run
        .ratios
        .iter()
        .map(|ratio| format!("{:.1} % of {}", ratio.ratio * 100.0, ratio.limit))
        .collect();
    let syncs = run
        .syncs_per_operation
        .map_or("-".to_owned(), |syncs| format!("{syncs:.3}"));
    format!(
        "{:<14} {:>9} {:>8} {:>8} {:>8} {:>8} {:>9} {syncs:>8} {:>7}  {}",
        run.scenario,
        thousands(run.per_second),
        millis(run.latency.p50_ms),
        millis(run.latency.p99_ms),
        millis(run.latency.p999_ms),
        millis(run.latency.max_ms),
        format!("{:.3}", run.cpu_ms_per_operation),
        run.failed,
        shares.join(", ")
    )
}

/// Stories, facts and errors of a scenario.
fn below(run: &Run) -> Vec<String> {
    let stories = run.stories.iter().map(|story| {
        format!(
            "    {:<40} {:>9} times, p50 {} ms, p99 {} ms",
            story.name,
            thousands(crate::number::float(story.count)),
            millis(story.latency.p50_ms),
            millis(story.latency.p99_ms)
        )
    });
    let facts = run
        .facts
        .iter()
        .map(|(name, value)| format!("    {name:<40} {value:>9}"));
    let mut errors: Vec<(&String, &u64)> = run.errors.iter().collect();
    errors.sort_by(|a, b| b.1.cmp(a.1));
    let errors = errors
        .into_iter()
        .take(ERRORS_TOLD_MAX)
        .map(|(kind, count)| format!("    {count} times: {kind}"));
    stories.chain(facts).chain(errors).collect()
}

fn target(target: &Target) -> String {
    let (word, bound) = match (target.at_least, target.at_most) {
        (Some(bound), _) => ("at least", bound),
        (None, Some(bound)) => ("at most", bound),
        (None, None) => ("", 0.0),
    };
    format!(
        "  {} {:<74} {:>9} {:<5} ({word} {})",
        if target.holds { "✓" } else { "✗" },
        target.name,
        thousands_or_exact(target.value),
        target.unit,
        thousands_or_exact(bound)
    )
}

/// Small figures need their digits.
pub fn thousands_or_exact(value: f64) -> String {
    if value.abs() < 10.0 {
        format!("{value:.2}")
    } else {
        thousands(value)
    }
}

fn broken(run: &Run) -> Vec<String> {
    run.broken()
        .map(|check| format!("  {}: {}: {}", run.scenario, check.name, check.said))
        .collect()
}
