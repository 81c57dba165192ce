//! Answers that are repeated when the same request comes again: stored with the effect, in one transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use events::{Timestamp, UserId, Version};

use crate::codec::{self, DecodeError};
use crate::record::{Record, RecordKey, Table};

/// How long an answer is remembered.
pub const IDEMPOTENCY_HOURS: u64 = 24;

/// How many forgotten answers one transaction of the sweep removes.
pub(crate) const SWEPT_PER_TRANSACTION_MAX: usize = 1_000;

/// Which request this is: a client's key, counted per person and route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Who asks.
    pub user: UserId,
    /// The route, as the contract names it: `POST /api/orders`.
    pub route: &'static str,
    /// The client's key.
    pub key: String,
    /// The SHA-256 of the body: the same key with another body is a mistake of the client's.
    pub body_digest: [u8; 32],
}

/// The answer that was given, to be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The HTTP status.
    pub status: u16,
    /// The headers that belong to the answer.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// The row of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    user: UserId,
    route: String,
    key: String,
    pub(crate) body_digest: [u8; 32],
    pub(crate) answer: Remembered,
    pub(crate) forgotten_at: Timestamp,
}

/// What an answer is found by. The route ends at the zero byte, which no route and no header value contains.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AnsweredKey(Vec<u8>);

impl RecordKey for AnsweredKey {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.0);
    }
}

impl AnsweredKey {
    fn new(user: UserId, route: &str, key: &str) -> Self {
        let mut bytes = Vec::with_capacity(16 + route.len() + 1 + key.len());
        bytes.extend_from_slice(&user.to_bytes());
        bytes.extend_from_slice(route.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(key.as_bytes());
        Self(bytes)
    }
}

impl From<&IdempotencyKey> for AnsweredKey {
    fn from(key: &IdempotencyKey) -> Self {
        Self::new(key.user, key.route, &key.key)
    }
}

impl Answered {
    pub(crate) fn new(key: IdempotencyKey, answer: Remembered, now: Timestamp) -> Self {
        Self {
            user: key.user,
            route: key.route.to_owned(),
            key: key.key,
            body_digest: key.body_digest,
            answer,
            forgotten_at: now.plus(Duration::from_secs(IDEMPOTENCY_HOURS * 3_600)),
        }
    }
}

#[derive(bincode::Encode, bincode::Decode)]
struct AnsweredV1 {
    user: [u8; 16],
    route: String,
    key: String,
    body_digest: [u8; 32],
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    forgotten_at_micros: i64,
}

impl Record for Answered {
    const TABLE: Table = Table(b'I', "idempotent answer");
    const SCHEMA: u8 = 1;
    type Key = AnsweredKey;

    fn key(&self) -> AnsweredKey {
        AnsweredKey::new(self.user, &self.route, &self.key)
    }

    fn version(&self) -> Version {
        Version::FIRST
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&AnsweredV1 {
            user: self.user.to_bytes(),
            route: self.route.clone(),
            key: self.key.clone(),
            body_digest: self.body_digest,
            status: self.answer.status,
            headers: self.answer.headers.clone(),
            body: self.answer.body.clone(),
            forgotten_at_micros: self.forgotten_at.as_micros(),
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => {
                let row: AnsweredV1 = codec::decode(bytes)?;
                Ok(Self {
                    user: UserId::from_bytes(row.user),
                    route: row.route,
                    key: row.key,
                    body_digest: row.body_digest,
                    answer: Remembered {
                        status: row.status,
                        headers: row.headers,
                        body: row.body,
                    },
                    forgotten_at: Timestamp::from_micros(row.forgotten_at_micros),
                })
            }
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

/// When which answer is forgotten, in memory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Forgetting(BTreeSet<(Timestamp, AnsweredKey)>);

impl Forgetting {
    pub(crate) fn apply(&mut self, before: Option<&Answered>, after: Option<&Answered>) {
        if let Some(row) = before {
            self.0.remove(&(row.forgotten_at, row.key()));
        }
        if let Some(row) = after {
            self.0.insert((row.forgotten_at, row.key()));
        }
    }

    /// Those that are over at `now`, the oldest first.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<AnsweredKey> {
        self.0
            .iter()
            .take_while(|(at, _)| *at <= now)
            .take(SWEPT_PER_TRANSACTION_MAX)
            .map(|(_, key)| key.clone())
            .collect()
    }
}
