//! What each event says. A payload is the full state of what it concerns, and never changes its shape once
//! published: a new shape is a new schema number in [`crate::EventType::schema`].

use serde::{Deserialize, Serialize};

use crate::{Money, OrderId, PaymentId, SessionId, ShowTime, TicketId, Timestamp, UserId, Version};

/// A person has an account. No e-mail address travels on the bus.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserRegistered {
    /// Who.
    pub user_id: UserId,
}

/// Tokens that are no longer good, although they have not expired.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionRevoked {
    /// Whose.
    pub user_id: UserId,
    /// The one session that ended; without it, all of that person's begun before `before`.
    pub session_id: Option<SessionId>,
    /// The one session that goes on all the same (the one in which the password was changed).
    pub except: Option<SessionId>,
    /// Sessions whose id was made before this moment are meant.
    pub before: Timestamp,
    /// When the last token that this concerns has expired, and the revocation may be forgotten.
    pub until: Timestamp,
}

/// A key that tokens will be signed with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyPublished {
    /// The key's name: its RFC 7638 thumbprint.
    pub kid: String,
    /// The Ed25519 public key, 32 bytes, base64url without padding (the `x` of its JWK).
    pub public_key: String,
    /// The earliest moment at which a token is signed with it.
    pub usable_from: Timestamp,
}

/// A key whose last token has expired.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRetired {
    /// The key's name.
    pub kid: String,
}

/// A listing, whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TicketSnapshot {
    /// Which.
    pub id: TicketId,
    /// Raised by one with every change, reservations included.
    pub version: Version,
    /// Who sells it.
    pub seller_id: UserId,
    /// What it is for.
    pub title: String,
    /// More about it; may be empty.
    pub description: String,
    /// Where, if said.
    pub venue: Option<String>,
    /// When the show begins, if said.
    pub starts_at: Option<ShowTime>,
    /// The price of one piece.
    pub price: Money,
    /// How many pieces are or were for sale.
    pub quantity: u32,
    /// How many of them are held for orders that are not complete.
    pub reserved: u32,
    /// How many of them are sold.
    pub sold: u32,
    /// Withdrawn: a tombstone that keeps its holds.
    pub deleted: bool,
    /// When it was listed.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Why the tickets service refused an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// Not enough pieces are left.
    SoldOut,
    /// It costs something else by now.
    PriceChanged,
    /// It was withdrawn, or was never listed.
    Deleted,
}

/// What became of one order's claim on a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TicketChange {
    /// The ticket after the change; nothing if an order was refused for a ticket that does not exist.
    pub ticket: Option<TicketSnapshot>,
    /// Which ticket.
    pub ticket_id: TicketId,
    /// Whose claim.
    pub order_id: OrderId,
    /// How many pieces.
    pub quantity: u32,
    /// Why it was refused, if it was.
    pub reason: Option<RejectReason>,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OrderStatus {
    /// Asked for, not yet confirmed by the tickets service.
    #[serde(rename = "created")]
    Created,
    /// The pieces are held; it can be paid until it expires.
    #[serde(rename = "awaiting:payment")]
    AwaitingPayment,
    /// The payment is authorised and will be captured.
    #[serde(rename = "accepted")]
    Accepted,
    /// Paid: the tickets are the buyer's.
    #[serde(rename = "complete")]
    Complete,
    /// The money is on its way back.
    #[serde(rename = "refunding")]
    Refunding,
    /// Over, with nothing owed by either side.
    #[serde(rename = "cancelled")]
    Cancelled,
}

impl OrderStatus {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Created,
        Self::AwaitingPayment,
        Self::Accepted,
        Self::Complete,
        Self::Refunding,
        Self::Cancelled,
    ];

    /// The name as it stands in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::AwaitingPayment => "awaiting:payment",
            Self::Accepted => "accepted",
            Self::Complete => "complete",
            Self::Refunding => "refunding",
            Self::Cancelled => "cancelled",
        }
    }

    /// The byte that stands for it in stored rows; never reused.
    pub const fn code(self) -> u8 {
        match self {
            Self::Created => 1,
            Self::AwaitingPayment => 2,
            Self::Accepted => 3,
            Self::Complete => 4,
            Self::Refunding => 5,
            Self::Cancelled => 6,
        }
    }

    /// The status that [`Self::code`] stands for.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }
}

