//! What a row says, as far as an invariant is about it. No personal data beyond ids.

use events::{
    CancelReason, Money, OrderId, OrderStatus, PaymentId, ShowTime, Source, TicketId, Timestamp, UserId,
    Version,
};
use serde::{Deserialize, Serialize};

/// One row of a service's store; or one charge in Stripe's own books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "camelCase")]
pub enum Fact {
    /// Auth: a person.
    User(User),
    /// Tickets: a listing.
    Ticket(Ticket),
    /// Tickets: an order's claim on pieces of a listing.
    Hold(Hold),
    /// Orders: an order.
    Order(Order),
    /// Orders: what it knows of a listing.
    TicketReplica(TicketReplica),
    /// Payments: what it knows of an order.
    OrderReplica(OrderReplica),
    /// Payments: a payment.
    Payment(Payment),
    /// Expiration: an order's deadline.
    Deadline(Deadline),
    /// Stripe: what was authorised, captured and refunded through one PaymentIntent.
    Charge(Charge),
}

/// A person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Who.
    pub id: UserId,
    /// In which version.
    pub version: Version,
}

/// What a seller says of a listing, and both tickets and orders know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    /// Who sells it.
    pub seller_id: UserId,
    /// The price of one piece.
    pub price: Money,
    /// How many pieces.
    pub quantity: u32,
    /// Withdrawn.
    pub deleted: bool,
    /// A fingerprint of title, venue and time: see [`Listing::words`].
    pub words: u64,
}

/// A listing, as its owner keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// Which.
    pub id: TicketId,
    /// In which version.
    pub version: Version,
    /// What is said of it.
    pub listing: Listing,
    /// Pieces held for orders that are not complete.
    pub reserved: u32,
    /// Pieces sold.
    pub sold: u32,
}

/// A listing, as the orders service knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketReplica {
    /// Which.
    pub id: TicketId,
    /// In which version: that of the last event that changed the listing itself.
    pub version: Version,
    /// What is known of it.
    pub listing: Listing,
}

/// Where an order's claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HoldState {
    /// The pieces wait for the payment.
    Held,
    /// The pieces are the buyer's.
    Sold,
    /// The pieces went back.
    Released,
}

/// One order's claim on pieces of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Of which listing.
    pub ticket_id: TicketId,
    /// For which order.
    pub order_id: OrderId,
    /// How many pieces.
    pub quantity: u32,
    /// What the order costs in all.
    pub total: Money,
    /// Where it stands.
    pub state: HoldState,
}

/// An order, as its owner keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Which.
    pub id: OrderId,
    /// In which version.
    pub version: Version,
    /// Who buys.
    pub user_id: UserId,
    /// Of which listing.
    pub ticket_id: TicketId,
    /// How many pieces.
    pub quantity: u32,
    /// What it costs in all.
    pub total: Money,
    /// Where it stands.
    pub status: OrderStatus,
    /// Why it was cancelled, if it was.
    pub reason: Option<CancelReason>,
    /// Until when it must be paid.
    pub expires_at: Timestamp,
}

/// An order, as another service knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderReplica {
    /// Who knows it so.
    pub holder: Source,
    /// Which.
    pub id: OrderId,
    /// In which version.
    pub version: Version,
    /// Who buys.
    pub user_id: UserId,
    /// How many pieces.
    pub quantity: u32,
    /// What it costs in all.
    pub total: Money,
    /// Where it stands.
    pub status: OrderStatus,
    /// Why it was cancelled, if it was.
    pub reason: Option<CancelReason>,
    /// Until when it must be paid.
    pub expires_at: Timestamp,
}

/// Where a payment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PaymentState {
    /// A session is asked for.
    Opening,
    /// The buyer can pay.
    Open,
    /// The money is set aside.
    Authorized,
    /// The money is to be captured.
    Capturing,
    /// The money is ours.
    Captured,
    /// What Stripe has is to be undone.
    Closing,
    /// Over; Stripe has nothing of it.
    Closed,
    /// The attempt came to nothing; another one may be begun.
    Lapsed,
    /// Capturing failed; what Stripe has is to be undone.
    FailedUnsettled,
    /// Capturing failed; Stripe has nothing of it.
    Failed,
    /// The money is to go back.
    Refunding,
    /// The money went back.
    Refunded,
}

impl PaymentState {
    /// The name as a person reads it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Open => "open",
            Self::Authorized => "authorized",
            Self::Capturing => "capturing",
            Self::Captured => "captured",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Lapsed => "lapsed",
            Self::FailedUnsettled => "failed and not yet settled",
            Self::Failed => "failed",
            Self::Refunding => "refunding",
            Self::Refunded => "refunded",
        }
    }
}

/// A payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    /// Which.
    pub id: PaymentId,
    /// The version as others see it.
    pub version: Version,
    /// For which order.
    pub order_id: OrderId,
    /// How much.
    pub amount: Money,
    /// Where it stands.
    pub state: PaymentState,
    /// Since when.
    pub changed_at: Timestamp,
    /// The PaymentIntent that holds or held the money, once there is one.
    pub intent: Option<String>,
}

/// The end of one order's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deadline {
    /// Of which order.
    pub order_id: OrderId,
    /// When it is over, by the expiration service's clock.
    pub due: Timestamp,
    /// `order:expired` was published; the order's answer is awaited.
    pub fired: bool,
}

/// One PaymentIntent in Stripe's own books. Several may belong to one order; amounts are minor units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Charge {
    /// Stripe's id of it.
    pub intent: String,
    /// For which order, as the intent's metadata say.
    pub order_id: OrderId,
    /// Set aside and neither captured nor let go.
    pub authorized_minor: i64,
    /// Captured, whether or not it was refunded later.
    pub captured_minor: i64,
    /// Refunded of what was captured.
    pub refunded_minor: i64,
}

impl Fact {
    /// Whose row it is; nothing for Stripe's.
    pub fn source(&self) -> Option<Source> {
        match self {
            Self::User(_) => Some(Source::Auth),
            Self::Ticket(_) | Self::Hold(_) => Some(Source::Tickets),
            Self::Order(_) | Self::TicketReplica(_) => Some(Source::Orders),
            Self::OrderReplica(replica) => Some(replica.holder),
            Self::Payment(_) => Some(Source::Payments),
            Self::Deadline(_) => Some(Source::Expiration),
            Self::Charge(_) => None,
        }
    }
}

impl Listing {
    /// A fingerprint (64-bit FNV-1a) of what buyers read: enough to see that two services read the same words, and
    /// small enough to be sent for a million listings.
    pub fn words(title: &str, venue: Option<&str>, starts_at: Option<&ShowTime>) -> u64 {
        let starts_at = starts_at.map(ToString::to_string);
        let mut hash = FNV_OFFSET;
        for part in [Some(title), venue, starts_at.as_deref()] {
            // 0xff is in no UTF-8 text: it keeps an absent part apart from an empty one, and parts from each other.
            let marked = part.map(str::as_bytes).unwrap_or(&[0xff]);
            for byte in marked.iter().chain(&[0xff]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
            }
        }
        hash
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
