//! I6: applying all events again leaves every store as it was.

use crate::{Books, Invariant, Violation};

/// What has changed between two books that should be the same: those before a repetition, and those after it.
/// Only services whose state hash is in both are compared.
pub fn unchanged(before: &Books, after: &Books) -> Vec<Violation> {
    let mut found: Vec<Violation> = before
        .accounts
        .iter()
        .filter_map(|was| {
            let is = after.account(was.source)?;
            let (old, new) = (was.state_hash.as_deref()?, is.state_hash.as_deref()?);
            (old != new).then(|| {
                let what = format!(
                    "The rows of {source} have changed though nothing new has happened: their hash was {old} and is {new}",
                    source = was.source,
                );
                Violation::broken(Invariant::I6, &[&was.source], &what)
            })
        })
        .collect();
    found.sort();
    found
}
