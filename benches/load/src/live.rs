//! What one sees while it runs: one line that changes where there is a terminal, a plain line now and then elsewhere.

use std::io::{IsTerminal as _, Write as _};

use crate::number::{float, whole};
use crate::record::Second;
use crate::results::{Limit, Run};
use crate::run::Named;

/// How many seconds the small chart goes back.
const CHART_SECONDS: usize = 24;

/// Where there is no terminal, a line is written so often.
const PLAIN_SECONDS: u64 = 5;

/// Shows progress on standard error, so that standard output is for results.
#[derive(Debug)]
pub struct Live {
    is_terminal: bool,
    is_quiet: bool,
    recent: Vec<u64>,
    asked: u64,
}

impl Live {
    /// On standard error.
    pub fn new(is_quiet: bool) -> Self {
        Self {
            is_terminal: std::io::stderr().is_terminal(),
            is_quiet,
            recent: Vec::new(),
            asked: 0,
        }
    }

    /// Something that is shown until the next thing is.
    pub fn say(&mut self, what: &str) {
        if self.is_terminal {
            self.write(&format!("\r\x1b[2K  {what} …"));
        }
    }

    /// Something that stays.
    pub fn tell(&mut self, what: &str) {
        let clear = if self.is_terminal { "\r\x1b[2K" } else { "" };
        self.write(&format!("{clear}{what}\n"));
    }

    /// A limit is known.
    pub fn limit(&mut self, limit: &Limit) {
        self.tell(&format!(
            "  {:<24} {:>10} {}   {}",
            limit.name,
            thousands(limit.value),
            limit.unit,
            limit.how
        ));
    }

    /// A scenario begins.
    pub fn begins(&mut self, named: &Named<'_>) {
        self.recent.clear();
        self.asked = whole(named.plan.measured.as_secs_f64());
        self.say(&format!("{}: warming up", named.name));
    }

    /// A second of it has gone by.
    pub fn second(&mut self, named: &Named<'_>, number: u64, second: &Second) {
        self.recent.push(second.operations);
        let line = format!(
            "  {:<14} {number:>3}/{} s  {:>7}/s  p50 {:>7} ms  p99 {:>7} ms  {}",
            named.name,
            self.asked,
            thousands(float(second.operations)),
            millis(second.percentiles.p50_ms),
            millis(second.percentiles.p99_ms),
            if second.failed > 0 {
                format!("{} failed", second.failed)
            } else {
                String::new()
            },
        );
        if self.is_terminal {
            let chart = chart(&self.recent);
            self.write(&format!("\r\x1b[2K{line} {chart}"));
        } else if number.is_multiple_of(PLAIN_SECONDS) {
            self.write(&format!("{line}\n"));
        }
    }

    /// A scenario is over.
    pub fn ended(&mut self, run: &Run) {
        let broken = run.broken().count();
        let verdict = match (broken, run.invariants.len()) {
            (0, 0) => "not checked".to_owned(),
            (0, checks) => format!("{checks} checks hold"),
            (broken, _) => format!("{broken} CHECKS BROKEN"),
        };
        self.tell(&format!(
            "  {:<14} {:>9}/s  p50 {:>7} ms  p99 {:>7} ms  {:>7} ms CPU  {:>5} failed  {verdict}",
            run.scenario,
            thousands(run.per_second),
            millis(run.latency.p50_ms),
            millis(run.latency.p99_ms),
            format!("{:.3}", run.cpu_ms_per_operation),
            run.failed,
        ));
    }

    fn write(&self, text: &str) {
        if !self.is_quiet {
            let mut out = std::io::stderr().lock();
            // Progress that can't be shown is no reason to stop measuring.
            out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
        }
    }
}

/// A small chart of the last seconds.
fn chart(recent: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let recent = &recent[recent.len().saturating_sub(CHART_SECONDS)..];
    let most = recent.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &u64| {
        let at = usize::try_from(*count * 7 / most).unwrap_or(0);
        BARS[at.min(BARS.len() - 1)]
    };
    recent.iter().map(bar).collect()
}

/// A number as people read it.
pub fn thousands(value: f64) -> String {
    let digits = if value.abs() < 100.0 { 1 } else { 0 };
    let text = format!("{value:.digits$}");
    let (number, rest) = text
        .split_once('.')
        .map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
    let (sign, number) = number
        .strip_prefix('-')
        .map_or(("", number), |number| ("-", number));
    let mut grouped = String::new();
    for (at, digit) in number.chars().enumerate() {
        if at > 0 && (number.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match rest {
        Some(rest) => format!("{sign}{grouped}.{rest}"),
        None => format!("{sign}{grouped}"),
    }
}

/// Milliseconds as exactly as they matter.
pub fn millis(value: f64) -> String {
    let digits = if value < 10.0 { 2 } else { 0 };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(thousands(1_234_567.0), "1,234,567");
        assert_eq!(thousands(999.6), "1,000");
        assert_eq!(thousands(12.34), "12.3");
        assert_eq!(thousands(-1_234.0), "-1,234");
        assert_eq!(millis(1.234), "1.23");
        assert_eq!(millis(123.4), "123");
    }

    #[test]
    fn a_chart_has_one_bar_a_second() {
        assert_eq!(chart(&[0, 7, 14]), "▁▄█");
        assert_eq!(chart(&[5; 100]).chars().count(), CHART_SECONDS);
    }
}
