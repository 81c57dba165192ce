//! The signing keys in use: made, published, used, superseded, retired.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ::store::{State, TransactError, TxnError};
use errors::Problem;
use events::{Event, KeyPublished, KeyRetired, Position, Timestamp};
use ring::rand::{SecureRandom as _, SystemRandom};
use service::{KeyRow, Parts, READ_WAIT_MAX};
use session::{SigningKey, TOKEN_SECONDS};
use tokio::sync::{Mutex, watch};

use crate::domain::{KeyLife, KeyStep, NoRotation, Rotation, next_key_step, rotate_now, signing_key};
use crate::store::{People, PrivateKey};

/// How often it is looked whether something is to be done about the keys.
const KEYS_INTERVAL: Duration = Duration::from_secs(5);

/// How soon it is looked again while the store does not serve.
const KEYS_PAUSE: Duration = Duration::from_millis(200);

/// How many private keys there may be at once; rotation leaves two.
const KEYS_MAX: usize = 1_000;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When a client should try again that came before there was a key.
const KEY_RETRY_SECONDS: u32 = 1;

/// The signing keys in use.
#[derive(Debug)]
pub(crate) struct KeyRing {
    rotation: Duration,
    /// What is signed with; nothing before the store was looked at, or while it has no key.
    current: watch::Sender<Option<Arc<SigningKey>>>,
    /// Up to where the relay must have come before a key is used: the end of the outbox when it was published.
    published_by: RwLock<HashMap<String, Position>>,
    /// The same for keys that an earlier process has published: the end of the outbox when this one began.
    published_by_default: Position,
    /// When this ring was made: what is younger is of this process.
    made_at: Timestamp,
    /// Whoever makes, uses or retires a key has this meanwhile: what is next is decided by the keys that there are.
    turn: Mutex<()>,
}

/// Why an operator's wish for a new key was not met.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotateError {
    /// There should be none now.
    #[error("{0:?}")]
    Refused(NoRotation),
    /// What the store says.
    #[error("{0}")]
    Store(String),
}

impl KeyRing {
    /// A ring without a key. [`rotate`] loads those that there are, or makes the first one; not before the store was
    /// compared with its stream: one that was set back would publish a key in the place of an event that it has lost.
    pub(crate) fn new(parts: &Parts<People>, rotation_days: u16) -> Self {
        Self {
            rotation: DAY * u32::from(rotation_days),
            current: watch::Sender::new(None),
            published_by: RwLock::default(),
            published_by_default: *parts.store.durable().borrow(),
            made_at: parts.clock.now(),
            turn: Mutex::new(()),
        }
    }

    /// The name of the key that is signed with now, if there is one.
    pub(crate) fn signing(&self) -> Option<String> {
        self.current.borrow().as_ref().map(|key| key.kid().to_owned())
    }

    /// Makes and publishes a new key because an operator wants one, unless one waits for its first use already. It is
    /// signed with as any other new key is: [`rotate`] sees to that.
    ///
    /// # Errors
    /// [`RotateError`] says why there is none.
    pub(crate) async fn rotate_now(&self, parts: &Parts<People>) -> Result<String, RotateError> {
        let _turn = self.turn.lock().await;
        let lives: Vec<KeyLife> = keys(parts)
            .map_err(RotateError::Store)?
            .into_iter()
            .map(|key| key.life)
            .collect();
        let token_life = Duration::from_secs(TOKEN_SECONDS);
        match rotate_now(&lives, token_life, parts.clock.now()).map_err(RotateError::Refused)? {
            Rotation::Underway(key) => Ok(key.kid),
            Rotation::Begin { usable_from } => {
                let kid = self.publish(parts, usable_from).await;
                let kid = kid.map_err(RotateError::Store)?;
                tracing::warn!(kid, %usable_from, "an operator asked for a new signing key: it is published");
                Ok(kid)
            }
        }
    }

    /// The key to sign with now.
    ///
    /// # Errors
    /// A 503 when there is none.
    pub(crate) async fn key(&self) -> Result<Arc<SigningKey>, Problem> {
        let mut current = self.current.subscribe();
        let there_is = tokio::time::timeout(READ_WAIT_MAX, current.wait_for(Option::is_some)).await;
        let key = match there_is {
            Ok(Ok(current)) => current.as_ref().map(Arc::clone),
            Ok(Err(_)) | Err(_) => None,
        };
        key.ok_or_else(|| {
            Problem::unavailable("There is no signing key yet, try again soon", KEY_RETRY_SECONDS)
        })
    }

