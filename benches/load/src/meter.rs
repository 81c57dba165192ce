//! What a run costs: CPU of every process, memory, and syncs, from the moment in which the measured window begins to its end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::number::rounded;
use crate::proc::{self, Taken, Watched};

/// What one process cost over a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Which process; `boxoffice-bench` is the load generator itself.
    pub process: String,
    /// Milliseconds of CPU over the run.
    pub cpu_ms: f64,
    /// The same for one operation.
    pub cpu_ms_per_operation: f64,
    /// Bytes that lay in memory at the end.
    pub resident_bytes: u64,
    /// By how much more that was than at the beginning.
    pub resident_growth_bytes: i64,
    /// Milliseconds of CPU of each kind of thread, the busiest first; those that did nothing are left out.
    pub threads: Vec<(String, f64)>,
}

/// Watches processes.
#[derive(Debug)]
pub struct Meter {
    watched: Vec<Watched>,
    begun: BTreeMap<u32, Taken>,
    ended: BTreeMap<u32, Taken>,
}

/// What each process had taken at one moment, for the series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Milliseconds of CPU since the last sample, by process, in the order of the costs.
    pub cpu_ms: Vec<f64>,
    /// Bytes in memory, all of the system's processes together; the load generator is left out.
    pub resident_bytes: u64,
}

impl Meter {
    /// Watches these, and the load generator.
    pub fn of(mut watched: Vec<Watched>) -> Self {
        let me = std::process::id();
        watched.retain(|process| process.pid != me);
        watched.push(Watched {
            name: "boxoffice-bench".to_owned(),
            pid: me,
        });
        let begun = all(&watched);
        Self {
            watched,
            ended: begun.clone(),
            begun,
        }
    }

    /// Begins to count.
    pub fn begin(&mut self) {
        self.begun = all(&self.watched);
        self.ended = self.begun.clone();
    }

    /// A moment of the run.
    pub fn sample(&mut self) -> Sample {
        let now = all(&self.watched);
        let cpu_ms = self.watched.iter().map(|process| {
            let ms = |taken: &BTreeMap<u32, Taken>| taken.get(&process.pid).map_or(0.0, |taken| taken.cpu_ms);
            rounded((ms(&now) - ms(&self.ended)).max(0.0), 1)
        });
        let cpu_ms = cpu_ms.collect();
        let me = std::process::id();
        let system = now.iter().filter(|(pid, _)| **pid != me);
        let resident_bytes = system.map(|(_, taken)| taken.resident_bytes).sum();
        self.ended = now;
        Sample {
            cpu_ms,
            resident_bytes,
        }
    }

    /// CPU of the system's processes since the beginning, up to now, in milliseconds; the load generator is left out.
    pub fn system_cpu_ms(&self) -> f64 {
        let me = std::process::id();
        let of_system = self.watched.iter().filter(|process| process.pid != me);
        of_system
            .filter_map(|process| {
                let begun = self.begun.get(&process.pid)?;
                Some((proc::taken(process.pid)?.cpu_ms - begun.cpu_ms).max(0.0))
            })
            .sum()
    }

    /// What each cost, for so many operations.
    pub fn costs(&self, operations: f64) -> Vec<Cost> {
        let cost = |process: &Watched| {
            let (begun, ended) = (self.begun.get(&process.pid)?, self.ended.get(&process.pid)?);
            let cpu_ms = (ended.cpu_ms - begun.cpu_ms).max(0.0);
            let mut threads: Vec<(String, f64)> = ended
                .threads
                .iter()
                .map(|(name, ms)| {
                    let before = begun.threads.get(name).copied().unwrap_or(0.0);
                    (name.clone(), rounded((ms - before).max(0.0), 1))
                })
                .filter(|(_, ms)| *ms > 0.0)
                .collect();
            threads.sort_by(|a, b| b.1.total_cmp(&a.1));
            let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
            Some(Cost {
                process: process.name.clone(),
                cpu_ms: rounded(cpu_ms, 1),
                cpu_ms_per_operation: rounded(crate::number::per(cpu_ms, operations), 4),
                resident_bytes: ended.resident_bytes,
                resident_growth_bytes: bytes(ended.resident_bytes) - bytes(begun.resident_bytes),
                threads,
            })
        };
        self.watched.iter().filter_map(cost).collect()
    }
}

fn all(watched: &[Watched]) -> BTreeMap<u32, Taken> {
    let taken = |process: &Watched| Some((process.pid, proc::taken(process.pid)?));
    watched.iter().filter_map(taken).collect()
}
