//! How a backup is written down: a magic word, then blocks, each with a checksum that continues the one before it, so
//! that a block that is changed, lost, doubled or exchanged shows.
//!
//! A block is `[length: u32][crc32: u32][payload]`, little endian. The first one says whose store it is and when the
//! backup began; then come puts and deletes of stored rows, of which a later one prevails; the last one says how far
//! the store had come and how much there is of everything. Nothing follows it.

use std::io::{ErrorKind, Read};

use events::{Epoch, Seq, Source, Timestamp};

use crate::codec::{self, ROW_BYTES_MAX};
use crate::head::Meta;

/// Says what the stream is, and in which layout.
const MAGIC: [u8; 8] = *b"BOXBACK1";

/// From which length on a block is closed.
const BLOCK_BYTES_USUAL: usize = 256 * 1024;

/// The longest block that is believed: one full of rows, and then the longest row.
const BLOCK_BYTES_MAX: usize = BLOCK_BYTES_USUAL + ROW_BYTES_MAX + 64 * 1024;

const BEGIN: u8 = 1;
const ROWS: u8 = 2;
const END: u8 = 3;

const DELETE: u8 = 0;
const PUT: u8 = 1;

/// What the first block says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) source: Source,
    pub(crate) taken_at: Timestamp,
    /// How far the store had come when the backup began.
    pub(crate) meta: Meta,
}

/// One row that is put, or deleted.
pub(crate) type Op = (Box<[u8]>, Option<Vec<u8>>);

/// One block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Begin(Begin),
    Rows(Vec<Op>),
    /// How far the store had come when the backup ended; nothing follows.
    End(Meta),
}

#[derive(bincode::Encode, bincode::Decode)]
struct BeginV1 {
    source: u8,
    taken_at_micros: i64,
    meta: MetaV1,
}

#[derive(bincode::Encode, bincode::Decode)]
struct MetaV1 {
    epoch: u32,
    seq: u64,
    batch: u64,
    keys: u64,
}

#[derive(bincode::Encode, bincode::Decode)]
struct EndV1 {
    meta: MetaV1,
    blocks: u64,
    ops: u64,
}

impl From<Meta> for MetaV1 {
    fn from(meta: Meta) -> Self {
        Self {
            epoch: meta.epoch.0,
            seq: meta.seq.0,
            batch: meta.batch,
            keys: meta.keys,
        }
    }
}

impl From<MetaV1> for Meta {
    fn from(meta: MetaV1) -> Self {
        Self {
            epoch: Epoch(meta.epoch),
            seq: Seq(meta.seq),
            batch: meta.batch,
            keys: meta.keys,
        }
    }
}

/// Writes a backup into memory, piece by piece.
#[derive(Debug)]
pub(crate) struct Encoder {
    out: Vec<u8>,
    /// The payload of the block that is being filled.
    open: Vec<u8>,
    checksum: u32,
    blocks: u64,
    ops: u64,
}

impl Encoder {
    pub(crate) fn new(begin: &Begin) -> Self {
        let mut encoder = Self {
            out: MAGIC.to_vec(),
            open: Vec::new(),
            checksum: 0,
            blocks: 0,
            ops: 0,
        };
        let begin = codec::encode(&BeginV1 {
            source: begin.source.code(),
            taken_at_micros: begin.taken_at.as_micros(),
            meta: begin.meta.into(),
        });
        encoder.block(BEGIN, &begin);
        encoder
    }

    /// One row, as it is stored now; nothing if it is gone.
    pub(crate) fn op(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.ops += 1;
        self.open.push(if value.is_some() { PUT } else { DELETE });
        for part in [Some(key), value].into_iter().flatten() {
            let length = u32::try_from(part.len()).expect("no row comes near 4 GiB: the writer refuses it");
            self.open.extend_from_slice(&length.to_le_bytes());
            self.open.extend_from_slice(part);
        }
        if self.open.len() >= BLOCK_BYTES_USUAL {
            self.close_block();
        }
    }

