//! What came of each row: a table on the terminal and as Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use crate::judge::Verdict;
use crate::rows::{ROWS, Row};
use crate::stage::Form;

/// A long run of all rows that has killed less often has shown too little (issue 3).
const KILLS_MIN: usize = 300;

/// The same for purchases.
const PURCHASES_MIN: usize = 10_000;

/// How a row ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was done, in a few words: purchases, kills, flushes.
    pub done: String,
    /// How many kill -9.
    pub kills: usize,
    /// What the judge found; nothing lost and nothing doubled, else there is no outcome.
    pub verdict: Verdict,
}

/// One line of the table.
pub struct Line {
    /// Which row.
    pub row: &'static Row,
    /// How it ended; the sentence of its failure otherwise.
    pub result: Result<Outcome, String>,
    /// How long it took.
    pub took: Duration,
}

/// A whole run.
pub struct Report {
    /// The lines, in the order in which they ran.
    pub lines: Vec<Line>,
    /// The seed of all choices.
    pub seed: u64,
    /// Short or long.
    pub form: Form,
    /// When it began, RFC 3339.
    pub began: String,
    /// What the program was built from, if that is known.
    pub commit: Option<String>,
    /// What it ran on.
    pub machine: String,
    /// How long it took.
    pub took: Duration,
}

/// The head of the table on the terminal.
pub fn head() -> String {
    format!(
        "{:<4} {:<34} {:>9} {:>6} {:>12} {:>5} {:>8} {:>9} {:>7}  what was done",
        "row", "fault", "purchases", "kills", "acknowledged", "lost", "doubled", "converged", "took"
    )
}

impl Outcome {
    /// What was done, and how soon all was well again.
    fn in_words(&self) -> String {
        format!("{} ({})", self.done, self.verdict.times)
    }
}

impl Line {
    /// For the terminal.
    pub fn text(&self) -> String {
        let (number, name) = (self.row.number, self.row.name);
        match &self.result {
            Ok(outcome) => {
                let Outcome { kills, verdict, .. } = outcome;
                let done = outcome.in_words();
                format!(
                    "{number:<4} {name:<34} {:>9} {kills:>6} {:>12} {:>5} {:>8} {:>7.1} s  {done}",
                    verdict.purchases,
                    verdict.acknowledged,
                    0,
                    0,
                    verdict.times.converged.as_secs_f64(),
                )
            }
            Err(sentence) => format!("{number:<4} {name:<34} FAILED: {}", first_line(sentence)),
        }
    }

    fn markdown(&self) -> String {
        let Row {
            number, name, fault, ..
        } = self.row;
        let title = format!("{number} | {fault} (`{name}`)");
        let took = self.took.as_secs_f64();
        match &self.result {
            Ok(outcome) => {
                let Outcome { kills, verdict, .. } = outcome;
                let done = outcome.in_words();
                format!(
                    "| {title} | {done} | {} | {kills} | {} | 0 | 0 | {:.1} s | {took:.0} s | passed |",
                    verdict.purchases,
                    verdict.acknowledged,
                    verdict.times.converged.as_secs_f64(),
                )
            }
            Err(sentence) => {
                let sentence = first_line(sentence).replace('|', "\\|");
                format!("| {title} | {sentence} | | | | | | | {took:.0} s | **failed** |")
            }
        }
    }
}

impl Report {
    /// Whether every row passed, and all of them together were what was promised.
    pub fn passed(&self) -> bool {
        self.lines.iter().all(|line| line.result.is_ok()) && self.falls_short().is_none()
    }

    /// What a long run of all rows has done too little of, if it has: then it proves less than it claims to.
    pub fn falls_short(&self) -> Option<String> {
        if self.form == Form::Short || self.lines.len() < ROWS.len() {
            return None;
        }
        let kills = self.sum(|outcome| outcome.kills);
        let purchases = self.sum(|outcome| outcome.verdict.purchases);
        (kills < KILLS_MIN || purchases < PURCHASES_MIN).then(|| {
            format!(
                "Too little was done for a long run: {kills} kill -9 of at least {KILLS_MIN}, {purchases} purchases of \
                 at least {PURCHASES_MIN}."
            )
        })
    }

    fn sum(&self, value: fn(&Outcome) -> usize) -> usize {
        let outcomes = self.lines.iter().filter_map(|line| line.result.as_ref().ok());
        outcomes.map(value).sum()
    }

    /// The sums over all rows, in a sentence.
    pub fn sums(&self) -> String {
        let failed = self.lines.iter().filter(|line| line.result.is_err()).count();
        let failures = match failed {
            0 => "every row passed".to_owned(),
            failed => format!("{failed} rows FAILED"),
        };
        format!(
            "{} rows, {failures}: {} purchases, {} kill -9, {} writes acknowledged, {}",
            self.lines.len(),
            self.sum(|outcome| outcome.verdict.purchases),
            self.sum(|outcome| outcome.kills),
            self.sum(|outcome| outcome.verdict.acknowledged),
            if failed == 0 {
                "0 lost, 0 tickets sold twice, 0 charges without delivery"
            } else {
                "nothing lost or doubled in the rows that passed"
            },
        )
    }

    /// The whole of it.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let minutes = self.took.as_secs_f64() / 60.0;
        let parts = [
            "# A run of the fault bench\n".to_owned(),
            format!("{}\n", self.sums()),
            self.falls_short().map_or_else(String::new, |sentence| format!("**{sentence}**\n")),
            format!("- Began {}, took {minutes:.1} minutes, {} form.", self.began, self.form.name()),
            self.commit.as_ref().map_or_else(String::new, |commit| format!("- Of commit {commit}.")),
            format!("- Machine: {}.", self.machine),
            format!("- Seed {}: `./scripts/faults --seed {}` makes the same choices again.\n", self.seed, self.seed),
            "| row | fault | what was done | purchases | kill -9 | acknowledged | lost | doubled | converged in | took | |".to_owned(),
            "| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |".to_owned(),
        ];
        let said = parts.into_iter().filter(|part| !part.is_empty());
        for part in said.chain(self.lines.iter().map(Line::markdown)) {
            // Writing to a String can't fail.
            let written = writeln!(text, "{part}");
            debug_assert!(written.is_ok());
        }
        text
    }
}

/// What this runs on, as far as it can be told without a tool.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")
                .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
        })
        .unwrap_or_else(|| "an unnamed processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let memory = read("/proc/meminfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()
        })
        .map_or_else(String::new, |kilobytes| format!(", {} MiB", kilobytes / 1_024));
    format!("{cores} cores of {model}{memory}, Linux {kernel}")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
