//! The reader's side of a snapshot: what a source has stated anew takes the place of what was heard of it before.
//!
//! It is applied a page at a time. Only the last page moves the cursor, to where the snapshot stands, together with
//! what has to be done about entities that the source has no more. Killed before that, it begins again: to state an
//! entity once more changes nothing.
//!
//! It asks for nothing and takes nothing away: that is the consumer's.

use std::collections::HashSet;
use std::sync::Arc;

use events::{Envelope, Event, Position, Source};
use store::{DeadLetter, Indexes, TransactError, Txn};

use crate::apply::blame;
use crate::entry::StreamId;
use crate::errors::BusError;
use crate::handler::Applied;
use crate::link::Link;
use crate::recovery::Recovery;
use crate::snapshot::{self, Piece, Spoilt};
use crate::stream;

/// How many entries are read, and applied in one transaction, at a time.
const PAGE_ENTRIES_MAX: usize = 256;

/// A snapshot that is being applied.
pub(crate) struct Restating {
    key: String,
    source: Source,
    /// Where the cursor will stand.
    at: Position,
    /// The last entry that was applied.
    after: StreamId,
    /// The number of the next entry.
    number: u64,
    /// All subjects that were stated so far, and the orders that they are about.
    stated: Arc<HashSet<String>>,
    /// How often the next page was tried without success.
    pub(crate) tries: u32,
}

/// An entity as the snapshot states it.
#[derive(Debug, Clone)]
struct Entity {
    id: StreamId,
    event_type: String,
    raw: String,
    envelope: Box<Envelope>,
}

/// A page of a snapshot, ready to be applied inside the writer.
#[derive(Clone)]
pub(crate) struct Page {
    source: Source,
    at: Position,
    entities: Arc<Vec<Entity>>,
    /// All subjects of the snapshot, if this is the last page.
    ends: Option<Arc<HashSet<String>>>,
    /// What can't be applied is not tried again but becomes a dead letter.
    given_up: bool,
    tries: u32,
    /// Where the next page begins.
    next: (StreamId, u64),
}

/// What became of a page.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PageApplied {
    pub(crate) applied: u64,
    pub(crate) stale: u64,
    pub(crate) buried: u64,
}

/// Why a page was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unapplied {
    /// One of its entities can't be applied, at least not now.
    #[error("{0}")]
    Entity(String),
    /// What is to be done about entities that the source has no more can't be done, at least not now.
    #[error("what the source has no more can't be let go of: {0}")]
    Forsaken(String),
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Spoilt(#[from] Spoilt),
}

impl Restating {
    /// The snapshot of `source` at that position, from the stream at `key`.
    pub(crate) fn new(key: String, source: Source, at: Position) -> Self {
        Self {
            key,
            source,
            at,
            after: StreamId::default(),
            number: 0,
            stated: Arc::default(),
            tries: 0,
        }
    }

    /// Where the snapshot stands.
    pub(crate) fn at(&self) -> Position {
        self.at
    }

    /// Reads the next page. Asked again it reads the same one, until [`Self::applied`].
    pub(crate) async fn read(&mut self, link: &mut Link, given_up: bool) -> Result<Page, PageError> {
        let entries = stream::page(link, &self.key, self.after, PAGE_ENTRIES_MAX).await?;
        let (mut after, mut number) = (self.after, self.number);
        let (mut entities, mut ended) = (Vec::with_capacity(entries.len()), false);
        for entry in entries {
            after = entry.id;
            let begun = (number > 0).then_some(self.at);
            match snapshot::read(entry, number, self.source, begun)? {
                Piece::Begin(at) if at == self.at => {}
                Piece::Begin(at) => {
                    return Err(Spoilt::Broken(format!("it is another one by now, of {at}")).into());
                }
                Piece::Entity {
                    id,
                    event_type,
                    raw,
                    envelope,
                } => entities.push(Entity {
                    id,
                    event_type,
                    raw,
                    envelope,
                }),
                Piece::End => {
                    ended = true;
                    break;
                }
            }
            number += 1;
        }
        if after == self.after {
            return Err(Spoilt::Broken("it has no end".to_owned()).into());
        }
        let stated = Arc::make_mut(&mut self.stated);
        for Entity { envelope, .. } in &entities {
            stated.extend(is_of_itself(&envelope.event).then(|| envelope.event.subject()));
            stated.extend(envelope.event.order_id().map(|order| order.to_string()));
        }
        Ok(Page {
            source: self.source,
            at: self.at,
            entities: Arc::new(entities),
            ends: ended.then(|| Arc::clone(&self.stated)),
            given_up,
            tries: self.tries + 1,
            next: (after, number),
        })
    }

