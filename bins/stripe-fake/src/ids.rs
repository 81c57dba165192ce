//! Random ids in Stripe's form: a prefix that names the kind, then letters and digits.
//!
//! A session's id is also the secret in the address of its payment page, so ids come from the system's
//! random source and not from a counter.

use ring::rand::{SecureRandom, SystemRandom};

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const OBJECT_CHARACTERS: usize = 24;
const SESSION_CHARACTERS: usize = 58;
const CHARACTERS_MAX: usize = SESSION_CHARACTERS;

/// Makes ids that nobody can guess.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    random: SystemRandom,
}

impl Ids {
    pub(crate) fn new() -> Self {
        Self {
            random: SystemRandom::new(),
        }
    }

    /// An id of an ordinary object, for example `pi_` and 24 characters.
    pub(crate) fn object(&self, prefix: &str) -> String {
        self.with(prefix, OBJECT_CHARACTERS)
    }

    /// An id of a Checkout Session, which is longer, as Stripe's are.
    pub(crate) fn session(&self) -> String {
        self.with("cs_test_", SESSION_CHARACTERS)
    }

    fn with(&self, prefix: &str, characters: usize) -> String {
        let mut bytes = [0_u8; CHARACTERS_MAX];
        let bytes = &mut bytes[..characters];
        self.random
            .fill(bytes)
            .expect("the operating system's random source does not fail once it has started");
        let mut id = String::with_capacity(prefix.len() + characters);
        id.push_str(prefix);
        // 256 is not a multiple of 62: a few characters are slightly more likely, which takes less than a
        // bit from the 340 that a session's id has.
        id.extend(
            bytes
                .iter()
                .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])),
        );
        id
    }
}
