//! The stored bytes of each of the store's own rows, held for ever: a row that was written by this version must
//! be read by every later one. A test that fails here means that a new schema number is needed.
//!
//! And it comes in two releases, because the one before must be able to read what it writes when somebody goes back: the first
//! one only reads it, the next one writes it. Row 31 of the fault bench goes that way with every row, there and back.

use std::fmt::Write;

use events::{Epoch, EventType, Position, Seq, Source, Timestamp, UserId};

use crate::batch::sealed;
use crate::cursor::Cursor;
use crate::dead_letter::DeadLetter;
use crate::head::Meta;
use crate::idempotency::{Answered, IdempotencyKey, Remembered};
use crate::outbox::{self, OutboxEntry};
use crate::record::{Record, open_row};

const POSITION: Position = Position {
    epoch: Epoch(2),
    seq: Seq(300),
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// The row has these bytes under this key, and is read back from them.
fn holds<R: Record + PartialEq + std::fmt::Debug>(row: &R, key: &str, value: &str) {
    let (written_key, written) = sealed(row);
    let written = written.expect("a row has a value");
    assert_eq!((hex(&written_key).as_str(), hex(&written).as_str()), (key, value));
    assert_eq!(
        &open_row::<R>(&written_key, &written).expect("it can be read back"),
        row
    );
}

#[test]
fn meta() {
    let row = Meta {
        epoch: Epoch(2),
        seq: Seq(300),
        batch: 70_000,
        keys: 5,
    };
    holds(&row, "4d", "0189c9e00e02fb2c01fc7011010005");
}

#[test]
fn cursor() {
    let row = Cursor {
        source: Source::Orders,
        position: POSITION,
    };
    holds(&row, "4303", "010da68a220302fb2c01");
}

#[test]
fn outbox_row() {
    let entry = |seq, subject: &str| OutboxEntry {
        seq: Seq(seq),
        event_type: EventType::OrderCreated,
        subject: subject.to_owned(),
        envelope: "{}".to_owned(),
    };
    let time = Timestamp::from_seconds(1_800_000_000);
    let rows = outbox::rows(vec![(entry(7, "a"), time), (entry(8, "b"), time)]);
    assert_eq!(rows.len(), 1);
    holds(
        &rows[0],
        "4f0000000000000007",
        concat!(
            "01ddb0a16f07fd000031512eca0c00020d6f726465723a637265617465640161027b7d0d6f726465",
            "723a637265617465640162027b7d"
        ),
    );
}

#[test]
fn dead_letter() {
    let row = DeadLetter {
        source: Source::Payments,
        id: "2-300".to_owned(),
        position: Some(POSITION),
        event_type: "payment:opened".to_owned(),
        reason: "no such order".to_owned(),
        tries: 5,
        buried_at: Timestamp::from_seconds(1_800_000_000),
        entry: "{}".to_owned(),
        entry_bytes: 2,
    };
    holds(
        &row,
        "4405322d333030",
        concat!(
            "0187ab37870505322d3330300102fb2c010e7061796d656e743a6f70656e65640d6e6f2073756368",
            "206f7264657205fd000031512eca0c00027b7d02"
        ),
    );
}

#[test]
fn idempotent_answer() {
    let key = IdempotencyKey {
        user: UserId::from_bytes([7; 16]),
        route: "POST /api/orders",
        key: "k".to_owned(),
        body_digest: [9; 32],
    };
    let answer = Remembered {
        status: 201,
        headers: vec![("etag".to_owned(), "\"1\"".to_owned())],
        body: "{}".to_owned(),
    };
    let row = Answered::new(key, answer, Timestamp::from_seconds(1_800_000_000));
    holds(
        &row,
        "4907070707070707070707070707070707504f5354202f6170692f6f7264657273006b",
        concat!(
            "010d62f5070707070707070707070707070707070710504f5354202f6170692f6f7264657273016b",
            "0909090909090909090909090909090909090909090909090909090909090909c901046574616703",
            "223122027b7dfd00c0df8c56ca0c00"
        ),
    );
}