    /// The page is applied: the next one comes after it.
    pub(crate) fn applied(&mut self, page: &Page) {
        (self.after, self.number) = page.next;
        self.tries = 0;
    }
}

impl Page {
    /// Whether it is the last one.
    pub(crate) fn is_last(&self) -> bool {
        self.ends.is_some()
    }

    /// Applies the page inside the store's writer: all of it or nothing.
    pub(crate) fn apply<I: Indexes, R: Recovery<I>>(
        &self,
        tx: &mut Txn<'_, I>,
        recovery: &R,
    ) -> Result<PageApplied, TransactError<Unapplied>> {
        let mut done = PageApplied::default();
        // The state of a whole is no answer to any one event.
        tx.caused_by(None);
        for entity in self.entities.iter() {
            if !recovery.heeds(entity.envelope.event.event_type()) {
                continue;
            }
            let tried = tx.attempt_catching(|tx| recovery.restated(tx, &entity.envelope));
            let why = match tried {
                Ok(Ok(Applied::Done)) => {
                    done.applied += 1;
                    continue;
                }
                Ok(Ok(Applied::Stale(reason))) => {
                    tracing::debug!(source = %self.source, event = entity.event_type, reason, "stated in vain");
                    done.stale += 1;
                    continue;
                }
                Ok(Err(error)) => blame(error)?,
                Err(panicked) => format!("its handler {panicked}"),
            };
            if !self.given_up {
                return Err(TransactError::Refused(Unapplied::Entity(why)));
            }
            tracing::error!(source = %self.source, subject = entity.envelope.event.subject(), why, "an entity of a snapshot can't be applied; it becomes a dead letter");
            tx.bury(self.letter(tx, entity, why))?;
            done.buried += 1;
        }
        if let Some(stated) = &self.ends {
            let forsaken = tx.attempt_catching(|tx| recovery.forsake(tx, self.source, stated));
            match forsaken {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let why = blame(error)?;
                    return Err(TransactError::Refused(Unapplied::Forsaken(why)));
                }
                Err(panicked) => {
                    return Err(TransactError::Refused(Unapplied::Forsaken(panicked.to_string())));
                }
            }
            tx.set_cursor(self.source, self.at);
        }
        Ok(done)
    }

    fn letter<I: Indexes>(&self, tx: &Txn<'_, I>, entity: &Entity, reason: String) -> DeadLetter {
        DeadLetter {
            source: self.source,
            // Many entities share a position, so that the letter goes by the id of its entry.
            id: entity.id.to_string(),
            position: Some(self.at),
            event_type: entity.event_type.clone(),
            reason,
            tries: self.tries,
            buried_at: tx.now(),
            entry_bytes: entity.raw.len() as u64,
            entry: entity.raw.clone(),
        }
    }
}

/// Whether the event tells of its subject itself. What happened to an order at a ticket states nothing of that ticket
/// where it does not come with it: there may be none any more, which is why the order was rejected.
fn is_of_itself(event: &Event) -> bool {
    match event {
        Event::TicketReserved(change)
        | Event::TicketRejected(change)
        | Event::TicketReleased(change)
        | Event::TicketSold(change) => change.ticket.is_some(),
        Event::UserRegistered(_)
        | Event::SessionRevoked(_)
        | Event::KeyPublished(_)
        | Event::KeyRetired(_)
        | Event::TicketCreated(_)
        | Event::TicketUpdated(_)
        | Event::TicketDeleted(_)
        | Event::OrderCreated(_)
        | Event::OrderAwaitingPayment(_)
        | Event::OrderAccepted(_)
        | Event::OrderCompleted(_)
        | Event::OrderRefunding(_)
        | Event::OrderCancelled(_)
        | Event::OrderNotDue(_)
        | Event::OrderExpired(_)
        | Event::PaymentOpened(_)
        | Event::PaymentAuthorized(_)
        | Event::PaymentCreated(_)
        | Event::PaymentFailed(_)
        | Event::PaymentRefunded(_) => true,
    }
}
