//! What the rows of this service say to the invariants. Notices from Stripe say nothing: they only lead to a look.

use ::store::StoredRow;
use events::Source;
use invariants::{Fact, OrderReplica, PaymentState};

use crate::domain::{Order, Payment, State};

/// What a row says, if an invariant is about it.
pub fn fact(row: &StoredRow) -> Option<Fact> {
    row.of::<Payment>()
        .map(payment)
        .or_else(|| row.of::<Order>().map(order))
}

fn payment(payment: &Payment) -> Fact {
    Fact::Payment(invariants::Payment {
        id: payment.id,
        version: payment.published,
        order_id: payment.order_id,
        amount: payment.amount,
        state: state(&payment.state),
        changed_at: payment.changed_at,
        intent: payment.state.intent().map(str::to_owned),
    })
}

fn order(order: &Order) -> Fact {
    Fact::OrderReplica(OrderReplica {
        holder: Source::Payments,
        id: order.id,
        version: order.version,
        user_id: order.user_id,
        quantity: order.quantity,
        total: order.total,
        status: order.status,
        reason: order.reason,
        expires_at: order.expires_at,
    })
}

fn state(state: &State) -> PaymentState {
    match state {
        State::Opening => PaymentState::Opening,
        State::Open(_) | State::Recalled(_) => PaymentState::Open,
        State::Authorized(_) => PaymentState::Authorized,
        State::Capturing(_) => PaymentState::Capturing,
        State::Captured(_) => PaymentState::Captured,
        State::Closing(_) => PaymentState::Closing,
        State::Closed(_) => PaymentState::Closed,
        State::Lapsed(_) => PaymentState::Lapsed,
        State::Failed(failure) if failure.settled => PaymentState::Failed,
        State::Failed(_) => PaymentState::FailedUnsettled,
        State::Refunding(_) => PaymentState::Refunding,
        State::Refunded(_) => PaymentState::Refunded,
    }
}
