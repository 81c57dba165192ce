//! A file's bytes: what was synced, what was written since, and what of that a power cut could have kept.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::units;
use crate::chance::Chance;

/// What a disk writes whole.
const SECTOR_BYTES: u64 = 512;
/// What a kernel hands to the disk at a time.
const PAGE_BYTES: u64 = 4_096;

/// A change of a file's bytes.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// Bytes of the journal, written at an offset.
    Write { offset: u64, data: Range<usize> },
    /// The file ends here from now on.
    Resize(u64),
}

impl Change {
    /// Which bytes of the file are written.
    const fn range(&self) -> Range<u64> {
        match self {
            Self::Write { offset, data } => *offset..*offset + (data.end - data.start) as u64,
            Self::Resize(_) => 0..0,
        }
    }
}

/// A file, whatever its names are.
#[derive(Debug, Default)]
pub(super) struct FileNode {
    base: Option<Arc<[u8]>>,
    /// In order, each with the record that made it.
    changes: Vec<(usize, Change)>,
    /// Changes before this record are on the disk.
    synced: usize,
}

/// How much of what was not synced a cut leaves.
#[derive(Debug, Clone, Copy)]
enum Left {
    Nothing,
    Everything,
    /// All up to some change, which is torn.
    Beginning,
    /// Each unit by itself, as it was at any moment.
    Scattered,
    /// Nearly all, some units missing.
    NearlyAll,
}

impl Left {
    const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Everything,
        Self::Beginning,
        Self::Scattered,
        Self::NearlyAll,
    ];
}

impl FileNode {
    pub(super) fn on_disk(bytes: Arc<[u8]>) -> Self {
        Self {
            base: Some(bytes),
            changes: Vec::new(),
            synced: 0,
        }
    }

    pub(super) fn change(&mut self, at: usize, change: Change) {
        self.changes.push((at, change));
    }

    pub(super) fn sync(&mut self, at: usize) {
        self.synced = self.synced.max(at);
    }

    /// Its bytes as long as the power stays on.
    pub(super) fn with_power(&self, journal: &[u8]) -> Vec<u8> {
        let mut bytes = self.base.as_deref().unwrap_or_default().to_vec();
        for (_, change) in &self.changes {
            apply(&mut bytes, change, journal);
        }
        bytes
    }

    /// Its bytes as a cut could leave them.
    pub(super) fn after_cut(&self, journal: &[u8], chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.base.as_deref().unwrap_or_default().to_vec();
        let unsynced = self.changes.partition_point(|(at, _)| *at < self.synced);
        let (synced, unsynced) = self.changes.split_at(unsynced);
        for (_, change) in synced {
            apply(&mut bytes, change, journal);
        }
        if unsynced.is_empty() {
            return bytes;
        }
        let unit_bytes = if chance.happens(1, 2) {
            SECTOR_BYTES
        } else {
            PAGE_BYTES
        };
        let left = Left::ALL[chance.index(0..Left::ALL.len())];
        // A unit is written as it stood at some moment: with the first so many of the changes that touch it.
        let mut touched: HashMap<u64, usize> = HashMap::new();
        for (_, change) in unsynced {
            for (unit, _) in units(change.range(), unit_bytes) {
                *touched.entry(unit).or_default() += 1;
            }
        }
        let torn = chance.index(0..unsynced.len());
        let mut kept: HashMap<u64, usize> = HashMap::new();
        let mut in_order: Vec<(u64, usize)> = touched.into_iter().collect();
        in_order.sort_unstable();
        for (unit, times) in in_order {
            let count = match left {
                Left::Nothing => 0,
                Left::Everything | Left::Beginning => times,
                Left::Scattered => chance.index(0..times + 1),
                Left::NearlyAll if chance.happens(1, 10) => chance.index(0..times + 1),
                Left::NearlyAll => times,
            };
            kept.insert(unit, count);
        }
        let resizes = unsynced
            .iter()
            .filter(|(_, change)| matches!(change, Change::Resize(_)))
            .count();
        let mut resizes_kept = match left {
            Left::Nothing => 0,
            Left::Everything | Left::Beginning => resizes,
            Left::Scattered | Left::NearlyAll => chance.index(0..resizes + 1),
        };
        // In units of the change before the torn one nothing is missing, and behind it nothing is there.
        let mut whole_size = bytes.len() as u64;
        for (at, (_, change)) in unsynced.iter().enumerate() {
            match change {
                Change::Resize(size) => whole_size = *size,
                Change::Write { .. } => whole_size = whole_size.max(change.range().end),
            }
            if matches!(left, Left::Beginning) && at > torn {
                break;
            }
            match change {
                Change::Resize(_) => {
                    if resizes_kept > 0 {
                        resizes_kept -= 1;
                        apply(&mut bytes, change, journal);
                    }
                }
                Change::Write { offset, data } => {
                    for (unit, part) in units(change.range(), unit_bytes) {
                        let left_of_unit = kept.entry(unit).or_default();
                        if *left_of_unit == 0
                            || (matches!(left, Left::Beginning) && at == torn && chance.happens(1, 2))
                        {
                            continue;
                        }
                        *left_of_unit -= 1;
                        let from = data.start + to_index(part.start - offset);
                        let data = from..from + to_index(part.end - part.start);
                        let offset = part.start;
                        apply(&mut bytes, &Change::Write { offset, data }, journal);
                    }
                }
            }
        }
        // The size may be there before the bytes are.
        if chance.happens(1, 3) && whole_size > bytes.len() as u64 {
            bytes.resize(to_index(whole_size), 0);
        }
        bytes
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change, journal: &[u8]) {
    match change {
        Change::Resize(size) => bytes.resize(to_index(*size), 0),
        Change::Write { offset, data } => {
            let from = to_index(*offset);
            let end = from + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[from..end].copy_from_slice(&journal[data.clone()]);
        }
    }
}

fn to_index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a file of a test fits into memory")
}