    /// The end: the store had come this far.
    pub(crate) fn end(&mut self, meta: Meta) {
        self.close_block();
        let end = codec::encode(&EndV1 {
            meta: meta.into(),
            blocks: self.blocks,
            ops: self.ops,
        });
        self.block(END, &end);
    }

    /// How much is written and was not taken yet.
    pub(crate) fn len(&self) -> usize {
        self.out.len() + self.open.len()
    }

    /// What is written so far, all of it in whole blocks.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.close_block();
        std::mem::take(&mut self.out)
    }

    fn close_block(&mut self) {
        if !self.open.is_empty() {
            let open = std::mem::take(&mut self.open);
            self.block(ROWS, &open);
        }
    }

    fn block(&mut self, kind: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len() + 1).expect("a block is closed long before 4 GiB");
        let length = length.to_le_bytes();
        self.checksum = checksum(self.checksum, length, kind, payload);
        self.out.extend_from_slice(&length);
        self.out.extend_from_slice(&self.checksum.to_le_bytes());
        self.out.push(kind);
        self.out.extend_from_slice(payload);
        self.blocks += 1;
    }
}

fn checksum(before: u32, length: [u8; 4], kind: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&before.to_le_bytes());
    hasher.update(&length);
    hasher.update(&[kind]);
    hasher.update(payload);
    hasher.finalize()
}

/// Why a backup can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("{0}")]
    Io(std::io::Error),
    #[error("{0}")]
    Damaged(String),
}

fn damaged<T>(what: impl Into<String>) -> Result<T, Unreadable> {
    Err(Unreadable::Damaged(what.into()))
}

/// Reads a backup, block by block.
#[derive(Debug)]
pub(crate) struct Decoder<R> {
    from: R,
    checksum: u32,
    blocks: u64,
    ops: u64,
}

impl<R: Read> Decoder<R> {
    pub(crate) fn new(mut from: R) -> Result<Self, Unreadable> {
        let mut magic = [0; MAGIC.len()];
        read(&mut from, &mut magic)?;
        if magic != MAGIC {
            return damaged("it does not begin as a backup of this program does");
        }
        Ok(Self {
            from,
            checksum: 0,
            blocks: 0,
            ops: 0,
        })
    }

    /// The next block. After the end there must be none.
    pub(crate) fn next(&mut self) -> Result<Block, Unreadable> {
        let mut head = [0; 8];
        read(&mut self.from, &mut head)?;
        let [a, b, c, d, e, f, g, h] = head;
        let length_bytes = [a, b, c, d];
        let length = usize::try_from(u32::from_le_bytes(length_bytes)).unwrap_or(usize::MAX);
        if length == 0 || length > BLOCK_BYTES_MAX {
            return damaged(format!(
                "block {} claims to be {length} bytes long",
                self.blocks + 1
            ));
        }
        let mut block = vec![0; length];
        read(&mut self.from, &mut block)?;
        let Some((kind, payload)) = block.split_first() else {
            return damaged("a block is empty");
        };
        self.checksum = checksum(self.checksum, length_bytes, *kind, payload);
        if self.checksum != u32::from_le_bytes([e, f, g, h]) {
            return damaged(format!(
                "the checksum of block {} does not match",
                self.blocks + 1
            ));
        }
        let block = match (*kind, self.blocks) {
            (BEGIN, 0) => begin(payload)?,
            (ROWS, 1..) => self.rows(payload)?,
            (END, 1..) => self.end(payload)?,
            (kind, number) => return damaged(format!("block {} is of kind {kind}", number + 1)),
        };
        self.blocks += 1;
        Ok(block)
    }

