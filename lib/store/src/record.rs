//! What a service stores: [`Record`]s in [`Table`]s under [`RecordKey`]s.
//!
//! A record knows how to become bytes and back; it knows nothing of where the bytes go.

use std::any::Any;
use std::sync::Arc;

use events::{OrderId, PaymentId, SessionId, Source, TicketId, Timestamp, UserId, Version};

use crate::codec::{self, DecodeError};
use crate::errors::StoreError;

/// A kind of row: the byte that its keys begin with, and a name for messages.
///
/// Lower-case letters belong to the services; upper-case letters and digits are reserved to `lib`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Table(pub u8, pub &'static str);

/// One kind of row. The stored form is a frozen bincode type, made of primitives only.
pub trait Record: Clone + Send + Sync + 'static {
    /// Where its rows stand.
    const TABLE: Table;
    /// The newest schema: the one that [`Record::encode`] writes.
    const SCHEMA: u8;
    /// What its rows are found by.
    type Key: RecordKey;

    /// The key of this row.
    fn key(&self) -> Self::Key;

    /// What compare-and-swap compares. Records without versions return [`Version::FIRST`] and are written by
    /// [`crate::Txn::put_any`].
    fn version(&self) -> Version;

    /// The bincode of the frozen type of [`Record::SCHEMA`]; see [`crate::codec::encode`].
    fn encode(&self) -> Vec<u8>;

    /// Reads every schema ever written, upcasting explicitly; see [`crate::codec::decode`].
    ///
    /// # Errors
    /// When the bytes are no row of that schema, or the schema is not known.
    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError>;
}

/// What a row is found by. The bytes sort as the keys should.
pub trait RecordKey: Clone + Send + Sync + 'static {
    /// Appends the key's bytes.
    fn write(&self, bytes: &mut Vec<u8>);
}

/// A key whose bytes always have the same length, so that another key can follow it without ambiguity.
pub trait FixedKey: RecordKey {}

macro_rules! id_keys {
    ($($id:ty),*) => {
        $(
            impl RecordKey for $id {
                fn write(&self, bytes: &mut Vec<u8>) {
                    bytes.extend_from_slice(&self.to_bytes());
                }
            }
            impl FixedKey for $id {}
        )*
    };
}
id_keys!(UserId, TicketId, OrderId, PaymentId, SessionId);

macro_rules! number_keys {
    ($($number:ty),*) => {
        $(
            impl RecordKey for $number {
                fn write(&self, bytes: &mut Vec<u8>) {
                    bytes.extend_from_slice(&self.to_be_bytes());
                }
            }
            impl FixedKey for $number {}
        )*
    };
}
number_keys!(u8, u16, u32, u64);

impl<const N: usize> RecordKey for [u8; N] {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self);
    }
}
impl<const N: usize> FixedKey for [u8; N] {}

impl RecordKey for Source {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(self.code());
    }
}
impl FixedKey for Source {}

impl RecordKey for Timestamp {
    fn write(&self, bytes: &mut Vec<u8>) {
        // With the sign bit turned over, moments before 1970 sort before those after it.
        let sortable = self.as_micros().cast_unsigned() ^ (1 << 63);
        bytes.extend_from_slice(&sortable.to_be_bytes());
    }
}
impl FixedKey for Timestamp {}

/// The key of a table that has one row.
impl RecordKey for () {
    fn write(&self, _bytes: &mut Vec<u8>) {}
}
impl FixedKey for () {}

impl RecordKey for String {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.as_bytes());
    }
}

impl<A: FixedKey, B: RecordKey> RecordKey for (A, B) {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.0.write(bytes);
        self.1.write(bytes);
    }
}
impl<A: FixedKey, B: FixedKey> FixedKey for (A, B) {}

/// A whole stored key: the table's byte, then the record's key.
pub(crate) type RawKey = Box<[u8]>;

/// Enough for a pair of ids and the table's byte.
const RAW_KEY_BYTES_USUAL: usize = 33;

