//! payments: takes the money for an order through Stripe, and gives it back.
//!
//! A buyer's wish to pay becomes a Checkout Session at Stripe, whose page takes the card; what was authorised
//! there is captured only when the orders service has accepted the order, and voided when the order is over
//! first. No card data comes near this service. Reading order: [`domain`] (the state machine), [`stripe`] (the
//! calls), [`agent`] (one step: look, decide, act), [`worker`] (when), `webhook`, [`api`], [`consumer`].
//!
//! It is not where orders are decided: it never completes, cancels or expires one, it only tells what happened to
//! money. It needs a clock that is right to within five minutes: Stripe refuses a session whose end is too near
//! by Stripe's own clock, and notices count as forged when they seem older than that.

pub mod agent;
pub mod api;
pub mod books;
pub mod consumer;
pub mod domain;
mod options;
mod recovery;
pub mod store;
pub mod stripe;
mod sweep;
mod webhook;
pub mod worker;

use ::store::StoredRow;
use events::Source;
use invariants::Fact;
use service::{Built, Parts, Service, StartError};

pub use crate::options::Options;
pub use crate::stripe::StandIn;

use crate::agent::Agent;
use crate::consumer::PaymentsHandler;
use crate::store::PaymentIndexes;
use crate::stripe::Stripe;
use crate::worker::Worker;

/// The payments service.
#[derive(Debug)]
pub struct App;

impl Service for App {
    const SOURCE: Source = Source::Payments;
    const ABOUT: &'static str = "Takes the money for orders through Stripe, and gives it back";
    type Indexes = PaymentIndexes;
    type Options = Options;
    type Handler = PaymentsHandler;

    fn fact(row: &StoredRow) -> Option<Fact> {
        books::fact(row)
    }

    async fn build(
        parts: Parts<PaymentIndexes>,
        options: Options,
    ) -> Result<Built<Self::Handler>, StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError::Failed(error.to_string());
        webhook::count_from_zero();
        let webhook_secrets = options.webhook_secrets().map_err(|error| failed(&error))?;
        let stripe = Stripe::new(&options.account()).map_err(|error| failed(&error))?;
        let agent = Agent::new(parts.store.clone(), stripe, parts.clock.clone());
        let (worker, looks) = Worker::new(agent.clone(), parts.clock.clone(), options.reconcile());
        let work = worker.run(parts.shutdown.clone());
        let well = agent.clone();
        let shared = api::Shared::new(parts, agent, looks, webhook_secrets);
        Ok(Built::new(api::router(shared), PaymentsHandler)
            .task("Stripe worker", work)
            .leans_on("stripe", move || well.stripe_seems_well()))
    }
}
