//! Tickets: listings, and the holds that orders have on them.
//!
//! This is the only place where pieces are given away. A listing has a quantity; an order's claim on some of it is a
//! hold of its own. It hears of orders by their events and answers with `ticket:reserved`, `ticket:rejected`,
//! `ticket:released` and `ticket:sold`.
//!
//! It is not where orders live, and it knows nothing of money but the price.

pub mod api;
pub mod books;
pub mod consumer;
pub mod domain;
mod holds;
mod recovery;
pub mod search;
pub mod store;

use ::store::StoredRow;
use events::Source;
use invariants::Fact;
use service::{Built, Parts, Service, StartError};

use crate::consumer::TicketsHandler;
use crate::search::TicketIndexes;

/// The tickets service.
#[derive(Debug)]
pub struct App;

/// It has no settings of its own.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {}

impl Service for App {
    const SOURCE: Source = Source::Tickets;
    const ABOUT: &'static str = "Listings, and the holds that orders have on them";
    type Indexes = TicketIndexes;
    type Options = Options;
    type Handler = TicketsHandler;

    fn fact(row: &StoredRow) -> Option<Fact> {
        books::fact(row)
    }

    async fn build(
        parts: Parts<TicketIndexes>,
        Options {}: Options,
    ) -> Result<Built<TicketsHandler>, StartError> {
        let told = holds::tell(parts.clone());
        Ok(Built::new(api::router(parts), TicketsHandler).task("metrics of holds", told))
    }
}
