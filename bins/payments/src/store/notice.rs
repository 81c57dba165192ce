//! A notice from Stripe: that something about a payment may have changed. What has changed is never taken
//! from the notice; it only leads to a look at Stripe.

use events::{PaymentId, Timestamp, Version};
use store::codec::{self, DecodeError};
use store::{Record, Table};

/// The longest id of a notice, or of an object that it names.
pub const NOTICE_ID_CHARS_MAX: usize = 255;

/// A notice from Stripe about one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Stripe's id of the event, by which a repetition is known.
    pub id: String,
    /// Stripe's name for what happened; for people who read dumps.
    pub kind: String,
    /// Which payment it is about.
    pub payment_id: PaymentId,
    /// The Checkout Session that it is about, if it is about one.
    pub session: Option<String>,
    /// When it came.
    pub received_at: Timestamp,
    /// Whether it has led to a look at Stripe.
    pub read: bool,
}

#[derive(bincode::Encode, bincode::Decode)]
struct NoticeV1 {
    id: String,
    kind: String,
    payment_id: [u8; 16],
    session: Option<String>,
    received_at_micros: i64,
    read: bool,
}

impl Record for Notice {
    const TABLE: Table = Table(b'n', "notice from Stripe");
    const SCHEMA: u8 = 1;
    type Key = String;

    fn key(&self) -> String {
        self.id.clone()
    }

    fn version(&self) -> Version {
        Version::FIRST
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&NoticeV1 {
            id: self.id.clone(),
            kind: self.kind.clone(),
            payment_id: self.payment_id.to_bytes(),
            session: self.session.clone(),
            received_at_micros: self.received_at.as_micros(),
            read: self.read,
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => {
                let row: NoticeV1 = codec::decode(bytes)?;
                Ok(Self {
                    id: row.id,
                    kind: row.kind,
                    payment_id: PaymentId::from_bytes(row.payment_id),
                    session: row.session,
                    received_at: Timestamp::from_micros(row.received_at_micros),
                    read: row.read,
                })
            }
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}
