//! What came of each row: a table on the terminal and as Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use crate::failure::Failure;
use crate::judge::Verdict;
use crate::rows::{ROWS, Row};
use crate::stage::Form;

/// A long run of all rows that has killed less often has shown too little (issue 3).
const KILLS_MIN: usize = 300;

/// The same for purchases.
const PURCHASES_MIN: usize = 10_000;

/// What stands in the table where nobody has counted.
const UNKNOWN: &str = "?";

/// How a row ended well.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was done, in a few words: purchases, kills, flushes.
    pub done: String,
    /// How many kill -9.
    pub kills: usize,
    /// What the judge found.
    pub verdict: Verdict,
}

/// One line of the table.
pub struct Line {
    /// Which row.
    pub row: &'static Row,
    /// How it ended.
    pub result: Result<Outcome, Failure>,
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

    fn converged(&self) -> String {
        format!("{:.1} s", self.verdict.times.converged.as_secs_f64())
    }
}

impl Line {
    /// For the terminal.
    pub fn text(&self) -> String {
        let (number, name) = (self.row.number, self.row.name);
        let [purchases, kills, acknowledged, lost, doubled] = self.counts();
        let (converged, how) = match &self.result {
            Ok(outcome) => (outcome.converged(), outcome.in_words()),
            Err(failure) => (
                UNKNOWN.to_owned(),
                format!("FAILED: {}", first_line(&failure.sentence)),
            ),
        };
        let took = self.took.as_secs_f64();
        format!(
            "{number:<4} {name:<34} {purchases:>9} {kills:>6} {acknowledged:>12} {lost:>5} {doubled:>8} {converged:>9} \
             {took:>5.0} s  {how}"
        )
    }

    fn markdown(&self) -> String {
        let Row {
            number, name, fault, ..
        } = self.row;
        let counts = self.counts().join(" | ");
        let (converged, how, end) = match &self.result {
            Ok(outcome) => (outcome.converged(), outcome.in_words(), "passed"),
            Err(failure) => (
                UNKNOWN.to_owned(),
                first_line(&failure.sentence).replace('|', "\\|"),
                "**failed**",
            ),
        };
        let took = self.took.as_secs_f64();
        format!("| {number} | {fault} (`{name}`) | {how} | {counts} | {converged} | {took:.0} s | {end} |")
    }

    /// Purchases, kills, what was acknowledged, lost, doubled: as they were counted, also where the row failed.
    fn counts(&self) -> [String; 5] {
        let kills = match &self.result {
            Ok(outcome) => Some(outcome.kills),
            Err(failure) => failure.kills,
        };
        let counted = |value: fn(&Verdict) -> usize| self.verdict().map(value);
        [
            counted(|verdict| verdict.purchases),
            kills,
            counted(|verdict| verdict.acknowledged),
            counted(|verdict| verdict.lost),
            counted(|verdict| verdict.doubled),
        ]
        .map(|count| count.map_or_else(|| UNKNOWN.to_owned(), |count| count.to_string()))
    }

    /// What the judge has counted, if the row came so far.
    fn verdict(&self) -> Option<&Verdict> {
        match &self.result {
            Ok(outcome) => Some(&outcome.verdict),
            Err(failure) => failure.verdict.as_deref(),
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
        let kills = self.kills();
        let purchases = self.sum(|verdict| verdict.purchases);
        (kills < KILLS_MIN || purchases < PURCHASES_MIN).then(|| {
            format!(
                "Too little was done for a long run: {kills} kill -9 of at least {KILLS_MIN}, {purchases} purchases of \
                 at least {PURCHASES_MIN}."
            )
        })
    }

    /// Over the rows that were judged, whether they passed or not.
    fn sum(&self, value: fn(&Verdict) -> usize) -> usize {
        self.lines.iter().filter_map(Line::verdict).map(value).sum()
    }

    fn kills(&self) -> usize {
        let kills = |line: &Line| match &line.result {
            Ok(outcome) => outcome.kills,
            Err(failure) => failure.kills.unwrap_or(0),
        };
        self.lines.iter().map(kills).sum()
    }

    /// The sums over all rows, in a sentence.
    pub fn sums(&self) -> String {
        let failed = self.lines.iter().filter(|line| line.result.is_err()).count();
        let failures = match failed {
            0 => "every row passed".to_owned(),
            failed => format!("{failed} rows FAILED"),
        };
        let unjudged = match self.lines.iter().filter(|line| line.verdict().is_none()).count() {
            0 => String::new(),
            unjudged => format!(", not counting {unjudged} rows that failed before they were judged"),
        };
        format!(
            "{} rows, {failures}: {} purchases, {} kill -9, {} writes acknowledged, {} lost, {} sold, ordered or charged \
             twice{unjudged}",
            self.lines.len(),
            self.sum(|verdict| verdict.purchases),
            self.kills(),
            self.sum(|verdict| verdict.acknowledged),
            self.sum(|verdict| verdict.lost),
            self.sum(|verdict| verdict.doubled),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(result: Result<Outcome, Failure>) -> Line {
        Line {
            row: &ROWS[0],
            result,
            took: Duration::from_secs(7),
        }
    }

    fn counted() -> Verdict {
        Verdict {
            acknowledged: 41,
            lost: 3,
            doubled: 2,
            purchases: 17,
            ..Verdict::default()
        }
    }

    #[test]
    fn a_row_that_failed_shows_what_was_counted() {
        let judged = line(Err(Failure {
            sentence: "3 lost: a | b\nand so on".to_owned(),
            kills: Some(5),
            verdict: Some(Box::new(counted())),
        }));
        let cells: Vec<String> = judged.text().split_whitespace().map(str::to_owned).collect();
        assert_eq!(cells[2..7], ["17", "5", "41", "3", "2"], "{cells:?}");
        assert!(
            judged
                .markdown()
                .contains("a \\| b | 17 | 5 | 41 | 3 | 2 | ? | 7 s | **failed** |"),
            "{}",
            judged.markdown()
        );
        let unjudged = line(Err(Failure::in_words("no word".to_owned())));
        assert!(
            unjudged.markdown().contains("no word | ? | ? | ? | ? | ? | ? |"),
            "{}",
            unjudged.markdown()
        );
        let report = Report {
            lines: vec![judged, unjudged],
            seed: 1,
            form: Form::Long,
            began: String::new(),
            commit: None,
            machine: String::new(),
            took: Duration::ZERO,
        };
        assert_eq!(
            report.sums(),
            "2 rows, 2 rows FAILED: 17 purchases, 5 kill -9, 41 writes acknowledged, 3 lost, 2 sold, ordered or charged \
             twice, not counting 1 rows that failed before they were judged"
        );
    }

    #[test]
    fn the_columns_stand_under_their_names() {
        let outcome = Outcome {
            done: "done".to_owned(),
            kills: 5,
            verdict: counted(),
        };
        let text = line(Ok(outcome)).text();
        assert_eq!(text.find("done"), head().find("what was done"), "{text}");
    }
}
