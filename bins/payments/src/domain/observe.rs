//! What a fresh look at Stripe leads to, state by state.

use events::{FailureReason, PaymentStatus, Timestamp};

use super::{
    Authorization, Checkout, Decided, Failure, Intent, IntentStatus, Lapse, Lapsed, Payment, PaymentError,
    SessionStatus, State, StripeView, enter, fail, stale,
};

pub(super) fn observe(payment: &Payment, view: &StripeView, now: Timestamp) -> Decided {
    let is_own = match payment.state.session() {
        Some(session) => session == view.session,
        None => view.attempt == payment.attempt,
    };
    if !is_own {
        return Err(PaymentError::ForeignSession);
    }
    if view.attempt > payment.attempt {
        // After a loss the session is known before it is known which attempt it was made for. Stripe knows, and the
        // next attempt needs a number that was never used.
        let counted = Payment {
            attempt: view.attempt,
            ..payment.clone()
        };
        return observe(&counted, view, now);
    }
    match &payment.state {
        State::Opening | State::Recalled(_) | State::Open(_) => observe_unpaid(payment, view, now),
        State::Lapsed(Lapsed { session: None, .. }) => observe_unpaid(payment, view, now),
        State::Lapsed(_) => stale("the attempt came to nothing before"),
        State::Authorized(authorization) => {
            // Even if the authorisation is gone by now: the orders service was told of it and will answer,
            // and its answer decides whether this is a failure or just over.
            authorized_intent(authorization, view)?;
            stale("the authorisation is known")
        }
        State::Capturing(authorization) => observe_capturing(payment, authorization, view, now),
        State::Captured(authorization) | State::Refunding(authorization) => {
            if refunded_in_full(authorized_intent(authorization, view)?) {
                let events = [(PaymentStatus::Refunded, None)];
                return enter(payment, State::Refunded(authorization.clone()), &events, now);
            }
            stale("the money has not gone back in full")
        }
        State::Closing(_) if nothing_left(view) => {
            enter(payment, State::Closed(Some(view.session.clone())), &[], now)
        }
        State::Closing(None) => enter(payment, State::Closing(Some(view.session.clone())), &[], now),
        State::Closing(Some(_)) => stale("something is left at Stripe"),
        // Only the belated answer to a request that was given up can lead here.
        State::Closed(_) if !nothing_left(view) => {
            enter(payment, State::Closing(Some(view.session.clone())), &[], now)
        }
        State::Closed(_) => stale("the payment is over"),
        State::Failed(failure) if !failure.settled && nothing_left(view) => {
            let settled = Failure {
                settled: true,
                ..failure.clone()
            };
            enter(payment, State::Failed(settled), &[], now)
        }
        State::Failed(_) => stale("the payment has failed"),
        State::Refunded(_) => stale("the money went back"),
    }
}

fn observe_unpaid(payment: &Payment, view: &StripeView, now: Timestamp) -> Decided {
    let session = view.session.clone();
    let lapsed = |why| Lapsed {
        session: Some(view.session.clone()),
        why,
    };
    // The intent is asked first: with manual capture a session that is complete still counts as unpaid.
    match view.intent.as_ref().map(|intent| (intent, intent.status)) {
        Some((intent, IntentStatus::RequiresCapture | IntentStatus::Succeeded)) => {
            let authorization = Authorization {
                session,
                intent: intent.id.clone(),
            };
            let events = [(PaymentStatus::Authorized, None)];
            return enter(payment, State::Authorized(authorization), &events, now);
        }
        Some((_, IntentStatus::Canceled)) if view.session_status == SessionStatus::Complete => {
            return enter(payment, State::Lapsed(lapsed(Lapse::AuthorizationGone)), &[], now);
        }
        Some((_, IntentStatus::RequiresPayment | IntentStatus::Processing | IntentStatus::Canceled))
        | None => {}
    }
    match (view.session_status, &view.url, &payment.state) {
        (SessionStatus::Expired, _, _) => enter(payment, State::Lapsed(lapsed(Lapse::Expired)), &[], now),
        (SessionStatus::Open, _, State::Open(_)) => stale("the session is open"),
        (SessionStatus::Open, Some(url), _) => {
            let checkout = Checkout {
                session,
                url: url.clone(),
            };
            // Of a session that is recalled it was said before the loss.
            let was_told = matches!(payment.state, State::Recalled(_));
            let told = [(PaymentStatus::Opened, None)];
            let told = if was_told { &[] } else { told.as_slice() };
            enter(payment, State::Open(checkout), told, now)
        }
        (SessionStatus::Open, None, _) => stale("the session has no page yet"),
        (SessionStatus::Complete, _, _) => stale("Stripe is at work on the payment"),
    }
}

fn observe_capturing(
    payment: &Payment,
    authorization: &Authorization,
    view: &StripeView,
    now: Timestamp,
) -> Decided {
    let intent = authorized_intent(authorization, view)?;
    match intent.status {
        IntentStatus::RequiresCapture | IntentStatus::Processing => stale("the money is not captured yet"),
        IntentStatus::Succeeded if intent.captured_minor < payment.amount.minor() => {
            // Someone captured a part of it by hand. The rest can't be had any more, and no ticket is sold
            // for less than its price: the part goes back.
            fail(
                payment,
                authorization,
                FailureReason::CaptureRefused,
                nothing_left(view),
                now,
            )
        }
        IntentStatus::Succeeded if refunded_in_full(intent) => {
            let events = [(PaymentStatus::Captured, None), (PaymentStatus::Refunded, None)];
            enter(payment, State::Refunded(authorization.clone()), &events, now)
        }
        IntentStatus::Succeeded => {
            let events = [(PaymentStatus::Captured, None)];
            enter(payment, State::Captured(authorization.clone()), &events, now)
        }
        IntentStatus::RequiresPayment => fail(
            payment,
            authorization,
            FailureReason::CaptureRefused,
            nothing_left(view),
            now,
        ),
        IntentStatus::Canceled => fail(
            payment,
            authorization,
            FailureReason::AuthorizationGone,
            nothing_left(view),
            now,
        ),
    }
}

fn authorized_intent<'v>(
    authorization: &Authorization,
    view: &'v StripeView,
) -> Result<&'v Intent, PaymentError> {
    view.intent
        .as_ref()
        .filter(|intent| intent.id == authorization.intent)
        .ok_or(PaymentError::ForeignIntent)
}

fn refunded_in_full(intent: &Intent) -> bool {
    intent.captured_minor > 0 && intent.refunded_minor >= intent.captured_minor
}

/// Whether nothing of a session can be paid, voided or given back any more.
fn nothing_left(view: &StripeView) -> bool {
    let intent_is_over = view.intent.as_ref().is_none_or(|intent| match intent.status {
        IntentStatus::RequiresPayment | IntentStatus::Canceled => true,
        IntentStatus::Processing | IntentStatus::RequiresCapture => false,
        IntentStatus::Succeeded => refunded_in_full(intent),
    });
    view.session_status != SessionStatus::Open && intent_is_over
}
