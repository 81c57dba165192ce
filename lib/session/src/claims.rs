//! What a token says, and what a request knows once it is verified.

use std::time::Duration;

use events::{SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// The audience that every token names; a token for another one is refused.
pub const TOKEN_AUDIENCE: &str = "boxoffice";

/// How long a token is good.
pub const TOKEN_SECONDS: u64 = 12 * 60 * 60;

/// The claims of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who.
    pub sub: UserId,
    /// That person's address.
    pub email: String,
    /// Which sign-in.
    pub sid: SessionId,
    /// Issued at, in seconds since 1970.
    pub iat: i64,
    /// Good until, in seconds since 1970.
    pub exp: i64,
    /// For whom: [`TOKEN_AUDIENCE`].
    pub aud: String,
}

impl Claims {
    /// The claims of a sign-in at `now`.
    pub fn new(user: UserId, email: impl Into<String>, session: SessionId, now: Timestamp) -> Self {
        Self {
            sub: user,
            email: email.into(),
            sid: session,
            iat: now.as_seconds(),
            exp: now.plus(Duration::from_secs(TOKEN_SECONDS)).as_seconds(),
            aud: TOKEN_AUDIENCE.into(),
        }
    }
}

/// The person who is asking, as their verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentUser {
    /// Who.
    pub id: UserId,
    /// That person's address. Never logged.
    pub email: String,
    /// Which sign-in.
    pub session: SessionId,
    /// When they signed in.
    pub issued_at: Timestamp,
    /// Until when the token is good.
    pub expires_at: Timestamp,
}

impl From<Claims> for CurrentUser {
    fn from(claims: Claims) -> Self {
        Self {
            id: claims.sub,
            email: claims.email,
            session: claims.sid,
            issued_at: Timestamp::from_seconds(claims.iat),
            expires_at: Timestamp::from_seconds(claims.exp),
        }
    }
}
