//! A bounded memory of tokens whose signatures were already checked.

use std::collections::HashMap;

use events::Timestamp;

use crate::CurrentUser;

/// The SHA-256 of a token: the tokens themselves are not kept.
pub(crate) type Digest = [u8; 32];

/// Two generations of entries: when the young one is full it becomes the old one, and what was old is
/// forgotten. So the memory is bounded, what is used stays, and nothing is ever searched for the oldest.
#[derive(Debug)]
pub(crate) struct Cache {
    young: HashMap<Digest, CurrentUser>,
    old: HashMap<Digest, CurrentUser>,
    generation_max: usize,
}

impl Cache {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            generation_max: (entries_max / 2).max(1),
        }
    }

    pub(crate) fn get(&mut self, digest: &Digest, now: Timestamp) -> Option<CurrentUser> {
        if let Some(user) = self.young.get(digest) {
            return (now < user.expires_at).then(|| user.clone());
        }
        let user = self.old.remove(digest).filter(|user| now < user.expires_at)?;
        self.put(*digest, user.clone());
        Some(user)
    }

    pub(crate) fn put(&mut self, digest: Digest, user: CurrentUser) {
        if self.young.len() >= self.generation_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, user);
    }

    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Claims;

    fn user() -> CurrentUser {
        let id = "019394b6-0c00-7000-8000-000000000001";
        Claims::new(
            id.parse().unwrap(),
            "a@example.org",
            id.parse().unwrap(),
            Timestamp::default(),
        )
        .into()
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let mut cache = Cache::new(8);
        let now = Timestamp::from_seconds(1);
        for n in 0..100_u8 {
            cache.put([n; 32], user());
            assert!(cache.get(&[0; 32], now).is_some(), "forgotten after {n}");
            assert!(cache.len() <= 8);
        }
    }

    #[test]
    fn what_has_expired_is_not_found() {
        let mut cache = Cache::new(8);
        let user = user();
        cache.put([1; 32], user.clone());
        assert_eq!(cache.get(&[1; 32], user.expires_at), None);
    }
}
