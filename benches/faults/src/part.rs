//! The parts that the system is made of.

use events::Source;

/// A process of the system under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// People, sessions, keys.
    Auth,
    /// Listings and holds.
    Tickets,
    /// Orders.
    Orders,
    /// Deadlines.
    Expiration,
    /// Payments.
    Payments,
    /// The stand-in for Stripe: another company, which never fails unless a row tells it to.
    Stripe,
}

impl Part {
    /// All of them, in the order in which they are started.
    pub const ALL: [Self; 6] = [
        Self::Stripe,
        Self::Auth,
        Self::Tickets,
        Self::Orders,
        Self::Expiration,
        Self::Payments,
    ];

    /// Those with a store and a stream of their own.
    pub const SERVICES: [Self; 5] = [
        Self::Auth,
        Self::Tickets,
        Self::Orders,
        Self::Expiration,
        Self::Payments,
    ];

    /// Its name, as in its data directory and its stream.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Tickets => "tickets",
            Self::Orders => "orders",
            Self::Expiration => "expiration",
            Self::Payments => "payments",
            Self::Stripe => "stripe-fake",
        }
    }

    /// As a source of events, if it is one.
    pub fn source(self) -> Option<Source> {
        match self {
            Self::Auth => Some(Source::Auth),
            Self::Tickets => Some(Source::Tickets),
            Self::Orders => Some(Source::Orders),
            Self::Expiration => Some(Source::Expiration),
            Self::Payments => Some(Source::Payments),
            Self::Stripe => None,
        }
    }

    /// The part of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }
}
