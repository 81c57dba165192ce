//! The stored form of an order.

use events::{CancelReason, OrderId, OrderStatus, PaymentId, Timestamp, UserId, Version};
use store::codec::{self, DecodeError};
use store::{Record, Table};

use super::payment_row::{MoneyV1, invalid};
use crate::domain::Order;

#[derive(bincode::Encode, bincode::Decode)]
struct OrderV1 {
    id: [u8; 16],
    version: u64,
    user_id: [u8; 16],
    status: u8,
    reason: Option<u8>,
    title: String,
    price: MoneyV1,
    quantity: u32,
    total: MoneyV1,
    expires_at_micros: i64,
    payment_id: Option<[u8; 16]>,
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
            title: self.title.clone(),
            price: self.price.into(),
            quantity: self.quantity,
            total: self.total.into(),
            expires_at_micros: self.expires_at.as_micros(),
            payment_id: self.payment_id.map(PaymentId::to_bytes),
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => codec::decode::<OrderV1>(bytes)?.upcast(),
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

impl OrderV1 {
    fn upcast(self) -> Result<Order, DecodeError> {
        let reason = match self.reason {
            None => None,
            Some(code) => Some(CancelReason::from_code(code).ok_or_else(|| invalid("reason", code))?),
        };
        Ok(Order {
            id: OrderId::from_bytes(self.id),
            version: Version(self.version),
            user_id: UserId::from_bytes(self.user_id),
            status: OrderStatus::from_code(self.status).ok_or_else(|| invalid("status", self.status))?,
            reason,
            title: self.title,
            price: self.price.upcast()?,
            quantity: self.quantity,
            total: self.total.upcast()?,
            expires_at: Timestamp::from_micros(self.expires_at_micros),
            payment_id: self.payment_id.map(PaymentId::from_bytes),
        })
    }
}
