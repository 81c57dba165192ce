//! One scenario in the report.

use super::chart::{self, Series, count, escape};
use super::put;
use crate::live::millis;
use crate::meter::Cost;
use crate::number::{float, per};
use crate::results::{Run, Told};
use crate::table::thousands_or_exact;

/// How many kinds of threads are shown.
const THREADS_SHOWN_MAX: usize = 12;

/// The colours of the processes that cost most; all others share one.
const CLASSES: [&str; 5] = ["c1", "c2", "c3", "c4", "c6"];
const OTHERS: &str = "c7";

/// The load generator is no part of the system.
const GENERATOR: &str = "boxoffice-bench";

pub(super) fn card(out: &mut String, run: &Run) {
    put(
        out,
        format_args!(
            "<h2 id=\"{}\">{}</h2><section class=\"card\"><p class=\"soft\">{}</p>",
            escape(&run.scenario),
            escape(&run.title),
            escape(&how(run))
        ),
    );
    tiles(out, run);
    if run.operations > 0 {
        charts(out, run);
    }
    tables(out, run);
    out.push_str("</section>");
}

fn how(run: &Run) -> String {
    match (run.connections, run.asked_per_second) {
        (0, _) => format!("{:.0} s without a request", run.seconds),
        (connections, Some(rate)) => format!(
            "open loop: {} a second were due for {:.0} s, at most {connections} at once; each counts from when it was due",
            thousands_or_exact(rate),
            run.seconds
        ),
        (connections, None) => format!(
            "closed loop: {connections} connections for {:.0} s, each asks again as soon as it has its answer",
            run.seconds
        ),
    }
}

fn tiles(out: &mut String, run: &Run) {
    out.push_str("<div class=\"tiles\">");
    let mut tile = |value: String, name: &str| {
        put(
            out,
            format_args!("<div><b>{value}</b><span>{}</span></div>", escape(name)),
        );
    };
    if run.operations > 0 {
        tile(thousands_or_exact(run.per_second), "operations a second");
        tile(format!("{} ms", millis(run.latency.p50_ms)), "p50");
        tile(format!("{} ms", millis(run.latency.p99_ms)), "p99");
        tile(
            format!("{:.3} ms", run.cpu_ms_per_operation),
            "CPU of the system for one",
        );
    }
    if let Some(syncs) = run.syncs_per_operation {
        tile(significant(syncs), "syncs for one");
    }
    for ratio in &run.ratios {
        tile(
            format!("{:.1} %", ratio.ratio * 100.0),
            &format!("of {}", ratio.limit),
        );
    }
    if run.operations > 0 || run.failed > 0 {
        tile(count(run.failed), "failed");
    }
    for (name, value) in &run.facts {
        tile(thousands_or_exact(*value), &name.replace('_', " "));
    }
    out.push_str("</div>");
}

/// What is small is told more exactly than what is large.
fn significant(value: f64) -> String {
    let digits = if value < 1.0 {
        3
    } else if value < 10.0 {
        2
    } else {
        1
    };
    format!("{value:.digits$}")
}

fn charts(out: &mut String, run: &Run) {
    out.push_str("<div class=\"charts\">");
    let points = &run.series;
    let throughput = [Series {
        name: "operations",
        class: "c1",
        values: points.iter().map(|point| float(point.operations)).collect(),
    }];
    let chart = chart::lines("Operations in each second", "/s", &throughput);
    figure(out, "Operations a second", &chart, &[]);
    let latency = [
        Series {
            name: "p50",
            class: "c1",
            values: points.iter().map(|point| point.p50_ms).collect(),
        },
        Series {
            name: "p99",
            class: "c2",
            values: points.iter().map(|point| point.p99_ms).collect(),
        },
    ];
    let chart = chart::lines("Latency in each second", "ms", &latency);
    figure(out, "Latency over time", &chart, &legend(&latency));
    let marks = [("p50", run.latency.p50_ms), ("p99", run.latency.p99_ms)];
    let chart = chart::distribution("Distribution of latencies", &run.histogram, &marks);
    figure(
        out,
        "Distribution of latencies (each bar is wider by the same factor)",
        &chart,
        &[],
    );
    if !run.costs.is_empty() {
        let cpu = cpu(run);
        let chart = chart::layers("CPU of each process in each second", "cores", &cpu);
        figure(out, "CPU by process", &chart, &legend(&cpu));
    }
    out.push_str("</div>");
}

/// CPU of each process over time in cores: those that cost most, the others together, and the load generator in grey.
fn cpu(run: &Run) -> Vec<Series<'_>> {
    let mut by_cost: Vec<(usize, &Cost)> = run.costs.iter().enumerate().collect();
    by_cost.sort_by(|a, b| b.1.cpu_ms.total_cmp(&a.1.cpu_ms));
    let (generator, system): (Vec<_>, Vec<_>) = by_cost
        .into_iter()
        .filter(|(_, cost)| cost.cpu_ms > 0.0)
        .partition(|(_, cost)| cost.process == GENERATOR);
    let summed = |processes: &[(usize, &Cost)]| {
        let of_point = |cpu_ms: &[f64]| {
            let ms = processes.iter().filter_map(|(at, _)| cpu_ms.get(*at));
            ms.sum::<f64>() / 1_000.0
        };
        run.series.iter().map(|point| of_point(&point.cpu_ms)).collect()
    };
    let (most, others) = system.split_at(CLASSES.len().min(system.len()));
    let mut series = Vec::new();
    for (process, class) in most.iter().zip(CLASSES) {
        series.push(Series {
            name: &process.1.process,
            class,
            values: summed(std::slice::from_ref(process)),
        });
    }
    for (name, class, processes) in [
        ("others", OTHERS, others),
        ("the load generator", "c5", &generator[..]),
    ] {
        if !processes.is_empty() {
            let values = summed(processes);
            series.push(Series { name, class, values });
        }
    }
    series
}

