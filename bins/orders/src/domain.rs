//! What may happen to an order: pure decisions, no I/O, no clock.
//!
//! [`place`] answers a buyer's wish with a new order, judged by this service's own view of the ticket; [`decide`]
//! answers every later command. A command that the state forbids is refused by name; an event that comes too late
//! is [`OrderError::Stale`] and changes nothing.
//!
//! What this module does not know: how anything is stored, who calls, and what time it is.

mod error;
#[cfg(test)]
mod tests;

use std::time::Duration;

use events::{
    CancelReason, Event, Money, OrderId, OrderNotDue, OrderSnapshot, OrderStatus, OrderedTicket,
    RejectReason, ShowTime, TicketId, TicketSnapshot, Timestamp, UserId, Version,
};

pub use self::error::OrderError;

/// A ticket as this service knows it from the events of the tickets service.
///
/// It has no `available`: what is left is the quantity less the pieces of this service's own orders.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TicketView {
    /// Which.
    pub id: TicketId,
    /// The version that was last heard of.
    pub version: Version,
    /// Who sells it.
    pub seller_id: UserId,
    /// What it is for.
    pub title: String,
    /// Where, if said.
    pub venue: Option<String>,
    /// When the show begins, if said.
    pub starts_at: Option<ShowTime>,
    /// The price of one piece.
    pub price: Money,
    /// How many pieces are for sale in all.
    pub quantity: u32,
    /// Withdrawn.
    pub deleted: bool,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Order {
    /// Which.
    pub id: OrderId,
    /// Raised by one with every change.
    pub version: Version,
    /// Who buys.
    pub user_id: UserId,
    /// Where it stands.
    pub status: OrderStatus,
    /// Why it was cancelled, if it was.
    pub reason: Option<CancelReason>,
    /// How many pieces.
    pub quantity: u32,
    /// What it costs in all.
    pub total: Money,
    /// Until when it must be paid.
    pub expires_at: Timestamp,
    /// When it was placed.
    pub created_at: Timestamp,
    /// Of what, as it was when it was ordered.
    pub ticket: OrderedTicket,
}

/// A buyer's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceOrder {
    /// The id that the order will have.
    pub id: OrderId,
    /// Who buys.
    pub user_id: UserId,
    /// How many pieces.
    pub quantity: u32,
    /// The price of one piece that the buyer saw, in major units as it was sent, if it was.
    pub seen_price: Option<Money>,
    /// How long the pieces will be held.
    pub hold: Duration,
}

/// What is to be done with an order that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Its buyer changed their mind.
    Cancel,
    /// The ticket's seller gives the money back.
    Refund,
    /// The tickets service holds the pieces.
    Reserved,
    /// The tickets service can't hold them.
    Rejected(RejectReason),
    /// The money is set aside.
    PaymentAuthorized,
    /// The money is captured.
    PaymentCaptured,
    /// The money could not be captured.
    PaymentFailed,
    /// The money went back.
    PaymentRefunded,
    /// The expiration service says that the time has run out.
    Expire,
}

/// What a command leads to: the next state, and what has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The order's next state; nothing if only an event is to be published.
    pub order: Option<Order>,
    /// What has happened.
    pub events: Vec<Event>,
}

/// Places an order of `ticket`, of which this service's own orders already claim `claimed` pieces.
///
/// # Errors
/// [`OrderError`] names what stands against it.
pub fn place(
    ticket: &TicketView,
    claimed: u32,
    wish: &PlaceOrder,
    now: Timestamp,
) -> Result<Decision, OrderError> {
    if ticket.deleted {
        return Err(OrderError::TicketNotFound);
    }
    if ticket.seller_id == wish.user_id {
        return Err(OrderError::OwnTicket);
    }
    if wish.seen_price.is_some_and(|seen| seen != ticket.price) {
        return Err(OrderError::PriceChanged { now: ticket.price });
    }
    let left = ticket.quantity.saturating_sub(claimed);
    if wish.quantity == 0 || wish.quantity > left {
        return Err(OrderError::NotEnoughLeft { left });
    }
    let total = ticket
        .price
        .times(wish.quantity)
        .map_err(|_| OrderError::TotalTooLarge)?;
    let order = Order {
        id: wish.id,
        version: Version::FIRST,
        user_id: wish.user_id,
        status: OrderStatus::Created,
        reason: None,
        quantity: wish.quantity,
        total,
        expires_at: now.plus(wish.hold),
        created_at: now,
        ticket: ticket.ordered(),
    };
    let events = vec![Event::OrderCreated(order.snapshot())];
    Ok(Decision {
        order: Some(order),
        events,
    })
}

