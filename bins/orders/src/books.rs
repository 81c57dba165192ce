//! What the rows of this service say to the invariants.

use ::store::StoredRow;
use invariants::{Fact, Listing, TicketReplica};

use crate::domain::{Order, TicketView};

/// What a row says, if an invariant is about it.
pub fn fact(row: &StoredRow) -> Option<Fact> {
    row.of::<Order>()
        .map(order)
        .or_else(|| row.of::<TicketView>().map(replica))
}

fn order(order: &Order) -> Fact {
    Fact::Order(invariants::Order {
        id: order.id,
        version: order.version,
        user_id: order.user_id,
        ticket_id: order.ticket.id,
        quantity: order.quantity,
        total: order.total,
        status: order.status,
        reason: order.reason,
        expires_at: order.expires_at,
    })
}

fn replica(view: &TicketView) -> Fact {
    Fact::TicketReplica(TicketReplica {
        id: view.id,
        version: view.version,
        listing: Listing {
            seller_id: view.seller_id,
            price: view.price,
            quantity: view.quantity,
            deleted: view.deleted,
            words: Listing::words(&view.title, view.venue.as_deref(), view.starts_at.as_ref()),
        },
    })
}
