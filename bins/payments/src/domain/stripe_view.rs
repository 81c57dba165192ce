//! What Stripe has, as far as it matters here. The shell translates Stripe's objects into it.

/// What Stripe has, re-read whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StripeView {
    /// The Checkout Session's id.
    pub session: String,
    /// Which attempt of the payment it was made for.
    pub attempt: u32,
    /// Where it stands.
    pub session_status: SessionStatus,
    /// The address of its page, while there is one.
    pub url: Option<String>,
    /// Its PaymentIntent, once it has one.
    pub intent: Option<Intent>,
}

/// Where a Checkout Session stands at Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionStatus {
    /// It can be paid.
    Open,
    /// The buyer is through with it.
    Complete,
    /// It can't be paid any more.
    Expired,
}

/// A PaymentIntent as Stripe has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Intent {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub status: IntentStatus,
    /// How much of it is captured, in minor units.
    pub captured_minor: i64,
    /// How much of that went back, in minor units.
    pub refunded_minor: i64,
    /// How much more is on its way back, in minor units.
    pub refund_pending_minor: i64,
    /// How many refunds were ever made, the failed ones included.
    pub refunds: u32,
}

/// Where a PaymentIntent stands at Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntentStatus {
    /// Nothing is authorised (yet, or any more).
    RequiresPayment,
    /// Stripe is at work on it.
    Processing,
    /// Authorised.
    RequiresCapture,
    /// Captured.
    Succeeded,
    /// Cancelled, or the authorisation has lapsed.
    Canceled,
}
