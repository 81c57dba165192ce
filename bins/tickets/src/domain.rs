//! What may happen to a ticket: pure decisions, no I/O, no clock.
//!
//! A [`Ticket`] is a listing of one or more equal pieces. Every order's claim on it is a [`Hold`] of its own, so
//! that releasing one can never free another's. [`list`] and [`decide`] answer a command with a [`Decision`]: the
//! next state and the events that are committed together with it.
//!
//! What this module does not know: how anything is stored, who calls, and what time it is.

mod claims;
mod error;
#[cfg(test)]
mod tests;

use events::{
    Event, Money, OrderId, OrderStatus, ShowTime, TicketChange, TicketId, TicketSnapshot, Timestamp, UserId,
    Version,
};

pub use self::error::TicketError;

/// What a seller says about a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Details {
    /// What it is for.
    pub title: String,
    /// More about it; may be empty.
    pub description: String,
    /// Where, if said.
    pub venue: Option<String>,
    /// When the show begins, if said.
    pub starts_at: Option<ShowTime>,
    /// The price of one piece.
    pub price: Money,
    /// How many pieces are for sale in all, the sold ones included.
    pub quantity: u32,
}

/// A listing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Which.
    pub id: TicketId,
    /// Raised by one with every change.
    pub version: Version,
    /// Who sells it.
    pub seller_id: UserId,
    /// What the seller says about it.
    pub details: Details,
    /// Pieces held for orders that are not complete.
    pub reserved: u32,
    /// Pieces sold.
    pub sold: u32,
    /// Withdrawn: a tombstone that keeps its holds.
    pub deleted: bool,
    /// When it was listed.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Where one order's claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldState {
    /// The pieces wait for the payment.
    Held,
    /// The pieces are the buyer's.
    Sold,
    /// The pieces went back on sale.
    Released,
    /// It never had any: it was rejected, or over before it was heard of. Remembered, so that an order is decided about
    /// once, however often and late its events come.
    Refused,
}

/// One order's claim on pieces of a ticket. It stays as a record after it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hold {
    /// Of which ticket.
    pub ticket_id: TicketId,
    /// For which order.
    pub order_id: OrderId,
    /// How many pieces.
    pub quantity: u32,
    /// Where it stands.
    pub state: HoldState,
    /// The order's status, as last heard; for its seller to see, and to know an event that comes too late. An order only
    /// ever goes on to a later status.
    pub order_status: OrderStatus,
    /// What the order costs in all.
    pub total: Money,
    /// When the order was placed.
    pub ordered_at: Timestamp,
}

/// What an order asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Which ticket.
    pub ticket_id: TicketId,
    /// For which order.
    pub order_id: OrderId,
    /// How many pieces.
    pub quantity: u32,
    /// The price of one piece that the buyer agreed to.
    pub price: Money,
    /// What the order costs in all.
    pub total: Money,
    /// When the order was placed.
    pub ordered_at: Timestamp,
}

/// What is to be done with a ticket. The first two come from its seller, the others from the orders service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Say something else about it.
    Update {
        /// Who asks.
        by: UserId,
        /// What is true from now on.
        details: Details,
    },
    /// Withdraw it.
    Delete {
        /// Who asks.
        by: UserId,
    },
    /// An order was placed: hold its pieces, or reject it.
    Reserve(Claim),
    /// An order is accepted or being refunded: only its status is noted.
    Note(OrderStatus),
    /// An order is paid: its pieces are sold.
    Sell(Claim),
    /// An order is over: its pieces go back.
    Release(Claim),
    /// After a loss an order is stated anew: whatever was heard of it before, this is its status.
    Restate(Claim, OrderStatus),
    /// After a loss the orders service knows nothing of this order any more: its pieces go back.
    Forsake,
}

/// What a command leads to. What is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// The ticket's next state.
    pub ticket: Option<Ticket>,
    /// The hold's next state.
    pub hold: Option<Hold>,
    /// What has happened.
    pub events: Vec<Event>,
}

/// Lists a new ticket.
pub fn list(id: TicketId, seller_id: UserId, details: Details, now: Timestamp) -> Decision {
    let ticket = Ticket {
        id,
        version: Version::FIRST,
        seller_id,
        details,
        reserved: 0,
        sold: 0,
        deleted: false,
        created_at: now,
        updated_at: now,
    };
    let events = vec![Event::TicketCreated(ticket.snapshot())];
    Decision {
        ticket: Some(ticket),
        hold: None,
        events,
    }
}

