//! What must hold: in every state, and in those in which nothing but people could still act.

use events::OrderStatus;
use expiration::domain::DeadlineState;
use payments::domain::{IntentStatus, SessionStatus};
use tickets::domain::HoldState;

use super::World;

impl World {
    /// What must hold in every state.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !self.ticket.is_consistent() {
            return Err("I1: more is reserved and sold than there is".into());
        }
        for (n, purchase) in self.purchases.iter().enumerate() {
            let captured = purchase
                .session
                .as_ref()
                .is_some_and(|session| session.intent == Some(IntentStatus::Succeeded));
            let status = purchase.order.as_ref().map(|order| order.status);
            let may_be = matches!(
                status,
                Some(
                    OrderStatus::Accepted
                        | OrderStatus::Complete
                        | OrderStatus::Refunding
                        | OrderStatus::Cancelled
                )
            );
            if captured && !may_be {
                return Err(format!(
                    "I2: money was captured for order {n}, which is {status:?}"
                ));
            }
        }
        let complete = self
            .purchases
            .iter()
            .filter_map(|purchase| purchase.order.as_ref());
        let complete = complete
            .filter(|order| order.status == OrderStatus::Complete)
            .count();
        if complete > self.ticket.details.quantity as usize {
            return Err("I1: a ticket was sold twice".into());
        }
        Ok(())
    }

    /// What must hold when nothing but people could still act.
    pub(crate) fn check_at_rest(&self) -> Result<(), String> {
        for (n, purchase) in self.purchases.iter().enumerate() {
            let held = purchase.hold.as_ref().map(|hold| hold.state);
            let intent = purchase.session.as_ref().and_then(|session| session.intent);
            let refunded = purchase.session.as_ref().is_some_and(|session| session.refunded);
            let kept = intent == Some(IntentStatus::Succeeded) && !refunded;
            let waits = purchase
                .deadline
                .as_ref()
                .is_some_and(|deadline| deadline.state == DeadlineState::Waiting);
            match purchase.order.as_ref().map(|order| order.status) {
                None => {}
                Some(OrderStatus::Complete) if kept && held == Some(HoldState::Sold) => {}
                Some(OrderStatus::Cancelled) => {
                    let open = purchase
                        .session
                        .as_ref()
                        .is_some_and(|session| session.status == SessionStatus::Open);
                    let authorised = intent == Some(IntentStatus::RequiresCapture);
                    if kept
                        || open
                        || authorised
                        || matches!(held, Some(HoldState::Held | HoldState::Sold))
                        || waits
                    {
                        return Err(format!(
                            "order {n} is cancelled, but: hold {held:?}, {:?}",
                            purchase.session
                        ));
                    }
                }
                Some(status) => {
                    return Err(format!(
                        "order {n} hangs in {status:?}: hold {held:?}, {:?}",
                        purchase.session
                    ));
                }
            }
        }
        Ok(())
    }
}
