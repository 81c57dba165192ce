//! A service's rows in one number, whatever the order in which they came.
//!
//! It tells apart what differs by accident or by a mistake of the program, not what someone has made up to look the
//! same: it is no proof against forgery.

use std::fmt;

/// The sum of a hash of each row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StateHash(u128);

impl StateHash {
    /// A row came.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_add(row_hash(key, value));
    }

    /// A row went, as it was.
    pub(crate) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_sub(row_hash(key, value));
    }
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateHash({self})")
    }
}

/// FNV-1a of 128 bits, stirred once more: as it is, rows that differ in their last byte only have hashes that differ
/// by a multiple of one number, and the sums of such could meet.
fn row_hash(key: &[u8], value: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let length = (key.len() as u64).to_le_bytes();
    let mut hash = BASIS;
    for byte in length.iter().chain(key).chain(value) {
        hash = (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
    }
    for _ in 0..2 {
        hash = (hash ^ (hash >> 64)).wrapping_mul(ODD);
    }
    hash ^ (hash >> 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[(&[u8], &[u8])]) -> StateHash {
        let mut hash = StateHash::default();
        for (key, value) in rows {
            hash.add(key, value);
        }
        hash
    }

    #[test]
    fn only_the_rows_count_and_all_of_them() {
        let rows: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"b", b"2"), (b"c", b"")];
        let mut back = rows;
        back.reverse();
        assert_eq!(of(&rows), of(&back));
        let mut fewer = of(&rows);
        fewer.remove(b"b", b"2");
        assert_eq!(fewer, of(&[rows[0], rows[2]]));
        assert_ne!(of(&rows), of(&rows[..2]));
        assert_ne!(
            of(&[(b"a", b"1"), (b"b", b"2")]),
            of(&[(b"a", b"2"), (b"b", b"1")])
        );
        assert_ne!(of(&[(b"ab", b"c")]), of(&[(b"a", b"bc")]));
        assert_eq!(of(&[]).to_string(), "0".repeat(32));
    }

    #[test]
    fn the_number_is_the_same_in_every_version() {
        assert_eq!(
            of(&[(b"key", b"value")]).to_string(),
            "c43c0c7dd7d0774bbb2134eff07f6744"
        );
    }
}
