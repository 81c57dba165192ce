//! The journal that the library writes: records in the order in which things happened.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::image::Image;
use super::replay::Moment;

/// What comes before the paths and the data of each record; `struct header` of shim/journal.c.
const HEADER_BYTES: usize = 4 + 1 + 1 + 2 + 2 + 2 + 4 + 8 + 8 + 8;

/// What is set in a record of an opened file.
const CREATES: u8 = 1;
const TRUNCATES: u8 = 2;

/// One thing that happened.
#[derive(Debug, Clone)]
pub(super) enum Record {
    /// A file or directory was opened; later records name it by this one's id.
    Open {
        path: PathBuf,
        creates: bool,
        truncates: bool,
    },
    Write {
        handle: u64,
        offset: u64,
        data: Range<usize>,
    },
    Truncate {
        handle: u64,
        bytes: u64,
    },
    SyncBegin {
        handle: u64,
    },
    /// The sync that began with the record of this id has ended well.
    SyncEnd {
        begin: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    MakeDir {
        path: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    /// Failed, or says what became of another one, which has it by now: nothing.
    Nothing,
}

/// All that happened on a disk, and what was on it before.
#[derive(Debug)]
pub struct History {
    pub(super) base: Image,
    pub(super) bytes: Vec<u8>,
    pub(super) records: Vec<(u64, Record)>,
}

impl History {
    pub(super) fn new(base: Image, bytes: Vec<u8>) -> Self {
        let raw = split(&bytes);
        let outcomes: HashMap<u64, i64> = raw
            .iter()
            .filter(|raw| raw.kind == Kind::Amend)
            .map(|raw| (raw.about, raw.number))
            .collect();
        let records = raw
            .iter()
            .map(|raw| (raw.id, raw.record(&bytes, outcomes.get(&raw.id).copied())))
            .collect();
        Self { base, bytes, records }
    }

    /// How many records there are. Between any two of them the power may be cut.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The disk after the first `records` of them.
    pub fn moment(&self, records: usize) -> Moment<'_> {
        Moment::replay(self, records)
    }

    /// What of the real directory these records do not account for, in words. The last change may have been noted and
    /// not made, or made in part: its process was killed.
    pub(super) fn unexplained(&self, real: &Image) -> Option<String> {
        let all = self.moment(self.len());
        let found = all.with_power().differences(real);
        let last = self.records.iter().rposition(|(_, record)| record.changes());
        let may_differ = last.map(|last| self.moment(last + 1).places_of(&self.records[last].1));
        let may_differ = may_differ.unwrap_or_default();
        let (path, word) = found.into_iter().find(|(path, _)| !may_differ.contains(path))?;
        Some(format!(
            "{} {word}, the journal's being the first",
            path.display()
        ))
    }
}

impl Record {
    /// Whether it changes anything on the disk.
    const fn changes(&self) -> bool {
        match self {
            Self::Write { .. }
            | Self::Truncate { .. }
            | Self::Rename { .. }
            | Self::Unlink { .. }
            | Self::MakeDir { .. }
            | Self::Link { .. } => true,
            Self::Open {
                creates, truncates, ..
            } => *creates || *truncates,
            Self::SyncBegin { .. } | Self::SyncEnd { .. } | Self::Nothing => false,
        }
    }
}

/// The kinds of records, as shim/journal.c numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Write,
    Truncate,
    SyncBegin,
    SyncEnd,
    Rename,
    Unlink,
    MakeDir,
    Link,
    Amend,
}

impl Kind {
    fn of(number: u8) -> Self {
        match number {
            1 => Self::Open,
            2 => Self::Write,
            3 => Self::Truncate,
            4 => Self::SyncBegin,
            5 => Self::SyncEnd,
            6 => Self::Rename,
            7 => Self::Unlink,
            8 => Self::MakeDir,
            9 => Self::Link,
            10 => Self::Amend,
            other => panic!("shim/journal.c and journal.rs disagree: there is no record of kind {other}"),
        }
    }
}

/// A record as it lies in the journal.
struct Raw {
    kind: Kind,
    flags: u8,
    id: u64,
    about: u64,
    number: i64,
    path: Range<usize>,
    other_path: Range<usize>,
    data: Range<usize>,
}

impl Raw {
    fn record(&self, bytes: &[u8], outcome: Option<i64>) -> Record {
        let path = |range: &Range<usize>| Path::new(OsStr::from_bytes(&bytes[range.clone()])).to_owned();
        let number = || u64::try_from(self.number).expect("an offset or a size is not negative");
        // A write may have come out shorter; everything else that has an outcome failed.
        let (failed, data) = match (outcome, self.kind) {
            (None, _) => (false, self.data.clone()),
            (Some(done), Kind::Write) => {
                let done = usize::try_from(done).unwrap_or(0);
                (done == 0, self.data.start..self.data.start + done)
            }
            (Some(_), _) => (true, self.data.clone()),
        };
        if failed {
            return Record::Nothing;
        }
        match self.kind {
            Kind::Open => Record::Open {
                path: path(&self.path),
                creates: self.flags & CREATES != 0,
                truncates: self.flags & TRUNCATES != 0,
            },
            Kind::Write => Record::Write {
                handle: self.about,
                offset: number(),
                data,
            },
            Kind::Truncate => Record::Truncate {
                handle: self.about,
                bytes: number(),
            },
            Kind::SyncBegin => Record::SyncBegin { handle: self.about },
            Kind::SyncEnd => Record::SyncEnd { begin: self.about },
            Kind::Rename => Record::Rename {
                from: path(&self.path),
                to: path(&self.other_path),
            },
            Kind::Unlink => Record::Unlink {
                path: path(&self.path),
            },
            Kind::MakeDir => Record::MakeDir {
                path: path(&self.path),
            },
            Kind::Link => Record::Link {
                from: path(&self.path),
                to: path(&self.other_path),
            },
            Kind::Amend => Record::Nothing,
        }
    }
}

/// Takes the journal apart. A kill may have cut its last record short, and then the change was not made.
fn split(bytes: &[u8]) -> Vec<Raw> {
    let mut records = Vec::new();
    let mut from = 0;
    while let Some(header) = bytes.get(from..from + HEADER_BYTES) {
        let mut fields = Fields(header);
        let total = usize::try_from(u32::from_ne_bytes(fields.take())).expect("a record fits into memory");
        let [kind, flags] = fields.take();
        let path_bytes = usize::from(u16::from_ne_bytes(fields.take()));
        let other_path_bytes = usize::from(u16::from_ne_bytes(fields.take()));
        let _unused: [u8; 2] = fields.take();
        let data_bytes =
            usize::try_from(u32::from_ne_bytes(fields.take())).expect("a record fits into memory");
        let id = u64::from_ne_bytes(fields.take());
        let about = u64::from_ne_bytes(fields.take());
        let number = i64::from_ne_bytes(fields.take());
        if bytes.len() < from + total {
            break;
        }
        let path = from + HEADER_BYTES..from + HEADER_BYTES + path_bytes;
        let other_path = path.end..path.end + other_path_bytes;
        let data = other_path.end..other_path.end + data_bytes;
        assert_eq!(
            data.end,
            from + total,
            "shim/journal.c and journal.rs disagree on the size of a record"
        );
        records.push(Raw {
            kind: Kind::of(kind),
            flags,
            id,
            about,
            number,
            path,
            other_path,
            data,
        });
        from += total;
    }
    records
}

/// A header's fields, one after another.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("a header has all its fields");
        self.0 = rest;
        *field
    }
}
