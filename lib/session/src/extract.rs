//! The axum extractors: a handler that takes a [`CurrentUser`] is only reached by someone who is signed in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts};
use errors::Problem;
use events::Timestamp;
use http::request::Parts;
use http::{HeaderMap, header};

use crate::{Cookies, CurrentUser, Verifier, VerifyError};

/// How long a request waits for a key that it has not heard of.
const KEY_WAIT: Duration = Duration::from_secs(2);

/// When a client should try again whose token's key is not known yet.
const KEY_RETRY_SECONDS: u32 = 2;

/// What the extractors need: who verifies, which cookie it is, and what time it is. Part of the state of every
/// router whose handlers take a [`CurrentUser`].
#[derive(Clone)]
pub struct Access {
    /// Verifies.
    pub verifier: Verifier,
    /// The cookie.
    pub cookies: Cookies,
    knows_every_key: bool,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Access {
    /// With the clock that tells whether a token has expired.
    pub fn new(
        verifier: Verifier,
        cookies: Cookies,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        Self {
            verifier,
            cookies,
            knows_every_key: false,
            now: Arc::new(now),
        }
    }

    /// For the service that makes the keys: one that it does not know is none, and there is nothing to wait
    /// for. Without this, a browser with a cookie of a system that was begun anew would hear 503 for hours.
    #[must_use]
    pub fn knowing_every_key(mut self) -> Self {
        self.knows_every_key = true;
        self
    }

    /// Who is asking, by `Authorization: Bearer` or else by cookie; nobody if neither is there.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Option<CurrentUser>, VerifyError> {
        let Some(token) = bearer(headers)?.or_else(|| self.cookies.find(headers)) else {
            return Ok(None);
        };
        let now = (self.now)();
        if self.knows_every_key {
            return match self.verifier.verify(token, now) {
                Err(VerifyError::UnknownKey(_)) => Err(VerifyError::Malformed("its key is none of ours")),
                known => known.map(Some),
            };
        }
        self.verifier.verify_waiting(token, now, KEY_WAIT).await.map(Some)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("cookies", &self.cookies)
            .finish_non_exhaustive()
    }
}

/// Someone who may or may not be signed in. A token that is not good counts as none, but a token whose key is
/// not known yet is a 503 here, too: nobody is told that they are signed out when that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionalUser(pub Option<CurrentUser>);

impl<S> FromRequestParts<S> for CurrentUser
where
    S: Send + Sync,
    Access: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Access::from_ref(state).identify(&parts.headers).await {
            Ok(Some(user)) => Ok(user),
            Ok(None) => Err(Problem::unauthorized()),
            Err(VerifyError::UnknownKey(_)) => Err(key_unknown()),
            Err(
                error @ (VerifyError::Malformed(_)
                | VerifyError::WrongSignature
                | VerifyError::RetiredKey
                | VerifyError::Expired
                | VerifyError::Revoked),
            ) => Err(Problem::unauthorized().because(error.to_string())),
        }
    }
}

impl<S> FromRequestParts<S> for OptionalUser
where
    S: Send + Sync,
    Access: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Access::from_ref(state).identify(&parts.headers).await {
            Ok(user) => Ok(Self(user)),
            Err(VerifyError::UnknownKey(_)) => Err(key_unknown()),
            Err(
                VerifyError::Malformed(_)
                | VerifyError::WrongSignature
                | VerifyError::RetiredKey
                | VerifyError::Expired
                | VerifyError::Revoked,
            ) => Ok(Self(None)),
        }
    }
}

fn key_unknown() -> Problem {
    Problem::unavailable(
        "This sign-in can't be checked yet, try again soon",
        KEY_RETRY_SECONDS,
    )
    .because("the token's key is not known here (yet)")
}

/// The token of `Authorization: Bearer`. Another scheme is someone else's business (a proxy's, for example).
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, VerifyError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(VerifyError::Malformed("there are two Authorization headers"));
    }
    let text = value
        .to_str()
        .map_err(|_| VerifyError::Malformed("the Authorization header is not text"))?;
    Ok(match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim()),
        _ => None,
    })
}
