//! Which content the indexes have: a number that changes with it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers are never given twice in a process, so that indexes which are built anew are not taken for those before them.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// One content of the indexes. Where two readings find the same, every list was the same in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edition(u64);

/// The edition of indexes. It is no part of what they hold: those that were told of the same rows are equal.
#[derive(Debug)]
pub(super) struct Current(Edition);

impl Edition {
    fn next() -> Self {
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Current {
    pub(super) fn get(&self) -> Edition {
        self.0
    }

    pub(super) fn changes(&mut self) {
        self.0 = Edition::next();
    }
}

impl Default for Current {
    fn default() -> Self {
        Self(Edition::next())
    }
}

impl PartialEq for Current {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Current {}
