//! The defence against forged requests: a token in every form, bound to the session that it was made for.
//!
//! The token is HMAC-SHA256 over the session's token (for a person who is signed in) or over a random
//! `visitor` cookie (for everyone else), masked anew at each rendering, so that a compressed page gives
//! nothing away by its length. Beside it the browser's own words count: `Origin` and `Sec-Fetch-Site`.
//! This module decides; [`crate::forms::Submitted`] makes every POST handler ask it.

use axum::http::{HeaderMap, HeaderName, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// The name of the hidden field that carries the token.
pub(crate) const TOKEN_FIELD: &str = "_token";

const TAG_BYTES: usize = 32;
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a submission was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Forgery {
    /// The browser says that the form stood on another site.
    #[error("the form was sent from another site")]
    ForeignOrigin,
    /// There is no token, or it was not made for this session.
    #[error("the form's token does not belong to this session")]
    WrongToken,
}

/// The key that tokens are made with.
pub(crate) struct Tokens {
    key: hmac::Key,
    random: SystemRandom,
}

impl Tokens {
    /// Tokens under this secret; every replica of the site must be given the same.
    pub(crate) fn new(secret: &[u8]) -> Tokens {
        Tokens {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            random: SystemRandom::new(),
        }
    }

    /// A token for a form that is shown to `subject` (a session's token or a visitor's random value).
    pub(crate) fn issue(&self, subject: &str) -> String {
        let tag = hmac::sign(&self.key, subject.as_bytes());
        let mut masked = [0_u8; TAG_BYTES * 2];
        let (mask, body) = masked.split_at_mut(TAG_BYTES);
        fill(&self.random, mask);
        for ((out, tag), mask) in body.iter_mut().zip(tag.as_ref()).zip(mask.iter()) {
            *out = tag ^ mask;
        }
        URL_SAFE_NO_PAD.encode(masked)
    }

    /// Whether `token` was issued to `subject`; the comparison takes the same time wherever they differ.
    pub(crate) fn check(&self, subject: &str, token: &str) -> Result<(), Forgery> {
        let masked = URL_SAFE_NO_PAD.decode(token).map_err(|_| Forgery::WrongToken)?;
        if masked.len() != TAG_BYTES * 2 {
            return Err(Forgery::WrongToken);
        }
        let (mask, body) = masked.split_at(TAG_BYTES);
        let tag: Vec<u8> = mask.iter().zip(body).map(|(mask, body)| mask ^ body).collect();
        hmac::verify(&self.key, subject.as_bytes(), &tag).map_err(|_| Forgery::WrongToken)
    }

    /// A value that nobody can guess, for the visitor cookie and for idempotency keys.
    pub(crate) fn random_value(&self) -> String {
        let mut bytes = [0_u8; 16];
        fill(&self.random, &mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

fn fill(random: &SystemRandom, bytes: &mut [u8]) {
    random
        .fill(bytes)
        .expect("the operating system gives random bytes once it has booted");
}

/// Whether the browser says that the request comes from a page of ours. A client that says nothing at all
/// is no browser of this decade; for it the token alone decides.
pub(crate) fn check_origin(headers: &HeaderMap, public_origin: &str) -> Result<(), Forgery> {
    if let Some(site) = headers.get(FETCH_SITE) {
        // `none` is the person's own doing, like sending a form again by reloading.
        if site != "same-origin" && site != "none" {
            return Err(Forgery::ForeignOrigin);
        }
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().map_err(|_| Forgery::ForeignOrigin)?;
    if origin == public_origin {
        return Ok(());
    }
    // On a laptop the same site is reached as localhost and as 127.0.0.1. The host that the browser asked
    // is no secret of the public address: a foreign page cannot make it name itself and keep our cookies.
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (authority, host) {
        (Some(authority), Some(host)) if authority == host => Ok(()),
        _ => Err(Forgery::ForeignOrigin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_token_counts_for_its_own_session_only() {
        let tokens = Tokens::new(b"a secret of the test");
        let token = tokens.issue("alice");
        assert_eq!(tokens.check("alice", &token), Ok(()));
        assert_eq!(tokens.check("bob", &token), Err(Forgery::WrongToken));
        assert_eq!(
            Tokens::new(b"another").check("alice", &token),
            Err(Forgery::WrongToken)
        );
        for wrong in ["", "x", "AAAA", &token[1..], &format!("{token}A")] {
            assert_eq!(tokens.check("alice", wrong), Err(Forgery::WrongToken), "{wrong}");
        }
    }

    #[test]
    fn two_renderings_share_no_bytes_to_guess_by() {
        let tokens = Tokens::new(b"a secret of the test");
        assert_ne!(tokens.issue("alice"), tokens.issue("alice"));
    }

    #[test]
    fn the_browsers_own_words_decide() {
        let table: [(&[(&str, &str)], bool); 10] = [
            (&[], true),
            (&[("origin", "https://boxoffice.example")], true),
            (
                &[("origin", "http://localhost:8080"), ("host", "localhost:8080")],
                true,
            ),
            (
                &[("origin", "https://evil.example"), ("host", "boxoffice.example")],
                false,
            ),
            (&[("origin", "null"), ("host", "boxoffice.example")], false),
            (&[("origin", "https://boxoffice.example.evil.example")], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (
                &[
                    ("sec-fetch-site", "same-site"),
                    ("origin", "https://boxoffice.example"),
                ],
                false,
            ),
        ];
        for (pairs, allowed) in table {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(
                check_origin(&headers, "https://boxoffice.example").is_ok(),
                allowed,
                "{pairs:?}"
            );
        }
    }
}
