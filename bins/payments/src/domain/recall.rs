//! A payment after a loss: rebuilt from what others were told of it, told anew, and brought to where its order is.

use events::{
    Event, FailureReason, Money, OrderStatus, PaymentId, PaymentSnapshot, PaymentStatus, Timestamp, Version,
};

use super::{Authorization, CheckoutRequest, Command, Failure, Order, Payment, PaymentError, State};

impl Payment {
    /// The payment as it was after `told`, as far as that says; `known` is what is left of it. What was never told, the
    /// present attempt's number among it, is learnt when Stripe is looked at, which comes before everything else.
    ///
    /// # Errors
    /// [`PaymentError::SessionUnknown`] when money is told of without the session that it came through.
    pub fn recalled(
        known: Option<&Self>,
        told: &PaymentSnapshot,
        at: Timestamp,
    ) -> Result<Self, PaymentError> {
        let state = match told.status {
            PaymentStatus::Opened => State::Recalled(told.stripe_id.clone()),
            PaymentStatus::Authorized => State::Authorized(authorization(known, told)?),
            PaymentStatus::Captured => State::Captured(authorization(known, told)?),
            PaymentStatus::Refunded => State::Refunded(authorization(known, told)?),
            PaymentStatus::Failed if known.is_some_and(|known| known.state.intent().is_none()) => {
                // What was accepted by mistake after a loss, and never had any money.
                State::Closing(known.and_then(|known| known.state.session()).map(str::to_owned))
            }
            PaymentStatus::Failed => State::Failed(Failure {
                authorization: authorization(known, told)?,
                reason: told.reason.unwrap_or(FailureReason::AuthorizationGone),
                settled: false,
            }),
        };
        Ok(Self {
            id: told.id,
            version: known.map_or(Version::FIRST, |known| known.version.next()),
            published: told.version,
            order_id: told.order_id,
            user_id: told.user_id,
            amount: told.amount,
            attempt: known.map_or(1, |known| known.attempt),
            request: known.map_or_else(|| never_asked(told.amount, at), |known| known.request.clone()),
            state,
            changed_at: at,
        })
    }

    /// A payment that Stripe tells of and this store has lost, with what came after a backup: nothing of it is to be left
    /// there, and whoever still wants to pay its order begins another. `None` for an order that money is due for, or may
    /// have been: what Stripe has of it may be just that, and only a person can tell.
    pub fn lost(id: PaymentId, session: String, order: &Order, now: Timestamp) -> Option<Self> {
        let is_owed = match order.status {
            OrderStatus::Created | OrderStatus::AwaitingPayment | OrderStatus::Cancelled => false,
            OrderStatus::Accepted | OrderStatus::Complete | OrderStatus::Refunding => true,
        };
        (!is_owed).then(|| Self {
            id,
            version: Version::FIRST,
            published: Version(0),
            order_id: order.id,
            user_id: order.user_id,
            amount: order.total,
            attempt: 1,
            request: never_asked(order.total, now),
            state: State::Closing(Some(session)),
            changed_at: now,
        })
    }

    /// The event that tells where the payment stands; nothing if nobody else needs to know.
    pub fn restated(&self) -> Option<Event> {
        let (status, reason) = match &self.state {
            State::Recalled(_) | State::Open(_) => (PaymentStatus::Opened, None),
            State::Authorized(_) | State::Capturing(_) => (PaymentStatus::Authorized, None),
            State::Captured(_) | State::Refunding(_) => (PaymentStatus::Captured, None),
            State::Failed(failure) => (PaymentStatus::Failed, Some(failure.reason)),
            State::Refunded(_) => (PaymentStatus::Refunded, None),
            // Nothing was paid, or all of it was undone before anyone relied on it.
            State::Opening | State::Lapsed(_) | State::Closing(_) | State::Closed(_) => return None,
        };
        Some(self.told(status, reason))
    }

    /// What others are told of the payment in its present state.
    pub(super) fn told(&self, status: PaymentStatus, reason: Option<FailureReason>) -> Event {
        let snapshot = PaymentSnapshot {
            id: self.id,
            version: self.published,
            order_id: self.order_id,
            user_id: self.user_id,
            status,
            stripe_id: self.state.stripe_id().unwrap_or_default().to_owned(),
            amount: self.amount,
            reason,
        };
        match status {
            PaymentStatus::Opened => Event::PaymentOpened(snapshot),
            PaymentStatus::Authorized => Event::PaymentAuthorized(snapshot),
            PaymentStatus::Captured => Event::PaymentCreated(snapshot),
            PaymentStatus::Failed => Event::PaymentFailed(snapshot),
            PaymentStatus::Refunded => Event::PaymentRefunded(snapshot),
        }
    }
}

/// What the order's own state asks of its payment that has not been done. Nothing, unless one of the two services was set
/// back by a loss: then the order has gone on without the payment, or has ended.
pub fn follow(payment: &Payment, order: OrderStatus) -> Option<Command> {
    match order {
        OrderStatus::Created | OrderStatus::AwaitingPayment => None,
        OrderStatus::Accepted => {
            matches!(payment.state, State::Authorized(_) | State::Lapsed(_)).then_some(Command::Capture)
        }
        OrderStatus::Complete => matches!(payment.state, State::Authorized(_)).then_some(Command::Capture),
        OrderStatus::Refunding => match &payment.state {
            State::Authorized(_) => Some(Command::Capture),
            State::Captured(_) => Some(Command::Refund),
            State::Opening
            | State::Recalled(_)
            | State::Open(_)
            | State::Capturing(_)
            | State::Closing(_)
            | State::Closed(_)
            | State::Lapsed(_)
            | State::Failed(_)
            | State::Refunding(_)
            | State::Refunded(_) => None,
        },
        OrderStatus::Cancelled => match &payment.state {
            State::Opening
            | State::Recalled(_)
            | State::Open(_)
            | State::Authorized(_)
            | State::Capturing(_)
            | State::Captured(_)
            | State::Lapsed(_) => Some(Command::Close),
            State::Closing(_)
            | State::Closed(_)
            | State::Failed(_)
            | State::Refunding(_)
            | State::Refunded(_) => None,
        },
    }
}

/// What the told intent was authorised in: the session that was told before it.
fn authorization(known: Option<&Payment>, told: &PaymentSnapshot) -> Result<Authorization, PaymentError> {
    let session = known.and_then(|known| known.state.session());
    Ok(Authorization {
        session: session.ok_or(PaymentError::SessionUnknown)?.to_owned(),
        intent: told.stripe_id.clone(),
    })
}

/// Stands where the request was. Nothing is asked of Stripe with it: its session was made, and another attempt begins with
/// a request of its own.
fn never_asked(amount: Money, at: Timestamp) -> CheckoutRequest {
    CheckoutRequest {
        title: String::new(),
        price: amount,
        quantity: 1,
        success_url: String::new(),
        cancel_url: String::new(),
        expires_at: at,
    }
}
