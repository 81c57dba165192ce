//! How long things took, and how long they may take: I4, I7 and I8 in seconds.
//!
//! The figures are those of the invariants. A long run, on a machine that has nothing else to do, fails if one of them
//! is exceeded; a short one only tells, because on a busy machine everything takes longer, and nothing is wrong with that.

use std::fmt;
use std::time::{Duration, Instant};

/// I7: from the end of a fault until what was committed by then is known everywhere.
const CONVERGED_SECONDS_MAX: u64 = 10;

/// I4: how long after its deadline an order that nobody pays is still open, where nothing disturbs it.
const LATE_SECONDS_MAX: u64 = 5;

/// I4: the same for one whose deadline fell into a fault, from the end of that fault.
const LATE_AFTER_FAULT_SECONDS_MAX: u64 = 30;

/// I8: how long any request takes to its answer, or to its failure.
const ANSWER_SECONDS_MAX: u64 = 10;

/// What was measured in one row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// From the end of the fault until everyone knew what was committed by then.
    pub converged: Duration,
    /// The latest end of an order whose deadline came after the fault, counted from the deadline.
    pub late: Duration,
    /// The latest end of one whose deadline came before the fault was over, counted from when it was.
    pub late_after_fault: Duration,
    /// The slowest answer.
    pub slowest: Duration,
}

/// An order that nobody paid.
#[derive(Debug, Clone, Copy)]
pub struct RanOut {
    /// When its time was over, by the client's clock, which begins when the order is acknowledged.
    pub deadline: Instant,
    /// When its client heard that it was over.
    pub over: Instant,
}

impl Times {
    /// Adds what orders that ran out say about I4.
    #[must_use]
    pub fn with_deadlines(mut self, healed: Instant, ran_out: &[RanOut]) -> Self {
        for RanOut { deadline, over } in ran_out.iter().copied() {
            if deadline >= healed {
                self.late = self.late.max(over.saturating_duration_since(deadline));
            } else {
                let late = over.saturating_duration_since(healed);
                self.late_after_fault = self.late_after_fault.max(late);
            }
        }
        self
    }

    /// The longest of both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            converged: self.converged.max(other.converged),
            late: self.late.max(other.late),
            late_after_fault: self.late_after_fault.max(other.late_after_fault),
            slowest: self.slowest.max(other.slowest),
        }
    }

    /// What took longer than an invariant allows, in words.
    pub fn too_long(&self) -> Option<String> {
        let bounds = [
            (
                "it took too long until everyone knew what was committed (I7)",
                self.converged,
                CONVERGED_SECONDS_MAX,
            ),
            (
                "an order that nobody paid was open too long after its deadline (I4)",
                self.late,
                LATE_SECONDS_MAX,
            ),
            (
                "an order whose deadline fell into the fault was open too long after it (I4)",
                self.late_after_fault,
                LATE_AFTER_FAULT_SECONDS_MAX,
            ),
            ("an answer took too long (I8)", self.slowest, ANSWER_SECONDS_MAX),
        ];
        let sentences: Vec<String> = bounds
            .into_iter()
            .filter(|(_, took, seconds_max)| *took > Duration::from_secs(*seconds_max))
            .map(|(what, took, seconds_max)| {
                format!("{what}: {:.1} s, at most {seconds_max} s", took.as_secs_f64())
            })
            .collect();
        (!sentences.is_empty()).then(|| sentences.join("; "))
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slowest answer {:.1} s", self.slowest.as_secs_f64())?;
        let late = self.late.max(self.late_after_fault);
        if late > Duration::ZERO {
            write!(f, ", latest expiry {:.1} s", late.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_in_a_fault_is_judged_from_its_end() {
        let healed = Instant::now() + Duration::from_secs(100);
        let order = |deadline: i64, over: u64| RanOut {
            deadline: if deadline < 0 {
                healed - Duration::from_secs(deadline.unsigned_abs())
            } else {
                healed + Duration::from_secs(deadline.unsigned_abs())
            },
            over: healed + Duration::from_secs(over),
        };
        let times = |orders: &[RanOut]| Times::default().with_deadlines(healed, orders);
        assert_eq!(times(&[order(-50, 30), order(2, 7)]).too_long(), None);
        let late = times(&[order(2, 8)]).too_long().unwrap();
        assert!(late.contains("6.0 s, at most 5 s"), "{late}");
        let late = times(&[order(-50, 31)]).too_long().unwrap();
        assert!(late.contains("31.0 s, at most 30 s"), "{late}");
    }
}
