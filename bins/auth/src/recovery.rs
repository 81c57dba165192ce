//! Auth after a loss: what comes back, what never does, and what others are told anew.
//!
//! Keys that verify and revocations are rows of every service, and `service` keeps them here as everywhere. What is
//! auth's alone (addresses, passwords, the private halves of keys) never travels: it is as new as the backup.

use std::collections::HashSet;

use ::store::{StoredRow, TransactError, Txn};
use bus::{Adopted, Impossible, Recovery};
use events::{Envelope, Event, KeyPublished, SessionRevoked, Source, Timestamp, UserRegistered};
use service::{KeyRow, RevocationRow};

use crate::consumer::NoEvents;
use crate::domain::User;
use crate::store::{People, PrivateKey};

impl Recovery<People> for NoEvents {
    fn adopt(
        &self,
        tx: &mut Txn<'_, People>,
        envelope: &Envelope,
    ) -> Result<Adopted, TransactError<Impossible>> {
        match &envelope.event {
            Event::UserRegistered(user) => Ok(registered(tx, user, envelope.time)?),
            Event::SessionRevoked(revoked) => Ok(revoked_all(tx, revoked)?),
            Event::KeyPublished(key) => Ok(published(tx, key)?),
            Event::KeyRetired(key) => {
                tx.delete::<PrivateKey>(&key.kid)?;
                Ok(Adopted::Whole)
            }
            Event::TicketCreated(_)
            | Event::TicketUpdated(_)
            | Event::TicketDeleted(_)
            | Event::TicketReserved(_)
            | Event::TicketRejected(_)
            | Event::TicketReleased(_)
            | Event::TicketSold(_)
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
            | Event::PaymentRefunded(_) => {
                Impossible::because(format!("{} is no event of auth", envelope.id()))
            }
        }
    }

    fn restate(&self, row: &StoredRow) -> Option<Event> {
        if let Some(key) = row.of::<KeyRow>() {
            return Some(Event::KeyPublished(KeyPublished {
                kid: key.kid.clone(),
                public_key: key.public_key.clone(),
                usable_from: key.usable_from,
            }));
        }
        if let Some(RevocationRow(revoked)) = row.of::<RevocationRow>() {
            return Some(Event::SessionRevoked(revoked.clone()));
        }
        let user = row.of::<User>()?;
        Some(Event::UserRegistered(UserRegistered { user_id: user.id }))
    }

    /// Auth reads nobody's events, and keeps nothing of anybody's.
    fn forsake(
        &self,
        _tx: &mut Txn<'_, People>,
        _source: Source,
        _stated: &HashSet<String>,
    ) -> Result<(), TransactError<Impossible>> {
        Ok(())
    }
}

/// No row is made of an account whose address is not known: the address stays free, so that its owner can sign up again.
fn registered(
    tx: &Txn<'_, People>,
    user: &UserRegistered,
    at: Timestamp,
) -> Result<Adopted, ::store::StoreError> {
    if tx.get::<User>(&user.user_id)?.is_some() {
        return Ok(Adopted::Whole);
    }
    Ok(Adopted::Without(format!(
        "the account {id}, registered at {at}: its address and password are in no backup and never travel. Its owner \
         can sign up again with the same address, and then has a new account; tickets and orders of the old one stay \
         under {id}",
        id = user.user_id,
    )))
}

/// A change of password ends all sessions but the one in which it was made, and is told by nothing else.
fn revoked_all(tx: &Txn<'_, People>, revoked: &SessionRevoked) -> Result<Adopted, ::store::StoreError> {
    let is_change = revoked.session_id.is_none() && revoked.except.is_some();
    if !is_change || tx.get::<User>(&revoked.user_id)?.is_none() {
        return Ok(Adopted::Whole);
    }
    Ok(Adopted::Without(format!(
        "the password that account {id} chose at {at}: the one before it counts again; its owner should be told to change \
         it",
        id = revoked.user_id,
        at = revoked.before,
    )))
}

fn published(tx: &Txn<'_, People>, key: &KeyPublished) -> Result<Adopted, ::store::StoreError> {
    if tx.get::<PrivateKey>(&key.kid)?.is_some() {
        return Ok(Adopted::Whole);
    }
    Ok(Adopted::Without(format!(
        "the private half of signing key {}: it is retired, and whoever was signed in with it must sign in again",
        key.kid,
    )))
}

#[cfg(test)]
mod tests {
    use ::store::{Context, OutboxEntry, Store};
    use events::{Epoch, EventType, KeyRetired, Position, Seq, SessionId, UserId, Version};

    use super::*;
    use crate::domain::{Email, KeyLife, PasswordHash};

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn user_id(n: u8) -> UserId {
        UserId::from_bytes([1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n])
    }

    fn session() -> SessionId {
        SessionId::from_bytes(user_id(9).to_bytes())
    }

    fn ann() -> User {
        User {
            id: user_id(1),
            version: Version::FIRST,
            email: Email::parse("ann@example.org").unwrap(),
            password_hash: PasswordHash("$argon2id$old".into()),
            created_at: NOW,
        }
    }

    fn private_key(kid: &str) -> PrivateKey {
        PrivateKey {
            life: KeyLife {
                kid: kid.into(),
                created_at: NOW,
                usable_from: NOW,
                superseded_at: None,
            },
            seed: [7; 32],
        }
    }