/// Decides what becomes of `ticket`, and of the `hold` of the order that the command is about.
///
/// # Errors
/// [`TicketError`] names why the state forbids the command; nothing changes then.
pub fn decide(
    ticket: Option<&Ticket>,
    hold: Option<&Hold>,
    command: Command,
    now: Timestamp,
) -> Result<Decision, TicketError> {
    match command {
        Command::Update { by, details } => update(editable(ticket, by, TicketError::Reserved)?, details, now),
        Command::Delete { by } => Ok(delete(
            editable(ticket, by, TicketError::ReservedNotDeletable)?,
            now,
        )),
        Command::Reserve(claim) => claims::reserve(ticket, hold, &claim, now),
        Command::Note(status) => claims::note(hold, status),
        Command::Sell(claim) => claims::sell(ticket, hold, &claim, now),
        Command::Release(claim) => claims::release(ticket, hold, &claim, now),
        Command::Restate(claim, status) => claims::restate(ticket, hold, &claim, status, now),
        Command::Forsake => claims::forsake(ticket, hold, now),
    }
}

impl Ticket {
    /// How many pieces can still be ordered.
    pub fn available(&self) -> u32 {
        if self.deleted { 0 } else { self.unclaimed() }
    }

    /// How many pieces nobody has a claim on, whether or not they are on sale.
    fn unclaimed(&self) -> u32 {
        self.details
            .quantity
            .saturating_sub(self.reserved.saturating_add(self.sold))
    }

    /// Invariant I1: what is reserved and sold never exceeds the quantity.
    pub fn is_consistent(&self) -> bool {
        self.reserved
            .checked_add(self.sold)
            .is_some_and(|claimed| claimed <= self.details.quantity)
    }

    /// The whole ticket, as events carry it.
    pub fn snapshot(&self) -> TicketSnapshot {
        TicketSnapshot {
            id: self.id,
            version: self.version,
            seller_id: self.seller_id,
            title: self.details.title.clone(),
            description: self.details.description.clone(),
            venue: self.details.venue.clone(),
            starts_at: self.details.starts_at.clone(),
            price: self.details.price,
            quantity: self.details.quantity,
            reserved: self.reserved,
            sold: self.sold,
            deleted: self.deleted,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    fn changed(&self, now: Timestamp) -> Self {
        Self {
            version: self.version.next(),
            updated_at: now,
            ..self.clone()
        }
    }

    fn change(&self, hold: &Hold) -> TicketChange {
        TicketChange {
            ticket: Some(self.snapshot()),
            ticket_id: self.id,
            order_id: hold.order_id,
            quantity: hold.quantity,
            reason: None,
        }
    }
}

/// The ticket, if `by` may change it now; `reserved` says that an order stands against it.
fn editable(ticket: Option<&Ticket>, by: UserId, reserved: TicketError) -> Result<&Ticket, TicketError> {
    let ticket = ticket
        .filter(|ticket| !ticket.deleted)
        .ok_or(TicketError::NotFound)?;
    if ticket.seller_id != by {
        return Err(TicketError::NotSeller);
    }
    if ticket.reserved > 0 {
        return Err(reserved);
    }
    Ok(ticket)
}

fn update(ticket: &Ticket, details: Details, now: Timestamp) -> Result<Decision, TicketError> {
    if details.quantity < ticket.sold {
        return Err(TicketError::QuantityBelowSold { sold: ticket.sold });
    }
    if ticket.sold > 0 && details.price.currency() != ticket.details.price.currency() {
        return Err(TicketError::CurrencyChanged);
    }
    let next = Ticket {
        details,
        ..ticket.changed(now)
    };
    let events = vec![Event::TicketUpdated(next.snapshot())];
    Ok(Decision {
        ticket: Some(next),
        hold: None,
        events,
    })
}

fn delete(ticket: &Ticket, now: Timestamp) -> Decision {
    let next = Ticket {
        deleted: true,
        ..ticket.changed(now)
    };
    let events = vec![Event::TicketDeleted(next.snapshot())];
    Decision {
        ticket: Some(next),
        hold: None,
        events,
    }
}
