//! The payment of one order: a state machine, and what Stripe is to be asked next.
//!
//! [`decide`] takes a payment's state and a command and says what follows; [`next_step`] and [`next_call`]
//! derive from the state what is wanted of Stripe, so that a restart needs no memory of what was under way.
//! What Stripe says comes in as a [`StripeView`], always whole and just read, which is why repeated,
//! reordered and late notices do no harm. Nothing here talks to Stripe, reads a clock or makes an id.
//!
//! Two promises live in this file. Money is captured only in `Capturing`, which only [`Command::Capture`]
//! (the order was accepted) leads to. And a state that ends a payment is entered only when Stripe's own
//! objects show that nothing is left to be paid, voided or given back.

mod error;
mod observe;
mod order;
mod payment;
mod recall;
mod stripe_view;
#[cfg(test)]
mod tests;

use events::{Event, FailureReason, PaymentId, PaymentStatus, Timestamp, Version};

pub use self::error::PaymentError;
pub use self::order::Order;
pub use self::payment::{
    Authorization, CHECKOUT_SECONDS_MAX, CHECKOUT_SECONDS_MIN, Checkout, CheckoutRequest, Failure, Lapse,
    Lapsed, Payment, State,
};
pub use self::recall::follow;
pub use self::stripe_view::{Intent, IntentStatus, SessionStatus, StripeView};

/// What can be asked of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Command {
    /// The buyer wants to pay.
    Open(CheckoutRequest),
    /// The order was accepted.
    Capture,
    /// The order was cancelled.
    Close,
    /// The order's money is to go back.
    Refund,
    /// Take note of what Stripe has.
    Observe(StripeView),
    /// The present attempt's session will not come: stop asking for it.
    GiveUpOpening(Lapse),
    /// Stripe has said definitely that the authorised money can't be captured.
    GiveUpCapturing,
}

/// The next state and the facts that follow from entering it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The payment as it is from now on.
    pub payment: Payment,
    /// What is published, in order.
    pub events: Vec<Event>,
}

/// What is wanted of Stripe in a payment's present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Make the session of the stored request, or learn that it was made.
    CreateSession,
    /// Learn where a session stands of which only the id is known.
    Look,
    /// Nothing but to look now and then, because a notice may have been lost.
    Observe,
    /// Capture what is authorised.
    Capture,
    /// Leave nothing at Stripe: expire the session, void the authorisation, give captured money back.
    Close,
    /// Give the money back.
    Refund,
}

/// One call that changes something at Stripe.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Call {
    /// End this session, so that it can't be paid.
    Expire(String),
    /// Let go of what this PaymentIntent has authorised.
    Void(String),
    /// Capture all that this PaymentIntent has authorised.
    Capture(String),
    /// Give money back.
    Refund(RefundCall),
}

/// A refund to be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RefundCall {
    /// Of what was captured through this PaymentIntent.
    pub intent: String,
    /// How much, in minor units.
    pub amount_minor: i64,
    /// The how manyth refund of that PaymentIntent it is: 1 for the first.
    pub number: u32,
}

/// The buyer wants to pay `order`: begins its payment under the id `id`, or goes on with the one it has.
///
/// # Errors
/// By name, why the order can't be paid (now); [`PaymentError::Stale`] if its payment is under way: then that
/// is the one to go on with.
pub fn pay(
    order: &Order,
    payment: Option<&Payment>,
    id: PaymentId,
    public_url: &str,
    now: Timestamp,
) -> Result<Decision, PaymentError> {
    order.payable()?;
    let request = CheckoutRequest::new(order, public_url, now);
    match payment {
        Some(payment) => decide(payment, Command::Open(request), now),
        None => Ok(Decision {
            payment: Payment {
                id,
                version: Version::FIRST,
                published: Version(0),
                order_id: order.id,
                user_id: order.user_id,
                amount: order.total,
                attempt: 1,
                request,
                state: State::Opening,
                changed_at: now,
            },
            events: Vec::new(),
        }),
    }
}

/// What `command` leads to.
///
/// # Errors
/// By name, why the present state forbids it; [`PaymentError::Stale`] if it comes too late or says what is
/// known already.
pub fn decide(payment: &Payment, command: Command, now: Timestamp) -> Result<Decision, PaymentError> {
    match command {
        Command::Open(request) => open(payment, request, now),
        Command::Capture => capture(payment, now),
        Command::Close => close(payment, now),
        Command::Refund => refund(payment, now),
        Command::Observe(view) => observe::observe(payment, &view, now),
        Command::GiveUpOpening(why) => give_up_opening(payment, why, now),
        Command::GiveUpCapturing => give_up_capturing(payment, now),
    }
}

