//! What the orders service's events mean here: each schedules, postpones or settles a deadline.

use std::sync::Arc;
use std::time::Duration;

use bus::{Applied, Handler, Impossible};
use events::{Envelope, Event, EventType, OrderId};
use store::{TransactError, Txn};

use crate::domain::{self, Command, Deadline, DeadlineError, Decision};
use crate::hints::Hints;
use crate::store::DeadlineIndexes;

/// Applies the events of orders.
#[derive(Debug)]
pub struct ExpirationHandler {
    hints: Arc<Hints>,
}

impl ExpirationHandler {
    /// A handler that tells the alarm which deadlines have changed.
    pub fn new(hints: Arc<Hints>) -> Self {
        Self { hints }
    }

    /// Tells the alarm that an order's deadline is about to change.
    pub(crate) fn changed(&self, order_id: OrderId) {
        self.hints.push(order_id);
    }

    /// Decides what a command makes of an order's deadline, and stages it.
    pub(crate) fn decided(
        &self,
        tx: &mut Txn<'_, DeadlineIndexes>,
        order_id: OrderId,
        command: Command,
    ) -> Result<Applied, TransactError<Impossible>> {
        let deadline = tx.get::<Deadline>(&order_id)?;
        match domain::decide(deadline.as_ref(), command, tx.now()) {
            Ok(decision) => {
                stage(tx, order_id, decision)?;
                self.changed(order_id);
                Ok(Applied::Done)
            }
            Err(DeadlineError::Stale(reason)) => Ok(Applied::Stale(reason)),
            Err(error @ DeadlineError::NotDue) => Err(TransactError::Refused(Impossible(error.to_string()))),
        }
    }
}

impl Handler<DeadlineIndexes> for ExpirationHandler {
    fn concerns(&self, event_type: EventType) -> bool {
        matches!(
            event_type,
            EventType::OrderCreated
                | EventType::OrderAccepted
                | EventType::OrderCancelled
                | EventType::OrderNotDue
        )
    }

    fn apply(
        &self,
        tx: &mut Txn<'_, DeadlineIndexes>,
        envelope: &Envelope,
    ) -> Result<Applied, TransactError<Impossible>> {
        let Some((order_id, command)) = command(&envelope.event) else {
            return Ok(Applied::Done);
        };
        self.decided(tx, order_id, command)
    }
}

/// Stages what was decided about an order's deadline.
///
/// # Errors
/// When the row can't be staged.
pub fn stage<E>(
    tx: &mut Txn<'_, DeadlineIndexes>,
    order_id: OrderId,
    decision: Decision,
) -> Result<(), TransactError<E>> {
    match decision {
        Decision::Watch(deadline) => tx.put_any(deadline)?,
        Decision::Fired(deadline, expired) => {
            tx.put_any(deadline)?;
            tx.emit(Event::OrderExpired(expired));
        }
        Decision::Forget => tx.delete::<Deadline>(&order_id)?,
    }
    Ok(())
}

/// What an event of the orders service asks of a deadline; nothing if it asks nothing.
pub fn command(event: &Event) -> Option<(OrderId, Command)> {
    match event {
        Event::OrderCreated(order) => {
            let schedule = Command::Schedule {
                order_id: order.id,
                expires_at: order.expires_at,
                placed_at: order.created_at,
            };
            Some((order.id, schedule))
        }
        Event::OrderAccepted(order) | Event::OrderCancelled(order) => Some((order.id, Command::Settle)),
        Event::OrderNotDue(not_due) => Some((
            not_due.order_id,
            Command::Postpone {
                remaining: Duration::from_millis(not_due.remaining_ms),
            },
        )),
        Event::OrderAwaitingPayment(_)
        | Event::OrderCompleted(_)
        | Event::OrderRefunding(_)
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

#[cfg(test)]
mod tests;
