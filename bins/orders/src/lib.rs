//! Orders: the story of each purchase, from the wish to the end.
//!
//! An order is placed against this service's own view of a ticket, is confirmed or rejected by the tickets service,
//! and is then paid, cancelled, or runs out. This service alone decides between a payment and an expiry that race.
//!
//! It holds no stock (tickets does), watches no clock (expiration does) and touches no money (payments does).

pub mod api;
pub mod books;
pub mod consumer;
pub mod domain;
mod recovery;
pub mod store;

use std::time::Duration;

use ::store::StoredRow;
use events::Source;
use invariants::Fact;
use service::{Built, Parts, Service, StartError};

use crate::consumer::OrdersHandler;
use crate::store::OrderIndexes;

/// How long a hold may be at most: a day.
pub const HOLD_SECONDS_MAX: u64 = 24 * 60 * 60;

/// The orders service.
#[derive(Debug)]
pub struct App;

/// The settings of the orders service.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Options {
    /// How long an unpaid order holds its tickets
    #[arg(
        long,
        value_name = "SECONDS",
        env = "ORDER_HOLD_SECONDS",
        default_value_t = 900,
        value_parser = clap::value_parser!(u64).range(1..=HOLD_SECONDS_MAX)
    )]
    pub hold_seconds: u64,
}

impl Service for App {
    const SOURCE: Source = Source::Orders;
    const ABOUT: &'static str = "Orders: placed, confirmed, paid or run out";
    type Indexes = OrderIndexes;
    type Options = Options;
    type Handler = OrdersHandler;

    fn fact(row: &StoredRow) -> Option<Fact> {
        books::fact(row)
    }

    async fn build(parts: Parts<OrderIndexes>, options: Options) -> Result<Built<OrdersHandler>, StartError> {
        let hold = Duration::from_secs(options.hold_seconds);
        Ok(Built::new(
            api::router(api::Orders { parts, hold }),
            OrdersHandler,
        ))
    }
}