/// Decides what becomes of `order`.
///
/// # Errors
/// [`OrderError`] names why the state forbids the command; nothing changes then.
pub fn decide(order: &Order, command: Command, now: Timestamp) -> Result<Decision, OrderError> {
    match command {
        Command::Cancel => cancel(order),
        Command::Refund => refund(order),
        Command::Reserved => reserved(order),
        Command::Rejected(reason) => rejected(order, reason),
        Command::PaymentAuthorized => payment_authorized(order),
        Command::PaymentCaptured => payment_captured(order),
        Command::PaymentFailed => payment_failed(order),
        Command::PaymentRefunded => payment_refunded(order),
        Command::Expire => expire(order, now),
    }
}

impl TicketView {
    /// What is known of a ticket once its owner service has said how it is.
    ///
    /// # Errors
    /// [`OrderError::Stale`] when `known` is as new: an event that an operator replays must not bring an old state back.
    pub fn heard(known: Option<&Self>, ticket: &TicketSnapshot) -> Result<Self, OrderError> {
        if known.is_some_and(|known| known.version >= ticket.version) {
            return Err(OrderError::Stale(
                "the ticket is known in this version or a later one",
            ));
        }
        Ok(Self::from(ticket))
    }

    fn ordered(&self) -> OrderedTicket {
        OrderedTicket {
            id: self.id,
            version: self.version,
            seller_id: self.seller_id,
            title: self.title.clone(),
            price: self.price,
            venue: self.venue.clone(),
            starts_at: self.starts_at.clone(),
        }
    }
}

impl From<&TicketSnapshot> for TicketView {
    fn from(ticket: &TicketSnapshot) -> Self {
        Self {
            id: ticket.id,
            version: ticket.version,
            seller_id: ticket.seller_id,
            title: ticket.title.clone(),
            venue: ticket.venue.clone(),
            starts_at: ticket.starts_at.clone(),
            price: ticket.price,
            quantity: ticket.quantity,
            deleted: ticket.deleted,
        }
    }
}

impl Order {
    /// The pieces that it claims: none once it is cancelled.
    pub fn claimed(&self) -> u32 {
        match self.status {
            OrderStatus::Cancelled => 0,
            OrderStatus::Created
            | OrderStatus::AwaitingPayment
            | OrderStatus::Accepted
            | OrderStatus::Complete
            | OrderStatus::Refunding => self.quantity,
        }
    }

    /// The whole order, as events carry it.
    pub fn snapshot(&self) -> OrderSnapshot {
        OrderSnapshot {
            id: self.id,
            version: self.version,
            user_id: self.user_id,
            status: self.status,
            reason: self.reason,
            quantity: self.quantity,
            total: self.total,
            expires_at: self.expires_at,
            created_at: self.created_at,
            ticket: self.ticket.clone(),
        }
    }

    fn becomes(
        &self,
        status: OrderStatus,
        event: fn(OrderSnapshot) -> Event,
    ) -> Result<Decision, OrderError> {
        let next = Self {
            version: self.version.next(),
            status,
            ..self.clone()
        };
        let events = vec![event(next.snapshot())];
        Ok(Decision {
            order: Some(next),
            events,
        })
    }

    fn cancelled(&self, reason: CancelReason) -> Result<Decision, OrderError> {
        Self {
            reason: Some(reason),
            ..self.clone()
        }
        .becomes(OrderStatus::Cancelled, Event::OrderCancelled)
    }
}

fn cancel(order: &Order) -> Result<Decision, OrderError> {
    match order.status {
        OrderStatus::Created | OrderStatus::AwaitingPayment => order.cancelled(CancelReason::Buyer),
        OrderStatus::Accepted => Err(OrderError::AlreadyAccepted),
        OrderStatus::Complete => Err(OrderError::AlreadyComplete),
        OrderStatus::Refunding => Err(OrderError::AlreadyRefunding),
        OrderStatus::Cancelled => Err(OrderError::AlreadyCancelled),
    }
}

fn refund(order: &Order) -> Result<Decision, OrderError> {
    match order.status {
        OrderStatus::Complete => order.becomes(OrderStatus::Refunding, Event::OrderRefunding),
        OrderStatus::Created | OrderStatus::AwaitingPayment | OrderStatus::Accepted => {
            Err(OrderError::NotComplete)
        }
        OrderStatus::Refunding => Err(OrderError::AlreadyRefunding),
        OrderStatus::Cancelled => Err(OrderError::AlreadyCancelled),
    }
}

