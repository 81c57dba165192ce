//! People, sessions and signing keys: what is allowed, decided without I/O, clock or chance.

use std::fmt;
use std::time::Duration;

use events::{SessionId, SessionRevoked, Timestamp, UserId, UserRegistered, Version};

/// The longest address that mail can be sent to (RFC 5321).
pub(crate) const EMAIL_BYTES_MAX: usize = 254;

/// The longest part before the `@`.
const EMAIL_LOCAL_BYTES_MAX: usize = 64;

/// The longest part between two dots of a domain.
const DOMAIN_LABEL_BYTES_MAX: usize = 63;

/// Passwords are at least this long.
pub(crate) const PASSWORD_CHARS_MIN: usize = 8;

/// Passwords are at most this long.
pub(crate) const PASSWORD_CHARS_MAX: usize = 128;

/// How long a key is published before the first token is signed with it. Whoever hears of it later than that waits for it,
/// so this need not outlast every trouble of the bus; but an operator who wants a new key waits for it, too.
pub(crate) const KEY_LEAD: Duration = Duration::from_secs(20);

/// How long a key stays good beyond its last token, for clocks that disagree.
const KEY_SLACK: Duration = Duration::from_secs(10 * 60);

/// How many keys there may be when an operator asks for one more. Every service keeps them all in memory until their last
/// tokens have expired.
pub(crate) const KEYS_KEPT_MAX: usize = 16;

/// An e-mail address in the one spelling in which it is stored and compared.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Email(String);

/// A text that is no e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAnEmail;

impl fmt::Display for NotAnEmail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be a valid e-mail address")
    }
}

/// An address is personal data: it is not shown where values are shown for debugging.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

impl Email {
    /// Reads an address: trimmed, in lower case, and of a shape that mail could be sent to. Whether it can be
    /// reached only a mail would tell.
    pub(crate) fn parse(text: &str) -> Result<Self, NotAnEmail> {
        let text = text.trim();
        if text.len() > EMAIL_BYTES_MAX {
            return Err(NotAnEmail);
        }
        let email = text.to_lowercase();
        let (local, domain) = email.rsplit_once('@').ok_or(NotAnEmail)?;
        if is_local_part(local) && is_domain(domain) && email.len() <= EMAIL_BYTES_MAX {
            Ok(Self(email))
        } else {
            Err(NotAnEmail)
        }
    }

    /// An address as it was stored.
    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `@`.
    fn local_part(&self) -> &str {
        self.0.split('@').next().unwrap_or_default()
    }
}

fn is_local_part(local: &str) -> bool {
    let letter = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    (1..=EMAIL_LOCAL_BYTES_MAX).contains(&local.len())
        && local.chars().all(letter)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
}

fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=DOMAIN_LABEL_BYTES_MAX).contains(&label.len())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.contains('.') && domain.split('.').all(label)
}

/// Why a password may not be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeakPassword {
    /// Fewer than [`PASSWORD_CHARS_MIN`] characters.
    TooShort,
    /// More than [`PASSWORD_CHARS_MAX`] characters.
    TooLong,
    /// Among those that everybody tries first.
    Common,
    /// The address, or the part before its `@`.
    LikeEmail,
}

impl fmt::Display for WeakPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => write!(f, "must have at least {PASSWORD_CHARS_MIN} characters"),
            Self::TooLong => write!(f, "must have at most {PASSWORD_CHARS_MAX} characters"),
            Self::Common => f.write_str("is one of the most common ones, choose another"),
            Self::LikeEmail => f.write_str("must not be your e-mail address"),
        }
    }
}

/// Whether someone with this address may choose this password. No rules on what it is made of: length is what
/// counts, and not being a password that is tried first.
pub(crate) fn check_password(
    password: &str,
    email: Option<&Email>,
    is_common: impl Fn(&str) -> bool,
) -> Result<(), WeakPassword> {
    let chars = password.chars().count();
    if chars < PASSWORD_CHARS_MIN {
        return Err(WeakPassword::TooShort);
    }
    if chars > PASSWORD_CHARS_MAX {
        return Err(WeakPassword::TooLong);
    }
    let lower = password.to_lowercase();
    if email.is_some_and(|email| lower == email.as_str() || lower == email.local_part()) {
        return Err(WeakPassword::LikeEmail);
    }
    if is_common(&lower) {
        return Err(WeakPassword::Common);
    }
    Ok(())
}

/// A person with an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// Who.
    pub(crate) id: UserId,
    /// Raised by one with every change.
    pub(crate) version: Version,
    /// How they sign in; no two have the same.
    pub(crate) email: Email,
    /// The PHC string of their password.
    pub(crate) password_hash: PasswordHash,
    /// Since when.
    pub(crate) created_at: Timestamp,
}

/// A password's hash as a PHC string. Not shown where values are shown for debugging.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PasswordHash(pub(crate) String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Someone else has this address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EmailInUse;

/// Registers a person, unless someone has the address.
pub(crate) fn register(
    holder: Option<UserId>,
    id: UserId,
    email: Email,
    password_hash: PasswordHash,
    now: Timestamp,
) -> Result<(User, UserRegistered), EmailInUse> {
    if holder.is_some() {
        return Err(EmailInUse);
    }
    let user = User {
        id,
        version: Version::FIRST,
        email,
        password_hash,
        created_at: now,
    };
    Ok((user, UserRegistered { user_id: id }))
}

