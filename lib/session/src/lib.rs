//! Who is asking: tokens, the keys that sign them, the sessions that have ended, and the axum extractors that
//! turn a request into a [`CurrentUser`].
//!
//! A token is a JWT signed with Ed25519. Every service verifies by itself, with a [`Verifier`] that is fed by
//! auth's events: [`Verifier::publish_key`], [`Verifier::retire_key`] and [`Verifier::revoke`]. Checked
//! signatures are cached until the token expires; the revocation list is asked on every request all the same.
//!
//! This crate keeps nothing on disk and reads no bus: the service that owns a verifier feeds it. It has no
//! clock either: the time comes in, for extractors through [`Access`].

mod cache;
mod claims;
mod cookie;
mod crypto;
mod extract;
mod key;
mod revocation;
mod verifier;

pub use claims::{Claims, CurrentUser, TOKEN_AUDIENCE, TOKEN_SECONDS};
pub use cookie::Cookies;
pub use extract::{Access, OptionalUser};
pub use key::{KeyError, PublicJwk, SigningKey};
pub use verifier::{TOKEN_BYTES_MAX, VERIFIED_TOKENS_MAX, Verifier, VerifyError};
