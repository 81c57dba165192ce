//! What a service keeps in memory about its rows: secondary indexes and counters, rebuilt at every open.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use events::Version;

use crate::codec::{self, DecodeError};
use crate::errors::StoreError;
use crate::record::{self, Record, Row, SharedRow, Table};

/// In-memory secondary indexes and counters of one service.
///
/// [`Indexes::apply`] must be symmetrical: applying a change and then its reverse leaves everything as it
/// was. The store uses this to take back what a refused transaction staged.
///
/// Two that were told of the same rows are equal, whatever came and went in between: so it is checked that the
/// indexes of a running store agree with its rows.
pub trait Indexes: Default + PartialEq + Send + Sync + 'static {
    /// Takes note of one row that came, changed or went.
    fn apply(&mut self, change: &Change<'_>);

    /// The kinds of rows of this service: `Tables::new().with::<Ticket>().with::<Hold>()`. A row of any other
    /// kind in the store stops it from opening.
    fn tables() -> Tables;
}

/// A store without rows of a service's own.
impl Indexes for () {
    fn apply(&mut self, _change: &Change<'_>) {}
    fn tables() -> Tables {
        Tables::new()
    }
}

/// Any rows at all, of which nothing is known: for looking at a store without the service that it belongs to.
#[derive(Default, PartialEq)]
pub(crate) struct Anything;

impl Indexes for Anything {
    fn apply(&mut self, _change: &Change<'_>) {}
    fn tables() -> Tables {
        Tables {
            kinds: HashMap::new(),
            others: true,
        }
    }
}

/// A row of which only the bytes are known.
struct Opaque {
    table: u8,
    value: Vec<u8>,
}

impl Row for Opaque {
    fn table(&self) -> Table {
        Table(self.table, "some")
    }
    fn version(&self) -> Version {
        Version::FIRST
    }
    fn seal(&self, _raw_key: &[u8]) -> Vec<u8> {
        self.value.clone()
    }
}

/// One row that came, changed or went.
pub struct Change<'a> {
    table: Table,
    before: Option<&'a dyn Row>,
    after: Option<&'a dyn Row>,
}

impl<'a> Change<'a> {
    /// A change of a row of `R`, for tests of an index.
    pub fn new<R: Record>(before: Option<&'a R>, after: Option<&'a R>) -> Self {
        Self {
            table: R::TABLE,
            before: before.map(|row| row as &dyn Row),
            after: after.map(|row| row as &dyn Row),
        }
    }

    /// A change between two shared rows; `None` if there is no row on either side.
    pub(crate) fn between(before: Option<&'a SharedRow>, after: Option<&'a SharedRow>) -> Option<Self> {
        let (before, after) = (before.map(|row| &**row), after.map(|row| &**row));
        let table = after.or(before)?.table();
        Some(Self { table, before, after })
    }

    /// Before and after, if the change is in `R`'s table.
    pub fn of<R: Record>(&self) -> Option<(Option<&'a R>, Option<&'a R>)> {
        (self.table.0 == R::TABLE.0).then(|| {
            (
                self.before.map(record::downcast),
                self.after.map(record::downcast),
            )
        })
    }
}

impl fmt::Debug for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (self.before.is_some(), self.after.is_some()) {
            (false, true) => "came",
            (true, true) => "changed",
            (true, false) => "went",
            (false, false) => "nothing",
        };
        write!(f, "a {} {kind}", self.table.1)
    }
}

/// The kinds of rows that a store may hold.
#[derive(Default)]
pub struct Tables {
    kinds: HashMap<u8, Kind>,
    /// Whether rows of other kinds may be there, too.
    others: bool,
}

#[derive(Clone, Copy)]
struct Kind {
    table: Table,
    open: fn(&[u8], &[u8]) -> Result<SharedRow, DecodeError>,
}

impl Tables {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// And the rows of `R`.
    ///
    /// # Panics
    /// When another kind of record has the same table byte: two types under one byte could be taken for each other.
    #[must_use]
    pub fn with<R: Record>(mut self) -> Self {
        let kind = Kind {
            table: R::TABLE,
            open: |key, value| record::open_row::<R>(key, value).map(|row| Arc::new(row) as SharedRow),
        };
        if let Some(other) = self.kinds.insert(R::TABLE.0, kind) {
            panic!(
                "the tables {} and {} share the byte {:?}",
                other.table.1,
                R::TABLE.1,
                char::from(R::TABLE.0)
            );
        }
        self
    }

    /// The bytes that the keys of these tables begin with, in order.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.kinds.keys().copied().collect();
        bytes.sort_unstable();
        bytes
    }

    /// [`Self::open_row`], with an error that says which row it is.
    pub(crate) fn read_row(&self, key: &[u8], value: &[u8]) -> Result<SharedRow, StoreError> {
        self.open_row(key, value)
            .map_err(|cause| StoreError::Damaged(record::describe(self.name(key), key, &cause).into()))
    }

    /// Whether a key belongs to one of these tables.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.kind(key).is_some()
    }

    /// The name of the table that a key belongs to.
    pub(crate) fn name(&self, key: &[u8]) -> &'static str {
        self.kind(key).map_or("unknown", |kind| kind.table.1)
    }

    /// Reads a row of whatever kind its key says.
    pub(crate) fn open_row(&self, key: &[u8], value: &[u8]) -> Result<SharedRow, DecodeError> {
        match self.kind(key) {
            Some(kind) => (kind.open)(key, value),
            None if self.others => {
                codec::unseal(key, value)?;
                Ok(Arc::new(Opaque {
                    table: key.first().copied().unwrap_or_default(),
                    value: value.to_vec(),
                }))
            }
            // Only a whole row is someone else's; otherwise it is the key that is damaged.
            None => codec::unseal(key, value).and(Err(DecodeError::UnknownTable)),
        }
    }

    fn kind(&self, key: &[u8]) -> Option<&Kind> {
        key.first().and_then(|table| self.kinds.get(table))
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.kinds.values().map(|kind| kind.table.1))
            .finish()
    }
}
