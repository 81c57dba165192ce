//! Why a command was refused: by name, with the words that a person or a dead letter shows.

use std::fmt;

/// Why a command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PaymentError {
    /// The order's tickets are not reserved yet.
    NotReserved,
    /// The order was not paid in time.
    Expired,
    /// The order was cancelled.
    OrderCancelled,
    /// The order is paid.
    AlreadyPaid,
    /// The money went back, or is on its way.
    AlreadyRefunded,
    /// The money could not be captured; the order is over.
    AlreadyFailed,
    /// Money is told of without the session that it came through.
    SessionUnknown,
    /// The money of a payment that was never captured is to go back.
    NothingToRefund,
    /// What was read belongs to another session than the payment's present one.
    ForeignSession,
    /// What was read lacks the payment's PaymentIntent, or shows another one.
    ForeignIntent,
    /// No session is being opened.
    NotOpening,
    /// Nothing is being captured.
    NotCapturing,
    /// It came too late, or says what is known already: nothing is to be done.
    Stale(&'static str),
}

impl fmt::Display for PaymentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotReserved => "The order's tickets are not reserved yet",
            Self::Expired => "The order has expired",
            Self::OrderCancelled => "The order is cancelled",
            Self::AlreadyPaid => "The order is already paid",
            Self::AlreadyRefunded => "The order's money went back",
            Self::AlreadyFailed => "The order's payment has failed",
            Self::SessionUnknown => "money is told of without the session that it came through",
            Self::NothingToRefund => "money is to go back that was never captured",
            Self::ForeignSession => "what Stripe says is about another session",
            Self::ForeignIntent => "what Stripe says is about another payment intent",
            Self::NotOpening => "no session is being opened",
            Self::NotCapturing => "no money is being captured",
            Self::Stale(reason) => reason,
        })
    }
}

impl std::error::Error for PaymentError {}
