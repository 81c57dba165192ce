//! Every fact that travels between the services, and the small values those facts are made of.
//!
//! This crate is the shared language: [`Envelope`] and [`Event`] (what happened), ids, [`Money`],
//! [`Timestamp`], [`Version`] and the [`Position`] of an event in its producer's outbox. It has no I/O, no
//! clock and no randomness, so that every `domain.rs` may depend on it and stay pure.
//!
//! It is not the place for commands, HTTP bodies or stored rows: those belong to the service that owns them.

mod catalog;
mod envelope;
mod ids;
mod money;
mod payload;
mod position;
mod show_time;
mod timestamp;
#[cfg(feature = "tomorrow")]
pub mod tomorrow;

pub use catalog::{Event, EventType, Schema};
pub use envelope::{Envelope, EnvelopeError, EnvelopeHead};
pub use ids::{IdError, OrderId, PaymentId, SessionId, TicketId, UserId};
pub use money::{AMOUNT_MINOR_MAX, Currency, Money, MoneyError};
pub use payload::{
    CancelReason, FailureReason, KeyPublished, KeyRetired, OrderExpired, OrderNotDue, OrderSnapshot,
    OrderStatus, OrderedTicket, PaymentSnapshot, PaymentStatus, RejectReason, SessionRevoked, TicketChange,
    TicketSnapshot, UserRegistered,
};
pub use position::{Cause, Epoch, Position, Seq, Source, UnknownSource, Version};
pub use show_time::{ShowTime, ShowTimeError};
pub use timestamp::{Timestamp, TimestampError};

/// The most pieces that one listing may have, and that one order may ask for.
pub const QUANTITY_MAX: u32 = 100_000;
