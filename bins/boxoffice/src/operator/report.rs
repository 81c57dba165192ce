//! What `boxoffice verify` has found, as sentences and as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use events::Source;
use invariants::{Account, Books, Violation};
use serde::{Deserialize, Serialize};

use super::collect::counts;
use super::counted;

/// How many violations are told one by one.
const TOLD_MAX: usize = 100;

/// What was found in one store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoreReport {
    /// Whose.
    pub(super) service: Source,
    /// How many rows were read again.
    pub(super) rows: u64,
    /// The service's own rows in one number.
    pub(super) state_hash: String,
    /// What is wrong, in words; the first of them.
    pub(super) problems: Vec<String>,
    /// How much is wrong altogether.
    pub(super) problems_count: u64,
    /// What the service says of its store.
    #[serde(default)]
    pub(super) account: Option<Account>,
}

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    ok: bool,
    /// Whether the system ran. Where nothing runs, nothing can arrive either.
    running: bool,
    waited_ms: u64,
    stores: Vec<StoreReport>,
    counts: BTreeMap<&'static str, usize>,
    violations: Vec<Violation>,
    /// Of stores at rest: what will be done once they are started.
    left_to_do: Vec<Violation>,
}

impl Report {
    pub(super) fn of_running(
        stores: Vec<StoreReport>,
        books: &Books,
        violations: Vec<Violation>,
        waited: Duration,
    ) -> Self {
        let ok = violations.is_empty() && stores.iter().all(StoreReport::is_good);
        Self {
            ok,
            running: true,
            waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            stores,
            counts: counts(books),
            violations,
            left_to_do: Vec::new(),
        }
    }

    pub(super) fn of_stores_at_rest(stores: Vec<StoreReport>, books: &Books, found: Vec<Violation>) -> Self {
        let (violations, left_to_do): (Vec<_>, Vec<_>) = found.into_iter().partition(Violation::is_broken);
        let ok = violations.is_empty() && stores.iter().all(StoreReport::is_good);
        Self {
            ok,
            running: false,
            waited_ms: 0,
            stores,
            counts: counts(books),
            violations,
            left_to_do,
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.ok
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("text keys, numbers and texts can always be written")
    }

    /// What a person reads.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![if self.running {
            "Checked the running system: every row read again, the indexes rebuilt and compared.".to_owned()
        } else {
            "Nothing runs here. Checked copies of the stores: every row read, the indexes rebuilt.".to_owned()
        }];
        lines.extend(self.stores.iter().map(StoreReport::line));
        lines.push(self.compared());
        lines.extend(self.dead_letters());
        let problems = self.stores.iter().flat_map(StoreReport::told);
        let mut wrong: Vec<String> = problems.collect();
        wrong.extend(
            self.violations
                .iter()
                .take(TOLD_MAX)
                .map(|violation| self.told(violation)),
        );
        let untold = self.violations.len().saturating_sub(TOLD_MAX);
        if untold > 0 {
            wrong.push(format!("  and {untold} more; --json tells all"));
        }
        lines.extend(self.left());
        if self.ok {
            lines.push("Nothing is wrong.".to_owned());
        } else {
            lines.push("Something is wrong:".to_owned());
            lines.extend(wrong);
        }
        lines
    }

    fn compared(&self) -> String {
        let kinds: Vec<String> = self
            .counts
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        if kinds.is_empty() {
            "There is nothing to compare yet.".to_owned()
        } else {
            format!("Compared with each other: {}.", kinds.join(", "))
        }
    }

    fn dead_letters(&self) -> Vec<String> {
        let letters = |store: &StoreReport| {
            let count = store.account.as_ref().map_or(0, |account| account.dead_letters);
            (count > 0).then(|| {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                format!(
                    "{} keeps {}, for you to replay or drop: boxoffice dead-letters list",
                    store.service,
                    counted(count, "dead letter", "dead letters"),
                )
            })
        };
        self.stores.iter().filter_map(letters).collect()
    }

    fn told(&self, violation: &Violation) -> String {
        if violation.is_broken() {
            return format!("  {violation}");
        }
        let seconds = Duration::from_millis(self.waited_ms).as_secs_f32();
        format!("  {violation} It stayed so for {seconds:.1} s.")
    }

    fn left(&self) -> Vec<String> {
        if self.left_to_do.is_empty() {
            return Vec::new();
        }
        let count = self.left_to_do.len();
        let mut lines = vec![format!(
            "{} when the system stopped; the next start goes on from there:",
            counted(count, "thing was under way", "things were under way"),
        )];
        lines.extend(
            self.left_to_do
                .iter()
                .take(TOLD_MAX)
                .map(|left| format!("  {left}")),
        );
        if count > TOLD_MAX {
            lines.push(format!("  and {} more; --json tells all", count - TOLD_MAX));
        }
        lines
    }
}

impl StoreReport {
    /// Of a store that could not be read at all.
    pub(super) fn unreadable(service: Source, problem: String) -> Self {
        Self {
            service,
            rows: 0,
            state_hash: String::new(),
            problems: vec![problem],
            problems_count: 1,
            account: None,
        }
    }

    fn is_good(&self) -> bool {
        self.problems_count == 0
    }

    fn line(&self) -> String {
        let stands = match &self.account {
            Some(account) if account.serving => format!(
                "its last event is {head}, and it keeps those from {oldest} on",
                head = account.head,
                oldest = account.oldest,
            ),
            Some(account) => account.state.clone(),
            None => "it says nothing of itself".to_owned(),
        };
        format!("  {:<11} {} rows; {stands}", self.service.as_str(), self.rows)
    }

    fn told(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .problems
            .iter()
            .map(|problem| format!("  {}: {problem}", self.service))
            .collect();
        let untold = self.problems_count.saturating_sub(self.problems.len() as u64);
        if untold > 0 {
            lines.push(format!("  {}: and {untold} more", self.service));
        }
        lines
    }
}