/// What is wanted of Stripe next, if anything is.
pub fn next_step(payment: &Payment) -> Option<Step> {
    match &payment.state {
        State::Opening | State::Closing(None) => Some(Step::CreateSession),
        State::Recalled(_) => Some(Step::Look),
        State::Open(_) | State::Authorized(_) => Some(Step::Observe),
        State::Capturing(_) => Some(Step::Capture),
        State::Closing(Some(_)) => Some(Step::Close),
        State::Refunding(_) => Some(Step::Refund),
        State::Failed(failure) => (!failure.settled).then_some(Step::Close),
        State::Captured(_) | State::Closed(_) | State::Lapsed(_) | State::Refunded(_) => None,
    }
}

/// The one call that brings the payment on, given what Stripe has just been seen to have: nobody acts here
/// without having looked. Nothing if it is Stripe's turn, or if observing is enough.
pub fn next_call(payment: &Payment, view: &StripeView) -> Option<Call> {
    let intent = view.intent.as_ref();
    match next_step(payment)? {
        Step::CreateSession | Step::Look | Step::Observe => None,
        Step::Capture => intent
            .filter(|intent| intent.status == IntentStatus::RequiresCapture)
            .map(|intent| Call::Capture(intent.id.clone())),
        Step::Close => undo(view),
        Step::Refund => intent.and_then(refund_call),
    }
}

/// The one call that leaves less of a session at Stripe: for an order that is over, and for a session that
/// is not its payment's present one. Nothing if nothing is left, or if Stripe is at work on it.
pub fn undo(view: &StripeView) -> Option<Call> {
    let of_intent = view.intent.as_ref().and_then(|intent| match intent.status {
        IntentStatus::RequiresCapture => Some(Call::Void(intent.id.clone())),
        IntentStatus::Succeeded => refund_call(intent),
        IntentStatus::RequiresPayment | IntentStatus::Processing | IntentStatus::Canceled => None,
    });
    of_intent
        .or_else(|| (view.session_status == SessionStatus::Open).then(|| Call::Expire(view.session.clone())))
}

fn refund_call(intent: &Intent) -> Option<Call> {
    let amount_minor = intent.captured_minor - intent.refunded_minor - intent.refund_pending_minor;
    (intent.status == IntentStatus::Succeeded && amount_minor > 0).then(|| {
        Call::Refund(RefundCall {
            intent: intent.id.clone(),
            amount_minor,
            number: intent.refunds + 1,
        })
    })
}

/// What every command answers.
type Decided = Result<Decision, PaymentError>;

fn open(payment: &Payment, request: CheckoutRequest, now: Timestamp) -> Decided {
    match &payment.state {
        State::Opening => stale("the session is being opened"),
        State::Recalled(_) => stale("the session is being looked at"),
        State::Open(_) => stale("the session is open"),
        State::Authorized(_) => stale("the money is authorised"),
        State::Lapsed(_) => {
            let mut next = payment.clone();
            next.attempt += 1;
            next.request = request;
            enter(&next, State::Opening, &[], now)
        }
        State::Capturing(_) | State::Captured(_) => Err(PaymentError::AlreadyPaid),
        State::Refunding(_) | State::Refunded(_) => Err(PaymentError::AlreadyRefunded),
        State::Closing(_) | State::Closed(_) => Err(PaymentError::OrderCancelled),
        State::Failed(_) => Err(PaymentError::AlreadyFailed),
    }
}

fn capture(payment: &Payment, now: Timestamp) -> Decided {
    match &payment.state {
        State::Authorized(authorization) => enter(payment, State::Capturing(authorization.clone()), &[], now),
        State::Capturing(_) => stale("the money is being captured"),
        State::Captured(_) | State::Refunding(_) | State::Refunded(_) => stale("the money was captured"),
        State::Failed(_) => stale("capturing the money has failed"),
        // The others only after a loss: the order was accepted once, and not all that it rested on is known any more.
        State::Opening | State::Recalled(_) | State::Open(_) => {
            stale("the money is captured when Stripe shows that it is authorised")
        }
        State::Lapsed(lapsed) => enter(payment, State::Closed(lapsed.session.clone()), &GONE, now),
        State::Closing(_) | State::Closed(_) => enter(payment, payment.state.clone(), &GONE, now),
    }
}

