//! Walking over all rows of a service, whatever kind they are: for snapshots, for checks, for whoever looks at the whole.

use std::fmt;
use std::str::FromStr;

use crate::errors::StoreError;
use crate::indexes::Indexes;
use crate::record::{RawKey, StoredRow};
use crate::store::Store;

/// Where a row stands in the order of all rows. As text it is hexadecimal, to be handed back for the next page.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(pub(crate) RawKey);

/// A text that is no [`RowKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a row's key: it is made of pairs of hexadecimal digits")]
pub struct RowKeyError;

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowKey({self})")
    }
}

impl FromStr for RowKey {
    type Err = RowKeyError;

    fn from_str(text: &str) -> Result<Self, RowKeyError> {
        if text.is_empty()
            || !text.len().is_multiple_of(2)
            || !text.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Err(RowKeyError);
        }
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| RowKeyError))
            .collect::<Result<Vec<u8>, RowKeyError>>()
            .map(|bytes| Self(bytes.into()))
    }
}

impl<I: Indexes> Store<I> {
    /// Rows of all kinds that the service has, in the order of their keys, from behind `after` on; fewer than `limit`
    /// only at the end. Each row is durable; they are not of one moment. Also while the store adopts.
    ///
    /// # Errors
    /// When the store is not open, or a row is damaged.
    pub fn rows(&self, after: Option<&RowKey>, limit: usize) -> Result<Vec<(RowKey, StoredRow)>, StoreError> {
        let rows = self.shared.rows(after.map(|key| &*key.0), limit)?;
        Ok(rows
            .into_iter()
            .map(|(key, row)| (RowKey(key), StoredRow(row)))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_text() {
        let key = RowKey(Box::from(&b"t\x00\xff"[..]));
        assert_eq!(key.to_string(), "7400ff");
        assert_eq!("7400ff".parse(), Ok(key));
        for wrong in ["", "7", "7g", "+7", "ä"] {
            assert_eq!(wrong.parse::<RowKey>(), Err(RowKeyError), "{wrong}");
        }
    }
}
