//! Payments after a loss: what was told of payments makes them again, each to be looked at in Stripe before anything is
//! done; what it has is told anew, and what the orders service states anew is followed.
//!
//! Nothing here decides: an adopted event has happened, and what is stated goes through [`crate::domain`].

use std::collections::HashSet;

use bus::{Adopted, Applied, Impossible, Recovery};
use events::{Envelope, Event, OrderId, OrderSnapshot, OrderStatus, PaymentSnapshot, Source, Timestamp};
use store::{Record as _, StoredRow, TransactError, Txn};

use crate::agent::{follow_order, stage};
use crate::consumer::{PaymentsHandler, meaning};
use crate::domain::{Command, Order, Payment, PaymentError, decide};
use crate::store::PaymentIndexes;

/// How many orders are looked at at once when the orders service has lost some of them.
const ORDERS_PER_SCAN: usize = 1_000;

impl Recovery<PaymentIndexes> for PaymentsHandler {
    fn adopt(
        &self,
        tx: &mut Txn<'_, PaymentIndexes>,
        envelope: &Envelope,
    ) -> Result<Adopted, TransactError<Impossible>> {
        match &envelope.event {
            Event::PaymentOpened(payment)
            | Event::PaymentAuthorized(payment)
            | Event::PaymentCreated(payment)
            | Event::PaymentFailed(payment)
            | Event::PaymentRefunded(payment) => adopt(tx, payment, envelope.time),
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
            | Event::OrderCreated(_)
            | Event::OrderAwaitingPayment(_)
            | Event::OrderAccepted(_)
            | Event::OrderCompleted(_)
            | Event::OrderRefunding(_)
            | Event::OrderCancelled(_)
            | Event::OrderNotDue(_)
            | Event::OrderExpired(_) => {
                Impossible::because(format!("{} is no event of payments", envelope.id()))
            }
        }
    }

    fn restate(&self, row: &StoredRow) -> Option<Event> {
        row.of::<Payment>()?.restated()
    }

    fn restated(
        &self,
        tx: &mut Txn<'_, PaymentIndexes>,
        envelope: &Envelope,
    ) -> Result<Applied, TransactError<Impossible>> {
        match meaning(&envelope.event) {
            Some((order, _)) => follow_stated(tx, order),
            None => Ok(Applied::Done),
        }
    }

    /// Nothing is sold for an order that the orders service has lost: its session is closed, its money goes back.
    fn forsake(
        &self,
        tx: &mut Txn<'_, PaymentIndexes>,
        source: Source,
        stated: &HashSet<String>,
    ) -> Result<(), TransactError<Impossible>> {
        if source != Source::Orders {
            return Ok(());
        }
        let mut after: Option<OrderId> = None;
        loop {
            let orders: Vec<Order> = tx.scan(after.as_ref(), ORDERS_PER_SCAN)?;
            for lost in orders
                .iter()
                .filter(|order| !stated.contains(&order.id.to_string()))
            {
                if let Some(payment) = payment_of(tx, lost)? {
                    decided(tx, &payment, Command::Close)?;
                }
                tx.delete::<Order>(&lost.id)?;
            }
            if orders.len() < ORDERS_PER_SCAN {
                return Ok(());
            }
            after = orders.last().map(|order| order.key());
        }
    }
}

fn adopt(
    tx: &mut Txn<'_, PaymentIndexes>,
    told: &PaymentSnapshot,
    at: Timestamp,
) -> Result<Adopted, TransactError<Impossible>> {
    let known = tx.get::<Payment>(&told.id)?;
    let payment = Payment::recalled(known.as_ref(), told, at)
        .map_err(|error| TransactError::Refused(Impossible(format!("payment {}: {error}", told.id))))?;
    tx.put_any(payment)?;
    match tx.get::<Order>(&told.order_id)? {
        Some(order) if order.payment_id == Some(told.id) => {}
        Some(order) => tx.put_any(Order {
            payment_id: Some(told.id),
            ..order
        })?,
        None => tx.put_any(Order::of_payment(told, at))?,
    }
    Ok(Adopted::Whole)
}

/// The order is as stated, and its payment goes where the order is.
fn follow_stated(
    tx: &mut Txn<'_, PaymentIndexes>,
    stated: &OrderSnapshot,
) -> Result<Applied, TransactError<Impossible>> {
    let known = tx.get::<Order>(&stated.id)?;
    let order = Order::restated(known.as_ref(), stated);
    let payment = payment_of(tx, &order)?;
    tx.put_any(order)?;
    let Some(payment) = payment else {
        return Ok(Applied::Done);
    };
    match stated.status {
        // An acceptance is answered whatever the payment has come to: the orders service waits for the answer.
        OrderStatus::Accepted => decided(tx, &payment, Command::Capture),
        OrderStatus::Created
        | OrderStatus::AwaitingPayment
        | OrderStatus::Complete
        | OrderStatus::Refunding
        | OrderStatus::Cancelled => {
            follow_order(tx, payment)?;
            Ok(Applied::Done)
        }
    }
}

fn payment_of(
    tx: &Txn<'_, PaymentIndexes>,
    order: &Order,
) -> Result<Option<Payment>, TransactError<Impossible>> {
    Ok(match order.payment_id {
        None => None,
        Some(id) => tx.get::<Payment>(&id)?,
    })
}

fn decided(
    tx: &mut Txn<'_, PaymentIndexes>,
    payment: &Payment,
    command: Command,
) -> Result<Applied, TransactError<Impossible>> {
    match decide(payment, command, tx.now()) {
        Ok(decision) => {
            stage(tx, Some(payment.version), decision)?;
            Ok(Applied::Done)
        }
        Err(PaymentError::Stale(reason)) => Ok(Applied::Stale(reason)),
        Err(error) => Impossible::because(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
