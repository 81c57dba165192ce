//! Pages of tickets as they are answered, those that anyone may see kept for as long as nothing in them can have changed.
//!
//! A page is made of the indexes, which say what stands in it, and of the rows, which say what is shown. So it is kept
//! beside the edition of the one and the number of batches that made the other ([`Ground`]). Before a write is
//! acknowledged both have moved on: whoever has just listed a ticket sees it. While everything changes all the time,
//! each page is made anew, as it would be without this.

use std::sync::Arc;

use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use errors::Problem;
use events::{TicketId, UserId};
use http::{HeaderMap, HeaderValue, header};
use service::OrProblem as _;
use service::http::{Kept, Links, Query};
use store::{State, Store};

use super::body::TicketBody;
use super::list::{ListQuery, SearchCursor, Wanted};
use crate::domain::Ticket;
use crate::search::{Edition, TicketIndexes};

/// How many pages are kept: of all that is asked for at a time, few pages are most of it.
const PAGES_KEPT_MAX: usize = 1_024;

/// How many bytes of pages are kept. Fifty tickets take about 20 kB.
const PAGES_KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The lists of tickets.
#[derive(Debug)]
pub(super) struct Lists {
    kept: Kept<Ground, Page>,
}

/// A page as it is answered. A clone is the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    headers: Arc<HeaderMap>,
    body: Bytes,
}

/// What a page is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ground {
    /// Of the indexes, which may be ahead of the rows by a batch that is taken back in the end.
    edition: Edition,
    /// That are durable. A batch is counted after its rows can be read, and before anybody is told of its writes: in
    /// between, a page may show them or not, as always while they are under way.
    batches: u64,
}

impl Ground {
    /// As it is now; nothing while the store does not serve, when nothing that is kept may be answered either.
    fn of(store: &Store<TicketIndexes>) -> Option<Self> {
        let status = store.status();
        matches!(status.state, State::Serving).then(|| Self {
            edition: store.read(TicketIndexes::edition),
            batches: status.batches,
        })
    }
}

impl Default for Lists {
    fn default() -> Self {
        Self {
            kept: Kept::new(PAGES_KEPT_MAX, PAGES_KEPT_BYTES_MAX),
        }
    }
}

impl Lists {
    /// The page that `links` were asked for by `user`.
    ///
    /// # Errors
    /// A 400 for a query that makes no sense, 401 for one's own tickets without being anybody, 503 when the store does not
    /// serve.
    pub(super) fn page(
        &self,
        store: &Store<TicketIndexes>,
        user: Option<UserId>,
        links: &Links,
    ) -> Result<Page, Problem> {
        let asked = links.uri().query().unwrap_or_default();
        let ground = Ground::of(store);
        if let Some(page) = ground.and_then(|ground| self.kept.get(asked, &ground)) {
            return Ok(page);
        }
        let Query(query) = Query::<ListQuery>::of(links.uri())?;
        match query.parse()? {
            Wanted::OnSale { filter, sort, page } => {
                let after = page.after.map(|SearchCursor(place)| place);
                let found = store.read(|indexes| indexes.search(&filter, sort, after, page.limit));
                let next = links.next(found.next.map(SearchCursor).as_ref());
                let page = Page::of(store, &found.ids, next)?;
                if let Some(ground) = ground {
                    self.kept.put(asked, ground, page.clone(), page.body.len());
                }
                Ok(page)
            }
            // Everyone asks for another one in the same words: never kept.
            Wanted::Own { page } => {
                let user = user.ok_or_else(Problem::unauthorized)?;
                let mut ids = store.read(|indexes| indexes.of_seller(user, page.after, page.limit + 1));
                let more = ids.len() > page.limit;
                ids.truncate(page.limit);
                let next = links.next(ids.last().filter(|_| more));
                Page::of(store, &ids, next)
            }
        }
    }
}

impl Page {
    fn of(store: &Store<TicketIndexes>, ids: &[TicketId], mut headers: HeaderMap) -> Result<Self, Problem> {
        let mut tickets = Vec::with_capacity(ids.len());
        for id in ids {
            // The index may be ahead of what is durable by a moment; such a ticket is on the next reading of the page.
            if let Some(ticket) = store.get::<Ticket>(id).or_problem()? {
                tickets.push(TicketBody::from(&ticket));
            }
        }
        let body = serde_json::to_vec(&tickets).expect("tickets are made of text and numbers");
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Self {
            headers: Arc::new(headers),
            body: body.into(),
        })
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.body.into());
        *response.headers_mut() = Arc::unwrap_or_clone(self.headers);
        response
    }
}

#[cfg(test)]
mod tests;
