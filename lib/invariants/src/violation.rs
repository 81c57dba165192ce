//! What is found.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which invariant; the numbers are those of ARCHITECTURE.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Invariant {
    /// What is reserved and sold never exceeds the quantity; no order holds twice.
    I1,
    /// Money captured less refunded is the price of what was delivered.
    I2,
    /// What was acknowledged is there.
    I3,
    /// Orders end in time.
    I4,
    /// Versions go up by one.
    I5,
    /// Applying all events again changes nothing.
    I6,
    /// Outboxes drain and replicas agree.
    I7,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Never allowed, not for a moment, whatever is under way.
    Broken,
    /// Must become right; it is wrong only if it stays so.
    Pending,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// How bad it is.
    pub severity: Severity,
    /// Which invariant it is against.
    pub invariant: Invariant,
    /// The ids of what it is about.
    pub subjects: Vec<String>,
    /// What is wrong, in a sentence for an operator.
    pub sentence: String,
}

/// How long a running system may take for what time decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    /// How long after its deadline an order may still be `created` or `awaiting:payment`.
    pub deadline: Duration,
    /// How long money may be on its way: a capture, a refund, the undoing of what is at Stripe.
    pub money: Duration,
    /// Each service's facts are of one moment, as in a copy of its store: what its own rows say of each other must be
    /// right then, and is broken if it is not.
    pub is_of_one_moment: bool,
}

impl Tolerance {
    /// While nothing disturbs the system.
    pub const USUAL: Self = Self {
        deadline: Duration::from_secs(5),
        money: Duration::from_secs(90),
        is_of_one_moment: false,
    };
    /// Counted from when a fault has healed.
    pub const AFTER_FAULT: Self = Self {
        deadline: Duration::from_secs(30),
        money: Duration::from_secs(90),
        is_of_one_moment: false,
    };
    /// Everything must have ended: for a system that has come to rest.
    pub const NONE: Self = Self {
        deadline: Duration::ZERO,
        money: Duration::ZERO,
        is_of_one_moment: false,
    };
    /// For copies of stores at rest.
    pub const OF_COPIES: Self = Self {
        is_of_one_moment: true,
        ..Self::USUAL
    };
}

impl Default for Tolerance {
    fn default() -> Self {
        Self::USUAL
    }
}

impl Violation {
    /// Something that is never allowed.
    pub(crate) fn broken(invariant: Invariant, subjects: &[&dyn fmt::Display], what: &str) -> Self {
        Self::new(Severity::Broken, invariant, subjects, what)
    }

    /// Something that must become right.
    pub(crate) fn pending(invariant: Invariant, subjects: &[&dyn fmt::Display], what: &str) -> Self {
        Self::new(Severity::Pending, invariant, subjects, what)
    }

    fn new(severity: Severity, invariant: Invariant, subjects: &[&dyn fmt::Display], what: &str) -> Self {
        Self {
            severity,
            invariant,
            subjects: subjects.iter().map(ToString::to_string).collect(),
            sentence: format!("{what} ({invariant})."),
        }
    }

    /// Whether it is never allowed.
    pub fn is_broken(&self) -> bool {
        self.severity == Severity::Broken
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I1 => "I1",
            Self::I2 => "I2",
            Self::I3 => "I3",
            Self::I4 => "I4",
            Self::I5 => "I5",
            Self::I6 => "I6",
            Self::I7 => "I7",
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}
