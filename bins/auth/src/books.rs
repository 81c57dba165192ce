//! What the rows of this service say to the invariants. Keys and passwords say nothing.

use ::store::StoredRow;
use invariants::Fact;

use crate::domain::User;

/// What a row says, if an invariant is about it.
pub fn fact(row: &StoredRow) -> Option<Fact> {
    row.of::<User>().map(|user| {
        Fact::User(invariants::User {
            id: user.id,
            version: user.version,
        })
    })
}
