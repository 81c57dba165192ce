//! What the books hold: sessions, intents, charges, refunds, events and remembered answers.
//!
//! These are the types that the journal keeps, not the ones that go over the wire: `render` makes Stripe's
//! JSON from them. A field that is added later must have a default, so that an older journal still opens.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Seconds;

/// Key and value pairs that a merchant attaches to an object.
pub(crate) type Metadata = BTreeMap<String, String>;

/// Where a Checkout Session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionStatus {
    Open,
    Complete,
    Expired,
}

/// When the money of an authorisation is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CaptureMethod {
    Automatic,
    Manual,
}

/// A Checkout Session: a page on which one person pays one amount, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) created: Seconds,
    pub(crate) expires_at: Seconds,
    pub(crate) status: SessionStatus,
    pub(crate) currency: String,
    pub(crate) amount_total: i64,
    pub(crate) line_items: Vec<LineItem>,
    pub(crate) success_url: String,
    pub(crate) cancel_url: Option<String>,
    pub(crate) client_reference_id: Option<String>,
    pub(crate) customer_email: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) capture_method: CaptureMethod,
    /// What `payment_intent_data` said; copied to the intent, which exists from the first attempt to pay.
    pub(crate) intent_metadata: Metadata,
    pub(crate) intent_description: Option<String>,
    pub(crate) intent: Option<String>,
}

/// One line of what is paid for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LineItem {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) unit_amount: i64,
    pub(crate) quantity: i64,
}

/// Where a PaymentIntent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IntentStatus {
    RequiresPaymentMethod,
    RequiresAction,
    RequiresCapture,
    Succeeded,
    Canceled,
}

impl IntentStatus {
    /// The word that the API uses.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresAction => "requires_action",
            Self::RequiresCapture => "requires_capture",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
        }
    }
}

/// A PaymentIntent: the amount that a session asks for, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) id: String,
    pub(crate) session: String,
    pub(crate) created: Seconds,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) capture_method: CaptureMethod,
    pub(crate) status: IntentStatus,
    pub(crate) description: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) canceled_at: Option<Seconds>,
    pub(crate) cancellation_reason: Option<String>,
    /// The card that waits for its holder's confirmation (3-D Secure).
    pub(crate) card: Option<Card>,
    pub(crate) last_error: Option<CardFailure>,
    /// The latest attempt that reached the card's bank.
    pub(crate) charge: Option<Charge>,
}

impl Intent {
    /// What was taken and stays taken if nothing is refunded.
    pub(crate) fn amount_received(&self) -> i64 {
        self.charge.as_ref().map_or(0, |charge| charge.amount_captured)
    }

    /// What can still be captured.
    pub(crate) fn amount_capturable(&self) -> i64 {
        if self.status == IntentStatus::RequiresCapture {
            self.amount
        } else {
            0
        }
    }

    /// What was given back.
    pub(crate) fn amount_refunded(&self) -> i64 {
        self.charge.as_ref().map_or(0, |charge| charge.amount_refunded)
    }
}

/// What is kept of a card: never its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Card {
    pub(crate) payment_method: String,
    pub(crate) brand: String,
    pub(crate) last4: String,
    pub(crate) exp_month: i64,
    pub(crate) exp_year: i64,
    /// The bank will refuse the capture of an authorisation that it has given.
    pub(crate) fails_at_capture: bool,
}

/// Why a bank refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CardFailure {
    pub(crate) code: String,
    pub(crate) decline_code: Option<String>,
    pub(crate) message: String,
}

/// One attempt that reached the card's bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Charge {
    pub(crate) id: String,
    pub(crate) created: Seconds,
    pub(crate) card: Card,
    pub(crate) captured: bool,
    pub(crate) amount_captured: i64,
    pub(crate) amount_refunded: i64,
    pub(crate) failure: Option<CardFailure>,
}

/// Money that went back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refund {
    pub(crate) id: String,
    pub(crate) created: Seconds,
    pub(crate) intent: String,
    pub(crate) charge: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) reason: Option<String>,
    pub(crate) metadata: Metadata,
}

/// An event as it is sent to the webhook: the text itself, because a signature covers its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) created: Seconds,
    pub(crate) kind: String,
    pub(crate) body: String,
    /// Not delivered and not given up yet.
    pub(crate) pending: bool,
}

/// An answer that is repeated when its idempotency key comes again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredAnswer {
    pub(crate) key: String,
    pub(crate) at: Seconds,
    pub(crate) path: String,
    /// A hash of the parameters: enough to see that they differ, and nothing to leak.
    pub(crate) params: String,
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// One change of the books: the whole new state of what changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    Session(Box<Session>),
    Intent(Box<Intent>),
    Refund(Box<Refund>),
    Event(Box<Event>),
    Answer(Box<StoredAnswer>),
    /// The event with this id needs no further delivery.
    Settled(String),
}
