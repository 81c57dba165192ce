//! Expiration after a loss: what it has announced is announced, what it has announced is told anew, and which orders
//! may still run out is learnt from what the orders service states anew.
//!
//! Nothing here decides: an adopted event has happened, and what is stated goes through [`crate::domain`].

use std::collections::HashSet;

use bus::{Adopted, Applied, Handler as _, Impossible, Recovery};
use events::{Envelope, Event, EventType, OrderExpired, OrderSnapshot, OrderStatus, Source};
use store::{Record as _, StoredRow, TransactError, Txn};

use crate::consumer::ExpirationHandler;
use crate::domain::{Command, Deadline, DeadlineState};
use crate::store::DeadlineIndexes;

/// How many deadlines are looked at at once when the orders service has lost some of its orders.
const DEADLINES_PER_SCAN: usize = 1_000;

impl Recovery<DeadlineIndexes> for ExpirationHandler {
    fn adopt(
        &self,
        tx: &mut Txn<'_, DeadlineIndexes>,
        envelope: &Envelope,
    ) -> Result<Adopted, TransactError<Impossible>> {
        match &envelope.event {
            Event::OrderExpired(expired) => {
                // Whether the order has answered is said by the orders service's events, which are read again.
                tx.put_any(Deadline {
                    order_id: expired.order_id,
                    expires_at: expired.expires_at,
                    due: expired.expires_at,
                    state: DeadlineState::Fired,
                })?;
                self.changed(expired.order_id);
                Ok(Adopted::Whole)
            }
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
            | Event::PaymentOpened(_)
            | Event::PaymentAuthorized(_)
            | Event::PaymentCreated(_)
            | Event::PaymentFailed(_)
            | Event::PaymentRefunded(_) => {
                Impossible::because(format!("{} is no event of expiration", envelope.id()))
            }
        }
    }

    /// What has run out and was not answered yet. Whoever has not heard of a deadline that waits hears when it is due.
    fn restate(&self, row: &StoredRow) -> Option<Event> {
        let deadline = row.of::<Deadline>()?;
        match deadline.state {
            DeadlineState::Waiting => None,
            DeadlineState::Fired => Some(Event::OrderExpired(OrderExpired {
                order_id: deadline.order_id,
                expires_at: deadline.expires_at,
            })),
        }
    }

    /// Every status of an order says whether it may run out.
    fn heeds(&self, event_type: EventType) -> bool {
        matches!(
            event_type,
            EventType::OrderAwaitingPayment | EventType::OrderCompleted | EventType::OrderRefunding
        ) || self.concerns(event_type)
    }

    fn restated(
        &self,
        tx: &mut Txn<'_, DeadlineIndexes>,
        envelope: &Envelope,
    ) -> Result<Applied, TransactError<Impossible>> {
        match &envelope.event {
            Event::OrderCreated(order)
            | Event::OrderAwaitingPayment(order)
            | Event::OrderAccepted(order)
            | Event::OrderCompleted(order)
            | Event::OrderRefunding(order)
            | Event::OrderCancelled(order) => self.decided(tx, order.id, as_stated(order)),
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
            | Event::PaymentRefunded(_) => Ok(Applied::Done),
        }
    }

    /// Orders that the orders service has lost can't run out.
    fn forsake(
        &self,
        tx: &mut Txn<'_, DeadlineIndexes>,
        source: Source,
        stated: &HashSet<String>,
    ) -> Result<(), TransactError<Impossible>> {
        if source != Source::Orders {
            return Ok(());
        }
        let mut after = None;
        loop {
            let deadlines: Vec<Deadline> = tx.scan(after.as_ref(), DEADLINES_PER_SCAN)?;
            let lost = deadlines
                .iter()
                .filter(|deadline| !stated.contains(&deadline.order_id.to_string()));
            for deadline in lost {
                let (Applied::Done | Applied::Stale(_)) =
                    self.decided(tx, deadline.order_id, Command::Settle)?;
            }
            if deadlines.len() < DEADLINES_PER_SCAN {
                return Ok(());
            }
            after = deadlines.last().map(|deadline| deadline.key());
        }
    }
}

/// What an order's present state asks of its deadline.
fn as_stated(order: &OrderSnapshot) -> Command {
    match order.status {
        OrderStatus::Created | OrderStatus::AwaitingPayment => Command::Reschedule {
            order_id: order.id,
            expires_at: order.expires_at,
            placed_at: order.created_at,
        },
        OrderStatus::Accepted | OrderStatus::Complete | OrderStatus::Refunding | OrderStatus::Cancelled => {
            Command::Settle
        }
    }
}

#[cfg(test)]
mod tests;
