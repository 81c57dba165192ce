//! What a service gives the bus for the time after a loss: how its own events become rows again, how rows become
//! events again, and what is to be done about what a source does not have any more.

use std::collections::HashSet;

use events::{Envelope, Event, EventType, Source};
use store::{Indexes, StoredRow, TransactError, Txn};

use crate::{Applied, Handler, Impossible};

/// How a service recovers. Each `recovery.rs` holds one, for the type that is the service's [`Handler`].
///
/// None of it decides anything: what was published has happened, here and at every reader.
pub trait Recovery<I: Indexes>: Handler<I> {
    /// Takes one of the service's own events, which its store has lost, for what is true: stages the rows that the
    /// event tells of, and emits nothing. The events come in order, each once. What an event does not carry (a
    /// password hash, say) is left out, and named in the answer.
    ///
    /// # Errors
    /// [`Impossible`] when the event contradicts what is stored; the store then does not serve.
    fn adopt(&self, tx: &mut Txn<'_, I>, envelope: &Envelope) -> Result<Adopted, TransactError<Impossible>>;

    /// The event that tells the present state of the entity that a row is; nothing for rows that nobody else hears
    /// of. For a reader that can't be told all that happened any more.
    fn restate(&self, row: &StoredRow) -> Option<Event>;

    /// Whether what a source states anew concerns the service in an event of this type. More types may than those of the
    /// events that do: a statement takes the place of all that has happened to its entity.
    fn heeds(&self, event_type: EventType) -> bool {
        self.concerns(event_type)
    }

    /// Applies what a source has stated anew: the present state of one entity, whatever was heard of it before. Its
    /// version may be smaller than the one that is known: the source may have lost what came in between.
    ///
    /// # Errors
    /// As [`Handler::apply`].
    fn restated(
        &self,
        tx: &mut Txn<'_, I>,
        envelope: &Envelope,
    ) -> Result<Applied, TransactError<Impossible>> {
        self.apply(tx, envelope)
    }

    /// A source has stated anew all that it has, and these are the subjects ([`Event::subject`]) of it, and the orders
    /// that it is about ([`Event::order_id`]). What is kept here of anything else of that source must go, or end: the
    /// source knows nothing of it any more.
    ///
    /// # Errors
    /// When the store can't do it.
    fn forsake(
        &self,
        tx: &mut Txn<'_, I>,
        source: Source,
        stated: &HashSet<String>,
    ) -> Result<(), TransactError<Impossible>>;
}

/// How an own event was adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adopted {
    /// All that it tells of is there again.
    Whole,
    /// Something that never travels is missing for good; said to the operator in these words.
    Without(String),
}

/// Nobody: concerns itself with nothing, and knows of no rows. For a relay beside a store that is not a service's, as
/// tests have them; a store of its own that was set back does not come right by it.
impl<I: Indexes> Handler<I> for () {
    fn concerns(&self, _: EventType) -> bool {
        false
    }

    fn apply(&self, _: &mut Txn<'_, I>, _: &Envelope) -> Result<Applied, TransactError<Impossible>> {
        Impossible::because("nobody is here to apply it")
    }
}

impl<I: Indexes> Recovery<I> for () {
    fn adopt(&self, _: &mut Txn<'_, I>, _: &Envelope) -> Result<Adopted, TransactError<Impossible>> {
        Impossible::because("nobody is here to take it back")
    }

    fn restate(&self, _: &StoredRow) -> Option<Event> {
        None
    }

    fn forsake(
        &self,
        _: &mut Txn<'_, I>,
        _: Source,
        _: &HashSet<String>,
    ) -> Result<(), TransactError<Impossible>> {
        Ok(())
    }
}

/// A handler that does not know how to recover: its service refuses to serve once it was set back, and states nothing.
/// For services that tests make up; every real one has a `recovery.rs`.
#[derive(Debug)]
pub struct NotRecovering<H>(pub H);

impl<I: Indexes, H: Handler<I>> Handler<I> for NotRecovering<H> {
    fn concerns(&self, event_type: EventType) -> bool {
        self.0.concerns(event_type)
    }

    fn apply(&self, tx: &mut Txn<'_, I>, envelope: &Envelope) -> Result<Applied, TransactError<Impossible>> {
        self.0.apply(tx, envelope)
    }
}

impl<I: Indexes, H: Handler<I>> Recovery<I> for NotRecovering<H> {
    fn adopt(&self, tx: &mut Txn<'_, I>, envelope: &Envelope) -> Result<Adopted, TransactError<Impossible>> {
        Recovery::<I>::adopt(&(), tx, envelope)
    }

    fn restate(&self, row: &StoredRow) -> Option<Event> {
        Recovery::<I>::restate(&(), row)
    }

    fn forsake(
        &self,
        tx: &mut Txn<'_, I>,
        source: Source,
        stated: &HashSet<String>,
    ) -> Result<(), TransactError<Impossible>> {
        Recovery::<I>::forsake(&(), tx, source, stated)
    }
}
