//! I1: for every ticket, reserved + sold never exceeds quantity; no order holds twice.

use std::collections::BTreeMap;

use events::{OrderStatus, Source, TicketId};

use crate::ledger::Ledger;
use crate::{Hold, HoldState, Invariant, Ticket, Tolerance, Violation};

pub(crate) fn check(ledger: &Ledger<'_>, tolerance: Tolerance, found: &mut Vec<Violation>) {
    for ticket in ledger.tickets.values() {
        oversold(ticket, found);
        counted_as_held(ticket, ledger.holds_of_ticket(ticket.id), tolerance, found);
    }
    held_twice(ledger, found);
    held_for_what_was_ordered(ledger, found);
    promised_in_excess(ledger, found);
}

/// The one thing that this system exists to prevent.
fn oversold(ticket: &Ticket, found: &mut Vec<Violation>) {
    let claimed = u64::from(ticket.reserved) + u64::from(ticket.sold);
    if claimed > u64::from(ticket.listing.quantity) {
        let what = format!(
            "Ticket {id} has {claimed} of {quantity} pieces reserved or sold",
            id = ticket.id,
            quantity = ticket.listing.quantity,
        );
        found.push(Violation::broken(Invariant::I1, &[&ticket.id], &what));
    }
}

/// What the ticket counts is the sum of its holds. Holds and ticket are written together, but may be read apart.
fn counted_as_held(ticket: &Ticket, holds: &[&Hold], tolerance: Tolerance, found: &mut Vec<Violation>) {
    let sum = |state| {
        pieces(
            holds
                .iter()
                .filter(|hold| hold.state == state)
                .map(|hold| hold.quantity),
        )
    };
    for (counted, held, word) in [
        (ticket.reserved, sum(HoldState::Held), "reserved"),
        (ticket.sold, sum(HoldState::Sold), "sold"),
    ] {
        if u64::from(counted) != held {
            let what = format!(
                "Ticket {id} counts {counted} pieces as {word}, and its holds amount to {held}",
                id = ticket.id,
            );
            found.push(if tolerance.is_of_one_moment {
                Violation::broken(Invariant::I1, &[&ticket.id], &what)
            } else {
                Violation::pending(Invariant::I1, &[&ticket.id], &what)
            });
        }
    }
}

fn held_twice(ledger: &Ledger<'_>, found: &mut Vec<Violation>) {
    for (order, holds) in &ledger.holds_of_order {
        if let [first, second, ..] = holds.as_slice() {
            let what = format!(
                "Order {order} has {count} holds, on ticket {one} and on ticket {other} among them",
                count = holds.len(),
                one = first.ticket_id,
                other = second.ticket_id,
            );
            found.push(Violation::broken(Invariant::I1, &[order], &what));
        }
    }
}

/// Neither the order nor its hold ever changes these.
fn held_for_what_was_ordered(ledger: &Ledger<'_>, found: &mut Vec<Violation>) {
    for order in ledger.orders.values() {
        let Some(hold) = ledger.hold_of_order(order.id) else {
            continue;
        };
        if hold.quantity != order.quantity || hold.ticket_id != order.ticket_id || hold.total != order.total {
            let what = format!(
                "Order {id} asks for {asked} pieces of ticket {wanted} for {total}, and {held} pieces of ticket \
                 {ticket} for {price} are held for it",
                id = order.id,
                asked = order.quantity,
                wanted = order.ticket_id,
                total = order.total,
                held = hold.quantity,
                ticket = hold.ticket_id,
                price = hold.total,
            );
            found.push(Violation::broken(
                Invariant::I1,
                &[&order.id, &hold.ticket_id],
                &what,
            ));
        }
    }
}

/// Seen from the other side: no more pieces are promised to buyers than there are. An order that ends makes room for
/// the next one, so that two of them may be read as promised which never were at the same time.
fn promised_in_excess(ledger: &Ledger<'_>, found: &mut Vec<Violation>) {
    if !ledger.knows(Source::Tickets) {
        return;
    }
    let mut promised: BTreeMap<TicketId, u64> = BTreeMap::new();
    for order in ledger.orders.values().filter(|order| is_promised(order.status)) {
        *promised.entry(order.ticket_id).or_default() += u64::from(order.quantity);
    }
    for (id, promised) in promised {
        let quantity = ledger
            .tickets
            .get(&id)
            .map(|ticket| u64::from(ticket.listing.quantity));
        if quantity.is_some_and(|quantity| promised > quantity) {
            let what = format!(
                "Ticket {id} has {quantity} pieces, and {promised} are promised to buyers",
                quantity = quantity.unwrap_or_default(),
            );
            found.push(Violation::pending(Invariant::I1, &[&id], &what));
        }
    }
}

/// Whether the buyer has been told that the pieces are theirs, if they pay or have paid.
const fn is_promised(status: OrderStatus) -> bool {
    match status {
        OrderStatus::AwaitingPayment
        | OrderStatus::Accepted
        | OrderStatus::Complete
        | OrderStatus::Refunding => true,
        OrderStatus::Created | OrderStatus::Cancelled => false,
    }
}

fn pieces(quantities: impl Iterator<Item = u32>) -> u64 {
    quantities.map(u64::from).sum()
}