fn reserved(order: &Order) -> Result<Decision, OrderError> {
    match order.status {
        OrderStatus::Created => order.becomes(OrderStatus::AwaitingPayment, Event::OrderAwaitingPayment),
        // It was cancelled or expired in the meantime; the tickets service releases the hold when it hears of it.
        OrderStatus::Cancelled => Err(OrderError::Stale(
            "the order was cancelled before its pieces were held",
        )),
        OrderStatus::AwaitingPayment
        | OrderStatus::Accepted
        | OrderStatus::Complete
        | OrderStatus::Refunding => Err(OrderError::Stale("the order's pieces are held already")),
    }
}

fn rejected(order: &Order, reason: RejectReason) -> Result<Decision, OrderError> {
    match order.status {
        OrderStatus::Created => order.cancelled(match reason {
            RejectReason::Deleted => CancelReason::TicketDeleted,
            RejectReason::SoldOut | RejectReason::PriceChanged => CancelReason::Rejected,
        }),
        OrderStatus::Cancelled => Err(OrderError::Stale(
            "the order was cancelled before it was rejected",
        )),
        // Only after a loss: one of the two services was set back, and the pieces that the order had are another's now.
        OrderStatus::AwaitingPayment => order.cancelled(CancelReason::Rejected),
        OrderStatus::Accepted => Err(OrderError::Stale(
            "the order is being paid: the tickets service rejects it again once it is complete",
        )),
        OrderStatus::Complete => order.becomes(OrderStatus::Refunding, Event::OrderRefunding),
        OrderStatus::Refunding => Err(OrderError::Stale("the order's money is on its way back")),
    }
}

fn payment_authorized(order: &Order) -> Result<Decision, OrderError> {
    match order.status {
        // Nobody can pay an order that this service has not confirmed: one that is `created` was, and that was lost.
        OrderStatus::AwaitingPayment | OrderStatus::Created => {
            order.becomes(OrderStatus::Accepted, Event::OrderAccepted)
        }
        // The payments service voids the authorisation when it hears that the order is over.
        OrderStatus::Cancelled => Err(OrderError::Stale(
            "the payment came after the order was cancelled",
        )),
        OrderStatus::Accepted | OrderStatus::Complete | OrderStatus::Refunding => {
            Err(OrderError::Stale("the order is paid already"))
        }
    }
}

fn payment_captured(order: &Order) -> Result<Decision, OrderError> {
    match order.status {
        OrderStatus::Accepted => order.becomes(OrderStatus::Complete, Event::OrderCompleted),
        OrderStatus::Complete | OrderStatus::Refunding => {
            Err(OrderError::Stale("the order is complete already"))
        }
        OrderStatus::Cancelled if order.reason == Some(CancelReason::Refunded) => {
            Err(OrderError::Stale("the money has gone back since"))
        }
        OrderStatus::Created | OrderStatus::AwaitingPayment | OrderStatus::Cancelled => Err(
            OrderError::Impossible("money was captured for an order that was not accepted"),
        ),
    }
}

fn payment_failed(order: &Order) -> Result<Decision, OrderError> {
    match order.status {
        OrderStatus::Accepted => order.cancelled(CancelReason::PaymentFailed),
        OrderStatus::Cancelled => Err(OrderError::Stale("the order is cancelled already")),
        OrderStatus::Created
        | OrderStatus::AwaitingPayment
        | OrderStatus::Complete
        | OrderStatus::Refunding => Err(OrderError::Impossible(
            "a capture failed for an order that was not accepted",
        )),
    }
}

fn payment_refunded(order: &Order) -> Result<Decision, OrderError> {
    match order.status {
        // From `complete`, the money went back in Stripe's dashboard: the order ends like one that we refunded.
        OrderStatus::Refunding | OrderStatus::Complete => order.cancelled(CancelReason::Refunded),
        OrderStatus::Cancelled => Err(OrderError::Stale("the order is cancelled already")),
        OrderStatus::Created | OrderStatus::AwaitingPayment | OrderStatus::Accepted => Err(
            OrderError::Impossible("money went back for an order that is not complete"),
        ),
    }
}

fn expire(order: &Order, now: Timestamp) -> Result<Decision, OrderError> {
    match order.status {
        OrderStatus::Created | OrderStatus::AwaitingPayment if now < order.expires_at => {
            let remaining_ms = u64::try_from(order.expires_at.since(now).as_millis())
                .unwrap_or(u64::MAX)
                .max(1);
            let event = Event::OrderNotDue(OrderNotDue {
                order_id: order.id,
                remaining_ms,
            });
            Ok(Decision {
                order: None,
                events: vec![event],
            })
        }
        OrderStatus::Created | OrderStatus::AwaitingPayment => order.cancelled(CancelReason::Expired),
        OrderStatus::Accepted | OrderStatus::Complete | OrderStatus::Refunding => {
            Err(OrderError::Stale("the order was paid in time"))
        }
        OrderStatus::Cancelled => Err(OrderError::Stale("the order is over already")),
    }
}
