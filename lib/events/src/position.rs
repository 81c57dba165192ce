//! Where an event stands: its source, the epoch of that source's store, and its number in the outbox.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The version of an entity: 1 when it is created, one more with each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The version of an entity that has just come to be.
    pub const FIRST: Self = Self(1);

    /// The version after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The number of an event in its producer's outbox: 1 for the first, without gaps within an [`Epoch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How often a store has been begun anew with known loss: 1 for a new store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch of a new store.
    pub const FIRST: Self = Self(1);
}

impl Default for Epoch {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// An event's place in the history of one source. Orders by epoch first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Position {
    /// The epoch of the source's store.
    pub epoch: Epoch,
    /// The number within that epoch; 0 stands before the first event.
    pub seq: Seq,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

/// A service that publishes events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// People, sessions and signing keys.
    Auth,
    /// Listings and the holds on them.
    Tickets,
    /// Orders.
    Orders,
    /// Deadlines.
    Expiration,
    /// Payments.
    Payments,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Auth,
        Self::Tickets,
        Self::Orders,
        Self::Expiration,
        Self::Payments,
    ];

    /// The name as it stands in stream keys and envelopes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Tickets => "tickets",
            Self::Orders => "orders",
            Self::Expiration => "expiration",
            Self::Payments => "payments",
        }
    }

    /// The byte that stands for it in stored keys; never reused for another source.
    pub const fn code(self) -> u8 {
        match self {
            Self::Auth => 1,
            Self::Tickets => 2,
            Self::Orders => 3,
            Self::Expiration => 4,
            Self::Payments => 5,
        }
    }

    /// The source that [`Self::code`] stands for.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.code() == code)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is none of auth, tickets, orders, expiration, payments")]
pub struct UnknownSource;

impl FromStr for Source {
    type Err = UnknownSource;
    fn from_str(text: &str) -> Result<Self, UnknownSource> {
        Self::ALL
            .into_iter()
            .find(|source| source.as_str() == text)
            .ok_or(UnknownSource)
    }
}

/// The event that led to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cause {
    /// Who published it.
    pub source: Source,
    /// The epoch of that source's store.
    pub epoch: Epoch,
    /// Its number in that source's outbox.
    pub seq: Seq,
}

impl Cause {
    /// The event of `source` at `position`.
    pub const fn new(source: Source, position: Position) -> Self {
        Self {
            source,
            epoch: position.epoch,
            seq: position.seq,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.source, self.epoch, self.seq)
    }
}
