//! What the other services' events mean here: tickets are noted, everything else becomes a command to an order.

use bus::{Applied, Handler, Impossible};
use events::{Envelope, Event, EventType, OrderId, RejectReason, TicketChange, TicketSnapshot};
use store::{TransactError, Txn};

use crate::domain::{self, Command, Decision, Order, OrderError, TicketView};
use crate::store::OrderIndexes;

/// Applies the events of tickets, payments and expiration.
#[derive(Debug, Default)]
pub struct OrdersHandler;

/// What an event means to this service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// A ticket is as follows.
    Ticket(&'a TicketSnapshot),
    /// An order is to do something.
    Order(OrderId, Command),
}

impl Handler<OrderIndexes> for OrdersHandler {
    fn concerns(&self, event_type: EventType) -> bool {
        matches!(
            event_type,
            EventType::TicketCreated
                | EventType::TicketUpdated
                | EventType::TicketDeleted
                | EventType::TicketReserved
                | EventType::TicketRejected
                | EventType::OrderExpired
                | EventType::PaymentAuthorized
                | EventType::PaymentCreated
                | EventType::PaymentFailed
                | EventType::PaymentRefunded
        )
    }

    fn apply(
        &self,
        tx: &mut Txn<'_, OrderIndexes>,
        envelope: &Envelope,
    ) -> Result<Applied, TransactError<Impossible>> {
        match meaning(&envelope.event) {
            None => Ok(Applied::Done),
            Some(Meaning::Ticket(ticket)) => {
                let known = tx.get::<TicketView>(&ticket.id)?;
                match TicketView::heard(known.as_ref(), ticket) {
                    Ok(view) => {
                        tx.put_any(view)?;
                        Ok(Applied::Done)
                    }
                    Err(error) => not_applied(error),
                }
            }
            Some(Meaning::Order(id, command)) => decided(tx, id, command),
        }
    }
}

/// Decides what a command makes of an order, and stages it.
///
/// # Errors
/// [`Impossible`] when the state rules the command out.
pub(crate) fn decided(
    tx: &mut Txn<'_, OrderIndexes>,
    id: OrderId,
    command: Command,
) -> Result<Applied, TransactError<Impossible>> {
    let Some(order) = tx.get::<Order>(&id)? else {
        // Nobody hears of an order before this store has it: this one was lost with a store that was given up for an
        // older one, and what others still have of it ends when they hear that.
        return Ok(Applied::Stale("this service knows no such order any more"));
    };
    match domain::decide(&order, command, tx.now()) {
        Ok(decision) => {
            stage(tx, Some(&order), decision)?;
            Ok(Applied::Done)
        }
        Err(error) => not_applied(error),
    }
}

/// An event that changes nothing: because it came too late, or because it must not be.
fn not_applied(error: OrderError) -> Result<Applied, TransactError<Impossible>> {
    if let OrderError::Stale(reason) = error {
        return Ok(Applied::Stale(reason));
    }
    Err(TransactError::Refused(Impossible(error.to_string())))
}

/// Stages a decision about `before`: row and events together.
///
/// # Errors
/// When the order is not the one that was decided about any more.
pub fn stage<E>(
    tx: &mut Txn<'_, OrderIndexes>,
    before: Option<&Order>,
    decision: Decision,
) -> Result<(), TransactError<E>> {
    if let Some(order) = decision.order {
        tx.put(before.map(|order| order.version), order)?;
    }
    for event in decision.events {
        tx.emit(event);
    }
    Ok(())
}

/// What an event means to this service; nothing if it means nothing.
pub fn meaning(event: &Event) -> Option<Meaning<'_>> {
    let order = |id, command| Some(Meaning::Order(id, command));
    match event {
        Event::TicketCreated(ticket) | Event::TicketUpdated(ticket) | Event::TicketDeleted(ticket) => {
            Some(Meaning::Ticket(ticket))
        }
        Event::TicketReserved(change) => order(change.order_id, Command::Reserved),
        Event::TicketRejected(change) => order(change.order_id, Command::Rejected(why(change))),
        Event::OrderExpired(expired) => order(expired.order_id, Command::Expire),
        Event::PaymentAuthorized(payment) => order(payment.order_id, Command::PaymentAuthorized),
        Event::PaymentCreated(payment) => order(payment.order_id, Command::PaymentCaptured),
        Event::PaymentFailed(payment) => order(payment.order_id, Command::PaymentFailed),
        Event::PaymentRefunded(payment) => order(payment.order_id, Command::PaymentRefunded),
        // A release and a sale follow from this service's own orders: it has counted them already.
        Event::TicketReleased(_)
        | Event::TicketSold(_)
        | Event::PaymentOpened(_)
        | Event::UserRegistered(_)
        | Event::SessionRevoked(_)
        | Event::KeyPublished(_)
        | Event::KeyRetired(_)
        | Event::OrderCreated(_)
        | Event::OrderAwaitingPayment(_)
        | Event::OrderAccepted(_)
        | Event::OrderCompleted(_)
        | Event::OrderRefunding(_)
        | Event::OrderCancelled(_)
        | Event::OrderNotDue(_) => None,
    }
}

fn why(change: &TicketChange) -> RejectReason {
    // Every rejection says why; one that did not would be a ticket that can't be had.
    change.reason.unwrap_or(RejectReason::SoldOut)
}

#[cfg(test)]
mod tests;
