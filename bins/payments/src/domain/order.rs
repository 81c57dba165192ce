//! What this service knows of an order, learnt from the orders service's events: a replica, never the truth.

use events::{
    CancelReason, Money, OrderId, OrderSnapshot, OrderStatus, PaymentId, PaymentSnapshot, Timestamp, UserId,
    Version,
};

use super::PaymentError;

/// What this service knows of an order: enough to say whether, by whom and how much is to be paid.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Order {
    /// Which.
    pub id: OrderId,
    /// The version of the newest event about it.
    pub version: Version,
    /// Who buys, and alone may pay.
    pub user_id: UserId,
    /// Where it stands.
    pub status: OrderStatus,
    /// Why it was cancelled, if it was.
    pub reason: Option<CancelReason>,
    /// What is bought, as the buyer will read it on Stripe's page.
    pub title: String,
    /// The price of one piece.
    pub price: Money,
    /// How many pieces.
    pub quantity: u32,
    /// What is to be paid in all.
    pub total: Money,
    /// Until when, by the orders service's clock: it alone decides when that moment has come.
    pub expires_at: Timestamp,
    /// Its payment, once one was begun.
    pub payment_id: Option<PaymentId>,
}

impl Order {
    /// The order after an event about it; nothing if the event is older than what is known.
    pub fn learn(known: Option<&Self>, snapshot: &OrderSnapshot) -> Option<Self> {
        let is_newer = known.is_none_or(|order| order.version < snapshot.version);
        is_newer.then(|| Self::restated(known, snapshot))
    }

    /// The order as it is stated anew, whatever was known of it before.
    pub fn restated(known: Option<&Self>, snapshot: &OrderSnapshot) -> Self {
        Self {
            id: snapshot.id,
            version: snapshot.version,
            user_id: snapshot.user_id,
            status: snapshot.status,
            reason: snapshot.reason,
            title: snapshot.ticket.title.clone(),
            price: snapshot.ticket.price,
            quantity: snapshot.quantity,
            total: snapshot.total,
            expires_at: snapshot.expires_at,
            payment_id: known.and_then(|order| order.payment_id),
        }
    }

    /// What is known of an order of which only its payment is known: all but that is learnt from the order's own
    /// events, and until then it can't be paid.
    pub fn of_payment(told: &PaymentSnapshot, at: Timestamp) -> Self {
        Self {
            id: told.order_id,
            version: Version(0),
            user_id: told.user_id,
            status: OrderStatus::Created,
            reason: None,
            title: String::new(),
            price: told.amount,
            quantity: 1,
            total: told.amount,
            expires_at: at,
            payment_id: Some(told.id),
        }
    }

    /// Whether it can be paid, as far as is known here. No clock is asked: that the time is over is for the orders
    /// service to say, and a payment that comes after it is closed when it says so.
    ///
    /// # Errors
    /// By name, why not. [`PaymentError::NotReserved`] passes by itself.
    pub fn payable(&self) -> Result<(), PaymentError> {
        match self.status {
            OrderStatus::Created => Err(PaymentError::NotReserved),
            OrderStatus::AwaitingPayment => Ok(()),
            OrderStatus::Accepted | OrderStatus::Complete => Err(PaymentError::AlreadyPaid),
            OrderStatus::Refunding => Err(PaymentError::AlreadyRefunded),
            OrderStatus::Cancelled => Err(match self.reason {
                Some(CancelReason::Expired) => PaymentError::Expired,
                Some(CancelReason::Refunded) => PaymentError::AlreadyRefunded,
                Some(CancelReason::PaymentFailed) => PaymentError::AlreadyFailed,
                Some(CancelReason::Buyer | CancelReason::Rejected | CancelReason::TicketDeleted) | None => {
                    PaymentError::OrderCancelled
                }
            }),
        }
    }
}
