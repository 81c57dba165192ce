//! The report: one HTML file that needs nothing else, to be looked at by a person, in light and in dark, on a phone and on
//! paper.

mod chart;
mod run;

use std::fmt::Write as _;

use crate::results::{Limit, Results, Target};
use crate::table::thousands_or_exact;
use chart::escape;

const STYLE: &str = include_str!("html/style.css");

/// The report of a result, as a page.
pub fn page(results: &Results) -> String {
    let mut out = String::with_capacity(256 * 1_024);
    let title = "Boxoffice, measured";
    put(
        &mut out,
        format_args!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{title}</title><style>{STYLE}</style></head><body><header><h1>{title}</h1>"
        ),
    );
    head(&mut out, results);
    out.push_str("</header><main>");
    targets(&mut out, &results.targets);
    limits(&mut out, &results.limits);
    for run in &results.results {
        run::card(&mut out, run);
    }
    out.push_str("</main></body></html>\n");
    out
}

fn head(out: &mut String, results: &Results) {
    let machine = &results.machine;
    let gib = crate::number::float(machine.memory_bytes) / f64::from(1 << 30);
    put(
        out,
        format_args!(
            "<p class=\"soft\">{} · {} cores, {gib:.0} GiB · Linux {} · {} · {} build · {} · took {:.0} s</p>",
            escape(&machine.cpu),
            machine.cores,
            escape(&machine.kernel),
            escape(&machine.file_system),
            escape(&machine.build),
            escape(&results.started),
            results.took_seconds
        ),
    );
    out.push_str("<div class=\"verdict\">");
    let checks: usize = results.results.iter().map(|run| run.invariants.len()).sum();
    let broken: usize = results.results.iter().map(|run| run.broken().count()).sum();
    let said = match (checks, broken) {
        (0, _) => "no invariants were checked".to_owned(),
        (checks, 0) => format!("✓ all {checks} checks of the invariants hold"),
        (checks, broken) => format!("✗ {broken} of {checks} checks of the invariants are broken"),
    };
    chip(out, &said, checks > 0 && broken == 0);
    if !results.targets.is_empty() {
        let held = results.targets.iter().filter(|target| target.holds).count();
        let all = results.targets.len();
        let mark = if held == all { "✓" } else { "✗" };
        chip(
            out,
            &format!("{mark} {held} of {all} targets are reached"),
            held == all,
        );
    }
    if machine.build == "debug" {
        chip(out, "✗ a debug build: its figures say nothing about speed", false);
    }
    out.push_str("</div><nav aria-label=\"Scenarios\">");
    for run in &results.results {
        put(
            out,
            format_args!(
                "<a href=\"#{}\">{}</a>",
                escape(&run.scenario),
                escape(&run.title)
            ),
        );
    }
    out.push_str("</nav>");
}

fn chip(out: &mut String, text: &str, is_good: bool) {
    let class = if is_good { "good" } else { "bad" };
    put(
        out,
        format_args!("<span class=\"{class}\">{}</span>", escape(text)),
    );
}

fn targets(out: &mut String, targets: &[Target]) {
    if targets.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Targets</h2><div class=\"card scroll\"><table><thead><tr><th></th><th>what</th>\
         <th class=\"n\">is</th><th class=\"n\">should be</th></tr></thead><tbody>",
    );
    for target in targets {
        let (class, mark) = if target.holds {
            ("good", "✓ reached")
        } else {
            ("bad", "✗ missed")
        };
        let bound = match (target.at_least, target.at_most) {
            (Some(bound), _) => format!("at least {}", thousands_or_exact(bound)),
            (None, Some(bound)) => format!("at most {}", thousands_or_exact(bound)),
            (None, None) => String::new(),
        };
        put(
            out,
            format_args!(
                "<tr><td class=\"{class} n\">{mark}</td><td>{}</td><td class=\"n\">{} {}</td><td class=\"n\">{bound}</td></tr>",
                escape(&target.name),
                thousands_or_exact(target.value),
                escape(&target.unit)
            ),
        );
    }
    out.push_str("</tbody></table></div>");
}

fn limits(out: &mut String, limits: &[Limit]) {
    if limits.is_empty() {
        return;
    }
    out.push_str(
        "<h2>What this machine can do at most</h2><div class=\"card scroll\"><table><thead><tr><th>limit</th>\
         <th class=\"n\">rate</th><th>how it was measured</th></tr></thead><tbody>",
    );
    for limit in limits {
        put(
            out,
            format_args!(
                "<tr><td>{}</td><td class=\"n\">{} {}</td><td class=\"soft\">{}</td></tr>",
                escape(&limit.name),
                thousands_or_exact(limit.value),
                escape(&limit.unit),
                escape(&limit.how)
            ),
        );
    }
    out.push_str("</tbody></table></div>");
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("a string takes all that is written into it");
}
