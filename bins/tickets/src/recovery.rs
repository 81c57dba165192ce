//! Tickets after a loss: its own events become listings and holds again, what it has is told anew, and what the orders
//! service states anew is followed.
//!
//! Nothing here decides: an adopted event has happened, and what is stated goes through [`crate::domain`].

use std::collections::HashSet;

use bus::{Adopted, Applied, Handler as _, Impossible, Recovery};
use events::{
    Currency, Envelope, Event, EventType, Money, OrderStatus, RejectReason, Source, TicketChange,
    TicketSnapshot, Timestamp,
};
use store::{Record as _, StoredRow, TransactError, Txn};

use crate::consumer::{TicketsHandler, claim, command, decided};
use crate::domain::{Command, Details, Hold, HoldState, Ticket};
use crate::search::TicketIndexes;

/// How many holds are looked at at once when the orders service has lost some of its orders.
const HOLDS_PER_SCAN: usize = 1_000;

impl Recovery<TicketIndexes> for TicketsHandler {
    fn adopt(
        &self,
        tx: &mut Txn<'_, TicketIndexes>,
        envelope: &Envelope,
    ) -> Result<Adopted, TransactError<Impossible>> {
        match &envelope.event {
            Event::TicketCreated(ticket) | Event::TicketUpdated(ticket) | Event::TicketDeleted(ticket) => {
                tx.put_any(Ticket::from(ticket))?;
            }
            Event::TicketReserved(change) => {
                adopt_change(tx, change, HoldState::Held, OrderStatus::AwaitingPayment)?;
            }
            Event::TicketRejected(change) => {
                adopt_change(tx, change, HoldState::Refused, OrderStatus::Created)?;
            }
            Event::TicketReleased(change) => {
                adopt_change(tx, change, HoldState::Released, OrderStatus::Cancelled)?;
            }
            Event::TicketSold(change) => {
                adopt_change(tx, change, HoldState::Sold, OrderStatus::Complete)?;
            }
            Event::UserRegistered(_)
            | Event::SessionRevoked(_)
            | Event::KeyPublished(_)
            | Event::KeyRetired(_)
            | Event::OrderCreated(_)
            | Event::OrderAwaitingPayment(_)
            | Event::OrderAccepted(_)
            | Event::OrderCompleted(_)
            | Event::OrderRefunding(_)
            | Event::OrderCancelled(_)
            | Event::OrderNotDue(_)
            | Event::OrderExpired(_)
            | Event::PaymentOpened(_)
            | Event::PaymentAuthorized(_)
            | Event::PaymentCreated(_)
            | Event::PaymentFailed(_)
            | Event::PaymentRefunded(_) => {
                return Impossible::because(format!("{} is no event of tickets", envelope.id()));
            }
        }
        Ok(Adopted::Whole)
    }

    /// A listing as it is; and, for an order that may not have heard it, what became of its claim.
    fn restate(&self, row: &StoredRow) -> Option<Event> {
        if let Some(ticket) = row.of::<Ticket>() {
            let told = if ticket.deleted {
                Event::TicketDeleted
            } else {
                Event::TicketUpdated
            };
            return Some(told(ticket.snapshot()));
        }
        let hold = row.of::<Hold>()?;
        let change = |reason| TicketChange {
            ticket: None,
            ticket_id: hold.ticket_id,
            order_id: hold.order_id,
            quantity: hold.quantity,
            reason,
        };
        match (hold.state, hold.order_status) {
            (HoldState::Held, OrderStatus::AwaitingPayment) => Some(Event::TicketReserved(change(None))),
            // Why it was refused is not kept, and the order ends in the same way.
            (HoldState::Refused, status) if status < OrderStatus::Cancelled => {
                Some(Event::TicketRejected(change(Some(RejectReason::SoldOut))))
            }
            (HoldState::Held | HoldState::Sold | HoldState::Released | HoldState::Refused, _) => None,
        }
    }

    /// Those that are stated as awaiting payment, too: they hold pieces.
    fn heeds(&self, event_type: EventType) -> bool {
        event_type == EventType::OrderAwaitingPayment || self.concerns(event_type)
    }

