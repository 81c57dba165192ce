//! Why a command was refused: by name, with the words that a person or a dead letter shows.

use std::fmt;

use events::Money;

/// Why a command is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderError {
    /// There is no such order.
    NotFound,
    /// There is no such ticket on sale.
    TicketNotFound,
    /// One can't buy from oneself.
    OwnTicket,
    /// It costs something else by now.
    PriceChanged {
        /// The price of one piece now.
        now: Money,
    },
    /// Fewer pieces are left than were asked for.
    NotEnoughLeft {
        /// How many are left.
        left: u32,
    },
    /// The sum is above what can be charged at once.
    TotalTooLarge,
    /// The payment is authorised: it is too late to cancel.
    AlreadyAccepted,
    /// It is paid.
    AlreadyComplete,
    /// Its money is on its way back.
    AlreadyRefunding,
    /// It is over.
    AlreadyCancelled,
    /// Only a complete order can be refunded.
    NotComplete,
    /// An event came too late: nothing is to be done.
    Stale(&'static str),
    /// Something that the protocol rules out has happened.
    Impossible(&'static str),
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("There is no such order"),
            Self::TicketNotFound => f.write_str("There is no such ticket on sale"),
            Self::OwnTicket => f.write_str("You can't order your own ticket"),
            Self::PriceChanged { now } => write!(f, "Price changed: it is now {now}"),
            Self::NotEnoughLeft { left: 0 } => f.write_str("Ticket is already reserved"),
            Self::NotEnoughLeft { left } => write!(f, "Only {left} left"),
            Self::TotalTooLarge => f.write_str("The total is more than can be charged at once: order fewer"),
            Self::AlreadyAccepted => f.write_str("The order is being paid and can't be cancelled any more"),
            Self::AlreadyComplete => f.write_str("The order is complete and can't be cancelled any more"),
            Self::AlreadyRefunding => f.write_str("The order's money is already on its way back"),
            Self::AlreadyCancelled => f.write_str("The order is already cancelled"),
            Self::NotComplete => f.write_str("Only a complete order can be refunded"),
            Self::Stale(reason) | Self::Impossible(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for OrderError {}
