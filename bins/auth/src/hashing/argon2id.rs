//! argon2id in memory that is used again: asking the system for 19 MiB, having it cleared, and giving it back for each hash is
//! work that nobody has use for.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash as Phc, Salt};
use argon2::password_hash::{self, try_generate_salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::domain::PasswordHash;

/// How much memory one hash takes.
const HASH_MEMORY_KIB: u32 = 19_456;

/// How often that memory is gone over.
const HASH_PASSES: u32 = 2;

/// How many lanes one hash has.
const HASH_LANES: u32 = 1;

/// One hash at a time.
#[derive(Default)]
pub(super) struct Argon2id {
    memory: Vec<Block>,
}

impl Argon2id {
    /// The hash of a new password, with a salt of its own.
    pub(super) fn hash(&mut self, password: &str) -> Result<PasswordHash, String> {
        self.hashed(password).map_err(|error| error.to_string())
    }

    /// Whether a password is the one with this hash, which says itself how it was made.
    pub(super) fn verify(&mut self, password: &str, known: &PasswordHash) -> Result<bool, String> {
        self.verified(password, known).map_err(|error| error.to_string())
    }

    /// Gives the memory back.
    pub(super) fn release(&mut self) {
        self.memory = Vec::new();
    }

    fn hashed(&mut self, password: &str) -> password_hash::Result<PasswordHash> {
        let params = Params::new(
            HASH_MEMORY_KIB,
            HASH_PASSES,
            HASH_LANES,
            Some(Params::DEFAULT_OUTPUT_LEN),
        )?;
        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        let salt = Salt::new(&try_generate_salt()?)?;
        let output = self.derive(algorithm, version, &params, password, &salt)?;
        let phc = Phc {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: ParamsString::try_from(&params)?,
            salt: Some(salt),
            hash: Some(output),
        };
        Ok(PasswordHash(phc.to_string()))
    }

    fn verified(&mut self, password: &str, known: &PasswordHash) -> password_hash::Result<bool> {
        let phc = Phc::new(&known.0)?;
        let (Some(salt), Some(expected)) = (&phc.salt, &phc.hash) else {
            return Ok(false);
        };
        let algorithm = Algorithm::try_from(phc.algorithm.as_str())?;
        let version = phc.version.map_or(Ok(Version::default()), Version::try_from)?;
        let params = Params::try_from(&phc)?;
        // `Output` compares in constant time.
        Ok(self.derive(algorithm, version, &params, password, salt)? == *expected)
    }

    fn derive(
        &mut self,
        algorithm: Algorithm,
        version: Version,
        params: &Params,
        password: &str,
        salt: &[u8],
    ) -> password_hash::Result<Output> {
        let mut bytes = [0; Output::MAX_LENGTH];
        let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
        let out = bytes.get_mut(..length).ok_or(password_hash::Error::OutputSize)?;
        // What an earlier hash has left in it is overwritten: every block is filled from the password and the salt.
        self.memory.resize(params.block_count(), Block::new());
        Argon2::new(algorithm, version, params.clone()).hash_password_into_with_memory(
            password.as_bytes(),
            salt,
            out,
            &mut self.memory,
        )?;
        Ok(Output::new(out)?)
    }
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

    use super::*;

    /// Another hand wrote these: what the library does with memory of its own must be the same.
    #[test]
    fn hashes_are_those_of_the_library_whatever_the_memory_holds() {
        let library = Argon2::default();
        let mut ours = Argon2id::default();
        for password in ["tr0ub4dor & 3", "correct horse battery staple"] {
            let hash = ours.hash(password).unwrap();
            library
                .verify_password(password.as_bytes(), hash.0.as_str())
                .unwrap();
            let theirs = library.hash_password(password.as_bytes()).unwrap().to_string();
            assert!(ours.verify(password, &PasswordHash(theirs.clone())).unwrap());
            assert!(!ours.verify("another", &PasswordHash(theirs)).unwrap());
        }
        ours.release();
        assert!(ours.memory.capacity() == 0);
    }

    #[test]
    fn hashes_made_with_other_parameters_are_verified_by_their_own() {
        let small = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(8, 1, 1, Some(16)).unwrap(),
        );
        let known = PasswordHash(small.hash_password(b"tr0ub4dor").unwrap().to_string());
        let mut ours = Argon2id::default();
        assert!(ours.verify("tr0ub4dor", &known).unwrap());
        assert!(!ours.verify("tr0ub4dor & 3", &known).unwrap());
        let nonsense = PasswordHash("$argon2id$v=19$m=8".to_owned());
        assert!(!ours.verify("tr0ub4dor", &nonsense).unwrap_or(false));
    }
}