    /// Signs with one of these keys, if it does not yet.
    fn settle(&self, keys: &[PrivateKey]) {
        let is_known = |current: &SigningKey| keys.iter().any(|key| key.life.kid == current.kid());
        self.current.send_if_modified(|current| {
            if current.as_deref().is_some_and(is_known) {
                return false;
            }
            *current = self::current(keys).map(Arc::new);
            current.is_some()
        });
    }

    /// Does what is next to be done about the keys; whether there was something.
    ///
    /// # Errors
    /// What the store says; it is tried again.
    pub(crate) async fn rotate_once(&self, parts: &Parts<People>) -> Result<bool, String> {
        let _turn = self.turn.lock().await;
        let keys = keys(parts)?;
        self.remember(&keys, *parts.store.durable().borrow());
        self.settle(&keys);
        for kid in halves(parts, &keys)? {
            retire(parts, kid.clone()).await?;
            tracing::warn!(
                kid,
                "a signing key is retired whose private half was lost with what came after a backup"
            );
        }
        let lives: Vec<KeyLife> = keys.iter().map(|key| key.life.clone()).collect();
        let relayed = parts.bus.status().relayed;
        let is_published = |key: &KeyLife| relayed >= self.needed(&key.kid);
        let token_life = Duration::from_secs(TOKEN_SECONDS);
        let now = parts.clock.now();
        match next_key_step(&lives, self.rotation, token_life, now, is_published) {
            None => return Ok(false),
            Some(KeyStep::Publish { usable_from }) => {
                let kid = self.publish(parts, usable_from).await?;
                self.settle(&self::keys(parts)?);
                tracing::info!(kid, %usable_from, "a signing key is published");
            }
            Some(KeyStep::Use(kid)) => self.use_key(parts, &keys, kid).await?,
            Some(KeyStep::Retire(kid)) => {
                retire(parts, kid.clone()).await?;
                tracing::info!(kid, "a signing key is retired");
            }
        }
        Ok(true)
    }

    /// Makes a key, publishes it, and remembers how far the relay must come before it is used; its name.
    async fn publish(&self, parts: &Parts<People>, usable_from: Timestamp) -> Result<String, String> {
        let kid = publish(parts, usable_from).await?;
        let by = *parts.store.durable().borrow();
        self.published_by
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(kid.clone(), by);
        Ok(kid)
    }

    /// Signs with `kid` from now on. In memory first: what is stored as superseded must have signed its last.
    async fn use_key(&self, parts: &Parts<People>, keys: &[PrivateKey], kid: String) -> Result<(), String> {
        let Some(key) = keys.iter().find(|key| key.life.kid == kid) else {
            return Err(format!("the key {kid} is gone"));
        };
        self.current
            .send_replace(Some(Arc::new(SigningKey::from_seed(&key.seed))));
        let superseded: Vec<PrivateKey> = keys
            .iter()
            .filter(|key| key.life.kid != kid && key.life.superseded_at.is_none())
            .cloned()
            .collect();
        parts
            .transact(move |tx| {
                for mut key in superseded {
                    key.life.superseded_at = Some(tx.now());
                    tx.put_any(key)?;
                }
                Ok::<_, TransactError<Infallible>>(())
            })
            .await
            .map_err(|error| error.to_string())?;
        tracing::info!(kid, "tokens are signed with another key");
        Ok(())
    }

    /// A key of this process of whose publishing nothing was noted: it was not known whether the store had taken it. It is
    /// there by now, so that `head` is not before what publishes it.
    fn remember(&self, keys: &[PrivateKey], head: Position) {
        let mut published_by = self.published_by.write().unwrap_or_else(PoisonError::into_inner);
        for key in keys.iter().filter(|key| key.life.created_at >= self.made_at) {
            published_by.entry(key.life.kid.clone()).or_insert(head);
        }
    }

    fn needed(&self, kid: &str) -> Position {
        let published_by = self.published_by.read().unwrap_or_else(PoisonError::into_inner);
        published_by
            .get(kid)
            .copied()
            .unwrap_or(self.published_by_default)
    }
}

