//! What the system has acknowledged: the book that nothing may be missing from afterwards.
//!
//! It is kept by the clients, outside the system, and filled only with what a 2xx has said. That makes it the
//! measure of "lost": a thing that stands here, and not (or in an earlier state) in the system after the fault.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use events::{OrderStatus, Version};
use invariants::Acknowledged;

use crate::times::RanOut;

/// So many sentences about unexpected answers are kept; the number of all is counted.
const UNEXPECTED_KEPT_MAX: usize = 20;

/// The states of an order, as the contract names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// Asked for.
    Created,
    /// Reserved.
    AwaitingPayment,
    /// Authorised.
    Accepted,
    /// Captured: the ticket is the buyer's.
    Complete,
    /// A refund is asked for.
    Refunding,
    /// Over.
    Cancelled,
}

impl Status {
    /// The state of that name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "created" => Self::Created,
            "awaiting:payment" => Self::AwaitingPayment,
            "accepted" => Self::Accepted,
            "complete" => Self::Complete,
            "refunding" => Self::Refunding,
            "cancelled" => Self::Cancelled,
            _ => return None,
        })
    }

    /// Whether an order may stay so for ever.
    pub fn is_final(self) -> bool {
        match self {
            Self::Complete | Self::Cancelled => true,
            Self::Created | Self::AwaitingPayment | Self::Accepted | Self::Refunding => false,
        }
    }
}

impl From<Status> for OrderStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Created => Self::Created,
            Status::AwaitingPayment => Self::AwaitingPayment,
            Status::Accepted => Self::Accepted,
            Status::Complete => Self::Complete,
            Status::Refunding => Self::Refunding,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::AwaitingPayment => "awaiting:payment",
            Self::Accepted => "accepted",
            Self::Complete => "complete",
            Self::Refunding => "refunding",
            Self::Cancelled => "cancelled",
        })
    }
}

/// What was acknowledged about one order.
#[derive(Debug, Clone)]
pub struct KnownOrder {
    /// Which of the buyers.
    pub buyer: usize,
    /// The listing.
    pub ticket: String,
    /// When it was acknowledged.
    pub placed: Instant,
    /// The newest version and state that any answer has shown.
    pub version: u64,
    /// The state of that version.
    pub status: Status,
    /// Stripe has said that it was paid.
    pub paid: bool,
    /// Its cancellation was answered 204.
    pub cancelled: bool,
    /// Its refund was answered 202.
    pub refund: bool,
}

/// What was acknowledged about one listing.
#[derive(Debug, Clone)]
pub struct KnownTicket {
    /// Which of the sellers.
    pub seller: usize,
    /// How many pieces it has.
    pub quantity: u64,
}

/// A copy of everything, to compare with.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    /// Orders by id.
    pub orders: BTreeMap<String, KnownOrder>,
    /// Listings by id.
    pub tickets: BTreeMap<String, KnownTicket>,
    /// The newest version of a listing that an answer has shown, where it was changed.
    pub changed: BTreeMap<String, u64>,
    /// Listings whose withdrawal was answered 204.
    pub withdrawn: BTreeSet<String>,
    /// Accounts, by id, that an answer has told of.
    pub users: BTreeSet<String>,
    /// Payments, by id, that were answered 201.
    pub payments: BTreeSet<String>,
    /// How many writes were answered 2xx.
    pub acknowledged: usize,
    /// How many purchases came to their end in front of their client.
    pub finished: usize,
    /// How many orders were refused because nothing was left.
    pub refused: usize,
    /// Answers that the contract does not promise, and clients that were left without one.
    pub unexpected: Vec<String>,
    /// How many those were.
    pub unexpected_count: usize,
    /// Orders that nobody paid, and that came to their end by themselves.
    pub ran_out: Vec<RanOut>,
    /// The longest time that any request took to its answer, or to its failure.
    pub slowest: Duration,
}

impl Entries {
    /// All of it, as `invariants` compares it with the books (I3).
    ///
    /// # Panics
    /// When an answer that was noted down had an id that is none.
    pub fn promises(&self) -> Vec<Acknowledged> {
        let users = self.users.iter().map(|user| Acknowledged::User { id: id(user) });
        let tickets = self.tickets.keys().map(|ticket| {
            if self.withdrawn.contains(ticket) {
                return Acknowledged::TicketDeleted { id: id(ticket) };
            }
            let version = self.changed.get(ticket).copied().map_or(Version::FIRST, Version);
            Acknowledged::Ticket {
                id: id(ticket),
                version,
            }
        });
        let orders = self.orders.iter().map(|(order, known)| Acknowledged::Order {
            id: id(order),
            version: Version(known.version),
            status: known.status.into(),
        });
        let payments = self
            .payments
            .iter()
            .map(|payment| Acknowledged::Payment { id: id(payment) });
        users.chain(tickets).chain(orders).chain(payments).collect()
    }
}

