//! The keys: the private one that signs, and the public form in which others know it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::digest;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};

use crate::Claims;
use crate::crypto;

/// What stands before the 32-byte seed in a PKCS#8 v1 document of an Ed25519 key (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The length of an Ed25519 public key.
const PUBLIC_KEY_BYTES: usize = 32;

/// A text that is not an Ed25519 public key, or not the one that its `kid` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 32 bytes in base64url.
    #[error("the public key is not 32 bytes in base64url")]
    Malformed,
    /// The `kid` is not the key's thumbprint.
    #[error("the kid is not the thumbprint of the key")]
    WrongKid,
}

/// A private key that signs tokens. Its debug form shows its name alone.
pub struct SigningKey {
    kid: String,
    public_key: String,
    encoding: EncodingKey,
}

/// A public key as it stands in the JWKS document (RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicJwk {
    /// `OKP`.
    pub kty: String,
    /// `Ed25519`.
    pub crv: String,
    /// The key, base64url without padding.
    pub x: String,
    /// Its thumbprint (RFC 7638).
    pub kid: String,
    /// `EdDSA`.
    pub alg: String,
    /// `sig`.
    pub r#use: String,
}

impl SigningKey {
    /// The key that grows from 32 random bytes. Whoever has the seed can sign: it stays in auth's store.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        crypto::install();
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are an Ed25519 seed");
        let public_key = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let mut document = PKCS8_PREFIX.to_vec();
        document.extend_from_slice(seed);
        Self {
            kid: thumbprint(&public_key),
            public_key,
            encoding: EncodingKey::from_ed_der(&document),
        }
    }

    /// The key's name: its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key, base64url without padding.
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// A token that says `claims`.
    pub fn sign(&self, claims: &Claims) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding)
            .expect("an Ed25519 key made from a seed signs whatever claims serialize to")
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl PublicJwk {
    /// The public form of the key `x` with the name `kid`.
    ///
    /// # Errors
    /// When `x` is no key, or `kid` is not its name.
    pub fn new(kid: &str, x: &str) -> Result<Self, KeyError> {
        decode(kid, x)?;
        Ok(Self {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            x: x.into(),
            kid: kid.into(),
            alg: "EdDSA".into(),
            r#use: "sig".into(),
        })
    }
}

/// The 32 bytes of the key `x`, whose name must be `kid`.
pub(crate) fn decode(kid: &str, x: &str) -> Result<Vec<u8>, KeyError> {
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(x)
        .map_err(|_| KeyError::Malformed)?;
    if bytes.len() != PUBLIC_KEY_BYTES {
        return Err(KeyError::Malformed);
    }
    if thumbprint(x) != kid {
        return Err(KeyError::WrongKid);
    }
    Ok(bytes)
}

fn thumbprint(x: &str) -> String {
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 8037, appendix A.
    #[test]
    fn the_thumbprint_is_that_of_the_standard() {
        let seed: [u8; 32] = BASE64_URL_SAFE_NO_PAD
            .decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
            .unwrap()
            .try_into()
            .unwrap();
        let key = SigningKey::from_seed(&seed);
        assert_eq!(key.public_key(), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(
            format!("{key:?}"),
            r#"SigningKey { kid: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", .. }"#
        );
    }

    #[test]
    fn a_key_must_be_what_its_name_says() {
        let one = SigningKey::from_seed(&[1; 32]);
        let two = SigningKey::from_seed(&[2; 32]);
        assert!(PublicJwk::new(one.kid(), one.public_key()).is_ok());
        assert_eq!(
            PublicJwk::new(one.kid(), two.public_key()),
            Err(KeyError::WrongKid)
        );
        assert_eq!(PublicJwk::new(one.kid(), "AAAA"), Err(KeyError::Malformed));
    }
}
