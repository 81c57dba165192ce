//! Auth reads nobody's events.

use ::store::{TransactError, Txn};
use bus::{Applied, Handler, Impossible};
use events::{Envelope, EventType};

use crate::store::People;

/// The handler of a service that reads nobody's events.
#[derive(Debug, Clone, Copy)]
pub struct NoEvents;

impl Handler<People> for NoEvents {
    fn concerns(&self, _event_type: EventType) -> bool {
        false
    }

    fn apply(
        &self,
        _tx: &mut Txn<'_, People>,
        envelope: &Envelope,
    ) -> Result<Applied, TransactError<Impossible>> {
        Impossible::because(format!("auth reads no events, and was given {}", envelope.id()))
    }
}