    fn restated(
        &self,
        tx: &mut Txn<'_, TicketIndexes>,
        envelope: &Envelope,
    ) -> Result<Applied, TransactError<Impossible>> {
        match &envelope.event {
            Event::OrderCreated(order)
            | Event::OrderAwaitingPayment(order)
            | Event::OrderAccepted(order)
            | Event::OrderCompleted(order)
            | Event::OrderRefunding(order)
            | Event::OrderCancelled(order) => {
                let restate = Command::Restate(claim(order), order.status);
                decided(tx, order.ticket.id, order.id, restate)
            }
            Event::OrderNotDue(_)
            | Event::UserRegistered(_)
            | Event::SessionRevoked(_)
            | Event::KeyPublished(_)
            | Event::KeyRetired(_)
            | Event::TicketCreated(_)
            | Event::TicketUpdated(_)
            | Event::TicketDeleted(_)
            | Event::TicketReserved(_)
            | Event::TicketRejected(_)
            | Event::TicketReleased(_)
            | Event::TicketSold(_)
            | Event::OrderExpired(_)
            | Event::PaymentOpened(_)
            | Event::PaymentAuthorized(_)
            | Event::PaymentCreated(_)
            | Event::PaymentFailed(_)
            | Event::PaymentRefunded(_) => {
                debug_assert!(
                    command(&envelope.event).is_none(),
                    "what is a command is a statement, too"
                );
                Ok(Applied::Done)
            }
        }
    }

    /// Pieces of orders that the orders service has lost go back on sale.
    fn forsake(
        &self,
        tx: &mut Txn<'_, TicketIndexes>,
        source: Source,
        stated: &HashSet<String>,
    ) -> Result<(), TransactError<Impossible>> {
        if source != Source::Orders {
            return Ok(());
        }
        let mut after = None;
        loop {
            let holds: Vec<Hold> = tx.scan(after.as_ref(), HOLDS_PER_SCAN)?;
            let lost = holds
                .iter()
                .filter(|hold| matches!(hold.state, HoldState::Held | HoldState::Sold))
                .filter(|hold| !stated.contains(&hold.order_id.to_string()));
            for hold in lost {
                let (Applied::Done | Applied::Stale(_)) =
                    decided(tx, hold.ticket_id, hold.order_id, Command::Forsake)?;
            }
            if holds.len() < HOLDS_PER_SCAN {
                return Ok(());
            }
            after = holds.last().map(Hold::key);
        }
    }
}

/// Ticket and hold as they were after what was published about both.
fn adopt_change(
    tx: &mut Txn<'_, TicketIndexes>,
    change: &TicketChange,
    state: HoldState,
    order_status: OrderStatus,
) -> Result<(), TransactError<Impossible>> {
    if let Some(ticket) = &change.ticket {
        tx.put_any(Ticket::from(ticket))?;
    }
    let known = tx.get::<Hold>(&(change.ticket_id, change.order_id))?;
    tx.put_any(match known {
        Some(hold) => Hold {
            state,
            order_status,
            ..hold
        },
        None => Hold {
            ticket_id: change.ticket_id,
            order_id: change.order_id,
            quantity: change.quantity,
            state,
            order_status,
            total: total(change),
            ordered_at: ordered_at(change),
        },
    })?;
    Ok(())
}

/// What the order costs: that of a granted claim is the price at that moment. What is said here of a refused one is
/// put right by the order's own event, which is read again.
fn total(change: &TicketChange) -> Money {
    let nothing = || Money::from_minor(0, Currency::Usd).expect("nothing is an amount");
    let price = change.ticket.as_ref().map_or_else(nothing, |ticket| ticket.price);
    price.times(change.quantity).unwrap_or(price)
}

/// An order's id is made when it is placed; the order's own event, which is read again, puts the rest right.
fn ordered_at(change: &TicketChange) -> Timestamp {
    change.order_id.created_at()
}

impl From<&TicketSnapshot> for Ticket {
    fn from(ticket: &TicketSnapshot) -> Self {
        Self {
            id: ticket.id,
            version: ticket.version,
            seller_id: ticket.seller_id,
            details: Details {
                title: ticket.title.clone(),
                description: ticket.description.clone(),
                venue: ticket.venue.clone(),
                starts_at: ticket.starts_at.clone(),
                price: ticket.price,
                quantity: ticket.quantity,
            },
            reserved: ticket.reserved,
            sold: ticket.sold,
            deleted: ticket.deleted,
            created_at: ticket.created_at,
            updated_at: ticket.updated_at,
        }
    }
}

#[cfg(test)]
mod tests;
