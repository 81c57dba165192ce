//! How many holds there are, and how those that are over ended: what the metrics tell of them.
//!
//! Counted with the indexes, row by row, so that nothing is ever scanned for it. It decides nothing: what is held stands in
//! each ticket.

use std::time::Duration;

use service::Parts;

use crate::domain::{Hold, HoldState};
use crate::search::TicketIndexes;

/// How often the metrics are told: as often as anybody collects them.
const TOLD_SECONDS: u64 = 5;

/// The gauge, by state.
const HOLDS: &str = "tickets_holds";

/// How many rows there are in each state.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// The pieces wait for a payment.
    pub(crate) open: usize,
    /// The pieces are the buyer's.
    pub(crate) sold: usize,
    /// The pieces went back on sale.
    pub(crate) released: usize,
    /// There were none to be had.
    pub(crate) refused: usize,
}

impl Counts {
    /// Takes note of one row that came, changed or went.
    pub(crate) fn apply(&mut self, before: Option<&Hold>, after: Option<&Hold>) {
        if let Some(hold) = before {
            *self.of(hold.state) -= 1;
        }
        if let Some(hold) = after {
            *self.of(hold.state) += 1;
        }
    }

    fn of(&mut self, state: HoldState) -> &mut usize {
        match state {
            HoldState::Held => &mut self.open,
            HoldState::Sold => &mut self.sold,
            HoldState::Released => &mut self.released,
            HoldState::Refused => &mut self.refused,
        }
    }

    fn tell(self) {
        let Self {
            open,
            sold,
            released,
            refused,
        } = self;
        for (state, count) in [
            ("open", open),
            ("sold", sold),
            ("released", released),
            ("refused", refused),
        ] {
            // Exact up to 2^53 rows.
            metrics::gauge!(HOLDS, "state" => state).set(count as f64);
        }
    }
}

/// Tells the metrics, until the service stops.
pub(crate) async fn tell(parts: Parts<TicketIndexes>) {
    loop {
        parts.store.read(TicketIndexes::holds).tell();
        tokio::select! {
            () = parts.shutdown.clone().wait() => return,
            () = tokio::time::sleep(Duration::from_secs(TOLD_SECONDS)) => {}
        }
    }
}
