//! What the orders service's events mean here: each is learnt, and some are commands for the order's payment.

use bus::{Applied, Handler, Impossible};
use events::{Envelope, Event, EventType, OrderSnapshot};
use store::{TransactError, Txn};

use crate::agent::stage;
use crate::domain::{Command, Order, Payment, PaymentError, decide};
use crate::store::PaymentIndexes;

/// Applies the events of orders.
#[derive(Debug, Default)]
pub struct PaymentsHandler;

impl Handler<PaymentIndexes> for PaymentsHandler {
    fn concerns(&self, event_type: EventType) -> bool {
        matches!(
            event_type,
            EventType::OrderCreated
                | EventType::OrderAwaitingPayment
                | EventType::OrderAccepted
                | EventType::OrderCompleted
                | EventType::OrderRefunding
                | EventType::OrderCancelled
        )
    }

    fn apply(
        &self,
        tx: &mut Txn<'_, PaymentIndexes>,
        envelope: &Envelope,
    ) -> Result<Applied, TransactError<Impossible>> {
        let Some((snapshot, command)) = meaning(&envelope.event) else {
            return Ok(Applied::Done);
        };
        let known = tx.get::<Order>(&snapshot.id)?;
        let Some(order) = Order::learn(known.as_ref(), snapshot) else {
            return Ok(Applied::Stale("a newer event about the order is known"));
        };
        let payment_id = order.payment_id;
        tx.put_any(order)?;
        let Some(command) = command else {
            return Ok(Applied::Done);
        };
        let payment = match payment_id {
            None => None,
            Some(id) => tx.get::<Payment>(&id)?,
        };
        match (payment, command) {
            (Some(payment), command) => match decide(&payment, command, tx.now()) {
                Ok(decision) => {
                    stage(tx, Some(payment.version), decision)?;
                    Ok(Applied::Done)
                }
                Err(PaymentError::Stale(reason)) => Ok(Applied::Stale(reason)),
                Err(error) => Impossible::because(error.to_string()),
            },
            // An order that ends before anyone began to pay it leaves nothing to close.
            (None, Command::Close) => Ok(Applied::Done),
            (None, command) => {
                // An order goes on only by a payment that this store has told of: it was lost with a store that was given
                // up for an older one. The orders service ends what waits for it when it hears what is left.
                tracing::error!(order = %snapshot.id, ?command, "the payment of this order is lost");
                Ok(Applied::Stale("the order's payment is lost"))
            }
        }
    }
}

/// The order that an event tells of, and what it asks of the order's payment.
pub fn meaning(event: &Event) -> Option<(&OrderSnapshot, Option<Command>)> {
    match event {
        Event::OrderCreated(order) | Event::OrderAwaitingPayment(order) | Event::OrderCompleted(order) => {
            Some((order, None))
        }
        Event::OrderAccepted(order) => Some((order, Some(Command::Capture))),
        Event::OrderCancelled(order) => Some((order, Some(Command::Close))),
        Event::OrderRefunding(order) => Some((order, Some(Command::Refund))),
        Event::UserRegistered(_)
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
        | Event::OrderNotDue(_)
        | Event::OrderExpired(_)
        | Event::PaymentOpened(_)
        | Event::PaymentAuthorized(_)
        | Event::PaymentCreated(_)
        | Event::PaymentFailed(_)
        | Event::PaymentRefunded(_) => None,
    }
}
