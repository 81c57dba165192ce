//! How often someone may try to sign in: per account and per address, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use errors::Problem;
use events::Timestamp;
use http::HeaderMap;

use crate::TrustedProxies;
use crate::domain::Email;

/// Tries that an account has at once, and how often it gets another one.
const ACCOUNT: Rate = Rate {
    burst: 10,
    refill: Duration::from_secs(30),
};

/// Tries that an address has at once, and how often it gets another one.
const ADDRESS: Rate = Rate {
    burst: 30,
    refill: Duration::from_secs(2),
};

/// How many accounts or addresses are remembered at least, and at most twice that many.
const BUCKETS_PER_GENERATION_MAX: usize = 65_536;

/// Whether sign-ins are throttled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ThrottleSwitch {
    /// They are.
    #[default]
    On,
    /// They are not: for benchmarks.
    Off,
}

#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: u32,
    refill: Duration,
}

/// Counts tries.
#[derive(Debug)]
pub(crate) struct Throttle {
    on: bool,
    proxies: TrustedProxies,
    accounts: Buckets<Email>,
    addresses: Buckets<IpAddr>,
}

impl Throttle {
    pub(crate) fn new(switch: ThrottleSwitch, proxies: TrustedProxies) -> Self {
        Self {
            on: switch == ThrottleSwitch::On,
            proxies,
            accounts: Buckets::new(ACCOUNT),
            addresses: Buckets::new(ADDRESS),
        }
    }

    /// Counts one try to sign in to an account, from an address if that is known (a call within the process
    /// has none).
    ///
    /// # Errors
    /// A 429 that says when to come back.
    pub(crate) fn sign_in(
        &self,
        email: &Email,
        peer: Option<SocketAddr>,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<(), Problem> {
        if !self.on {
            return Ok(());
        }
        // The address first: who is stopped there uses up nobody's account.
        if let Some(address) = self.address(peer, headers) {
            self.addresses.take(&address, now)?;
        }
        self.accounts.take(email, now)
    }

    /// The try was right: it does not count, and those on this account before it are forgiven. Those of the
    /// address are not, or an account of one's own would be enough to try others for ever.
    pub(crate) fn signed_in(&self, email: &Email, peer: Option<SocketAddr>, headers: &HeaderMap) {
        if let Some(address) = self.address(peer, headers) {
            self.addresses.give_back(&address);
        }
        self.accounts.forget(email);
    }

    fn address(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        peer.map(|peer| self.proxies.client(peer, headers))
    }

    /// Counts one try of the password of someone who is signed in.
    ///
    /// # Errors
    /// A 429 that says when to come back.
    pub(crate) fn password(&self, email: &Email, now: Timestamp) -> Result<(), Problem> {
        if self.on {
            self.accounts.take(email, now)
        } else {
            Ok(())
        }
    }

    /// That password was right: the tries before it are forgiven.
    pub(crate) fn password_was_right(&self, email: &Email) {
        self.accounts.forget(email);
    }
}

/// A token bucket for each key. There are two generations: when the young one is full it becomes the old one,
/// and what was old is forgotten; so memory is bounded, and what is used stays.
#[derive(Debug)]
struct Buckets<K> {
    rate: Rate,
    state: Mutex<Generations<K>>,
}

/// For each key the moment at which its bucket is full again.
#[derive(Debug)]
struct Generations<K> {
    young: HashMap<K, Timestamp>,
    old: HashMap<K, Timestamp>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(rate: Rate) -> Self {
        let (young, old) = Default::default();
        Self {
            rate,
            state: Mutex::new(Generations { young, old }),
        }
    }

    fn take(&self, key: &K, now: Timestamp) -> Result<(), Problem> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let old = state.old.remove(key);
        let full_at = state.young.get(key).copied().or(old).unwrap_or(now).max(now);
        // What is missing in the bucket is what it takes until it is full; one try takes one refill more.
        let taken = full_at.plus(self.rate.refill);
        let allowed_until = now.plus(self.rate.refill * self.rate.burst);
        let refused = taken > allowed_until;
        if state.young.len() >= BUCKETS_PER_GENERATION_MAX && !state.young.contains_key(key) {
            state.old = std::mem::take(&mut state.young);
        }
        state
            .young
            .insert(key.clone(), if refused { full_at } else { taken });
        drop(state);
        if refused {
            metrics::counter!("auth_sign_ins_throttled_total").increment(1);
            let seconds = taken.since(allowed_until).as_secs_f64().ceil();
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a positive number of at most one refill"
            )]
            return Err(Problem::too_many(
                "Too many tries, try again later",
                seconds.max(1.0) as u32,
            ));
        }
        Ok(())
    }

    /// Undoes one [`Self::take`].
    fn give_back(&self, key: &K) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = state.young.get_mut(key) {
            *full_at = full_at.minus(self.rate.refill);
        }
    }

    fn forget(&self, key: &K) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.young.remove(key);
        state.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        burst: 3,
        refill: Duration::from_secs(10),
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_000_000 + seconds)
    }

    #[test]
    fn a_burst_and_then_one_each_refill() {
        let buckets = Buckets::new(RATE);
        for _ in 0..3 {
            buckets.take(&"ann", at(0)).unwrap();
        }
        let refused = buckets.take(&"ann", at(0)).unwrap_err();
        assert_eq!(refused.status().as_u16(), 429);
        assert!(
            buckets.take(&"bob", at(0)).is_ok(),
            "everyone has a bucket of their own"
        );
        assert!(buckets.take(&"ann", at(9)).is_err());
        assert!(buckets.take(&"ann", at(10)).is_ok(), "refused tries cost nothing");
        assert!(buckets.take(&"ann", at(10)).is_err());
        for _ in 0..3 {
            buckets.take(&"ann", at(1_000)).unwrap();
        }
        buckets.give_back(&"ann");
        assert!(buckets.take(&"ann", at(1_000)).is_ok());
        assert!(buckets.take(&"ann", at(1_000)).is_err());
        buckets.forget(&"ann");
        assert!(buckets.take(&"ann", at(1_000)).is_ok());
    }

    #[test]
    fn memory_is_bounded_and_who_tries_on_is_not_forgotten() {
        let buckets = Buckets::new(Rate {
            burst: 1,
            refill: Duration::from_secs(1_000_000),
        });
        buckets.take(&u64::MAX, at(0)).unwrap();
        for other in 0..200_000 {
            buckets.take(&other, at(0)).unwrap();
            if other % 30_000 == 0 {
                assert!(buckets.take(&u64::MAX, at(0)).is_err(), "forgotten at {other}");
            }
        }
        let state = buckets.state.lock().unwrap();
        assert!(state.young.len() + state.old.len() <= 2 * BUCKETS_PER_GENERATION_MAX + 1);
    }
}
