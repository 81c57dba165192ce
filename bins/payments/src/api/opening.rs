//! From an order's id to a page on which it can be paid.

use std::time::Duration;

use errors::Problem;
use events::{OrderId, OrderStatus, PaymentId, Source, UserId};
use service::OrProblem as _;
use store::TransactError;
use tokio::time::{sleep, timeout};

use super::{RETRY_SECONDS, Shared};
use crate::agent::{Tries, stage};
use crate::domain::{Lapse, Order, Payment, PaymentError, State, pay};

/// How long a request waits for a look at Stripe; after that it answers with what is known.
pub const LOOK_SECONDS_MAX: u64 = 2;
pub(super) const LOOK_WAIT_MAX: Duration = Duration::from_secs(LOOK_SECONDS_MAX);
/// How many waits a request spends on a session that is being opened, each of [`service::READ_WAIT_MAX`]: with the look
/// before it, less than the site waits for an answer, and than any request may take.
const OPENING_WAITS_MAX: usize = 3;
/// How many attempts one request makes: one may find that the last session has lapsed.
const ATTEMPTS_MAX: usize = 2;
/// How long a request goes on once it is time to stop: enough for a Stripe that answers, and little of the time
/// in which the server must have drained.
const STOPPING_MILLIS_MAX: u64 = 1_500;
/// How many requests make steps at once when the worker has ended.
pub(super) const LAST_STEPS_MAX: usize = 16;
/// The pause between two steps of such a request, unless the payment changes.
const LAST_STEPS_PAUSE: Duration = Duration::from_millis(100);

/// The payment of a buyer's order, with a page on which it can be paid, or paid on it already. When it is time to
/// stop it is answered soon, one way or the other.
pub(super) async fn payable(shared: &Shared, user: UserId, id: OrderId) -> Result<Payment, Problem> {
    let opened = async {
        let order = reserved(shared, user, id).await?;
        open(shared, &order).await
    };
    let stopped = async {
        shared.parts.shutdown.clone().wait().await;
        sleep(Duration::from_millis(STOPPING_MILLIS_MAX)).await;
    };
    tokio::select! {
        biased;
        opened = opened => opened,
        // What was begun is stored, and the next start goes on with it.
        () = stopped => Err(stopping()),
    }
}

/// The buyer's order, with the answer of the tickets service waited for. Someone else's does not exist.
async fn reserved(shared: &Shared, user: UserId, id: OrderId) -> Result<Order, Problem> {
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
async fn open(shared: &Shared, order: &Order) -> Result<Payment, Problem> {
    if let Some(id) = order.payment_id
        && let Some(payment) = shared.parts.store.get::<Payment>(&id).or_problem()?
        && matches!(payment.state, State::Open(_))
    {
        // Asked again: the buyer may come back from Stripe's page, and the notice may be late or lost.
        shared.looks.look(id, LOOK_WAIT_MAX).await;
    }
    for _ in 0..ATTEMPTS_MAX {
        let begun = begin(shared, order.id).await?;
        let payment = tokio::select! {
            biased;
            opened = opened_by_worker(shared, begun.clone()) => opened?,
            () = shared.parts.shutdown.clone().wait() => opened_by_hand(shared, begun.id).await?,
        };
        match &payment.state {
            State::Opening | State::Recalled(_) => return Err(unanswered()),
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

/// Waits until the worker has opened the session, or has come to nothing with it.
async fn opened_by_worker(shared: &Shared, mut payment: Payment) -> Result<Payment, Problem> {
    for _ in 0..OPENING_WAITS_MAX {
        if has_answer(&payment) {
            break;
        }
        let known = payment.version;
        let read = shared
            .parts
            .until::<Payment>(&payment.id, |read| read.version > known)
            .await?;
        payment = read.ok_or_else(Problem::not_found)?;
    }
    Ok(payment)
}

/// Opens the session without the worker, which has ended. Its last step may be under way: both make the same
/// call under the same key, so that one session comes of it. Ends with the caller's patience.
async fn opened_by_hand(shared: &Shared, id: PaymentId) -> Result<Payment, Problem> {
    let _place = shared
        .last_steps
        .acquire()
        .await
        .expect("the semaphore is never closed");
    let store = &shared.parts.store;
    let mut tries = Tries::default();
    loop {
        // Before the step, so that no change falls between the two.
        let changed = store.changed::<Payment>(&id);
        let stepped = shared.agent.step(id, &mut tries).await;
        let payment = store.get::<Payment>(&id).or_problem()?;
        let payment = payment.ok_or_else(Problem::not_found)?;
        if has_answer(&payment) {
            return Ok(payment);
        }
        if let Err(error) = stepped {
            tracing::warn!(payment = %id, order = %payment.order_id, %error, "a last step came to nothing");
        }
        // Changed or not: the next step begins with what is stored.
        let (Ok(()) | Err(_)) = timeout(LAST_STEPS_PAUSE, changed.wait()).await;
    }
}

/// Whether Stripe has said what became of the present attempt.
fn has_answer(payment: &Payment) -> bool {
    !matches!(payment.state, State::Opening | State::Recalled(_))
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

fn stopping() -> Problem {
    Problem::unavailable("The service is being restarted, try again soon", RETRY_SECONDS)
}

fn unanswered() -> Problem {
    Problem::unavailable(
        "Stripe does not answer at the moment, try again soon",
        RETRY_SECONDS,
    )
}
