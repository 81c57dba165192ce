//! What the other services' events mean here: each is turned into a command, decided and staged.

use bus::{Applied, Handler, Impossible};
use events::{Envelope, Event, EventType, OrderId, OrderSnapshot, OrderStatus, TicketId};
use store::{TransactError, Txn};

use crate::domain::{self, Claim, Command, Decision, Hold, Ticket, TicketError};
use crate::search::TicketIndexes;

/// Applies the events of orders.
#[derive(Debug, Default)]
pub struct TicketsHandler;

impl Handler<TicketIndexes> for TicketsHandler {
    fn concerns(&self, event_type: EventType) -> bool {
        matches!(
            event_type,
            EventType::OrderCreated
                | EventType::OrderAccepted
                | EventType::OrderCompleted
                | EventType::OrderRefunding
                | EventType::OrderCancelled
        )
    }

    fn apply(
        &self,
        tx: &mut Txn<'_, TicketIndexes>,
        envelope: &Envelope,
    ) -> Result<Applied, TransactError<Impossible>> {
        let Some((ticket_id, order_id, command)) = command(&envelope.event) else {
            return Ok(Applied::Done);
        };
        decided(tx, ticket_id, order_id, command)
    }
}

/// Decides what an order's command makes of its ticket and its hold, and stages it.
///
/// # Errors
/// [`Impossible`] when the state rules the command out.
pub(crate) fn decided(
    tx: &mut Txn<'_, TicketIndexes>,
    ticket_id: TicketId,
    order_id: OrderId,
    command: Command,
) -> Result<Applied, TransactError<Impossible>> {
    let ticket = tx.get::<Ticket>(&ticket_id)?;
    let hold = tx.get::<Hold>(&(ticket_id, order_id))?;
    match domain::decide(ticket.as_ref(), hold.as_ref(), command, tx.now()) {
        Ok(decision) => {
            stage(tx, ticket.as_ref(), decision)?;
            Ok(Applied::Done)
        }
        Err(TicketError::Stale(reason)) => Ok(Applied::Stale(reason)),
        Err(impossible) => Err(TransactError::Refused(Impossible(impossible.to_string()))),
    }
}

/// Stages a decision about `before`: rows and events together.
///
/// # Errors
/// When the ticket is not the one that was decided about any more.
pub fn stage<E>(
    tx: &mut Txn<'_, TicketIndexes>,
    before: Option<&Ticket>,
    decision: Decision,
) -> Result<(), TransactError<E>> {
    if let Some(ticket) = decision.ticket {
        assert!(ticket.is_consistent(), "I1 is broken: {ticket:?}");
        tx.put(before.map(|ticket| ticket.version), ticket)?;
    }
    if let Some(hold) = decision.hold {
        tx.put_any(hold)?;
    }
    for event in decision.events {
        tx.emit(event);
    }
    Ok(())
}

/// What an event of the orders service asks of a ticket, and on whose behalf; nothing if it asks nothing.
pub fn command(event: &Event) -> Option<(TicketId, OrderId, Command)> {
    let about = |order: &OrderSnapshot, command| Some((order.ticket.id, order.id, command));
    match event {
        Event::OrderCreated(order) => about(order, Command::Reserve(claim(order))),
        Event::OrderAccepted(order) => about(order, Command::Note(OrderStatus::Accepted)),
        Event::OrderRefunding(order) => about(order, Command::Note(OrderStatus::Refunding)),
        Event::OrderCompleted(order) => about(order, Command::Sell(claim(order))),
        Event::OrderCancelled(order) => about(order, Command::Release(claim(order))),
        Event::OrderAwaitingPayment(_)
        | Event::OrderNotDue(_)
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
        | Event::PaymentRefunded(_) => None,
    }
}

/// What an order asks for.
pub fn claim(order: &OrderSnapshot) -> Claim {
    Claim {
        ticket_id: order.ticket.id,
        order_id: order.id,
        quantity: order.quantity,
        price: order.ticket.price,
        total: order.total,
        ordered_at: order.created_at,
    }
}

#[cfg(test)]
mod tests;