    fn rows(&mut self, mut payload: &[u8]) -> Result<Block, Unreadable> {
        let mut ops = Vec::new();
        while let Some((op, rest)) = payload.split_first() {
            let (key, rest) = part(rest)?;
            let (value, rest) = match *op {
                DELETE => (None, rest),
                PUT => part(rest).map(|(value, rest)| (Some(value.to_vec()), rest))?,
                other => return damaged(format!("{other} is neither a put nor a delete")),
            };
            ops.push((key.into(), value));
            payload = rest;
        }
        self.ops += ops.len() as u64;
        Ok(Block::Rows(ops))
    }

    fn end(&mut self, payload: &[u8]) -> Result<Block, Unreadable> {
        let end: EndV1 = codec::decode(payload).or_else(|error| damaged(error.to_string()))?;
        if (end.blocks, end.ops) != (self.blocks, self.ops) {
            return damaged(format!(
                "it has {} rows in {} blocks, and says {} in {}",
                self.ops, self.blocks, end.ops, end.blocks
            ));
        }
        let mut more = [0];
        loop {
            match self.from.read(&mut more) {
                Ok(0) => return Ok(Block::End(end.meta.into())),
                Ok(_) => return damaged("something follows its end"),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Unreadable::Io(error)),
            }
        }
    }
}

fn begin(payload: &[u8]) -> Result<Block, Unreadable> {
    let begin: BeginV1 = codec::decode(payload).or_else(|error| damaged(error.to_string()))?;
    let Some(source) = Source::from_code(begin.source) else {
        return damaged(format!("{} is no service", begin.source));
    };
    Ok(Block::Begin(Begin {
        source,
        taken_at: Timestamp::from_micros(begin.taken_at_micros),
        meta: begin.meta.into(),
    }))
}

/// A length, and so many bytes; and what follows them.
fn part(bytes: &[u8]) -> Result<(&[u8], &[u8]), Unreadable> {
    let parts = bytes.split_first_chunk::<4>().and_then(|(length, rest)| {
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        rest.split_at_checked(length)
    });
    match parts {
        Some(parts) => Ok(parts),
        None => damaged("a row is cut short"),
    }
}

fn read(from: &mut impl Read, bytes: &mut [u8]) -> Result<(), Unreadable> {
    match from.read_exact(bytes) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => damaged("it ends before its last block"),
        Err(error) => Err(Unreadable::Io(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta = Meta {
        epoch: Epoch(2),
        seq: Seq(30),
        batch: 4,
        keys: 2,
    };

    fn written() -> Vec<u8> {
        let mut encoder = Encoder::new(&Begin {
            source: Source::Orders,
            taken_at: Timestamp::from_seconds(1_800_000_000),
            meta: META,
        });
        encoder.op(b"ka", Some(b"one"));
        encoder.op(b"kb", Some(b""));
        let mut bytes = encoder.take();
        encoder.op(b"ka", None);
        encoder.end(META);
        bytes.extend(encoder.take());
        bytes
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<Block>, Unreadable> {
        let mut decoder = Decoder::new(bytes)?;
        let mut blocks = Vec::new();
        loop {
            let block = decoder.next()?;
            let ended = matches!(block, Block::End(_));
            blocks.push(block);
            if ended {
                return Ok(blocks);
            }
        }
    }

    #[test]
    fn what_is_written_comes_back() {
        let blocks = read_all(&written()).unwrap();
        let op = |key: &[u8], value: Option<&[u8]>| (key.into(), value.map(<[u8]>::to_vec));
        assert_eq!(
            blocks,
            [
                Block::Begin(Begin {
                    source: Source::Orders,
                    taken_at: Timestamp::from_seconds(1_800_000_000),
                    meta: META,
                }),
                Block::Rows(vec![op(b"ka", Some(b"one")), op(b"kb", Some(b""))]),
                Block::Rows(vec![op(b"ka", None)]),
                Block::End(META),
            ]
        );
    }

    #[test]
    fn no_flipped_bit_no_cut_and_nothing_added_is_believed() {
        let good = written();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read_all(&bytes).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(read_all(&good[..length]).is_err(), "the first {length} bytes");
        }
        assert!(read_all(&[good.as_slice(), b"x"].concat()).is_err());
    }
}