/// Looks after the keys until the service stops.
pub(crate) async fn rotate(ring: Arc<KeyRing>, parts: Parts<People>) {
    loop {
        let pause = match ring.rotate_once(&parts).await {
            Ok(_) => KEYS_INTERVAL,
            // Of a store that does not serve it is said elsewhere why, and when it does again a key is needed at once.
            Err(_) if !matches!(parts.store.status().state, State::Serving) => KEYS_PAUSE,
            Err(error) => {
                tracing::error!(%error, "the signing keys could not be looked after");
                KEYS_INTERVAL
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = parts.shutdown.clone().wait() => return,
        }
    }
}

/// All private keys that are kept.
///
/// # Errors
/// What the store says.
pub(crate) fn keys(parts: &Parts<People>) -> Result<Vec<PrivateKey>, String> {
    parts
        .store
        .scan::<PrivateKey>(None, KEYS_MAX)
        .map_err(|error| error.to_string())
}

/// The names of keys of which only the public half is here: their private half was made after the backup that this store
/// comes out of. No rotation comes to them, and nobody can tell any more who else has it.
fn halves(parts: &Parts<People>, keys: &[PrivateKey]) -> Result<Vec<String>, String> {
    let known = parts
        .store
        .scan::<KeyRow>(None, KEYS_MAX)
        .map_err(|error| error.to_string())?;
    let names = known.into_iter().map(|key| key.kid);
    let is_half = |kid: &String| keys.iter().all(|key| key.life.kid != *kid);
    Ok(names.filter(is_half).collect())
}

fn current(keys: &[PrivateKey]) -> Option<SigningKey> {
    let lives: Vec<KeyLife> = keys.iter().map(|key| key.life.clone()).collect();
    let life = signing_key(&lives)?;
    keys.iter()
        .find(|key| key.life.kid == life.kid)
        .map(|key| SigningKey::from_seed(&key.seed))
}

/// Makes a key and publishes it; its name.
async fn publish(parts: &Parts<People>, usable_from: Timestamp) -> Result<String, String> {
    let mut seed = [0; 32];
    SystemRandom::new()
        .fill(&mut seed)
        .map_err(|_| "the system has no random numbers")?;
    let key = SigningKey::from_seed(&seed);
    let kid = key.kid().to_owned();
    let published = Event::KeyPublished(KeyPublished {
        kid: kid.clone(),
        public_key: key.public_key().to_owned(),
        usable_from,
    });
    service::feed(&parts.access.verifier, &published, parts.clock.now())
        .map_err(|error| error.to_string())?;
    let life_kid = kid.clone();
    commit(parts, published, move |tx| {
        let life = KeyLife {
            kid: life_kid,
            created_at: tx.now(),
            usable_from,
            superseded_at: None,
        };
        tx.put_any(PrivateKey { life, seed })
    })
    .await?;
    Ok(kid)
}

/// Forgets a key, here and everywhere.
async fn retire(parts: &Parts<People>, kid: String) -> Result<(), String> {
    let retired = Event::KeyRetired(KeyRetired { kid: kid.clone() });
    commit(parts, retired.clone(), move |tx| tx.delete::<PrivateKey>(&kid)).await?;
    service::feed(&parts.access.verifier, &retired, parts.clock.now()).map_err(|error| error.to_string())
}

/// Stages a private key's row with the event about it and with what this service, too, must know of it.
async fn commit(
    parts: &Parts<People>,
    event: Event,
    stage: impl FnOnce(&mut ::store::Txn<'_, People>) -> Result<(), TxnError> + Send + 'static,
) -> Result<(), String> {
    parts
        .transact(move |tx| {
            stage(tx)?;
            service::stage(tx, &event)?;
            tx.emit(event);
            Ok::<_, TransactError<Infallible>>(())
        })
        .await
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use events::{Epoch, Seq};

    use super::*;

    #[test]
    fn a_key_that_was_published_without_a_word_waits_for_the_relay_too() {
        let at = |seq| Position {
            epoch: Epoch(1),
            seq: Seq(seq),
        };
        let moment = Timestamp::from_seconds;
        let key = |kid: &str, created_at| PrivateKey {
            life: KeyLife {
                kid: kid.to_owned(),
                created_at,
                usable_from: created_at,
                superseded_at: None,
            },
            seed: [0; 32],
        };
        let ring = KeyRing {
            rotation: DAY,
            current: watch::Sender::new(None),
            published_by: RwLock::default(),
            published_by_default: at(3),
            made_at: moment(100),
            turn: Mutex::new(()),
        };
        let keys = [key("earlier", moment(99)), key("own", moment(101))];
        ring.remember(&keys, at(7));
        ring.remember(&keys, at(9));
        assert_eq!((ring.needed("earlier"), ring.needed("own")), (at(3), at(7)));
    }
}
