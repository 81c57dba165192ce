//! What the rows of this service say to the invariants.

use ::store::StoredRow;
use invariants::Fact;

use crate::domain::{Deadline, DeadlineState};

/// What a row says, if an invariant is about it.
pub fn fact(row: &StoredRow) -> Option<Fact> {
    row.of::<Deadline>().map(|deadline| {
        Fact::Deadline(invariants::Deadline {
            order_id: deadline.order_id,
            due: deadline.due,
            fired: match deadline.state {
                DeadlineState::Waiting => false,
                DeadlineState::Fired => true,
            },
        })
    })
}