/// Changes a person's password: all of their sessions end, but for the one in which they did it.
pub(crate) fn change_password(
    user: &User,
    password_hash: PasswordHash,
    session: SessionId,
    token_life: Duration,
    now: Timestamp,
) -> (User, SessionRevoked) {
    let changed = User {
        version: user.version.next(),
        password_hash,
        ..user.clone()
    };
    let revoked = SessionRevoked {
        user_id: user.id,
        session_id: None,
        except: Some(session),
        before: now,
        until: now.plus(token_life),
    };
    (changed, revoked)
}

/// What a person wants to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignOut {
    /// This one session, whose token is good until then.
    Session(SessionId, Timestamp),
    /// All of them.
    Everywhere,
}

/// Ends one or all sessions of a person.
pub(crate) fn sign_out(
    user_id: UserId,
    what: SignOut,
    token_life: Duration,
    now: Timestamp,
) -> SessionRevoked {
    let (session_id, until) = match what {
        SignOut::Session(session, expires_at) => (Some(session), expires_at),
        SignOut::Everywhere => (None, now.plus(token_life)),
    };
    SessionRevoked {
        user_id,
        session_id,
        except: None,
        before: now,
        until,
    }
}

/// Where a signing key stands in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyLife {
    /// Its name.
    pub(crate) kid: String,
    /// When it was made and published.
    pub(crate) created_at: Timestamp,
    /// The earliest moment at which a token is signed with it.
    pub(crate) usable_from: Timestamp,
    /// When its successor took over, if one has.
    pub(crate) superseded_at: Option<Timestamp>,
}

/// What is to be done about the signing keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyStep {
    /// Make one and publish it.
    Publish {
        /// The earliest moment at which a token may be signed with it.
        usable_from: Timestamp,
    },
    /// Sign with this one from now on, and with the others no longer.
    Use(String),
    /// Its last token has expired: forget it, everywhere.
    Retire(String),
}

/// What is next to be done about the signing keys, if anything is. `is_published` tells whether everyone could
/// have heard of a key: while the bus is down the old key goes on, so that nobody meets one that is unknown.
pub(crate) fn next_key_step(
    keys: &[KeyLife],
    rotation: Duration,
    token_life: Duration,
    now: Timestamp,
    is_published: impl Fn(&KeyLife) -> bool,
) -> Option<KeyStep> {
    let Some(newest) = keys.iter().max_by_key(|key| key.created_at) else {
        // Nobody has a token yet, so there is nobody whom the first key could surprise.
        return Some(KeyStep::Publish { usable_from: now });
    };
    let current = keys
        .iter()
        .find(|key| key.superseded_at.is_none() && key.kid != newest.kid);
    if current.is_some() && now >= newest.usable_from && is_published(newest) {
        return Some(KeyStep::Use(newest.kid.clone()));
    }
    if current.is_none() && now.since(newest.created_at) >= rotation {
        return Some(KeyStep::Publish {
            usable_from: now.plus(KEY_LEAD),
        });
    }
    let over = |key: &&KeyLife| {
        key.superseded_at
            .is_some_and(|at| now >= at.plus(token_life).plus(KEY_SLACK))
    };
    keys.iter().find(over).map(|key| KeyStep::Retire(key.kid.clone()))
}

/// What an operator's wish for a new signing key comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// Make one and publish it.
    Begin {
        /// The earliest moment at which a token may be signed with it.
        usable_from: Timestamp,
    },
    /// This one is published already and waits for its first use. Whoever asks twice gets one key, not two.
    Underway(KeyLife),
}

/// Why there is no new signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRotation {
    /// The first one has yet to be made; it is a new one by itself.
    NoneYet,
    /// [`KEYS_KEPT_MAX`] are kept, and none of them can go before this moment.
    TooMany(Timestamp),
}

/// Decides what becomes of an operator's wish for a new signing key.
pub(crate) fn rotate_now(
    keys: &[KeyLife],
    token_life: Duration,
    now: Timestamp,
) -> Result<Rotation, NoRotation> {
    let newest = keys
        .iter()
        .max_by_key(|key| key.created_at)
        .ok_or(NoRotation::NoneYet)?;
    let signing = signing_key(keys).ok_or(NoRotation::NoneYet)?;
    if signing.kid != newest.kid {
        return Ok(Rotation::Underway(newest.clone()));
    }
    if keys.len() >= KEYS_KEPT_MAX {
        let oldest = keys.iter().filter_map(|key| key.superseded_at).min();
        let first_free = oldest.unwrap_or(now).plus(token_life).plus(KEY_SLACK);
        return Err(NoRotation::TooMany(first_free));
    }
    Ok(Rotation::Begin {
        usable_from: now.plus(KEY_LEAD),
    })
}

/// The key to sign with: the oldest that no other has taken over from.
pub(crate) fn signing_key(keys: &[KeyLife]) -> Option<&KeyLife> {
    keys.iter()
        .filter(|key| key.superseded_at.is_none())
        .min_by_key(|key| key.created_at)
}

#[cfg(test)]
mod tests;
