//! The catalog: every type of event, its name on the wire, its schema, and its payload.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::payload::{
    KeyPublished, KeyRetired, OrderExpired, OrderNotDue, OrderSnapshot, PaymentSnapshot, SessionRevoked,
    TicketChange, TicketSnapshot, UserRegistered,
};
use crate::{OrderId, Source, Version};

/// The number of a payload's shape; 1 for the first. A shape never changes once published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Schema(pub u16);

/// A name that is no [`EventType`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no known type of event")]
pub struct UnknownEventType;

macro_rules! catalog {
    ($($(#[$doc:meta])* $variant:ident($payload:ty) = $name:literal from $source:ident schema $schema:literal),* $(,)?) => {
        /// A kind of event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventType { $($(#[$doc])* $variant),* }

        impl EventType {
            /// All of them, in the order of the catalog.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The only service that publishes it.
            pub const fn source(self) -> Source {
                match self { $(Self::$variant => Source::$source),* }
            }

            /// The newest shape of its payload that this program knows.
            pub const fn schema(self) -> Schema {
                match self { $(Self::$variant => Schema($schema)),* }
            }
        }

        /// A fact: something that has happened, with the full state of what it concerns.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
        #[serde(untagged)]
        pub enum Event { $($(#[$doc])* $variant($payload)),* }

        impl Event {
            /// What kind of event it is.
            pub const fn event_type(&self) -> EventType {
                match self { $(Self::$variant(_) => EventType::$variant),* }
            }

            /// Reads a payload of the type's newest schema.
            ///
            /// # Errors
            /// Whatever is wrong with the JSON.
            pub(crate) fn from_data(event_type: EventType, data: &RawValue) -> Result<Self, serde_json::Error> {
                match event_type {
                    $(EventType::$variant => serde_json::from_str::<$payload>(data.get()).map(Self::$variant)),*
                }
            }
        }
    };
}

catalog! {
    /// A person has an account.
    UserRegistered(UserRegistered) = "user:registered" from Auth schema 1,
    /// A session, or all of a person's, has ended.
    SessionRevoked(SessionRevoked) = "session:revoked" from Auth schema 1,
    /// A signing key will be used.
    KeyPublished(KeyPublished) = "key:published" from Auth schema 1,
    /// A signing key is no longer good.
    KeyRetired(KeyRetired) = "key:retired" from Auth schema 1,
    /// A ticket was listed.
    TicketCreated(TicketSnapshot) = "ticket:created" from Tickets schema 1,
    /// Its seller changed it.
    TicketUpdated(TicketSnapshot) = "ticket:updated" from Tickets schema 1,
    /// Its seller withdrew it.
    TicketDeleted(TicketSnapshot) = "ticket:deleted" from Tickets schema 1,
    /// Pieces are held for an order.
    TicketReserved(TicketChange) = "ticket:reserved" from Tickets schema 1,
    /// An order was refused its pieces.
    TicketRejected(TicketChange) = "ticket:rejected" from Tickets schema 1,
    /// Pieces are on sale again.
    TicketReleased(TicketChange) = "ticket:released" from Tickets schema 1,
    /// Pieces are sold.
    TicketSold(TicketChange) = "ticket:sold" from Tickets schema 1,
    /// An order was placed.
    OrderCreated(OrderSnapshot) = "order:created" from Orders schema 1,
    /// Its pieces are held; it can be paid.
    OrderAwaitingPayment(OrderSnapshot) = "order:awaitingpayment" from Orders schema 1,
    /// Its payment is authorised; it will be captured.
    OrderAccepted(OrderSnapshot) = "order:accepted" from Orders schema 1,
    /// It is paid.
    OrderCompleted(OrderSnapshot) = "order:completed" from Orders schema 1,
    /// Its money is to go back.
    OrderRefunding(OrderSnapshot) = "order:refunding" from Orders schema 1,
    /// It is over.
    OrderCancelled(OrderSnapshot) = "order:cancelled" from Orders schema 1,
    /// It has not run out yet.
    OrderNotDue(OrderNotDue) = "order:notdue" from Orders schema 1,
    /// Its time has run out.
    OrderExpired(OrderExpired) = "order:expired" from Expiration schema 1,
    /// The buyer can pay.
    PaymentOpened(PaymentSnapshot) = "payment:opened" from Payments schema 1,
    /// The money is set aside.
    PaymentAuthorized(PaymentSnapshot) = "payment:authorized" from Payments schema 1,
    /// The money is captured.
    PaymentCreated(PaymentSnapshot) = "payment:created" from Payments schema 1,
    /// The money could not be captured.
    PaymentFailed(PaymentSnapshot) = "payment:failed" from Payments schema 1,
    /// The money went back.
    PaymentRefunded(PaymentSnapshot) = "payment:refunded" from Payments schema 1,
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventType {
    type Err = UnknownEventType;
    fn from_str(text: &str) -> Result<Self, UnknownEventType> {
        Self::ALL
            .iter()
            .copied()
            .find(|event_type| event_type.as_str() == text)
            .ok_or(UnknownEventType)
    }
}

impl Event {
    /// The id of the entity that it is about, as text: a ticket's for `ticket:*`, an order's for `order:*`.
    pub fn subject(&self) -> String {
        match self {
            Self::UserRegistered(user) => user.user_id.to_string(),
            Self::SessionRevoked(revoked) => revoked.user_id.to_string(),
            Self::KeyPublished(key) => key.kid.clone(),
            Self::KeyRetired(key) => key.kid.clone(),
            Self::TicketCreated(ticket) | Self::TicketUpdated(ticket) | Self::TicketDeleted(ticket) => {
                ticket.id.to_string()
            }
            Self::TicketReserved(change)
            | Self::TicketRejected(change)
            | Self::TicketReleased(change)
            | Self::TicketSold(change) => change.ticket_id.to_string(),
            Self::OrderCreated(order)
            | Self::OrderAwaitingPayment(order)
            | Self::OrderAccepted(order)
            | Self::OrderCompleted(order)
            | Self::OrderRefunding(order)
            | Self::OrderCancelled(order) => order.id.to_string(),
            Self::OrderNotDue(not_due) => not_due.order_id.to_string(),
            Self::OrderExpired(expired) => expired.order_id.to_string(),
            Self::PaymentOpened(payment)
            | Self::PaymentAuthorized(payment)
            | Self::PaymentCreated(payment)
            | Self::PaymentFailed(payment)
            | Self::PaymentRefunded(payment) => payment.id.to_string(),
        }
    }

    /// The version that the entity has after it; 1 for facts that have no versions.
    pub fn entity_version(&self) -> Version {
        match self {
            Self::UserRegistered(_)
            | Self::SessionRevoked(_)
            | Self::KeyPublished(_)
            | Self::KeyRetired(_) => Version::FIRST,
            Self::TicketCreated(ticket) | Self::TicketUpdated(ticket) | Self::TicketDeleted(ticket) => {
                ticket.version
            }
            Self::TicketReserved(change)
            | Self::TicketRejected(change)
            | Self::TicketReleased(change)
            | Self::TicketSold(change) => change
                .ticket
                .as_ref()
                .map_or(Version::FIRST, |ticket| ticket.version),
            Self::OrderCreated(order)
            | Self::OrderAwaitingPayment(order)
            | Self::OrderAccepted(order)
            | Self::OrderCompleted(order)
            | Self::OrderRefunding(order)
            | Self::OrderCancelled(order) => order.version,
            Self::OrderNotDue(_) | Self::OrderExpired(_) => Version::FIRST,
            Self::PaymentOpened(payment)
            | Self::PaymentAuthorized(payment)
            | Self::PaymentCreated(payment)
            | Self::PaymentFailed(payment)
            | Self::PaymentRefunded(payment) => payment.version,
        }
    }

    /// The order that it is about, if it is about one.
    pub fn order_id(&self) -> Option<OrderId> {
        match self {
            Self::TicketReserved(change)
            | Self::TicketRejected(change)
            | Self::TicketReleased(change)
            | Self::TicketSold(change) => Some(change.order_id),
            Self::OrderCreated(order)
            | Self::OrderAwaitingPayment(order)
            | Self::OrderAccepted(order)
            | Self::OrderCompleted(order)
            | Self::OrderRefunding(order)
            | Self::OrderCancelled(order) => Some(order.id),
            Self::OrderNotDue(not_due) => Some(not_due.order_id),
            Self::OrderExpired(expired) => Some(expired.order_id),
            Self::PaymentOpened(payment)
            | Self::PaymentAuthorized(payment)
            | Self::PaymentCreated(payment)
            | Self::PaymentFailed(payment)
            | Self::PaymentRefunded(payment) => Some(payment.order_id),
            Self::UserRegistered(_)
            | Self::SessionRevoked(_)
            | Self::KeyPublished(_)
            | Self::KeyRetired(_)
            | Self::TicketCreated(_)
            | Self::TicketUpdated(_)
            | Self::TicketDeleted(_) => None,
        }
    }
}
