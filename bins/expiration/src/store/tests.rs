//! The stored bytes of a deadline, held for ever; and the index, against a naive set.

use std::time::Duration;

use proptest::prelude::*;
use store::codec::DecodeError;

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn order_id(n: u8) -> OrderId {
    OrderId::from_bytes([1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n])
}

fn deadline(order: u8, due_seconds: u64, state: DeadlineState) -> Deadline {
    Deadline {
        order_id: order_id(order),
        expires_at: NOW.plus(Duration::from_secs(900)),
        due: NOW.plus(Duration::from_secs(due_seconds)),
        state,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_row_keeps_its_bytes_and_comes_back() {
    // What stands here is on people's disks: a change is a new schema, never new bytes.
    for (state, bytes) in [
        (
            DeadlineState::Waiting,
            "019394b60c0070008000000000000001fd00d27abc2eca0c00fd00a549bb2eca0c0001",
        ),
        (
            DeadlineState::Fired,
            "019394b60c0070008000000000000001fd00d27abc2eca0c00fd00a549bb2eca0c0002",
        ),
    ] {
        let row = deadline(1, 890, state);
        assert_eq!(hex(&row.encode()), bytes);
        assert_eq!(Deadline::decode(1, &row.encode()), Ok(row));
    }
}

#[test]
fn what_is_no_deadline_is_refused() {
    let row = deadline(1, 890, DeadlineState::Waiting).encode();
    for schema in [0, 2, 255] {
        assert_eq!(
            Deadline::decode(schema, &row),
            Err(DecodeError::UnknownSchema(schema))
        );
    }
    let longer = [row.as_slice(), &[0]].concat();
    assert_eq!(Deadline::decode(1, &longer), Err(DecodeError::Trailing(1)));
    for length in 0..row.len() {
        assert!(
            matches!(
                Deadline::decode(1, &row[..length]),
                Err(DecodeError::Malformed(_))
            ),
            "{length} bytes"
        );
    }
    let mut unknown = row;
    *unknown.last_mut().unwrap() = 3;
    assert_eq!(
        Deadline::decode(1, &unknown),
        Err(DecodeError::Invalid("a deadline's state is unknown".into()))
    );
}

/// The row of one order, present or not, in each state.
fn row() -> impl Strategy<Value = Option<(u64, DeadlineState)>> {
    let state = prop_oneof![Just(DeadlineState::Waiting), Just(DeadlineState::Fired)];
    proptest::option::weighted(0.8, (0..5_u64, state))
}

proptest! {
    #[test]
    fn the_index_is_the_set_of_what_waits(changes in proptest::collection::vec((0..6_u8, row()), 1..40)) {
        let mut indexes = DeadlineIndexes::default();
        let mut rows: [Option<Deadline>; 6] = Default::default();
        let mut history = Vec::new();
        for (order, next) in changes {
            let next = next.map(|(due, state)| deadline(order, due, state));
            let slot = &mut rows[usize::from(order)];
            let before = std::mem::replace(slot, next.clone());
            indexes.apply(&Change::new(before.as_ref(), next.as_ref()));
            history.push((before, next));

            let mut naive: Vec<_> = rows
                .iter()
                .flatten()
                .filter(|deadline| deadline.state == DeadlineState::Waiting)
                .map(|deadline| (deadline.due, deadline.order_id))
                .collect();
            naive.sort_unstable();
            prop_assert_eq!(indexes.waiting_count(), naive.len());
            let waiting: Vec<_> = indexes.waiting().map(|(order, due)| (due, order)).collect();
            prop_assert_eq!(waiting, naive);
        }
        for (before, after) in history.iter().rev() {
            indexes.apply(&Change::new(after.as_ref(), before.as_ref()));
        }
        prop_assert_eq!(indexes.waiting_count(), 0);
    }
}
