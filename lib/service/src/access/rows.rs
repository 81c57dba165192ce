//! What every service keeps of keys and sessions: the rows, and nothing of what becomes of them.

use events::{KeyPublished, SessionId, SessionRevoked, Timestamp, UserId, Version};
use store::codec::{self, DecodeError};
use store::{Record, Table};

/// A signing key that tokens may be signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Its name.
    pub kid: String,
    /// The public key, base64url.
    pub public_key: String,
    /// The earliest moment at which a token is signed with it.
    pub usable_from: Timestamp,
}

/// A key that is good no more, while there may be tokens that it has signed. Whoever brings one is told to sign in again,
/// and not to wait for a key that is still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetiredKeyRow {
    pub(crate) kid: String,
    pub(crate) until: Timestamp,
}

/// An entry of the revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationRow(pub SessionRevoked);

impl From<KeyPublished> for KeyRow {
    fn from(key: KeyPublished) -> Self {
        Self {
            kid: key.kid,
            public_key: key.public_key,
            usable_from: key.usable_from,
        }
    }
}

#[derive(bincode::Encode, bincode::Decode)]
struct KeyRowV1 {
    kid: String,
    public_key: String,
    usable_from_micros: i64,
}

impl Record for KeyRow {
    const TABLE: Table = Table(b'K', "signing key");
    const SCHEMA: u8 = 1;
    type Key = String;

    fn key(&self) -> String {
        self.kid.clone()
    }

    fn version(&self) -> Version {
        Version::FIRST
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&KeyRowV1 {
            kid: self.kid.clone(),
            public_key: self.public_key.clone(),
            usable_from_micros: self.usable_from.as_micros(),
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => {
                let row: KeyRowV1 = codec::decode(bytes)?;
                Ok(Self {
                    kid: row.kid,
                    public_key: row.public_key,
                    usable_from: Timestamp::from_micros(row.usable_from_micros),
                })
            }
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

#[derive(bincode::Encode, bincode::Decode)]
struct RetiredKeyRowV1 {
    kid: String,
    until_micros: i64,
}

impl Record for RetiredKeyRow {
    const TABLE: Table = Table(b'X', "retired signing key");
    const SCHEMA: u8 = 1;
    type Key = String;

    fn key(&self) -> String {
        self.kid.clone()
    }

    fn version(&self) -> Version {
        Version::FIRST
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&RetiredKeyRowV1 {
            kid: self.kid.clone(),
            until_micros: self.until.as_micros(),
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => {
                let row: RetiredKeyRowV1 = codec::decode(bytes)?;
                Ok(Self {
                    kid: row.kid,
                    until: Timestamp::from_micros(row.until_micros),
                })
            }
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

#[derive(bincode::Encode, bincode::Decode)]
struct RevocationRowV1 {
    user_id: [u8; 16],
    session_id: Option<[u8; 16]>,
    except: Option<[u8; 16]>,
    before_micros: i64,
    until_micros: i64,
}

/// The person, then the one session, or the moment before which all of theirs are meant.
impl Record for RevocationRow {
    const TABLE: Table = Table(b'R', "revocation");
    const SCHEMA: u8 = 1;
    type Key = (UserId, [u8; 17]);

    fn key(&self) -> (UserId, [u8; 17]) {
        let mut rest = [0; 17];
        match self.0.session_id {
            Some(session) => {
                rest[0] = 1;
                rest[1..].copy_from_slice(&session.to_bytes());
            }
            None => rest[1..9].copy_from_slice(&self.0.before.as_micros().to_be_bytes()),
        }
        (self.0.user_id, rest)
    }

    fn version(&self) -> Version {
        Version::FIRST
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&RevocationRowV1 {
            user_id: self.0.user_id.to_bytes(),
            session_id: self.0.session_id.map(SessionId::to_bytes),
            except: self.0.except.map(SessionId::to_bytes),
            before_micros: self.0.before.as_micros(),
            until_micros: self.0.until.as_micros(),
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => {
                let row: RevocationRowV1 = codec::decode(bytes)?;
                Ok(Self(SessionRevoked {
                    user_id: UserId::from_bytes(row.user_id),
                    session_id: row.session_id.map(SessionId::from_bytes),
                    except: row.except.map(SessionId::from_bytes),
                    before: Timestamp::from_micros(row.before_micros),
                    until: Timestamp::from_micros(row.until_micros),
                }))
            }
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}
