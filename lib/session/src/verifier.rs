//! Verifying tokens: keys, a cache of what was verified, and the revocation list.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use events::{SessionRevoked, Timestamp};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use ring::digest;
use tokio::sync::{Semaphore, watch};

use crate::cache::{Cache, Digest};
use crate::revocation::Revocations;
use crate::{Claims, CurrentUser, KeyError, TOKEN_AUDIENCE, crypto, key};

/// How many verified tokens are remembered.
pub const VERIFIED_TOKENS_MAX: usize = 65_536;

/// The longest token that is looked at; ours have about 450 bytes.
pub const TOKEN_BYTES_MAX: usize = 4_096;

/// How many retired keys are remembered; beyond that, those whose tokens run out first are forgotten.
const RETIRED_KEYS_MAX: usize = 1_000;

/// How many requests may wait for a key at once: whoever forges `kid`s must not be able to pile them up.
const KEY_WAITERS_MAX: usize = 256;

/// Why a token is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Not a token of ours: garbage, another algorithm, another audience, a header that names its own key.
    #[error("not a token of this system: {0}")]
    Malformed(&'static str),
    /// The signature does not fit.
    #[error("the signature is wrong")]
    WrongSignature,
    /// Signed with a key that has not been heard of. It may be on its way: never a reason to say 401.
    #[error("signed with a key that is not known here (yet)")]
    UnknownKey(String),
    /// Signed with a key that is known to count no more.
    #[error("signed with a key that is retired")]
    RetiredKey,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// The session has ended.
    #[error("the session has ended")]
    Revoked,
}

