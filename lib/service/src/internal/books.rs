//! `/internal/books`: what a service's rows say to the invariants, a page at a time, with an account of its store on
//! the first page.

use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use errors::Problem;
use events::{Envelope, Position, Seq};
use invariants::{Account, Page, Reading, VersionGap, VersionScan};
use serde::Deserialize;
use store::{Indexes, RowKey, Store, StoreError};

use super::{Inside, state_in_words};
use crate::OrProblem as _;
use crate::http::Query;

/// How many rows a page looks at, and how many it may be asked to.
const ROWS_PER_PAGE_DEFAULT: usize = 1_000;
const ROWS_PER_PAGE_MAX: usize = 10_000;

/// How much of the outbox is read at once while its versions are looked at.
const OUTBOX_BYTES_PER_READ: usize = 1024 * 1024;

/// How many gaps between versions are told. One is a calamity; a hundred are enough.
const GAPS_TOLD_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    after: Option<String>,
    limit: Option<usize>,
}

/// A page of the books.
pub(super) async fn books<I: Indexes>(
    State(inside): State<Inside<I>>,
    Query(asked): Query<Asked>,
) -> Result<Json<Page>, Problem> {
    let after = asked
        .after
        .map(|after| after.parse::<RowKey>())
        .transpose()
        .map_err(|error| Problem::invalid_field("after", format!("After is {error}")))?;
    let limit = asked.limit.unwrap_or(ROWS_PER_PAGE_DEFAULT);
    if !(1..=ROWS_PER_PAGE_MAX).contains(&limit) {
        return Err(Problem::invalid_field(
            "limit",
            format!("Limit must be between 1 and {ROWS_PER_PAGE_MAX}"),
        ));
    }
    let page = tokio::task::spawn_blocking(move || page(&inside, after.as_ref(), limit))
        .await
        .map_err(|error| Problem::internal(format!("reading the books: {error}")))?;
    page.or_problem().map(Json)
}

/// What the next `limit` rows say. Blocks. The books of a store that does not serve have an account and no facts.
pub(crate) fn page<I: Indexes>(
    inside: &Inside<I>,
    after: Option<&RowKey>,
    limit: usize,
) -> Result<Page, StoreError> {
    let account = after.is_none().then(|| account(inside)).transpose()?;
    if account.as_ref().is_some_and(|account| !account.serving) {
        return Ok(Page {
            account,
            ..Page::default()
        });
    }
    let rows = inside.parts.store.rows(after, limit)?;
    let is_last = rows.len() < limit;
    Ok(Page {
        account,
        facts: rows.iter().filter_map(|(_, row)| (inside.fact)(row)).collect(),
        next: rows.last().filter(|_| !is_last).map(|(key, _)| key.to_string()),
    })
}

fn account<I: Indexes>(inside: &Inside<I>) -> Result<Account, StoreError> {
    let parts = &inside.parts;
    let (store, bus) = (parts.store.status(), parts.bus.status());
    let serving = matches!(store.state, store::State::Serving);
    let version_gaps = if serving {
        inside.outbox.gaps(&parts.store)?
    } else {
        Vec::new()
    };
    let readings = bus.sources.iter().map(|source| Reading {
        source: source.source,
        // The store's own word: the bus notes it down only after its step.
        cursor: parts.store.cursor(source.source),
        state: Some(source.state.to_string()),
    });
    Ok(Account {
        source: parts.source,
        serving,
        state: state_in_words(&store.state),
        time: parts.clock.now(),
        head: Position {
            epoch: store.epoch,
            seq: store.head,
        },
        oldest: store.oldest.0,
        relayed: Some(bus.relayed),
        relay_trouble: bus.relay_trouble.clone(),
        readings: readings.collect(),
        dead_letters: store.dead_letters,
        keys: store.keys,
        state_hash: None,
        version_gaps,
    })
}

/// What was found in the kept outbox, for as long as nothing is added to it.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    looked: Mutex<Option<(Position, Vec<VersionGap>)>>,
}

impl Outbox {
    /// Where versions do not go up by one. Reads the whole outbox, if there is anything new in it.
    fn gaps<I: Indexes>(&self, store: &Store<I>) -> Result<Vec<VersionGap>, StoreError> {
        // Held throughout: two at once would only do the same work twice.
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let status = store.status();
        let head = Position {
            epoch: status.epoch,
            seq: status.head,
        };
        if let Some((at, gaps)) = &*looked
            && *at == head
        {
            return Ok(gaps.clone());
        }
        let gaps = scan(store, status.oldest, status.head)?;
        *looked = Some((head, gaps.clone()));
        Ok(gaps)
    }
}

fn scan<I: Indexes>(store: &Store<I>, oldest: Seq, head: Seq) -> Result<Vec<VersionGap>, StoreError> {
    let mut scan = VersionScan::default();
    let mut gaps = Vec::new();
    let mut after = Seq(oldest.0.saturating_sub(1));
    while after < head {
        let entries = store.outbox(after, OUTBOX_BYTES_PER_READ)?;
        let Some(last) = entries.last().map(|entry| entry.seq) else {
            break;
        };
        for entry in entries {
            let envelope = Envelope::from_json(&entry.envelope).map_err(|error| {
                StoreError::Damaged(format!("event {} of the outbox: {error}", entry.seq).into())
            })?;
            gaps.extend(scan.see(entry.seq, &envelope.event));
        }
        gaps.truncate(GAPS_TOLD_MAX);
        after = last;
    }
    Ok(gaps)
}