/// The stored key of one row.
pub(crate) fn raw_key<R: Record>(key: &R::Key) -> RawKey {
    let mut bytes = Vec::with_capacity(RAW_KEY_BYTES_USUAL);
    bytes.push(R::TABLE.0);
    key.write(&mut bytes);
    bytes.into_boxed_slice()
}

/// A record whose type is known only to whoever asks for it: rows of all kinds lie side by side in a batch.
pub(crate) trait Row: Any + Send + Sync {
    fn table(&self) -> Table;
    fn version(&self) -> Version;
    /// The stored value under that key.
    fn seal(&self, raw_key: &[u8]) -> Vec<u8>;
}

impl<R: Record> Row for R {
    fn table(&self) -> Table {
        R::TABLE
    }
    fn version(&self) -> Version {
        Record::version(self)
    }
    fn seal(&self, raw_key: &[u8]) -> Vec<u8> {
        codec::seal(raw_key, R::SCHEMA, &self.encode())
    }
}

/// A shared row, as it lies in a batch.
pub(crate) type SharedRow = Arc<dyn Row>;

/// A row of some kind, for whoever walks over all of a store: see [`crate::Store::rows`].
#[derive(Clone)]
pub struct StoredRow(pub(crate) SharedRow);

impl StoredRow {
    /// The record, if it is of `R`'s table.
    pub fn of<R: Record>(&self) -> Option<&R> {
        (self.0.table().0 == R::TABLE.0).then(|| downcast(&*self.0))
    }

    /// A record as a stored row, for tests.
    pub fn new<R: Record>(record: R) -> Self {
        Self(Arc::new(record))
    }
}

impl std::fmt::Debug for StoredRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StoredRow").field(&self.0.table().1).finish()
    }
}

/// The row as the type that its table says; a table byte that two types share would be a mistake of the
/// program, found at open by [`crate::Tables`].
pub(crate) fn downcast<R: Record>(row: &dyn Row) -> &R {
    let any: &dyn Any = row;
    any.downcast_ref()
        .expect("a table holds one type of record, as Tables::with has checked")
}

/// The record of a stored value, whose checksum and key are checked.
pub(crate) fn open_row<R: Record>(raw: &[u8], value: &[u8]) -> Result<R, DecodeError> {
    let (schema, bincode) = codec::unseal(raw, value)?;
    let record = R::decode(schema, bincode)?;
    if *raw_key::<R>(&record.key()) == *raw {
        Ok(record)
    } else {
        Err(DecodeError::Invalid("it belongs under another key".to_owned()))
    }
}

/// [`open_row`], with an error that says which row it is.
pub(crate) fn read_row<R: Record>(raw: &[u8], value: &[u8]) -> Result<R, StoreError> {
    open_row(raw, value).map_err(|cause| StoreError::Damaged(describe(R::TABLE.1, raw, &cause).into()))
}

/// What is wrong with which row.
pub(crate) fn describe(table: &str, raw: &[u8], cause: &DecodeError) -> String {
    // A key in full is for a debugger; its beginning is enough to find the row.
    let key: String = raw
        .iter()
        .take(KEY_BYTES_SHOWN)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{table} row {key}: {cause}")
}

/// How much of a key stands in a message.
const KEY_BYTES_SHOWN: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(key: &impl RecordKey) -> Vec<u8> {
        let mut bytes = Vec::new();
        key.write(&mut bytes);
        bytes
    }

    #[test]
    fn keys_sort_as_what_they_stand_for() {
        assert!(bytes(&1_u64) < bytes(&256_u64));
        assert!(bytes(&Timestamp::from_micros(-1)) < bytes(&Timestamp::from_micros(0)));
        assert!(bytes(&(Source::Auth, "b".to_owned())) < bytes(&(Source::Tickets, "a".to_owned())));
        assert_eq!(bytes(&()), Vec::<u8>::new());
    }
}
