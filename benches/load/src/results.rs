//! What a run is written down as. README.md beside this crate describes the shape for those who read the JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::meter::Cost;
use crate::number::{per, rounded};
use crate::record::Percentiles;
use crate::scrape::Syncs;

/// The shape that this program writes. A field more is the same shape; another meaning is the next number.
pub const SCHEMA: u32 = 1;

/// All of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Which version of this program wrote it.
    pub program: String,
    /// When it began, in UTC.
    pub started: String,
    /// How long it took.
    pub took_seconds: f64,
    /// Where it ran.
    pub machine: Machine,
    /// What the machine could do at most.
    pub limits: Vec<Limit>,
    /// What the system did.
    pub results: Vec<Run>,
    /// Whether that is enough.
    pub targets: Vec<Target>,
}

/// Something that the machine can do so often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Which; results name it in their ratios.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
    /// How it was measured.
    pub how: String,
}

/// One scenario, run once.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Run {
    /// Which scenario, as on the command line.
    pub scenario: String,
    /// What it is, for people.
    pub title: String,
    /// `closed` or `open`.
    pub mode: String,
    /// How many users, each with a connection.
    pub connections: usize,
    /// Of an open loop: how many operations a second were due.
    pub asked_per_second: Option<f64>,
    /// How long was measured.
    pub seconds: f64,
    /// How many operations ended well.
    pub operations: u64,
    /// How many did not.
    pub failed: u64,
    /// Operations a second that ended well.
    pub per_second: f64,
    /// Whole operations, from when they were due.
    pub latency: Percentiles,
    /// The distribution of those: upper bound of each bar in milliseconds, and how many.
    pub histogram: Vec<(f64, u64)>,
    /// Each route that was called.
    pub routes: Vec<Told>,
    /// What took more than one request.
    pub stories: Vec<Told>,
    /// How often what went wrong.
    pub errors: BTreeMap<String, u64>,
    /// Second by second.
    pub series: Vec<Point>,
    /// What each process cost.
    pub costs: Vec<Cost>,
    /// CPU of all of the system's processes for one operation, the load generator left out.
    pub cpu_ms_per_operation: f64,
    /// How often the stores synced their disks.
    pub syncs: Option<Syncs>,
    /// Syncs of all stores for one operation.
    pub syncs_per_operation: Option<f64>,
    /// As shares of what was possible.
    pub ratios: Vec<Ratio>,
    /// What a scenario measures beyond that, by name; units stand last in the names.
    pub facts: BTreeMap<String, f64>,
    /// Whether everything still added up afterwards.
    pub invariants: Vec<Check>,
}

/// A route or a story.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Which.
    pub name: String,
    /// How often.
    pub count: u64,
    /// How long it took.
    pub latency: Percentiles,
}

/// One second of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Which, from 1.
    pub second: u64,
    /// Operations that ended well in it.
    pub operations: u64,
    /// Operations that failed in it.
    pub failed: u64,
    /// Half took less.
    pub p50_ms: f64,
    /// 99 of a hundred took less.
    pub p99_ms: f64,
    /// CPU of each process in it, in the order of the costs.
    pub cpu_ms: Vec<f64>,
    /// Memory of the system's processes at its end.
    pub resident_bytes: u64,
}

/// A result as a share of a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Of which.
    pub limit: String,
    /// 1 is all of it.
    pub ratio: f64,
}

/// Something that must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// Whether it does.
    pub holds: bool,
    /// What was seen.
    pub said: String,
}

/// A figure that is to be reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Which.
    pub name: String,
    /// What it is.
    pub value: f64,
    /// In what.
    pub unit: String,
    /// It is to be this or more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub at_least: Option<f64>,
    /// It is to be this or less.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub at_most: Option<f64>,
    /// Whether it is.
    pub holds: bool,
}

impl Target {
    /// A figure that is to be `bound` or more.
    pub fn at_least(name: impl Into<String>, value: f64, bound: f64, unit: &str) -> Self {
        Self {
            name: name.into(),
            value: rounded(value, 3),
            unit: unit.to_owned(),
            at_least: Some(rounded(bound, 3)),
            at_most: None,
            holds: value >= bound,
        }
    }

    /// A figure that is to be `bound` or less.
    pub fn at_most(name: impl Into<String>, value: f64, bound: f64, unit: &str) -> Self {
        Self {
            name: name.into(),
            value: rounded(value, 3),
            unit: unit.to_owned(),
            at_least: None,
            at_most: Some(rounded(bound, 3)),
            holds: value <= bound,
        }
    }
}

impl Run {
    /// Tells the result as a share of a limit, if that was measured.
    pub fn compare_with(&mut self, limits: &[Limit], name: &str) {
        if let Some(limit) = limits.iter().find(|limit| limit.name == name) {
            self.ratios.push(Ratio {
                limit: name.to_owned(),
                ratio: rounded(per(self.per_second, limit.value), 4),
            });
        }
    }

    /// The share of a limit, if it was told.
    pub fn ratio(&self, limit: &str) -> Option<f64> {
        let ratio = self.ratios.iter().find(|ratio| ratio.limit == limit)?;
        Some(ratio.ratio)
    }

    /// A story that was told.
    pub fn story(&self, name: &str) -> Option<&Told> {
        self.stories.iter().find(|story| story.name == name)
    }

    /// The invariants that do not hold.
    pub fn broken(&self) -> impl Iterator<Item = &Check> {
        self.invariants.iter().filter(|check| !check.holds)
    }
}

impl Results {
    /// A run of a scenario.
    pub fn run(&self, scenario: &str) -> Option<&Run> {
        self.results.iter().find(|run| run.scenario == scenario)
    }

    /// Whether an invariant is broken anywhere.
    pub fn is_broken(&self) -> bool {
        self.results.iter().any(|run| run.broken().next().is_some())
    }
}
