//! How deadlines are kept: their frozen stored form and the index by time.
//!
//! A stored form never changes: a new shape is a new type with the next schema number, and `decode` keeps reading
//! every one that was ever written.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};
use events::{OrderId, Timestamp, Version};
use store::codec::{self, DecodeError};
use store::{Change, Indexes, Record, Table, Tables};

use crate::domain::{Deadline, DeadlineState};

/// [`Deadline`] as schema 1 stores it.
#[derive(Debug, Encode, Decode)]
struct DeadlineV1 {
    order_id: [u8; 16],
    expires_at_micros: i64,
    due_micros: i64,
    state: u8,
}

/// The index of the expiration store: the deadlines whose time has not come, by time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DeadlineIndexes {
    waiting: BTreeSet<(Timestamp, OrderId)>,
}

impl DeadlineIndexes {
    /// How many deadlines are waited for; as many as the scheduled set must hold.
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// The deadlines that are waited for, the next one first.
    pub fn waiting(&self) -> impl Iterator<Item = (OrderId, Timestamp)> + '_ {
        self.waiting.iter().map(|(due, id)| (*id, *due))
    }
}

impl Indexes for DeadlineIndexes {
    fn tables() -> Tables {
        service::tables().with::<Deadline>()
    }

    fn apply(&mut self, change: &Change<'_>) {
        let Some((before, after)) = change.of::<Deadline>() else {
            return;
        };
        let waiting = |deadline: &&Deadline| deadline.state == DeadlineState::Waiting;
        if let Some(deadline) = before.filter(waiting) {
            self.waiting.remove(&(deadline.due, deadline.order_id));
        }
        if let Some(deadline) = after.filter(waiting) {
            self.waiting.insert((deadline.due, deadline.order_id));
        }
    }
}

impl Record for Deadline {
    const TABLE: Table = Table(b'd', "deadline");
    const SCHEMA: u8 = 1;
    type Key = OrderId;

    fn key(&self) -> OrderId {
        self.order_id
    }

    /// Deadlines have no versions: only this service's own, ordered steps write them.
    fn version(&self) -> Version {
        Version::FIRST
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&DeadlineV1 {
            order_id: self.order_id.to_bytes(),
            expires_at_micros: self.expires_at.as_micros(),
            due_micros: self.due.as_micros(),
            state: match self.state {
                DeadlineState::Waiting => 1,
                DeadlineState::Fired => 2,
            },
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => {
                let row: DeadlineV1 = codec::decode(bytes)?;
                Ok(Self {
                    order_id: OrderId::from_bytes(row.order_id),
                    expires_at: Timestamp::from_micros(row.expires_at_micros),
                    due: Timestamp::from_micros(row.due_micros),
                    state: match row.state {
                        1 => DeadlineState::Waiting,
                        2 => DeadlineState::Fired,
                        _ => return Err(DecodeError::Invalid("a deadline's state is unknown".into())),
                    },
                })
            }
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

#[cfg(test)]
mod tests;
