//! Lists of tickets as cards, and those that many look at kept as they were rendered.
//!
//! A card says what the tickets service says and nothing else: no time, no person. So the cards of an answer are kept beside the
//! bytes of that answer, and shown again when the service answers with the same bytes. It is asked every time; what is saved is
//! reading and rendering.

use std::sync::Arc;

use askama::Template;
use axum::http::StatusCode;
use bytes::Bytes;
use service::http::Kept;

use crate::Site;
use crate::api::Ticket;
use crate::format::{self, Moment};
use crate::problem::Failure;
use crate::session::Visit;
use crate::upstream::Answer;

/// Below this many pieces a card says how few are left as a warning.
const FEW_LEFT: u64 = 10;

/// How many lists are kept.
const LISTS_KEPT_MAX: usize = 256;

/// How many bytes they may take, with the answers that they were rendered from: a page of the site takes about 25 kB.
const LISTS_KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Rendered cards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cards {
    html: Option<Arc<str>>,
}

/// Cards that were rendered before, by the list that they are of.
pub(crate) struct KeptCards(Kept<Bytes, Cards>);

/// A ticket as a card shows it.
struct Card {
    id: String,
    title: String,
    venue: Option<String>,
    when: Option<Moment>,
    price: String,
    left: String,
    few: bool,
    sold_out: bool,
}

impl Card {
    /// The card of a ticket.
    fn of(ticket: Ticket) -> Card {
        let few = ticket.available > 0 && ticket.available < FEW_LEFT;
        let left = match ticket.available {
            0 => "Sold out".to_owned(),
            1 if ticket.quantity == 1 => "1 ticket".to_owned(),
            count if few => format!("Only {count} left"),
            count => format!("{} left", format::grouped(count)),
        };
        Card {
            price: format::money(&ticket.price, &ticket.currency),
            when: Moment::of_show(ticket.starts_at.as_deref(), ticket.time_zone.as_deref()),
            id: ticket.id,
            title: ticket.title,
            venue: ticket.venue.filter(|venue| !venue.is_empty()),
            left,
            few: few && ticket.quantity > 1,
            sold_out: ticket.available == 0,
        }
    }
}

#[derive(Template)]
#[template(path = "cards.html")]
struct CardsTemplate {
    cards: Vec<Card>,
}

impl Cards {
    /// The cards of these tickets.
    ///
    /// # Errors
    /// They cannot be rendered, which is our mistake.
    pub(crate) fn of(tickets: Vec<Ticket>) -> Result<Cards, Failure> {
        if tickets.is_empty() {
            return Ok(Cards::default());
        }
        let cards = tickets.into_iter().map(Card::of).collect();
        let html = CardsTemplate { cards }.render().map_err(|error| {
            tracing::error!(%error, "cards could not be rendered");
            Failure::Broken
        })?;
        Ok(Cards {
            html: Some(html.into()),
        })
    }

    /// Whether there is no ticket.
    pub(crate) fn is_empty(&self) -> bool {
        self.html.is_none()
    }

    /// The list, escaped where it has to be.
    pub(crate) fn html(&self) -> &str {
        self.html.as_deref().unwrap_or_default()
    }
}

impl Default for KeptCards {
    fn default() -> KeptCards {
        KeptCards(Kept::new(LISTS_KEPT_MAX, LISTS_KEPT_BYTES_MAX))
    }
}

impl KeptCards {
    /// The cards of what was answered to `path`.
    ///
    /// # Errors
    /// The answer is no list of tickets.
    pub(crate) fn of(
        &self,
        site: &Site,
        visit: &Visit,
        path: &str,
        answer: &Answer,
    ) -> Result<Cards, Failure> {
        let told = answer.status == StatusCode::OK;
        if let Some(cards) = told.then(|| self.0.get(path, &answer.body)).flatten() {
            return Ok(cards);
        }
        let cards = Cards::of(site.read(visit, answer)?)?;
        if told {
            let bytes = answer.body.len() + cards.html().len();
            // A copy: the answer itself may lie in a buffer that is larger than it.
            let body = Bytes::copy_from_slice(&answer.body);
            self.0.put(path, body, cards.clone(), bytes);
        }
        Ok(cards)
    }
}
