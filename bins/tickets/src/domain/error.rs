//! Why a command was refused: by name, with the words that a person or a dead letter shows.

use std::fmt;

/// Why a command is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketError {
    /// There is no such ticket, or it was withdrawn.
    NotFound,
    /// It is somebody else's.
    NotSeller,
    /// Pieces are held for orders: it can't be edited.
    Reserved,
    /// Pieces are held for orders: it can't be withdrawn.
    ReservedNotDeletable,
    /// The quantity would fall below what is sold.
    QuantityBelowSold {
        /// How many pieces are sold.
        sold: u32,
    },
    /// The currency can't change once a piece was sold.
    CurrencyChanged,
    /// An event came too late, or again: nothing is to be done.
    Stale(&'static str),
    /// Something that the protocol rules out has happened.
    Impossible(&'static str),
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("There is no such ticket"),
            Self::NotSeller => f.write_str("This ticket is somebody else's"),
            Self::Reserved => f.write_str("Cannot edit a reserved ticket"),
            Self::ReservedNotDeletable => f.write_str("Cannot delete a reserved ticket"),
            Self::QuantityBelowSold { sold } => {
                write!(f, "{sold} are already sold: the quantity can't be less")
            }
            Self::CurrencyChanged => f.write_str("The currency can't change once a ticket was sold"),
            Self::Stale(reason) | Self::Impossible(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for TicketError {}
