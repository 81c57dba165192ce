//! What a row is given: how big it is to be, its chance, and somewhere to say how it goes.

use std::time::{Duration, Instant};

use crate::random::Random;

/// So many times as long as promised things may take in a short run.
const BUSY_TIMES: u32 = 10;

/// How big a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Each row once, in seconds: what `./scripts/test` runs.
    Short,
    /// As many purchases, kills and seconds as the promise is about.
    Long,
}

impl Form {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
        }
    }
}

/// The stage of one row.
#[derive(Debug, Clone)]
pub struct Stage {
    /// How big it is to be.
    pub form: Form,
    /// Where all choices of the row come from.
    pub seed: u64,
    row: &'static str,
    begun: Instant,
}

impl Stage {
    /// For one row of a run with this seed.
    pub fn new(form: Form, seed: u64, row: &'static str) -> Self {
        // Each row chooses for itself, so that it makes the same choices alone and among all.
        let own = row
            .bytes()
            .fold(seed, |seed, byte| Random::new(seed ^ u64::from(byte)).number());
        Self {
            form,
            seed: own,
            row,
            begun: Instant::now(),
        }
    }

    /// One of two sizes.
    pub fn size<T>(&self, short: T, long: T) -> T {
        match self.form {
            Form::Short => short,
            Form::Long => long,
        }
    }

    /// The bound of something that is promised to take at most so long. A long run holds it to that, on a machine that
    /// has nothing else to do; on a busy one everything takes longer, and nothing is wrong with that.
    pub fn promised(&self, max: Duration) -> Duration {
        max * self.size(BUSY_TIMES, 1)
    }

    /// The row's own chance.
    pub fn random(&self) -> Random {
        Random::new(self.seed)
    }

    /// How it goes.
    pub fn say(&self, how: &str) {
        eprintln!(
            "     {} ({:.0} s): {how}",
            self.row,
            self.begun.elapsed().as_secs_f64()
        );
    }
}
