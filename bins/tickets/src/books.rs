//! What the rows of this service say to the invariants.

use ::store::StoredRow;
use invariants::{Fact, Listing};

use crate::domain::{Hold, HoldState, Ticket};

/// What a row says, if an invariant is about it.
pub fn fact(row: &StoredRow) -> Option<Fact> {
    row.of::<Ticket>()
        .map(ticket)
        .or_else(|| row.of::<Hold>().map(hold))
}

fn ticket(ticket: &Ticket) -> Fact {
    let details = &ticket.details;
    Fact::Ticket(invariants::Ticket {
        id: ticket.id,
        version: ticket.version,
        listing: Listing {
            seller_id: ticket.seller_id,
            price: details.price,
            quantity: details.quantity,
            deleted: ticket.deleted,
            words: Listing::words(
                &details.title,
                details.venue.as_deref(),
                details.starts_at.as_ref(),
            ),
        },
        reserved: ticket.reserved,
        sold: ticket.sold,
    })
}

fn hold(hold: &Hold) -> Fact {
    Fact::Hold(invariants::Hold {
        ticket_id: hold.ticket_id,
        order_id: hold.order_id,
        quantity: hold.quantity,
        total: hold.total,
        state: match hold.state {
            HoldState::Held => invariants::HoldState::Held,
            HoldState::Sold => invariants::HoldState::Sold,
            // What was refused has no pieces either, and that is all that the invariants ask.
            HoldState::Released | HoldState::Refused => invariants::HoldState::Released,
        },
    })
}