    fn published(kid: &str) -> Event {
        Event::KeyPublished(KeyPublished {
            kid: kid.into(),
            public_key: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into(),
            usable_from: NOW,
        })
    }

    fn changed_password() -> SessionRevoked {
        SessionRevoked {
            user_id: user_id(1),
            session_id: None,
            except: Some(session()),
            before: NOW,
            until: NOW.plus(std::time::Duration::from_secs(60)),
        }
    }

    /// A store as it comes out of a backup: Ann, and one key.
    async fn restored(dir: &std::path::Path) -> Store<People> {
        let store = Store::open(::store::Options::new(Source::Auth, dir)).unwrap();
        let staged = store.transact::<(), ()>(Context::new(NOW), |tx| {
            tx.put(None, ann())?;
            tx.put(None, private_key("old"))?;
            service::stage(tx, &published("old"))?;
            Ok(())
        });
        staged.await.unwrap();
        store
    }

    /// Adopts these events, and says what can't come back.
    async fn adopts(store: &Store<People>, events: Vec<Event>) -> Vec<Option<String>> {
        let head = store.status().head;
        let envelopes: Vec<Envelope> = (head.0 + 1..)
            .zip(events)
            .map(|(seq, event)| Envelope {
                source: Source::Auth,
                position: Position {
                    epoch: Epoch(1),
                    seq: Seq(seq),
                },
                time: NOW,
                traceparent: None,
                cause: None,
                event,
            })
            .collect();
        let entries = envelopes.iter().map(|envelope| OutboxEntry {
            seq: envelope.position.seq,
            event_type: envelope.event.event_type(),
            subject: envelope.event.subject(),
            envelope: envelope.to_json(),
        });
        store.begin_adopting("behind its stream");
        let (say, said) = std::sync::mpsc::channel();
        let entries = entries.collect();
        let adopted = store.adopt::<Impossible>(Context::new(NOW), entries, move |tx| {
            for envelope in &envelopes {
                service::stage(tx, &envelope.event)?;
                say.send(NoEvents.adopt(tx, envelope)?).unwrap();
            }
            Ok(())
        });
        adopted.await.unwrap();
        store.end_adopting().unwrap();
        said.iter()
            .map(|adopted| match adopted {
                Adopted::Whole => None,
                Adopted::Without(what) => Some(what),
            })
            .collect()
    }

    #[tokio::test]
    async fn what_never_travels_is_named_and_makes_no_row() {
        let dir = testkit::temp_dir();
        let store = restored(dir.path()).await;
        let events = vec![
            Event::UserRegistered(UserRegistered { user_id: user_id(1) }),
            Event::UserRegistered(UserRegistered { user_id: user_id(2) }),
            Event::SessionRevoked(changed_password()),
            Event::SessionRevoked(SessionRevoked {
                session_id: Some(session()),
                except: None,
                ..changed_password()
            }),
            published("new"),
            Event::KeyRetired(KeyRetired { kid: "old".into() }),
        ];
        let said = adopts(&store, events).await;
        let names =
            |what: &Option<String>, words: &str| what.as_ref().is_some_and(|what| what.contains(words));
        assert_eq!(said.len(), 6);
        assert_eq!(said[0], None, "Ann is there");
        assert!(names(&said[1], &user_id(2).to_string()), "{said:?}");
        assert!(names(&said[2], "counts again"), "{said:?}");
        assert_eq!(said[3], None, "a sign-out is whole");
        assert!(names(&said[4], "private half"), "{said:?}");
        assert_eq!(said[5], None);

        assert_eq!(store.get::<User>(&user_id(1)).unwrap(), Some(ann()));
        assert_eq!(store.get::<User>(&user_id(2)).unwrap(), None);
        assert!(store.get::<PrivateKey>(&"old".to_owned()).unwrap().is_none());
        assert!(store.get::<KeyRow>(&"old".to_owned()).unwrap().is_none());
        assert!(store.get::<KeyRow>(&"new".to_owned()).unwrap().is_some());
        assert_eq!(store.scan::<RevocationRow>(None, 10).unwrap().len(), 2);
        // The address of an account that is gone is free.
        let taken = store.read(|people| people.with_email(&Email::parse("bob@example.org").unwrap()));
        assert_eq!(taken, None);
    }

    #[tokio::test]
    async fn others_are_told_of_keys_ended_sessions_and_people_and_of_no_secret() {
        let dir = testkit::temp_dir();
        let store = restored(dir.path()).await;
        adopts(&store, vec![Event::SessionRevoked(changed_password())]).await;
        let rows = store.rows(None, 100).unwrap();
        let mut told: Vec<Event> = rows.iter().filter_map(|(_, row)| NoEvents.restate(row)).collect();
        told.sort_by_key(|event| event.event_type().as_str());
        assert_eq!(rows.len(), 4, "the private key is the one that is not told");
        assert_eq!(
            told,
            [
                published("old"),
                Event::SessionRevoked(changed_password()),
                Event::UserRegistered(UserRegistered { user_id: user_id(1) }),
            ]
        );
        assert!(
            told.iter()
                .all(|event| event.event_type() != EventType::KeyRetired)
        );
    }
}