/// Verifies tokens. A clone is the same verifier.
#[derive(Debug, Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    keys: RwLock<HashMap<String, DecodingKey>>,
    /// Keys that are good no more, and until when there may be tokens that they have signed.
    retired: RwLock<HashMap<String, Timestamp>>,
    /// Tells those who wait that the set of keys has changed.
    keys_changed: watch::Sender<()>,
    key_waiters: Semaphore,
    verified: Mutex<Cache>,
    revocations: RwLock<Revocations>,
    validation: Validation,
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Verifier {
    /// One that knows no key yet.
    pub fn new() -> Self {
        crypto::install();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[TOKEN_AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        // The time comes in as an argument, so `exp` is compared here and not by the library's own clock.
        validation.validate_exp = false;
        Self {
            inner: Arc::new(Inner {
                keys: RwLock::default(),
                retired: RwLock::default(),
                keys_changed: watch::Sender::new(()),
                key_waiters: Semaphore::new(KEY_WAITERS_MAX),
                verified: Mutex::new(Cache::new(VERIFIED_TOKENS_MAX)),
                revocations: RwLock::default(),
                validation,
            }),
        }
    }

    /// From now on, tokens signed with this key are good. Doing it again changes nothing.
    ///
    /// # Errors
    /// When it is no key, or not the one that its `kid` names.
    pub fn publish_key(&self, kid: &str, public_key: &str) -> Result<(), KeyError> {
        let bytes = key::decode(kid, public_key)?;
        write(&self.inner.retired).remove(kid);
        write(&self.inner.keys).insert(kid.to_owned(), DecodingKey::from_ed_der(&bytes));
        self.inner.keys_changed.send_replace(());
        Ok(())
    }

    /// From now on, tokens signed with this key are not good. Until `until`, when the last of them has expired, it is
    /// remembered that the key is retired and not one of which nobody has heard yet.
    pub fn retire_key(&self, kid: &str, until: Timestamp) {
        {
            let mut retired = write(&self.inner.retired);
            retired.insert(kid.to_owned(), until);
            if retired.len() > RETIRED_KEYS_MAX {
                let first = retired.iter().min_by_key(|(_, until)| **until);
                if let Some(first) = first.map(|(kid, _)| kid.clone()) {
                    retired.remove(&first);
                }
            }
        }
        write(&self.inner.keys).remove(kid);
        lock(&self.inner.verified).clear();
        self.inner.keys_changed.send_replace(());
    }

    /// From now on, the tokens that `revoked` concerns are not good.
    pub fn revoke(&self, revoked: &SessionRevoked) {
        write(&self.inner.revocations).add(revoked);
    }

    /// Forgets revocations and retired keys that concern only tokens that have expired by now.
    pub fn forget_expired(&self, now: Timestamp) {
        write(&self.inner.retired).retain(|_, until| *until > now);
        write(&self.inner.revocations).forget_expired(now);
    }

    /// How many keys are known; with none, nobody can be recognised and the service is not ready.
    pub fn key_count(&self) -> usize {
        read(&self.inner.keys).len()
    }

    /// Who the bearer of `token` is.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<CurrentUser, VerifyError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(VerifyError::Malformed("it is too long"));
        }
        let digest = digest_of(token);
        let cached = lock(&self.inner.verified).get(&digest, now);
        let user = match cached {
            Some(user) => user,
            None => {
                let user = self.check(token, now)?;
                lock(&self.inner.verified).put(digest, user.clone());
                user
            }
        };
        // Asked every time: a cached verification must not outlive the session.
        if read(&self.inner.revocations).concerns(&user) {
            return Err(VerifyError::Revoked);
        }
        Ok(user)
    }

    /// As [`Self::verify`], but a token that is signed with an unknown key is looked at again when keys come,
    /// for at most `wait`.
    ///
    /// # Errors
    /// See [`VerifyError`]; [`VerifyError::UnknownKey`] means that the wait was in vain, or that too many wait.
    pub async fn verify_waiting(
        &self,
        token: &str,
        now: Timestamp,
        wait: Duration,
    ) -> Result<CurrentUser, VerifyError> {
        match self.verify(token, now) {
            Err(VerifyError::UnknownKey(kid)) => {
                if self.wait_for_key(&kid, wait).await {
                    self.verify(token, now)
                } else {
                    Err(VerifyError::UnknownKey(kid))
                }
            }
            known => known,
        }
    }

    /// Waits until the key `kid` is known, or known to be retired, for at most `wait`; whether it is. Refuses at once when
    /// too many wait.
    pub async fn wait_for_key(&self, kid: &str, wait: Duration) -> bool {
        let Ok(_place) = self.inner.key_waiters.try_acquire() else {
            return false;
        };
        let mut changes = self.inner.keys_changed.subscribe();
        let known = changes.wait_for(|_| {
            read(&self.inner.keys).contains_key(kid) || read(&self.inner.retired).contains_key(kid)
        });
        matches!(tokio::time::timeout(wait, known).await, Ok(Ok(_)))
    }

    fn check(&self, token: &str, now: Timestamp) -> Result<CurrentUser, VerifyError> {
        let header = jsonwebtoken::decode_header(token)
            .map_err(|_| VerifyError::Malformed("its header can't be read"))?;
        if header.alg != Algorithm::EdDSA {
            return Err(VerifyError::Malformed("its algorithm is not EdDSA"));
        }
        if header.jku.is_some()
            || header.jwk.is_some()
            || header.x5u.is_some()
            || header.x5c.is_some()
            || header.crit.is_some()
        {
            return Err(VerifyError::Malformed("its header brings its own key"));
        }
        let kid = header.kid.ok_or(VerifyError::Malformed("it names no key"))?;
        let decoding = read(&self.inner.keys).get(&kid).cloned();
        let Some(decoding) = decoding else {
            let retired = read(&self.inner.retired).contains_key(&kid);
            return Err(unverifiable(token, kid, retired, now));
        };
        let claims = jsonwebtoken::decode::<Claims>(token, &decoding, &self.inner.validation)
            .map_err(|error| {
                if matches!(error.kind(), ErrorKind::InvalidSignature) {
                    VerifyError::WrongSignature
                } else {
                    VerifyError::Malformed("its claims can't be read or are not for this system")
                }
            })?
            .claims;
        if has_expired(&claims, now) {
            return Err(VerifyError::Expired);
        }
        Ok(claims.into())
    }
}

/// A token of a key that was retired in its time has expired, by its own word: that needs no key to believe, and whoever
/// brings such an old cookie need not wait for a key that will not come.
fn unverifiable(token: &str, kid: String, retired: bool, now: Timestamp) -> VerifyError {
    match jsonwebtoken::dangerous::insecure_decode_claims::<Claims>(token) {
        Ok(claims) if has_expired(&claims, now) => VerifyError::Expired,
        Ok(_) if retired => VerifyError::RetiredKey,
        Ok(_) => VerifyError::UnknownKey(kid),
        Err(_) => VerifyError::Malformed("its claims can't be read"),
    }
}

fn has_expired(claims: &Claims, now: Timestamp) -> bool {
    now >= Timestamp::from_seconds(claims.exp)
}

fn digest_of(token: &str) -> Digest {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

// What these locks guard is changed by single inserts and removes, so it is whole even if a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
