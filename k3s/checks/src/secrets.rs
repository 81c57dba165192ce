//! `k3s/secrets.txt`: which Secrets a script makes, for which overlay, with which keys. Read here and by the script.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What stands in the first column for every overlay.
const EVERYWHERE: &str = "all";

/// The Secrets of one overlay and their keys; never their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, BTreeSet<String>>);

/// A line that could not be read.
#[derive(Debug, PartialEq, Eq)]
pub struct SecretsError(String);

impl fmt::Display for SecretsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SecretsError {}

impl Secrets {
    /// Reads the list for one overlay.
    ///
    /// # Errors
    /// When a line is not `where secret key how`.
    pub fn parse(list: &str, overlay: &str) -> Result<Self, SecretsError> {
        let mut secrets = BTreeMap::<String, BTreeSet<String>>::new();
        for line in list
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [place, secret, key, how, ..] = columns.as_slice() else {
                return Err(SecretsError(format!("`{line}` is not: where, Secret, key, how")));
            };
            if !["random", "text", "from", "certificate"].contains(how) {
                return Err(SecretsError(format!(
                    "`{line}` says `{how}`, which is no way to make a Secret"
                )));
            }
            if *place == EVERYWHERE || *place == overlay {
                secrets
                    .entry((*secret).to_owned())
                    .or_default()
                    .insert((*key).to_owned());
            }
        }
        Ok(Self(secrets))
    }

    /// The keys of a Secret, if it is made.
    pub fn keys(&self, secret: &str) -> Option<&BTreeSet<String>> {
        self.0.get(secret)
    }

    /// Each Secret with each of its keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .flat_map(|(secret, keys)| keys.iter().map(move |key| (secret.as_str(), key.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_gets_its_own_and_everyones() {
        let list = "# where secret key how\nall web secret random\n\nlaptop redis password random\nproduction redis url from REDIS_URL\n";
        let secrets = Secrets::parse(list, "laptop").expect("it can be read");
        let pairs: Vec<_> = secrets.iter().collect();
        assert_eq!(pairs, [("redis", "password"), ("web", "secret")]);
        assert!(secrets.keys("stripe").is_none());
    }

    #[test]
    fn a_line_that_says_too_little_or_nonsense_is_refused() {
        assert!(Secrets::parse("all web secret", "laptop").is_err());
        assert!(Secrets::parse("all web secret guessed", "laptop").is_err());
    }
}
