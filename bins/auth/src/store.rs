//! What auth stores: people, found by id or address, and private signing keys.

use std::collections::HashMap;

use ::store::codec::{self, DecodeError};
use ::store::{Change, Indexes, Record, Table, Tables};
use events::{Timestamp, UserId, Version};

use crate::domain::{Email, KeyLife, PasswordHash, User};

#[derive(bincode::Encode, bincode::Decode)]
struct UserV1 {
    id: [u8; 16],
    version: u64,
    email: String,
    password_hash: String,
    created_at_micros: i64,
}

impl Record for User {
    const TABLE: Table = Table(b'u', "user");
    const SCHEMA: u8 = 1;
    type Key = UserId;

    fn key(&self) -> UserId {
        self.id
    }

    fn version(&self) -> Version {
        self.version
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&UserV1 {
            id: self.id.to_bytes(),
            version: self.version.0,
            email: self.email.as_str().to_owned(),
            password_hash: self.password_hash.0.clone(),
            created_at_micros: self.created_at.as_micros(),
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => {
                let row: UserV1 = codec::decode(bytes)?;
                Ok(Self {
                    id: UserId::from_bytes(row.id),
                    version: Version(row.version),
                    email: Email::stored(row.email),
                    password_hash: PasswordHash(row.password_hash),
                    created_at: Timestamp::from_micros(row.created_at_micros),
                })
            }
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

/// A private signing key. It never leaves this store.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PrivateKey {
    /// Where it stands in its life.
    pub(crate) life: KeyLife,
    /// What it grows from: whoever has it can sign.
    pub(crate) seed: [u8; 32],
}

#[derive(bincode::Encode, bincode::Decode)]
struct PrivateKeyV1 {
    kid: String,
    seed: [u8; 32],
    created_at_micros: i64,
    usable_from_micros: i64,
    superseded_at_micros: Option<i64>,
}

impl Record for PrivateKey {
    const TABLE: Table = Table(b's', "private signing key");
    const SCHEMA: u8 = 1;
    type Key = String;

    fn key(&self) -> String {
        self.life.kid.clone()
    }

    fn version(&self) -> Version {
        Version::FIRST
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&PrivateKeyV1 {
            kid: self.life.kid.clone(),
            seed: self.seed,
            created_at_micros: self.life.created_at.as_micros(),
            usable_from_micros: self.life.usable_from.as_micros(),
            superseded_at_micros: self.life.superseded_at.map(Timestamp::as_micros),
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => {
                let row: PrivateKeyV1 = codec::decode(bytes)?;
                Ok(Self {
                    life: KeyLife {
                        kid: row.kid,
                        created_at: Timestamp::from_micros(row.created_at_micros),
                        usable_from: Timestamp::from_micros(row.usable_from_micros),
                        superseded_at: row.superseded_at_micros.map(Timestamp::from_micros),
                    },
                    seed: row.seed,
                })
            }
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

/// Who has which address.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct People {
    by_email: HashMap<Email, UserId>,
}

impl People {
    /// Who has this address.
    pub(crate) fn with_email(&self, email: &Email) -> Option<UserId> {
        self.by_email.get(email).copied()
    }
}

impl Indexes for People {
    fn apply(&mut self, change: &Change<'_>) {
        if let Some((before, after)) = change.of::<User>() {
            if let Some(user) = before {
                self.by_email.remove(&user.email);
            }
            if let Some(user) = after {
                self.by_email.insert(user.email.clone(), user.id);
            }
        }
    }

    fn tables() -> Tables {
        service::tables().with::<User>().with::<PrivateKey>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(email: &str) -> User {
        User {
            id: "019394b6-0c00-7000-8000-000000000001".parse().unwrap(),
            version: Version(3),
            email: Email::parse(email).unwrap(),
            password_hash: PasswordHash("$argon2id$…".into()),
            created_at: Timestamp::from_seconds(1),
        }
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let ann = user("ann@example.org");
        assert_eq!(User::decode(1, &ann.encode()).unwrap(), ann);
        assert!(User::decode(2, &ann.encode()).is_err());
        let key = PrivateKey {
            life: KeyLife {
                kid: "k".into(),
                created_at: Timestamp::from_seconds(1),
                usable_from: Timestamp::from_seconds(2),
                superseded_at: Some(Timestamp::from_seconds(3)),
            },
            seed: [7; 32],
        };
        let read = PrivateKey::decode(1, &key.encode()).unwrap();
        assert_eq!((read.life, read.seed), (key.life, key.seed));
    }

    #[test]
    fn the_index_can_be_taken_back() {
        let (ann, renamed) = (user("ann@example.org"), user("bea@example.org"));
        let mut people = People::default();
        people.apply(&Change::new(None, Some(&ann)));
        people.apply(&Change::new(Some(&ann), Some(&renamed)));
        assert_eq!(people.with_email(&ann.email), None);
        assert_eq!(people.with_email(&renamed.email), Some(ann.id));
        people.apply(&Change::new(Some(&renamed), Some(&ann)));
        people.apply(&Change::new(Some(&ann), None));
        assert_eq!(people, People::default());
    }
}
