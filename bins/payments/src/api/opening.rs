//! From an order's id to a page on which it can be paid.

use std::time::Duration;

use errors::Problem;
use events::{OrderId, OrderStatus, Source, UserId};
use service::OrProblem as _;
use store::TransactError;

use super::Shared;
use crate::agent::stage;
use crate::domain::{Lapse, Order, Payment, PaymentError, State, pay};

/// How long a request waits for a look at Stripe; after that it answers with what is known.
pub const LOOK_SECONDS_MAX: u64 = 2;
pub(super) const LOOK_WAIT_MAX: Duration = Duration::from_secs(LOOK_SECONDS_MAX);
/// How many waits a request spends on a session that is being opened, each of [`service::READ_WAIT_MAX`].
const OPENING_WAITS_MAX: usize = 4;
/// How many attempts one request makes: one may find that the last session has lapsed.
const ATTEMPTS_MAX: usize = 2;
const RETRY_SECONDS: u32 = 2;

/// The buyer's order, with the answer of the tickets service waited for. Someone else's does not exist.
pub(super) async fn reserved(shared: &Shared, user: UserId, id: OrderId) -> Result<Order, Problem> {
    let parts = &shared.parts;
    let own = |order: &Order| order.user_id == user;
    let order = parts
        .appears::<Order>(&id, id.created_at(), Source::Orders)
        .await?;
    let order = order.filter(own).ok_or_else(Problem::not_found)?;
    if order.status != OrderStatus::Created {
        return Ok(order);
    }
    let order = parts
        .until::<Order>(&id, |order| order.status != OrderStatus::Created)
        .await?;
    order.ok_or_else(Problem::not_found)
}

/// The order's payment with a page on which it can be paid, or paid on it already.
pub(super) async fn open(shared: &Shared, order: &Order) -> Result<Payment, Problem> {
    if let Some(id) = order.payment_id
        && let Some(payment) = shared.parts.store.get::<Payment>(&id).or_problem()?
        && matches!(payment.state, State::Open(_))
    {
        // Asked again: the buyer may come back from Stripe's page, and the notice may be late or lost.
        shared.looks.look(id, LOOK_WAIT_MAX).await;
    }
    for _ in 0..ATTEMPTS_MAX {
        let mut payment = begin(shared, order.id).await?;
        for _ in 0..OPENING_WAITS_MAX {
            if payment.state != State::Opening {
                break;
            }
            let known = payment.version;
            let read = shared
                .parts
                .until::<Payment>(&payment.id, |read| read.version > known)
                .await?;
            payment = read.ok_or_else(Problem::not_found)?;
        }
        match &payment.state {
            State::Opening => return Err(unanswered()),
            State::Lapsed(lapsed) => match lapsed.why {
                Lapse::Refused => return Err(Problem::conflict("Stripe does not accept this payment")),
                Lapse::Expired | Lapse::AuthorizationGone | Lapse::Unanswered => {}
            },
            State::Closing(_) | State::Closed(_) => return Err(PaymentError::OrderCancelled.into()),
            State::Open(_)
            | State::Authorized(_)
            | State::Capturing(_)
            | State::Captured(_)
            | State::Failed(_)
            | State::Refunding(_)
            | State::Refunded(_) => return Ok(payment),
        }
    }
    Err(unanswered())
}

/// Begins the order's payment, or another attempt of it; goes on with the one that is under way.
async fn begin(shared: &Shared, order_id: OrderId) -> Result<Payment, Problem> {
    let id = shared.parts.clock.payment_id();
    let public_url = shared.parts.public_url.clone();
    let begun = shared.parts.transact::<_, PaymentError>(move |tx| {
        let order = tx
            .get::<Order>(&order_id)?
            .ok_or(TransactError::Refused(PaymentError::NotReserved))?;
        let payment = match order.payment_id {
            None => None,
            Some(id) => tx.get::<Payment>(&id)?,
        };
        match (pay(&order, payment.as_ref(), id, &public_url, tx.now()), payment) {
            (Ok(decision), payment) => {
                if payment.is_none() {
                    tx.put_any(Order {
                        payment_id: Some(id),
                        ..order
                    })?;
                }
                Ok(stage(tx, payment.map(|payment| payment.version), decision)?)
            }
            (Err(PaymentError::Stale(_)), Some(payment)) => Ok(payment),
            (Err(error), _) => Err(TransactError::Refused(error)),
        }
    });
    begun.await.or_problem()
}

fn unanswered() -> Problem {
    Problem::unavailable(
        "Stripe does not answer at the moment, try again soon",
        RETRY_SECONDS,
    )
}
