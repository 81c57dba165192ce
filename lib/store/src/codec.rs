//! How a row becomes bytes: bincode of a frozen type, behind its schema version and a checksum.
//!
//! A stored value is `[schema: u8][crc32: u32, little endian][bincode]`. The checksum covers the table, the
//! key, the schema and the bincode, so that a value that turns up under another key shows as damaged. Which
//! frozen type a schema number stands for is the business of each [`crate::Record`].

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use events::{MoneyError, ShowTimeError};

/// The longest bincode that is written or read. A hostile or damaged length must not reserve memory.
pub const ROW_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Schema byte and checksum.
const HEADER_BYTES: usize = 5;

const CONFIG: Configuration<LittleEndian, Varint, Limit<ROW_BYTES_MAX>> =
    bincode::config::standard().with_limit::<ROW_BYTES_MAX>();

/// Why bytes are not the row that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not make a value of the frozen type.
    #[error("the bytes can't be decoded: {0}")]
    Malformed(String),
    /// Something follows the value: it was written by another type than it is read with.
    #[error("{0} bytes are left over")]
    Trailing(usize),
    /// The row was written by a newer program.
    #[error("schema {0} is not known to this program; a newer one has written it")]
    UnknownSchema(u8),
    /// The row is of no kind that this program knows.
    #[error("this kind of row is not known to this program; a newer one has written it, or another service")]
    UnknownTable,
    /// The value can be decoded, and yet makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The value is shorter than its own header.
    #[error("the value is cut short")]
    Short,
    /// The bytes are not those that were written under this key.
    #[error("the checksum does not match")]
    Checksum,
}

impl From<MoneyError> for DecodeError {
    fn from(error: MoneyError) -> Self {
        Self::Invalid(format!("an amount {error}"))
    }
}

impl From<ShowTimeError> for DecodeError {
    fn from(error: ShowTimeError) -> Self {
        Self::Invalid(format!("a show's time {error}"))
    }
}

/// Bincode of a frozen type.
///
/// # Panics
/// When a hand-written `Encode` fails; derived ones can't.
pub fn encode<T: bincode::Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, CONFIG)
        .expect("a derived Encode into a growing vector has nothing to fail on")
}

/// The value of a frozen type; refuses lengths beyond [`ROW_BYTES_MAX`] and leftover bytes.
///
/// # Errors
/// When the bytes are not exactly one `T`.
pub fn decode<T: bincode::Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, read) = bincode::decode_from_slice(bytes, CONFIG)
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    // bincode itself takes leftover bytes for no error at all.
    match bytes.len() - read {
        0 => Ok(value),
        left => Err(DecodeError::Trailing(left)),
    }
}

/// The stored value: header and bincode. `key` is the whole key, its table byte included.
pub(crate) fn seal(key: &[u8], schema: u8, bincode: &[u8]) -> Vec<u8> {
    #[cfg(feature = "tomorrow")]
    if events::tomorrow::Release::writes() {
        return tomorrow::seal(key, schema, bincode);
    }
    seal_as(key, schema, bincode)
}

fn seal_as(key: &[u8], schema: u8, bincode: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER_BYTES + bincode.len());
    value.push(schema);
    value.extend_from_slice(&checksum(key, schema, bincode).to_le_bytes());
    value.extend_from_slice(bincode);
    value
}

/// Schema and bincode of a stored value whose checksum holds.
pub(crate) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Result<(u8, &'a [u8]), DecodeError> {
    let (header, bincode) = value.split_at_checked(HEADER_BYTES).ok_or(DecodeError::Short)?;
    let &[schema, a, b, c, d] = header else {
        return Err(DecodeError::Short);
    };
    if u32::from_le_bytes([a, b, c, d]) != checksum(key, schema, bincode) {
        return Err(DecodeError::Checksum);
    }
    #[cfg(feature = "tomorrow")]
    if events::tomorrow::Release::reads() {
        return tomorrow::without_field(schema, bincode);
    }
    Ok((schema, bincode))
}

fn checksum(key: &[u8], schema: u8, bincode: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(&[schema]);
    hasher.update(bincode);
    hasher.finalize()
}

/// Rows as a release after this one has them: see `events::tomorrow`.
#[cfg(feature = "tomorrow")]
mod tomorrow {
    use super::{DecodeError, seal_as};

    /// Added to the number of a schema, names the one with a field more.
    const NEWER: u8 = 0x80;

    /// The row with a field more: a byte at its end, as bincode writes a struct that gained one. It holds the number of the
    /// schema that it was added to, so that whoever reads it can tell whether it is the right one.
    pub(super) fn seal(key: &[u8], schema: u8, bincode: &[u8]) -> Vec<u8> {
        let mut longer = bincode.to_vec();
        longer.push(schema);
        seal_as(key, schema | NEWER, &longer)
    }

    /// The row without that field, if it has it.
    pub(super) fn without_field(schema: u8, bincode: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
        if schema & NEWER == 0 {
            return Ok((schema, bincode));
        }
        match bincode.split_last() {
            Some((field, known)) if field | NEWER == schema => Ok((*field, known)),
            Some((field, _)) => Err(DecodeError::Invalid(format!("its last field is {field}"))),
            None => Err(DecodeError::Short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, bincode::Encode, bincode::Decode)]
    struct Frozen {
        name: String,
        count: u32,
    }

    #[test]
    fn what_is_sealed_comes_back_under_its_own_key_only() {
        let sealed = seal(b"tone", 1, b"payload");
        assert_eq!(unseal(b"tone", &sealed), Ok((1, b"payload".as_slice())));
        assert_eq!(unseal(b"ttwo", &sealed), Err(DecodeError::Checksum));
        assert_eq!(unseal(b"tone", &sealed[..4]), Err(DecodeError::Short));
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(b"tone", &flipped), Err(DecodeError::Checksum), "bit {bit}");
        }
    }

    #[test]
    fn leftover_bytes_and_hostile_lengths_are_refused() {
        let value = Frozen {
            name: "a".to_owned(),
            count: 7,
        };
        let mut bytes = encode(&value);
        assert_eq!(decode::<Frozen>(&bytes), Ok(value));
        bytes.push(0);
        assert_eq!(decode::<Frozen>(&bytes), Err(DecodeError::Trailing(1)));
        // A string that claims to be 2^64 - 1 bytes long.
        let hostile = [253, 255, 255, 255, 255, 255, 255, 255, 255];
        assert!(matches!(
            decode::<Frozen>(&hostile),
            Err(DecodeError::Malformed(_))
        ));
    }
}
