//! How the two services of the suite recover: expiration keeps every number that it has published, orders keeps what it
//! has heard.

use std::collections::HashSet;

use bus::{Adopted, Applied, Handler, Impossible, Recovery};
use events::{Envelope, Event, EventType, OrderExpired, Source};
use store::{StoredRow, TransactError, Txn, TxnError};

use crate::system::{Count, Notary, Note, number_event, order};

/// A number of which the author says that it can't come back whole.
pub(crate) const HALF: i64 = 13;
/// A number that the author can't take back.
pub(crate) const LOST: i64 = 99_999;

/// Expiration, which reads nothing.
pub(crate) struct Author;

/// Keeps a number that is published.
pub(crate) fn write_down(tx: &mut Txn<'_, Count>, number: i64) -> Result<(), TxnError> {
    let place = u64::try_from(number).unwrap();
    tx.put_any(Note { place, number })
}

impl Handler<Count> for Author {
    fn concerns(&self, _: EventType) -> bool {
        false
    }

    fn apply(&self, _: &mut Txn<'_, Count>, _: &Envelope) -> Result<Applied, TransactError<Impossible>> {
        Impossible::because("it reads nothing")
    }
}

impl Recovery<Count> for Author {
    fn adopt(
        &self,
        tx: &mut Txn<'_, Count>,
        envelope: &Envelope,
    ) -> Result<Adopted, TransactError<Impossible>> {
        let number = number_of(envelope)?;
        if number == LOST {
            return Impossible::because("it contradicts what is stored");
        }
        write_down(tx, number)?;
        Ok(if number == HALF {
            Adopted::Without(format!("{number} has lost its other half"))
        } else {
            Adopted::Whole
        })
    }

    fn restate(&self, row: &StoredRow) -> Option<Event> {
        row.of::<Note>().map(|note| number_event(note.number))
    }

    fn forsake(
        &self,
        _: &mut Txn<'_, Count>,
        _: Source,
        _: &HashSet<String>,
    ) -> Result<(), TransactError<Impossible>> {
        Ok(())
    }
}

impl Recovery<Count> for Notary {
    fn adopt(&self, _: &mut Txn<'_, Count>, _: &Envelope) -> Result<Adopted, TransactError<Impossible>> {
        Impossible::because("it publishes nothing of its own")
    }

    fn restate(&self, _: &StoredRow) -> Option<Event> {
        None
    }

    fn restated(
        &self,
        tx: &mut Txn<'_, Count>,
        envelope: &Envelope,
    ) -> Result<Applied, TransactError<Impossible>> {
        let number = number_of(envelope)?;
        if tx.indexes().knows(number) {
            return Ok(Applied::Stale("known"));
        }
        self.apply(tx, envelope)
    }

    fn forsake(
        &self,
        tx: &mut Txn<'_, Count>,
        _: Source,
        stated: &HashSet<String>,
    ) -> Result<(), TransactError<Impossible>> {
        let mut place = 0;
        while let Some(note) = tx.get::<Note>(&place)? {
            if !stated.contains(&order(note.number).to_string()) {
                tx.delete::<Note>(&place)?;
            }
            place += 1;
        }
        Ok(())
    }
}

fn number_of(envelope: &Envelope) -> Result<i64, TransactError<Impossible>> {
    match &envelope.event {
        Event::OrderExpired(OrderExpired { expires_at, .. }) => Ok(expires_at.as_seconds()),
        _ => Impossible::because("not a number"),
    }
}
