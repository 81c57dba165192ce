//! What a service gives the bus: what it makes of an event.

use events::{Envelope, EventType};
use store::{Indexes, TransactError, Txn};

/// How a service applies the events of others; each `consumer.rs` holds one.
pub trait Handler<I: Indexes>: Send + Sync + 'static {
    /// Whether events of this type concern the service. Of all others only the position is read, to move the
    /// cursor past them.
    fn concerns(&self, event_type: EventType) -> bool;

    /// Applies one event inside the store's writer: decide, stage. No I/O, no clock (the time is [`Txn::now`]).
    ///
    /// The cursor has moved already, and events that are emitted here get this one as their cause. A panic is
    /// caught and counts as [`Impossible`].
    ///
    /// # Errors
    /// [`TransactError::Refused`] with [`Impossible`] when it can't be applied: tried again a few times, then
    /// it becomes a dead letter. What comes too late is no error but [`Applied::Stale`].
    fn apply(&self, tx: &mut Txn<'_, I>, envelope: &Envelope) -> Result<Applied, TransactError<Impossible>>;
}

/// How an event was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// As it says.
    Done,
    /// It came too late and changes nothing, for this reason. It is counted.
    Stale(&'static str),
}

/// The domain calls an event impossible, in these words. After bounded retries it is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Impossible(pub String);

impl Impossible {
    /// For `return Impossible::because(...)` in a handler.
    ///
    /// # Errors
    /// Always: it is one.
    pub fn because<T>(reason: impl Into<String>) -> Result<T, TransactError<Self>> {
        Err(TransactError::Refused(Self(reason.into())))
    }
}
