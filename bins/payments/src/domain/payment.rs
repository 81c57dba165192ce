//! A payment and the states that it can be in. What leads from one to the next stands in [`super::decide`].

use std::time::Duration;

use events::{FailureReason, Money, OrderId, PaymentId, Timestamp, UserId, Version};

use super::Order;

/// How long a Checkout Session lives at least. Stripe's own minimum is 30 minutes by its own clock, counted when
/// the request arrives: the rest is what our clock may be slow by, and how long a request may be repeated before
/// Stripe refuses it for its age.
pub const CHECKOUT_SECONDS_MIN: u64 = 35 * 60;
/// How long a Checkout Session lives at most: Stripe's 24 hours, less what our clock may be fast by.
pub const CHECKOUT_SECONDS_MAX: u64 = 24 * 3600 - 300;

/// The payment of one order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Payment {
    /// Which.
    pub id: PaymentId,
    /// Raised by one with every change of this row; what compare-and-swap compares.
    pub version: Version,
    /// The version as others see it: raised by one with every event, so that consumers see no gaps.
    pub published: Version,
    /// For which order.
    pub order_id: OrderId,
    /// Who pays.
    pub user_id: UserId,
    /// How much.
    pub amount: Money,
    /// How many sessions were asked for, this one included; 1 for the first.
    pub attempt: u32,
    /// What the present attempt asks of Stripe.
    pub request: CheckoutRequest,
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub changed_at: Timestamp,
}

/// Where a payment stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum State {
    /// A session is asked for; whether Stripe has made it is not known yet.
    Opening,
    /// After a loss: others were told that the buyer can pay in this session, and nothing more is known of it. Stripe is
    /// looked at before anything else is done.
    Recalled(String),
    /// The buyer can pay.
    Open(Checkout),
    /// The money is set aside; the order has not been accepted yet.
    Authorized(Authorization),
    /// The order is accepted: the money is to be captured.
    Capturing(Authorization),
    /// The money is ours.
    Captured(Authorization),
    /// The order is over: what Stripe has is to be expired, voided or given back. Without a session's id,
    /// that is still to be learnt from the answer to the request.
    Closing(Option<String>),
    /// Over; nothing was paid, or all of it was given back before anyone was told.
    Closed(Option<String>),
    /// The attempt came to nothing; another one may be begun.
    Lapsed(Lapsed),
    /// The authorised money could not be captured.
    Failed(Failure),
    /// The money is to go back.
    Refunding(Authorization),
    /// The money went back.
    Refunded(Authorization),
}

impl State {
    /// The name as the buyer's API shows it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            // For the buyer it is the same: the address of the page is yet to come.
            Self::Opening | Self::Recalled(_) => "opening",
            Self::Open(_) => "open",
            Self::Authorized(_) => "authorized",
            Self::Capturing(_) => "capturing",
            Self::Captured(_) => "captured",
            Self::Closing(_) => "closing",
            Self::Closed(_) => "closed",
            Self::Lapsed(_) => "lapsed",
            Self::Failed(_) => "failed",
            Self::Refunding(_) => "refunding",
            Self::Refunded(_) => "refunded",
        }
    }

    /// The present attempt's Checkout Session, once it is known.
    pub fn session(&self) -> Option<&str> {
        match self {
            Self::Opening => None,
            Self::Recalled(session) => Some(session),
            Self::Open(checkout) => Some(&checkout.session),
            Self::Closing(session) | Self::Closed(session) => session.as_deref(),
            Self::Lapsed(lapsed) => lapsed.session.as_deref(),
            Self::Failed(failure) => Some(&failure.authorization.session),
            Self::Authorized(authorization)
            | Self::Capturing(authorization)
            | Self::Captured(authorization)
            | Self::Refunding(authorization)
            | Self::Refunded(authorization) => Some(&authorization.session),
        }
    }

    /// The PaymentIntent that holds or held the money, once there is one.
    pub fn intent(&self) -> Option<&str> {
        match self {
            Self::Opening
            | Self::Recalled(_)
            | Self::Open(_)
            | Self::Closing(_)
            | Self::Closed(_)
            | Self::Lapsed(_) => None,
            Self::Failed(failure) => Some(&failure.authorization.intent),
            Self::Authorized(authorization)
            | Self::Capturing(authorization)
            | Self::Captured(authorization)
            | Self::Refunding(authorization)
            | Self::Refunded(authorization) => Some(&authorization.intent),
        }
    }

    /// The id by which Stripe's dashboard finds it: the PaymentIntent's, before that the session's.
    pub fn stripe_id(&self) -> Option<&str> {
        self.intent().or_else(|| self.session())
    }
}

/// A Checkout Session that the buyer can pay.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkout {
    /// Its id.
    pub session: String,
    /// The address of its page.
    pub url: String,
}

/// A Checkout Session that was paid.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authorization {
    /// Its id.
    pub session: String,
    /// The PaymentIntent that holds the money.
    pub intent: String,
}

/// An attempt that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lapsed {
    /// Its session's id, if one was ever learnt.
    pub session: Option<String>,
    /// Why.
    pub why: Lapse,
}

/// Authorised money that could not be captured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failure {
    /// What was authorised.
    pub authorization: Authorization,
    /// Why it could not be captured.
    pub reason: FailureReason,
    /// Whether Stripe was seen to hold nothing of it any more.
    pub settled: bool,
}

/// Why an attempt came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lapse {
    /// The session ended at Stripe, unpaid.
    Expired,
    /// The authorisation was cancelled at Stripe before it was seen here.
    AuthorizationGone,
    /// Stripe failed again and again to say whether it made the session, and nobody was given its address; or it
    /// refused the request for its age. Another attempt may go better.
    Unanswered,
    /// Stripe will not open such a session.
    Refused,
}

/// Everything that Stripe is asked for when a session is opened. It is stored before the first call and
/// never changes within an attempt: Stripe refuses a repeated key that comes with other parameters.
///
/// Its end is the one place where this service needs a clock that is right, to within five minutes: Stripe counts
/// by its own, and refuses a session that ends too soon or too late.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CheckoutRequest {
    /// What is bought.
    pub title: String,
    /// The price of one piece.
    pub price: Money,
    /// How many pieces.
    pub quantity: u32,
    /// Where Stripe sends the buyer after paying; Stripe fills in its own placeholder for the session.
    pub success_url: String,
    /// Where Stripe sends the buyer who goes back.
    pub cancel_url: String,
    /// When Stripe itself ends the session. A shorter hold is enforced by our own call.
    pub expires_at: Timestamp,
}

impl CheckoutRequest {
    /// The request for `order`, asked for now, with the buyer returning to the site at `public_url`.
    pub fn new(order: &Order, public_url: &str, now: Timestamp) -> Self {
        let page = format!("{}/orders/{}", public_url.trim_end_matches('/'), order.id);
        Self {
            title: order.title.clone(),
            price: order.price,
            quantity: order.quantity,
            success_url: format!("{page}?session_id={{CHECKOUT_SESSION_ID}}"),
            cancel_url: page,
            expires_at: order
                .expires_at
                .max(now.plus(Duration::from_secs(CHECKOUT_SECONDS_MIN)))
                .min(now.plus(Duration::from_secs(CHECKOUT_SECONDS_MAX))),
        }
    }
}
