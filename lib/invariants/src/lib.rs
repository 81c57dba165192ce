//! The invariants I1 to I7, as one piece of code: what the tests, the fault bench, `boxoffice verify` and the running
//! system check.
//!
//! [`Books`] are what the services say of themselves: an [`Account`] of each store and a [`Fact`] for each row that
//! an invariant is about. [`check`] compares them with each other and answers with [`Violation`]s, in an order that
//! depends on nothing but the books.
//!
//! Books are read a page at a time from services that go on working, so two facts need not be of the same moment.
//! What no such skew can explain is [`Severity::Broken`]; what may still be on its way is [`Severity::Pending`]: it
//! must become right, and whoever asks decides how long to wait. Partial books are fine: only what is there is checked.
//!
//! This crate does no I/O and has no clock. It does not collect books, and it repairs nothing.

mod account;
mod agreement;
mod books;
mod deadlines;
mod fact;
mod holds;
mod kept;
mod ledger;
mod money;
mod repeats;
mod transport;
mod versions;
mod violation;

use events::Timestamp;

pub use account::{Account, Reading};
pub use books::{Books, Page};
pub use fact::{
    Charge, Deadline, Fact, Hold, HoldState, Listing, Order, OrderReplica, Payment, PaymentState, Ticket,
    TicketReplica, User,
};
pub use kept::{Acknowledged, kept};
pub use repeats::unchanged;
pub use versions::{VersionGap, VersionScan};
pub use violation::{Invariant, Severity, Tolerance, Violation};

use crate::ledger::Ledger;

/// Everything that is wrong in these books at `now`, the worst first.
///
/// I3 and I6 need more than the books: see [`kept`] and [`unchanged`].
pub fn check(books: &Books, now: Timestamp, tolerance: Tolerance) -> Vec<Violation> {
    let ledger = Ledger::new(books);
    let mut found = Vec::new();
    holds::check(&ledger, tolerance, &mut found);
    money::check(&ledger, now, tolerance, &mut found);
    deadlines::check(&ledger, now, tolerance, &mut found);
    versions::check(books, &mut found);
    transport::check(books, &mut found);
    agreement::check(&ledger, &mut found);
    found.sort();
    found.dedup();
    found
}
