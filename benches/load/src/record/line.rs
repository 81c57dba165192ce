//! One named distribution of times.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::number::{float, millis_of, rounded};

/// The longest time that is told apart; longer ones count as this.
const MICROS_MAX: u64 = 120_000_000;

/// How exactly times are kept: three digits, so that an error is below a tenth of a percent.
const DIGITS: u8 = 3;

/// A named distribution of times.
#[derive(Debug, Clone)]
pub struct Line {
    name: &'static str,
    times: Histogram<u64>,
}

/// What is told of a distribution, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half were faster.
    pub p50_ms: f64,
    /// Nine of ten were faster.
    pub p90_ms: f64,
    /// 99 of a hundred were faster.
    pub p99_ms: f64,
    /// 999 of a thousand were faster.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// The mean.
    pub mean_ms: f64,
}

impl Line {
    /// An empty one.
    pub fn new(name: &'static str) -> Self {
        let times =
            Histogram::new_with_bounds(1, MICROS_MAX, DIGITS).expect("the bounds are constants that hold");
        Self { name, times }
    }

    /// What it is of.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many times there are.
    pub fn count(&self) -> u64 {
        self.times.len()
    }

    /// Adds one.
    pub fn record(&mut self, micros: u64) {
        self.times.saturating_record(micros);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.times.reset();
    }

    /// So many of a hundred were as fast or faster, in milliseconds.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        if self.times.is_empty() {
            return 0.0;
        }
        rounded(millis_of(self.times.value_at_quantile(quantile)), 3)
    }

    /// What is told of it.
    pub fn percentiles(&self) -> Percentiles {
        if self.times.is_empty() {
            return Percentiles::default();
        }
        Percentiles {
            p50_ms: self.quantile_ms(0.5),
            p90_ms: self.quantile_ms(0.9),
            p99_ms: self.quantile_ms(0.99),
            p999_ms: self.quantile_ms(0.999),
            max_ms: rounded(millis_of(self.times.max()), 3),
            mean_ms: rounded(self.times.mean() / 1_000.0, 3),
        }
    }

    /// The distribution in `bars` bars whose bounds grow by the same factor: upper bound in milliseconds, and how many.
    /// From the fastest to the slowest, so that nothing is cut off.
    pub fn bars(&self, bars: u16) -> Vec<(f64, u64)> {
        if self.times.is_empty() || bars == 0 {
            return Vec::new();
        }
        let low = float(self.times.min().max(1));
        let high = float(self.times.max().max(1)) * 1.001;
        let factor = (high / low).powf(1.0 / f64::from(bars)).max(1.000_1);
        let mut counted = vec![0_u64; usize::from(bars)];
        for value in self.times.iter_recorded() {
            let at = (float(value.value_iterated_to().max(1)) / low).ln() / factor.ln();
            let at = usize::try_from(crate::number::whole(at.floor())).unwrap_or(0);
            let at = at.min(counted.len() - 1);
            counted[at] += value.count_since_last_iteration();
        }
        let mut bound = low;
        let bounds = std::iter::from_fn(|| {
            bound *= factor;
            Some(rounded(bound / 1_000.0, 4))
        });
        bounds.zip(counted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_recorded() {
        let mut line = Line::new("x");
        assert_eq!(line.percentiles(), Percentiles::default());
        for millis in 1..=1_000 {
            line.record(millis * 1_000);
        }
        let told = line.percentiles();
        for (is, expected) in [
            (told.p50_ms, 500.0),
            (told.p90_ms, 900.0),
            (told.p99_ms, 990.0),
            (told.p999_ms, 999.0),
            (told.max_ms, 1_000.0),
            (told.mean_ms, 500.5),
        ] {
            assert!(
                (is - expected).abs() <= expected / 900.0,
                "{is} is not {expected}"
            );
        }
    }

    #[test]
    fn every_time_is_in_a_bar() {
        let mut line = Line::new("x");
        for micros in [1, 90, 91, 5_000, 1_000_000, 500_000_000] {
            line.record(micros);
        }
        let bars = line.bars(24);
        assert_eq!(bars.len(), 24);
        assert_eq!(bars.iter().map(|(_, count)| count).sum::<u64>(), 6);
        assert!(bars.is_sorted_by(|a, b| a.0 < b.0));
    }
}
