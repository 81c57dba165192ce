//! Collecting books from running services, page after page.

use std::collections::BTreeMap;

use invariants::{Books, Fact, Page};

use super::OperatorError;
use super::remote::Remote;

/// How many rows a page is asked to look at.
const ROWS_PER_PAGE: usize = 10_000;

/// The books of these services. What they say is not of one moment.
///
/// # Errors
/// When one of them does not answer.
pub(crate) async fn collect(remotes: &[Remote]) -> Result<Books, OperatorError> {
    let mut books = Books::default();
    for remote in remotes {
        collect_from(remote, usize::MAX, &mut books).await?;
    }
    Ok(books)
}

/// As [`collect`], of at most `facts_max` facts: nothing if there are more.
///
/// # Errors
/// As [`collect`].
pub(crate) async fn collect_at_most(
    remotes: &[Remote],
    facts_max: usize,
) -> Result<Option<Books>, OperatorError> {
    let mut books = Books::default();
    for remote in remotes {
        if !collect_from(remote, facts_max, &mut books).await? {
            return Ok(None);
        }
    }
    Ok(Some(books))
}

/// Whether all of it was taken.
async fn collect_from(remote: &Remote, facts_max: usize, books: &mut Books) -> Result<bool, OperatorError> {
    let mut path = format!("/internal/books?limit={ROWS_PER_PAGE}");
    loop {
        let page: Page = remote.get(&path).await?;
        let next = page.next.clone();
        books.add(page);
        if books.facts.len() > facts_max {
            return Ok(false);
        }
        match next {
            Some(after) => path = format!("/internal/books?limit={ROWS_PER_PAGE}&after={after}"),
            None => return Ok(true),
        }
    }
}

/// How many facts of each kind there are, by the name that a person reads.
pub(crate) fn counts(books: &Books) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for fact in &books.facts {
        *counts.entry(kind(fact)).or_default() += 1;
    }
    counts
}

const fn kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::User(_) => "people",
        Fact::Ticket(_) => "tickets",
        Fact::Hold(_) => "holds",
        Fact::Order(_) => "orders",
        Fact::TicketReplica(_) => "views of tickets",
        Fact::OrderReplica(_) => "views of orders",
        Fact::Payment(_) => "payments",
        Fact::Deadline(_) => "deadlines",
        Fact::Charge(_) => "charges at Stripe",
    }
}
