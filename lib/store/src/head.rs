//! How far a store has come, said twice: in the `meta` row, which each batch rewrites, and in the `head` file.
//!
//! A truncated sled file can open empty, or rolled back, without an error. The `head` file lies beside it and
//! is written after each sync. It is not synced itself: it may lag behind the store, and then says nothing;
//! the store may never lag behind it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use events::{Epoch, Position, Seq, Version};

use crate::codec::{self, DecodeError};
use crate::record::{Record, Table};

/// The name of the file beside the engine's.
const HEAD_FILE: &str = "head";

/// The file that is renamed to [`HEAD_FILE`] when a store is made.
const HEAD_FILE_NEW: &str = "head.new";

/// Says what the file is, and in which layout.
const MAGIC: [u8; 8] = *b"BOXHEAD1";

/// Magic, epoch, seq, batch, keys, checksum.
const HEAD_BYTES: usize = 8 + 4 + 8 + 8 + 8 + 4;

/// How far a store has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Meta {
    pub(crate) epoch: Epoch,
    /// The last event of the outbox.
    pub(crate) seq: Seq,
    /// How many batches were written since the store was made.
    pub(crate) batch: u64,
    /// How many rows there are, this one left out.
    pub(crate) keys: u64,
}

impl Meta {
    /// The position of the last event.
    pub(crate) const fn position(self) -> Position {
        Position {
            epoch: self.epoch,
            seq: self.seq,
        }
    }
}

#[derive(bincode::Encode, bincode::Decode)]
struct MetaV1 {
    epoch: u32,
    seq: u64,
    batch: u64,
    keys: u64,
}

impl Record for Meta {
    const TABLE: Table = Table(b'M', "meta");
    const SCHEMA: u8 = 1;
    type Key = ();

    fn key(&self) {}

    fn version(&self) -> Version {
        Version::FIRST
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&MetaV1 {
            epoch: self.epoch.0,
            seq: self.seq.0,
            batch: self.batch,
            keys: self.keys,
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => codec::decode::<MetaV1>(bytes).map(|meta| Self {
                epoch: Epoch(meta.epoch),
                seq: Seq(meta.seq),
                batch: meta.batch,
                keys: meta.keys,
            }),
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

/// What the head file says when a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadSays {
    /// There is none.
    Missing,
    /// There is one, and it can't be believed.
    Unreadable,
    /// The store had come this far, at least.
    Head(Meta),
}

/// The head file of an open store.
#[derive(Debug)]
pub(crate) struct HeadFile {
    file: File,
}

impl HeadFile {
    /// What the file says.
    pub(crate) fn read(dir: &Path) -> io::Result<HeadSays> {
        match std::fs::read(dir.join(HEAD_FILE)) {
            Ok(bytes) => Ok(from_bytes(&bytes).map_or(HeadSays::Unreadable, HeadSays::Head)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HeadSays::Missing),
            Err(error) => Err(error),
        }
    }

    /// Makes the file of a new store: complete and on the disk before it gets its name, so that no kill and no
    /// power cut leaves half of one.
    pub(crate) fn create(dir: &Path, meta: Meta) -> io::Result<()> {
        let new = dir.join(HEAD_FILE_NEW);
        let file = File::create(&new)?;
        file.write_all_at(&to_bytes(meta), 0)?;
        file.sync_all()?;
        std::fs::rename(new, dir.join(HEAD_FILE))?;
        File::open(dir)?.sync_all()
    }

    /// Opens the file for writing.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).open(dir.join(HEAD_FILE))?;
        Ok(Self { file })
    }

    /// Says how far the store has come. One small write in place: it needs no room on a full disk, and a kill
    /// can't tear it.
    pub(crate) fn write(&self, meta: Meta) -> io::Result<()> {
        self.file.write_all_at(&to_bytes(meta), 0)
    }

    /// Puts the file onto the disk, at the end of a run.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn to_bytes(meta: Meta) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&meta.epoch.0.to_le_bytes());
    bytes.extend_from_slice(&meta.seq.0.to_le_bytes());
    bytes.extend_from_slice(&meta.batch.to_le_bytes());
    bytes.extend_from_slice(&meta.keys.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn from_bytes(bytes: &[u8]) -> Option<Meta> {
    let bytes: &[u8; HEAD_BYTES] = bytes.try_into().ok()?;
    let (body, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (magic, body) = body.split_first_chunk::<8>()?;
    let (epoch, body) = body.split_first_chunk::<4>()?;
    let (seq, body) = body.split_first_chunk::<8>()?;
    let (batch, body) = body.split_first_chunk::<8>()?;
    let (keys, _) = body.split_first_chunk::<8>()?;
    (*magic == MAGIC).then(|| Meta {
        epoch: Epoch(u32::from_le_bytes(*epoch)),
        seq: Seq(u64::from_le_bytes(*seq)),
        batch: u64::from_le_bytes(*batch),
        keys: u64::from_le_bytes(*keys),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta = Meta {
        epoch: Epoch(2),
        seq: Seq(3),
        batch: 4,
        keys: 5,
    };

    #[test]
    fn the_head_file_keeps_its_layout() {
        let bytes = to_bytes(META);
        let golden = [
            b"BOXHEAD1".as_slice(),
            &[2, 0, 0, 0],
            &[3, 0, 0, 0, 0, 0, 0, 0],
            &[4, 0, 0, 0, 0, 0, 0, 0],
            &[5, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(bytes[..36], golden);
        assert_eq!(bytes.len(), HEAD_BYTES);
        assert_eq!(from_bytes(&bytes), Some(META));
    }

    #[test]
    fn no_flipped_bit_is_believed() {
        let bytes = to_bytes(META);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(from_bytes(&flipped), None, "bit {bit}");
        }
        assert_eq!(from_bytes(&bytes[..20]), None);
    }

    #[test]
    fn a_missing_file_is_told_from_an_unreadable_one() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(HeadFile::read(dir.path()).unwrap(), HeadSays::Missing);
        HeadFile::create(dir.path(), META).unwrap();
        assert_eq!(HeadFile::read(dir.path()).unwrap(), HeadSays::Head(META));
        std::fs::write(dir.path().join(HEAD_FILE), b"").unwrap();
        assert_eq!(HeadFile::read(dir.path()).unwrap(), HeadSays::Unreadable);
    }
}