/// What is told of an accepted order whose money can't be had.
const GONE: [(PaymentStatus, Option<FailureReason>); 1] =
    [(PaymentStatus::Failed, Some(FailureReason::AuthorizationGone))];

fn close(payment: &Payment, now: Timestamp) -> Decided {
    let next = match &payment.state {
        State::Opening => State::Closing(None),
        State::Recalled(session) => State::Closing(Some(session.clone())),
        State::Open(checkout) => State::Closing(Some(checkout.session.clone())),
        State::Authorized(authorization) => State::Closing(Some(authorization.session.clone())),
        State::Lapsed(lapsed) => State::Closed(lapsed.session.clone()),
        State::Closing(_) | State::Closed(_) => return stale("the payment is over"),
        State::Failed(_) => return stale("the payment has failed"),
        State::Refunded(_) => return stale("the money went back"),
        State::Refunding(_) => return stale("the money is on its way back"),
        // An accepted order is cancelled only after a loss, and then nothing of its money stays with us.
        State::Capturing(authorization) => State::Closing(Some(authorization.session.clone())),
        State::Captured(authorization) => State::Refunding(authorization.clone()),
    };
    enter(payment, next, &[], now)
}

fn refund(payment: &Payment, now: Timestamp) -> Decided {
    match &payment.state {
        State::Captured(authorization) => enter(payment, State::Refunding(authorization.clone()), &[], now),
        State::Refunding(_) => stale("the money is on its way back"),
        State::Refunded(_) => stale("the money went back"),
        // Only after a loss: that the money was captured is yet to be seen.
        State::Opening | State::Recalled(_) | State::Open(_) | State::Authorized(_) | State::Capturing(_) => {
            stale("the money goes back when Stripe shows that it is ours")
        }
        State::Closing(_) | State::Closed(_) | State::Lapsed(_) | State::Failed(_) => {
            Err(PaymentError::NothingToRefund)
        }
    }
}

fn give_up_opening(payment: &Payment, why: Lapse, now: Timestamp) -> Decided {
    match &payment.state {
        State::Opening => enter(payment, State::Lapsed(Lapsed { session: None, why }), &[], now),
        State::Closing(None) => enter(payment, State::Closed(None), &[], now),
        State::Recalled(_)
        | State::Open(_)
        | State::Authorized(_)
        | State::Capturing(_)
        | State::Captured(_)
        | State::Closing(Some(_))
        | State::Closed(_)
        | State::Lapsed(_)
        | State::Failed(_)
        | State::Refunding(_)
        | State::Refunded(_) => Err(PaymentError::NotOpening),
    }
}

fn give_up_capturing(payment: &Payment, now: Timestamp) -> Decided {
    match &payment.state {
        State::Capturing(authorization) => {
            fail(payment, authorization, FailureReason::CaptureRefused, false, now)
        }
        State::Opening
        | State::Recalled(_)
        | State::Open(_)
        | State::Authorized(_)
        | State::Captured(_)
        | State::Closing(_)
        | State::Closed(_)
        | State::Lapsed(_)
        | State::Failed(_)
        | State::Refunding(_)
        | State::Refunded(_) => Err(PaymentError::NotCapturing),
    }
}

fn fail(
    payment: &Payment,
    authorization: &Authorization,
    reason: FailureReason,
    settled: bool,
    now: Timestamp,
) -> Decided {
    let failure = Failure {
        authorization: authorization.clone(),
        reason,
        settled,
    };
    let events = [(PaymentStatus::Failed, Some(reason))];
    enter(payment, State::Failed(failure), &events, now)
}

fn stale(reason: &'static str) -> Decided {
    Err(PaymentError::Stale(reason))
}

/// The payment in its next state, with one event for each status that others are told of on the way there.
fn enter(
    payment: &Payment,
    state: State,
    told: &[(PaymentStatus, Option<FailureReason>)],
    now: Timestamp,
) -> Decided {
    let mut next = payment.clone();
    next.version = payment.version.next();
    next.state = state;
    next.changed_at = now;
    let mut events = Vec::with_capacity(told.len());
    for (status, reason) in told {
        next.published = next.published.next();
        events.push(next.told(*status, *reason));
    }
    Ok(Decision {
        payment: next,
        events,
    })
}