/// Why an order ended without (or after) a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// The buyer changed their mind.
    Buyer,
    /// It was not paid in time.
    Expired,
    /// The tickets service could not reserve it.
    Rejected,
    /// The ticket was withdrawn.
    TicketDeleted,
    /// The authorised money could not be captured.
    PaymentFailed,
    /// The seller gave the money back.
    Refunded,
}

impl CancelReason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Buyer,
        Self::Expired,
        Self::Rejected,
        Self::TicketDeleted,
        Self::PaymentFailed,
        Self::Refunded,
    ];

    /// The name as it stands in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buyer => "buyer",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::TicketDeleted => "ticket_deleted",
            Self::PaymentFailed => "payment_failed",
            Self::Refunded => "refunded",
        }
    }

    /// The byte that stands for it in stored rows; never reused.
    pub const fn code(self) -> u8 {
        match self {
            Self::Buyer => 1,
            Self::Expired => 2,
            Self::Rejected => 3,
            Self::TicketDeleted => 4,
            Self::PaymentFailed => 5,
            Self::Refunded => 6,
        }
    }

    /// The reason that [`Self::code`] stands for.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// The ticket as it was when it was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderedTicket {
    /// Which.
    pub id: TicketId,
    /// The version that the buyer ordered.
    pub version: Version,
    /// Who sells it.
    pub seller_id: UserId,
    /// What it is for.
    pub title: String,
    /// The price of one piece.
    pub price: Money,
    /// Where, if said.
    pub venue: Option<String>,
    /// When the show begins, if said.
    pub starts_at: Option<ShowTime>,
}

/// An order, whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderSnapshot {
    /// Which.
    pub id: OrderId,
    /// Raised by one with every change.
    pub version: Version,
    /// Who buys.
    pub user_id: UserId,
    /// Where it stands.
    pub status: OrderStatus,
    /// Why it was cancelled, if it was.
    pub reason: Option<CancelReason>,
    /// How many pieces.
    pub quantity: u32,
    /// What it costs in all.
    pub total: Money,
    /// Until when it must be paid.
    pub expires_at: Timestamp,
    /// When it was placed.
    pub created_at: Timestamp,
    /// Of what.
    pub ticket: OrderedTicket,
}

/// The orders service will not expire an order yet: by its own clock the time has not run out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderNotDue {
    /// Which.
    pub order_id: OrderId,
    /// How long it still has, in milliseconds.
    pub remaining_ms: u64,
}

/// An order's time has run out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderExpired {
    /// Which.
    pub order_id: OrderId,
    /// The deadline that has passed.
    pub expires_at: Timestamp,
}

/// Where a payment stands, as far as others need to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// The buyer can pay on Stripe's page.
    Opened,
    /// The money is set aside for us.
    Authorized,
    /// The money is ours.
    Captured,
    /// The authorised money could not be captured.
    Failed,
    /// The money went back.
    Refunded,
}

/// Why money could not be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// The bank said no after it had said yes.
    CaptureRefused,
    /// The authorisation lapsed or was cancelled at Stripe.
    AuthorizationGone,
}

/// A payment, whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PaymentSnapshot {
    /// Which.
    pub id: PaymentId,
    /// Raised by one with every change.
    pub version: Version,
    /// For which order.
    pub order_id: OrderId,
    /// Who pays.
    pub user_id: UserId,
    /// Where it stands.
    pub status: PaymentStatus,
    /// Stripe's id: of the Checkout Session while it is open, of the PaymentIntent from then on.
    pub stripe_id: String,
    /// How much.
    pub amount: Money,
    /// Why it failed, if it did.
    pub reason: Option<FailureReason>,
}
