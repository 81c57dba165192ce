//! Orders after a loss: its own events become orders again, what it has is told anew, and what other services state
//! anew is followed.
//!
//! Nothing here decides: an adopted event has happened, and what is stated goes through [`crate::domain`].

use std::collections::HashSet;

use bus::{Adopted, Applied, Handler as _, Impossible, Recovery};
use events::{Envelope, Event, OrderId, OrderSnapshot, OrderStatus, PaymentSnapshot, PaymentStatus, Source};
use store::{Record as _, StoredRow, TransactError, Txn};

use crate::consumer::{OrdersHandler, decided};
use crate::domain::{Command, Order, TicketView};
use crate::store::OrderIndexes;

/// How many rows are looked at at once when another service has lost some of its own.
const ROWS_PER_SCAN: usize = 1_000;

impl Recovery<OrderIndexes> for OrdersHandler {
    fn adopt(
        &self,
        tx: &mut Txn<'_, OrderIndexes>,
        envelope: &Envelope,
    ) -> Result<Adopted, TransactError<Impossible>> {
        match &envelope.event {
            Event::OrderCreated(order)
            | Event::OrderAwaitingPayment(order)
            | Event::OrderAccepted(order)
            | Event::OrderCompleted(order)
            | Event::OrderRefunding(order)
            | Event::OrderCancelled(order) => tx.put_any(Order::from(order))?,
            // An answer that changed nothing here.
            Event::OrderNotDue(_) => {}
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
            | Event::OrderExpired(_)
            | Event::PaymentOpened(_)
            | Event::PaymentAuthorized(_)
            | Event::PaymentCreated(_)
            | Event::PaymentFailed(_)
            | Event::PaymentRefunded(_) => {
                return Impossible::because(format!("{} is no event of orders", envelope.id()));
            }
        }
        Ok(Adopted::Whole)
    }

    fn restate(&self, row: &StoredRow) -> Option<Event> {
        let order = row.of::<Order>()?.snapshot();
        Some(match order.status {
            OrderStatus::Created => Event::OrderCreated(order),
            OrderStatus::AwaitingPayment => Event::OrderAwaitingPayment(order),
            OrderStatus::Accepted => Event::OrderAccepted(order),
            OrderStatus::Complete => Event::OrderCompleted(order),
            OrderStatus::Refunding => Event::OrderRefunding(order),
            OrderStatus::Cancelled => Event::OrderCancelled(order),
        })
    }

    fn restated(
        &self,
        tx: &mut Txn<'_, OrderIndexes>,
        envelope: &Envelope,
    ) -> Result<Applied, TransactError<Impossible>> {
        match &envelope.event {
            Event::TicketCreated(ticket) | Event::TicketUpdated(ticket) | Event::TicketDeleted(ticket) => {
                tx.put_any(TicketView::from(ticket))?;
                Ok(Applied::Done)
            }
            Event::PaymentOpened(payment)
            | Event::PaymentAuthorized(payment)
            | Event::PaymentCreated(payment)
            | Event::PaymentFailed(payment)
            | Event::PaymentRefunded(payment) => paid(tx, payment),
            Event::TicketReserved(_)
            | Event::TicketRejected(_)
            | Event::TicketReleased(_)
            | Event::TicketSold(_)
            | Event::OrderExpired(_)
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
            | Event::OrderNotDue(_) => self.apply(tx, envelope),
        }
    }

    /// A listing that its owner has lost is not for sale any more; what was ordered of it, its owner rejects. An order
    /// whose authorised payment is lost can't be captured any more, and ends. One that is complete stays so: that its
    /// money was captured is known here, and the ticket is the buyer's. One that is being refunded stays as well, until
    /// an operator has seen to the money at Stripe: nobody here knows whether it went back.
    fn forsake(
        &self,
        tx: &mut Txn<'_, OrderIndexes>,
        source: Source,
        stated: &HashSet<String>,
    ) -> Result<(), TransactError<Impossible>> {
        match source {
            Source::Tickets => forsake_views(tx, stated),
            Source::Payments => forsake_accepted(tx, stated),
            // Of these nothing is kept here but what has already been decided.
            Source::Auth | Source::Orders | Source::Expiration => Ok(()),
        }
    }
}

/// A payment tells by where it stands all that has happened to it before.
fn paid(
    tx: &mut Txn<'_, OrderIndexes>,
    payment: &PaymentSnapshot,
) -> Result<Applied, TransactError<Impossible>> {
    let known = tx.get::<Order>(&payment.order_id)?;
    if known.is_some_and(|order| order.status == OrderStatus::Cancelled) {
        return Ok(Applied::Stale(
            "the order is over, and payments undoes what it has of it when it hears so",
        ));
    }
    let story: &[Command] = match payment.status {
        PaymentStatus::Opened => &[],
        PaymentStatus::Authorized => &[Command::PaymentAuthorized],
        PaymentStatus::Captured => &[Command::PaymentAuthorized, Command::PaymentCaptured],
        PaymentStatus::Failed => &[Command::PaymentAuthorized, Command::PaymentFailed],
        PaymentStatus::Refunded => &[
            Command::PaymentAuthorized,
            Command::PaymentCaptured,
            Command::PaymentRefunded,
        ],
    };
    let mut applied = Applied::Done;
    for command in story {
        applied = decided(tx, payment.order_id, *command)?;
    }
    Ok(applied)
}

fn forsake_views(
    tx: &mut Txn<'_, OrderIndexes>,
    stated: &HashSet<String>,
) -> Result<(), TransactError<Impossible>> {
    let mut after = None;
    loop {
        let views: Vec<TicketView> = tx.scan(after.as_ref(), ROWS_PER_SCAN)?;
        for lost in views.iter().filter(|view| !stated.contains(&view.id.to_string())) {
            tx.delete::<TicketView>(&lost.id)?;
        }
        if views.len() < ROWS_PER_SCAN {
            return Ok(());
        }
        after = views.last().map(|view| view.key());
    }
}

fn forsake_accepted(
    tx: &mut Txn<'_, OrderIndexes>,
    stated: &HashSet<String>,
) -> Result<(), TransactError<Impossible>> {
    let mut after: Option<OrderId> = None;
    loop {
        let orders: Vec<Order> = tx.scan(after.as_ref(), ROWS_PER_SCAN)?;
        let lost = orders
            .iter()
            .filter(|order| order.status == OrderStatus::Accepted)
            .filter(|order| !stated.contains(&order.id.to_string()));
        for order in lost {
            let (Applied::Done | Applied::Stale(_)) = decided(tx, order.id, Command::PaymentFailed)?;
        }
        if orders.len() < ROWS_PER_SCAN {
            return Ok(());
        }
        after = orders.last().map(|order| order.key());
    }
}

impl From<&OrderSnapshot> for Order {
    fn from(order: &OrderSnapshot) -> Self {
        Self {
            id: order.id,
            version: order.version,
            user_id: order.user_id,
            status: order.status,
            reason: order.reason,
            quantity: order.quantity,
            total: order.total,
            expires_at: order.expires_at,
            created_at: order.created_at,
            ticket: order.ticket.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
