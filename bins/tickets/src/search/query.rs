//! What a list of tickets is asked for, and what it answers.

use std::cmp::{Ordering, Reverse};

use events::{TicketId, Timestamp};

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// The latest listing first.
    #[default]
    Newest,
    /// The earliest show first; those without a date last.
    Date,
    /// The cheapest first.
    Price,
    /// The dearest first.
    PriceDescending,
}

/// What a list is narrowed to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Words that all occur in title or venue; the last may be the beginning of one.
    pub words: Vec<String>,
    /// Shows that begin then or later.
    pub from: Option<Timestamp>,
    /// Shows that begin then or earlier.
    pub to: Option<Timestamp>,
    /// At least this price, in thousandths of a major unit.
    pub min_price: Option<i64>,
    /// At most this price, in thousandths of a major unit.
    pub max_price: Option<i64>,
}

/// A place in a list: the sort key and id of the last ticket that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The sort key of that ticket; 0 when sorted by age.
    pub key: i64,
    /// Which ticket.
    pub id: TicketId,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The tickets, in order.
    pub ids: Vec<TicketId>,
    /// Where the next page begins: there is one, or more than one search may look at lies before it.
    pub next: Option<Place>,
}

impl Sort {
    /// How two places stand to each other in a list of this order.
    pub(super) fn compare(self, a: Place, b: Place) -> Ordering {
        match self {
            Self::Newest => Reverse(a.id).cmp(&Reverse(b.id)),
            Self::Date | Self::Price => (a.key, a.id).cmp(&(b.key, b.id)),
            Self::PriceDescending => Reverse((a.key, a.id)).cmp(&Reverse((b.key, b.id))),
        }
    }
}