fn legend<'a>(series: &'a [Series<'_>]) -> Vec<(&'static str, &'a str)> {
    series.iter().map(|one| (one.class, one.name)).collect()
}

fn figure(out: &mut String, title: &str, chart: &str, legend: &[(&str, &str)]) {
    put(out, format_args!("<figure><h3>{}</h3>{chart}", escape(title)));
    if !legend.is_empty() {
        out.push_str("<ul class=\"legend\">");
        for (class, name) in legend {
            put(
                out,
                format_args!("<li><i class=\"{class}\"></i>{}</li>", escape(name)),
            );
        }
        out.push_str("</ul>");
    }
    out.push_str("</figure>");
}

fn tables(out: &mut String, run: &Run) {
    if !run.invariants.is_empty() {
        out.push_str("<details open><summary>Invariants</summary><div class=\"scroll\"><table><tbody>");
        for check in &run.invariants {
            let (class, mark) = if check.holds {
                ("good", "✓ holds")
            } else {
                ("bad", "✗ broken")
            };
            put(
                out,
                format_args!(
                    "<tr><td class=\"{class} n\">{mark}</td><td>{}</td><td class=\"soft\">{}</td></tr>",
                    escape(&check.name),
                    escape(&check.said)
                ),
            );
        }
        out.push_str("</tbody></table></div></details>");
    }
    if !run.costs.is_empty() {
        costs(out, run);
    }
    if !run.routes.is_empty() {
        out.push_str(
            "<details><summary>Routes and stories</summary><div class=\"scroll\"><table><thead><tr><th>what</th>\
             <th class=\"n\">times</th><th class=\"n\">p50 ms</th><th class=\"n\">p90 ms</th><th class=\"n\">p99 ms</th>\
             <th class=\"n\">p99.9 ms</th><th class=\"n\">max ms</th></tr></thead><tbody>",
        );
        for told in run.stories.iter().chain(&run.routes) {
            row(out, told);
        }
        out.push_str("</tbody></table></div></details>");
    }
    if !run.errors.is_empty() {
        out.push_str("<details open><summary>What went wrong</summary><div class=\"scroll\"><table><tbody>");
        for (kind, times) in &run.errors {
            put(
                out,
                format_args!(
                    "<tr><td class=\"n\">{}</td><td>{}</td></tr>",
                    count(*times),
                    escape(kind)
                ),
            );
        }
        out.push_str("</tbody></table></div></details>");
    }
}

fn row(out: &mut String, told: &Told) {
    let latency = &told.latency;
    put(
        out,
        format_args!(
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&told.name),
            count(told.count),
            millis(latency.p50_ms),
            millis(latency.p90_ms),
            millis(latency.p99_ms),
            millis(latency.p999_ms),
            millis(latency.max_ms)
        ),
    );
}

/// Where the CPU went, by kind of thread: the writers are the stores, the async runtime is HTTP, the bus and the site.
fn costs(out: &mut String, run: &Run) {
    out.push_str("<details open><summary>Where the CPU went</summary>");
    // One process with threads needs no name in front of them; several do.
    let with_threads = run.costs.iter().filter(|cost| cost.threads.len() > 1).count();
    let threads = |cost: &Cost| -> Vec<(String, f64, bool)> {
        let is_generator = cost.process == GENERATOR;
        let told = |thread: &str| match (cost.threads.len(), with_threads) {
            (..=1, _) => cost.process.clone(),
            (_, ..=1) => thread.to_owned(),
            (_, _) => format!("{}: {thread}", cost.process),
        };
        let threads = cost.threads.iter();
        threads
            .map(|(name, ms)| (told(name), *ms, is_generator))
            .collect()
    };
    let mut all: Vec<(String, f64, bool)> = run.costs.iter().flat_map(threads).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    let most = all.first().map_or(0.0, |(_, ms, _)| *ms);
    out.push_str("<div class=\"share\">");
    for (name, ms, is_generator) in all.iter().take(THREADS_SHOWN_MAX) {
        let class = if *is_generator { " class=\"other\"" } else { "" };
        let told = if run.operations > 0 {
            format!("{:.0} µs", per(*ms, float(run.operations)) * 1_000.0)
        } else {
            format!("{ms:.0} ms")
        };
        put(
            out,
            format_args!(
                "<span>{}</span><i{class} style=\"width:{:.1}%\"></i><span class=\"n\">{told}</span>",
                escape(name),
                per(*ms, most) * 100.0
            ),
        );
    }
    out.push_str("</div><p class=\"soft\">");
    let told: Vec<String> = run
        .costs
        .iter()
        .map(|cost| {
            let mib = float(cost.resident_bytes) / f64::from(1 << 20);
            format!("{}: {:.0} ms, {mib:.0} MiB", cost.process, cost.cpu_ms)
        })
        .collect();
    put(out, format_args!("{}</p></details>", escape(&told.join(" · "))));
}