fn id<T: FromStr<Err: fmt::Debug>>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|error| panic!("an answer called {text:?} an id: {error:?}"))
}

/// The book.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Entries>);

impl Ledger {
    /// An account was acknowledged.
    pub fn signed_up(&self, user: &str) {
        self.entries().acknowledged += 1;
        self.known(user);
    }

    /// An answer has told of an account.
    pub fn known(&self, user: &str) {
        self.entries().users.insert(user.to_owned());
    }

    /// A listing was answered 201.
    pub fn listed(&self, ticket: &str, known: KnownTicket) {
        let mut entries = self.entries();
        entries.acknowledged += 1;
        entries.tickets.insert(ticket.to_owned(), known);
    }

    /// A change of a listing was answered 200, and made it this version.
    pub fn ticket_changed(&self, ticket: &str, version: u64) {
        let mut entries = self.entries();
        entries.acknowledged += 1;
        entries.changed.insert(ticket.to_owned(), version);
    }

    /// The withdrawal of a listing was answered 204.
    pub fn withdrawn(&self, ticket: &str) {
        let mut entries = self.entries();
        entries.acknowledged += 1;
        entries.withdrawn.insert(ticket.to_owned());
    }

    /// Something was answered 2xx that only the one who asked for it can look after.
    pub fn changed_something(&self) {
        self.entries().acknowledged += 1;
    }

    /// A listing that an operator gave up knowingly, with all that was in the store since its backup.
    pub fn given_up(&self, ticket: &str) {
        self.entries().tickets.remove(ticket);
    }

    /// Accounts that an operator gave up knowingly by restoring a backup that is older than they are: all but these.
    pub fn given_up_accounts_but(&self, known: &BTreeSet<String>) -> BTreeSet<String> {
        let mut entries = self.entries();
        let kept = entries.users.intersection(known).cloned().collect();
        let all = std::mem::replace(&mut entries.users, kept);
        all.difference(known).cloned().collect()
    }

    /// An order was answered 201.
    pub fn ordered(&self, order: &str, known: KnownOrder) {
        let mut entries = self.entries();
        entries.acknowledged += 1;
        entries.orders.insert(order.to_owned(), known);
    }

    /// An order was refused for want of pieces.
    pub fn refused(&self) {
        self.entries().refused += 1;
    }

    /// An answer has shown an order in this state.
    pub fn saw(&self, order: &str, version: u64, status: Status) {
        self.change(order, |known| {
            if version > known.version {
                known.version = version;
                known.status = status;
            }
        });
    }

    /// A payment was answered 201.
    pub fn payment_opened(&self, payment: &str) {
        let mut entries = self.entries();
        entries.acknowledged += 1;
        entries.payments.insert(payment.to_owned());
    }

    /// Stripe has taken the card.
    pub fn paid(&self, order: &str) {
        self.change(order, |known| known.paid = true);
    }

    /// A cancellation was answered 204.
    pub fn cancelled(&self, order: &str) {
        self.entries().acknowledged += 1;
        self.change(order, |known| known.cancelled = true);
    }

    /// A refund was answered 202.
    pub fn refund_promised(&self, order: &str) {
        self.entries().acknowledged += 1;
        self.change(order, |known| known.refund = true);
    }

    /// An order that nobody paid is over, and it had so long.
    pub fn ran_out(&self, order: &str, hold: Duration) {
        let over = Instant::now();
        let mut entries = self.entries();
        if let Some(deadline) = entries.orders.get(order).map(|known| known.placed + hold) {
            entries.ran_out.push(RanOut { deadline, over });
        }
    }

    /// A purchase is over for its client.
    pub fn finished(&self) {
        self.entries().finished += 1;
    }

    /// An answer came that the contract does not promise, or none at all.
    pub fn unexpected(&self, sentence: String) {
        let mut entries = self.entries();
        entries.unexpected_count += 1;
        if entries.unexpected.len() < UNEXPECTED_KEPT_MAX {
            entries.unexpected.push(sentence);
        }
    }

    /// A request has taken this long.
    pub fn took(&self, time: Duration) {
        let mut entries = self.entries();
        entries.slowest = entries.slowest.max(time);
    }

    /// Everything, as it stands.
    pub fn copy(&self) -> Entries {
        self.entries().clone()
    }

    /// How many purchases are over for their clients.
    pub fn finished_count(&self) -> usize {
        self.entries().finished
    }

    fn change(&self, order: &str, change: impl FnOnce(&mut KnownOrder)) {
        if let Some(known) = self.entries().orders.get_mut(order) {
            change(known);
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
