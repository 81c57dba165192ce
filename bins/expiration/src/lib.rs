//! Expiration: says when an order's time has run out.
//!
//! Every order that may run out has a deadline in this service's store, which is the truth. The scheduled set in Redis
//! is the alarm clock: [`alarm`] sleeps until the next deadline, commits `order:expired`, and then takes it out.
//!
//! It does not decide what becomes of an order: the orders service does, and may answer that there is time left.

pub mod alarm;
pub mod books;
pub mod consumer;
pub mod domain;
pub mod hints;
mod recovery;
pub mod store;

use std::sync::Arc;

use ::store::StoredRow;
use events::Source;
use invariants::Fact;
use service::{Built, Parts, Service, StartError};
use utoipa_axum::router::OpenApiRouter;

use crate::alarm::Alarm;
use crate::consumer::ExpirationHandler;
use crate::hints::Hints;
use crate::store::DeadlineIndexes;

/// The expiration service.
#[derive(Debug)]
pub struct App;

/// It has no settings of its own.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {}

impl Service for App {
    const SOURCE: Source = Source::Expiration;
    const ABOUT: &'static str = "Says when an order's time has run out";
    type Indexes = DeadlineIndexes;
    type Options = Options;
    type Handler = ExpirationHandler;

    fn fact(row: &StoredRow) -> Option<Fact> {
        books::fact(row)
    }

    async fn build(
        parts: Parts<DeadlineIndexes>,
        Options {}: Options,
    ) -> Result<Built<ExpirationHandler>, StartError> {
        let hints = Arc::new(Hints::default());
        let alarm = Alarm::new(parts.store, &parts.bus, parts.clock, Arc::clone(&hints));
        let handler = ExpirationHandler::new(hints);
        Ok(Built::new(OpenApiRouter::new(), handler).task("alarm", alarm.run(parts.shutdown)))
    }
}
