//! Which sessions have ended before their tokens expire.

use std::collections::HashMap;

use events::{SessionId, SessionRevoked, Timestamp, UserId};

use crate::CurrentUser;

/// The revocation list, by person, so that asking it is one look-up.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    by_user: HashMap<UserId, OfUser>,
}

#[derive(Debug, Default)]
struct OfUser {
    /// Single sessions, with the moment when each may be forgotten.
    sessions: HashMap<SessionId, Timestamp>,
    /// "All before, except": one entry each time that a person signs out everywhere or changes the password.
    all: Vec<SessionRevoked>,
}

impl Revocations {
    pub(crate) fn add(&mut self, revoked: &SessionRevoked) {
        let of_user = self.by_user.entry(revoked.user_id).or_default();
        match revoked.session_id {
            Some(session) => {
                of_user.sessions.insert(session, revoked.until);
            }
            None => {
                // One without an exception covers all earlier ones, so that the list of a person who does this
                // again and again does not grow.
                if revoked.except.is_none() {
                    of_user.all.retain(|earlier| earlier.before > revoked.before);
                }
                if !of_user.all.contains(revoked) {
                    of_user.all.push(revoked.clone());
                }
            }
        }
    }

    pub(crate) fn concerns(&self, user: &CurrentUser) -> bool {
        self.by_user.get(&user.id).is_some_and(|of_user| {
            of_user.sessions.contains_key(&user.session)
                || of_user.all.iter().any(|revoked| {
                    user.session.created_at() < revoked.before && revoked.except != Some(user.session)
                })
        })
    }

    /// Forgets what concerns only tokens that have expired by now.
    pub(crate) fn forget_expired(&mut self, now: Timestamp) {
        self.by_user.retain(|_, of_user| {
            of_user.sessions.retain(|_, until| *until > now);
            of_user.all.retain(|revoked| revoked.until > now);
            !(of_user.sessions.is_empty() && of_user.all.is_empty())
        });
    }
}
