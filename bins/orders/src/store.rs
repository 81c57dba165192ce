//! How orders and this service's view of tickets are kept: their frozen stored forms and the indexes over them.
//!
//! A stored form never changes: a new shape is a new type with the next schema number, and `decode` keeps reading
//! every one that was ever written.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use bincode::{Decode, Encode};
use events::{
    CancelReason, Money, OrderId, OrderStatus, OrderedTicket, TicketId, Timestamp, UserId, Version,
};
use store::codec::{self, DecodeError};
use store::{Change, Indexes, Record, Table, Tables};

use crate::domain::{Order, TicketView};

/// [`Order`] as schema 1 stores it.
#[derive(Debug, Encode, Decode)]
struct OrderV1 {
    id: [u8; 16],
    version: u64,
    user_id: [u8; 16],
    status: u8,
    reason: Option<u8>,
    quantity: u32,
    total_minor: i64,
    currency: u8,
    expires_at_micros: i64,
    created_at_micros: i64,
    ticket_id: [u8; 16],
    ticket_version: u64,
    seller_id: [u8; 16],
    title: String,
    price_minor: i64,
    venue: Option<String>,
    starts_at: Option<String>,
}

/// [`TicketView`] as schema 1 stores it.
#[derive(Debug, Encode, Decode)]
struct TicketViewV1 {
    id: [u8; 16],
    version: u64,
    seller_id: [u8; 16],
    title: String,
    venue: Option<String>,
    starts_at: Option<String>,
    price_minor: i64,
    currency: u8,
    quantity: u32,
    deleted: bool,
}

/// The indexes of the orders store.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OrderIndexes {
    claimed: HashMap<TicketId, u32>,
    by_buyer: BTreeSet<(UserId, OrderId)>,
}

impl OrderIndexes {
    /// How many pieces of a ticket are claimed by orders that are not cancelled.
    pub fn claimed(&self, ticket: TicketId) -> u32 {
        self.claimed.get(&ticket).copied().unwrap_or(0)
    }

    /// A page of one person's orders, the latest first.
    pub fn of_buyer(&self, buyer: UserId, after: Option<OrderId>, limit: usize) -> Vec<OrderId> {
        let (first, last) = (OrderId::from_bytes([0; 16]), OrderId::from_bytes([0xff; 16]));
        let end = after.map_or(Bound::Included((buyer, last)), |after| {
            Bound::Excluded((buyer, after))
        });
        let walk = self.by_buyer.range((Bound::Included((buyer, first)), end));
        walk.rev().take(limit).map(|(_, id)| *id).collect()
    }
}

impl Indexes for OrderIndexes {
    fn tables() -> Tables {
        service::tables().with::<Order>().with::<TicketView>()
    }

    fn apply(&mut self, change: &Change<'_>) {
        let Some((before, after)) = change.of::<Order>() else {
            return;
        };
        let claim = |order: Option<&Order>| order.map_or(0, Order::claimed);
        let (freed, claimed) = (claim(before), claim(after));
        if let Some(order) = after.or(before)
            && freed != claimed
        {
            let total = self.claimed.entry(order.ticket.id).or_default();
            *total = *total + claimed - freed;
            if *total == 0 {
                self.claimed.remove(&order.ticket.id);
            }
        }
        match (before, after) {
            (None, Some(order)) => {
                self.by_buyer.insert((order.user_id, order.id));
            }
            (Some(order), None) => {
                self.by_buyer.remove(&(order.user_id, order.id));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}

impl Record for Order {
    const TABLE: Table = Table(b'o', "order");
    const SCHEMA: u8 = 1;
    type Key = OrderId;

    fn key(&self) -> OrderId {
        self.id
    }

    fn version(&self) -> Version {
        self.version
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&OrderV1 {
            id: self.id.to_bytes(),
            version: self.version.0,
            user_id: self.user_id.to_bytes(),
            status: self.status.code(),
            reason: self.reason.map(CancelReason::code),
            quantity: self.quantity,
            total_minor: self.total.minor(),
            currency: self.total.currency().code(),
            expires_at_micros: self.expires_at.as_micros(),
            created_at_micros: self.created_at.as_micros(),
            ticket_id: self.ticket.id.to_bytes(),
            ticket_version: self.ticket.version.0,
            seller_id: self.ticket.seller_id.to_bytes(),
            title: self.ticket.title.clone(),
            price_minor: self.ticket.price.minor(),
            venue: self.ticket.venue.clone(),
            starts_at: self.ticket.starts_at.as_ref().map(ToString::to_string),
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => {
                let row: OrderV1 = codec::decode(bytes)?;
                let reason = row
                    .reason
                    .map(|code| CancelReason::from_code(code).ok_or_else(|| unknown("reason")));
                Ok(Self {
                    id: OrderId::from_bytes(row.id),
                    version: Version(row.version),
                    user_id: UserId::from_bytes(row.user_id),
                    status: OrderStatus::from_code(row.status).ok_or_else(|| unknown("status"))?,
                    reason: reason.transpose()?,
                    quantity: row.quantity,
                    total: Money::from_codes(row.total_minor, row.currency)?,
                    expires_at: Timestamp::from_micros(row.expires_at_micros),
                    created_at: Timestamp::from_micros(row.created_at_micros),
                    ticket: OrderedTicket {
                        id: TicketId::from_bytes(row.ticket_id),
                        version: Version(row.ticket_version),
                        seller_id: UserId::from_bytes(row.seller_id),
                        title: row.title,
                        price: Money::from_codes(row.price_minor, row.currency)?,
                        venue: row.venue,
                        starts_at: row.starts_at.map(|text| text.parse()).transpose()?,
                    },
                })
            }
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

impl Record for TicketView {
    const TABLE: Table = Table(b't', "ticket view");
    const SCHEMA: u8 = 1;
    type Key = TicketId;

    fn key(&self) -> TicketId {
        self.id
    }

    fn version(&self) -> Version {
        self.version
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&TicketViewV1 {
            id: self.id.to_bytes(),
            version: self.version.0,
            seller_id: self.seller_id.to_bytes(),
            title: self.title.clone(),
            venue: self.venue.clone(),
            starts_at: self.starts_at.as_ref().map(ToString::to_string),
            price_minor: self.price.minor(),
            currency: self.price.currency().code(),
            quantity: self.quantity,
            deleted: self.deleted,
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => {
                let row: TicketViewV1 = codec::decode(bytes)?;
                Ok(Self {
                    id: TicketId::from_bytes(row.id),
                    version: Version(row.version),
                    seller_id: UserId::from_bytes(row.seller_id),
                    title: row.title,
                    venue: row.venue,
                    starts_at: row.starts_at.map(|text| text.parse()).transpose()?,
                    price: Money::from_codes(row.price_minor, row.currency)?,
                    quantity: row.quantity,
                    deleted: row.deleted,
                })
            }
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

fn unknown(what: &str) -> DecodeError {
    DecodeError::Invalid(format!("an order's {what} is unknown"))
}

#[cfg(test)]
mod tests;
