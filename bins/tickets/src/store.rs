//! How tickets and holds are kept: their frozen stored forms and the indexes over them.
//!
//! A stored form never changes: a new shape is a new type with the next schema number, and `decode` keeps reading
//! every one that was ever written.

use bincode::{Decode, Encode};
use events::{Money, OrderId, OrderStatus, TicketId, Timestamp, UserId, Version};
use store::codec::{self, DecodeError};
use store::{Record, Table};

use crate::domain::{Details, Hold, HoldState, Ticket};

pub use crate::search::TicketIndexes;

/// [`Ticket`] as schema 1 stores it.
#[derive(Debug, Encode, Decode)]
struct TicketV1 {
    id: [u8; 16],
    version: u64,
    seller_id: [u8; 16],
    title: String,
    description: String,
    venue: Option<String>,
    starts_at: Option<String>,
    price_minor: i64,
    currency: u8,
    quantity: u32,
    reserved: u32,
    sold: u32,
    deleted: bool,
    created_at_micros: i64,
    updated_at_micros: i64,
}

/// [`Hold`] as schema 1 stores it.
#[derive(Debug, Encode, Decode)]
struct HoldV1 {
    ticket_id: [u8; 16],
    order_id: [u8; 16],
    quantity: u32,
    state: u8,
    order_status: u8,
    total_minor: i64,
    currency: u8,
    ordered_at_micros: i64,
}

impl Record for Ticket {
    const TABLE: Table = Table(b't', "ticket");
    const SCHEMA: u8 = 1;
    type Key = TicketId;

    fn key(&self) -> TicketId {
        self.id
    }

    fn version(&self) -> Version {
        self.version
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&TicketV1 {
            id: self.id.to_bytes(),
            version: self.version.0,
            seller_id: self.seller_id.to_bytes(),
            title: self.details.title.clone(),
            description: self.details.description.clone(),
            venue: self.details.venue.clone(),
            starts_at: self.details.starts_at.as_ref().map(ToString::to_string),
            price_minor: self.details.price.minor(),
            currency: self.details.price.currency().code(),
            quantity: self.details.quantity,
            reserved: self.reserved,
            sold: self.sold,
            deleted: self.deleted,
            created_at_micros: self.created_at.as_micros(),
            updated_at_micros: self.updated_at.as_micros(),
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => {
                let row: TicketV1 = codec::decode(bytes)?;
                Ok(Self {
                    id: TicketId::from_bytes(row.id),
                    version: Version(row.version),
                    seller_id: UserId::from_bytes(row.seller_id),
                    details: Details {
                        title: row.title,
                        description: row.description,
                        venue: row.venue,
                        starts_at: row.starts_at.map(|text| text.parse()).transpose()?,
                        price: Money::from_codes(row.price_minor, row.currency)?,
                        quantity: row.quantity,
                    },
                    reserved: row.reserved,
                    sold: row.sold,
                    deleted: row.deleted,
                    created_at: Timestamp::from_micros(row.created_at_micros),
                    updated_at: Timestamp::from_micros(row.updated_at_micros),
                })
            }
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

impl Record for Hold {
    const TABLE: Table = Table(b'h', "hold");
    const SCHEMA: u8 = 1;
    type Key = (TicketId, OrderId);

    fn key(&self) -> (TicketId, OrderId) {
        (self.ticket_id, self.order_id)
    }

    /// A hold changes only together with its ticket, whose version guards both.
    fn version(&self) -> Version {
        Version::FIRST
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&HoldV1 {
            ticket_id: self.ticket_id.to_bytes(),
            order_id: self.order_id.to_bytes(),
            quantity: self.quantity,
            state: match self.state {
                HoldState::Held => 1,
                HoldState::Sold => 2,
                HoldState::Released => 3,
                HoldState::Refused => 4,
            },
            order_status: self.order_status.code(),
            total_minor: self.total.minor(),
            currency: self.total.currency().code(),
            ordered_at_micros: self.ordered_at.as_micros(),
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => {
                let row: HoldV1 = codec::decode(bytes)?;
                Ok(Self {
                    ticket_id: TicketId::from_bytes(row.ticket_id),
                    order_id: OrderId::from_bytes(row.order_id),
                    quantity: row.quantity,
                    state: match row.state {
                        1 => HoldState::Held,
                        2 => HoldState::Sold,
                        3 => HoldState::Released,
                        4 => HoldState::Refused,
                        _ => return Err(DecodeError::Invalid("a hold's state is unknown".into())),
                    },
                    order_status: OrderStatus::from_code(row.order_status)
                        .ok_or_else(|| DecodeError::Invalid("an order's status is unknown".into()))?,
                    total: Money::from_codes(row.total_minor, row.currency)?,
                    ordered_at: Timestamp::from_micros(row.ordered_at_micros),
                })
            }
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

#[cfg(test)]
mod tests;
