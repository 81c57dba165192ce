//! I7, second half: what one service knows of another's things is what that one says of them.

use events::{OrderId, OrderStatus, Source};

use crate::ledger::Ledger;
use crate::{Hold, HoldState, Invariant, Order, OrderReplica, Violation};

pub(crate) fn check(ledger: &Ledger<'_>, found: &mut Vec<Violation>) {
    listings_agree(ledger, found);
    orders_agree(ledger, found);
    holds_follow(ledger, found);
    nothing_is_made_up(ledger, found);
}

/// The orders service sells by its own view of each listing.
fn listings_agree(ledger: &Ledger<'_>, found: &mut Vec<Violation>) {
    if !(ledger.knows(Source::Tickets) && ledger.knows(Source::Orders)) {
        return;
    }
    for (id, ticket) in &ledger.tickets {
        let what = match ledger.ticket_replicas.get(id) {
            None => format!("The orders service does not know ticket {id}"),
            // The view's version is that of the last change of the listing; reservations raise the ticket's further.
            Some(view) if view.listing != ticket.listing || view.version > ticket.version => format!(
                "The orders service knows ticket {id} as it was in version {seen}, and version {version} of it says \
                 something else",
                seen = view.version,
                version = ticket.version,
            ),
            Some(_) => continue,
        };
        found.push(Violation::pending(Invariant::I7, &[id], &what));
    }
    for id in ledger
        .ticket_replicas
        .keys()
        .filter(|id| !ledger.tickets.contains_key(id))
    {
        let what = format!("The orders service knows ticket {id}, and the tickets service does not");
        found.push(Violation::pending(Invariant::I7, &[id], &what));
    }
}

/// The payments service lets people pay by its own view of each order.
fn orders_agree(ledger: &Ledger<'_>, found: &mut Vec<Violation>) {
    if !(ledger.knows(Source::Orders) && ledger.knows(Source::Payments)) {
        return;
    }
    for (id, order) in &ledger.orders {
        let replica = ledger.order_replicas.get(&(Source::Payments, *id));
        let what = match replica {
            None => format!("The payments service does not know order {id}"),
            Some(replica) if !is_same(order, replica) => format!(
                "The payments service knows order {id} as {seen} in version {seen_version}, and it is {status} in \
                 version {version}",
                seen = replica.status.as_str(),
                seen_version = replica.version,
                status = order.status.as_str(),
                version = order.version,
            ),
            Some(_) => continue,
        };
        found.push(Violation::pending(Invariant::I7, &[id], &what));
    }
}

fn is_same(order: &Order, replica: &OrderReplica) -> bool {
    (order.version, order.status, order.reason) == (replica.version, replica.status, replica.reason)
        && (order.user_id, order.quantity) == (replica.user_id, replica.quantity)
        && (order.total, order.expires_at) == (replica.total, replica.expires_at)
}

/// The tickets service holds, sells and frees pieces as orders go on and end.
fn holds_follow(ledger: &Ledger<'_>, found: &mut Vec<Violation>) {
    if !(ledger.knows(Source::Orders) && ledger.knows(Source::Tickets)) {
        return;
    }
    for (id, order) in &ledger.orders {
        let hold = ledger.hold_of_order(*id);
        if !follows(order.status, hold.map(|hold| hold.state)) {
            found.push(Violation::pending(
                Invariant::I7,
                &[id],
                &lags_behind(order, hold),
            ));
        }
    }
}

fn follows(status: OrderStatus, hold: Option<HoldState>) -> bool {
    match status {
        OrderStatus::Created => false,
        OrderStatus::AwaitingPayment | OrderStatus::Accepted => hold == Some(HoldState::Held),
        OrderStatus::Complete | OrderStatus::Refunding => hold == Some(HoldState::Sold),
        OrderStatus::Cancelled => matches!(hold, None | Some(HoldState::Released)),
    }
}

fn lags_behind(order: &Order, hold: Option<&Hold>) -> String {
    let its = match hold.map(|hold| hold.state) {
        None => "nothing is held for it",
        Some(HoldState::Held) => "its pieces are held",
        Some(HoldState::Sold) => "its pieces are sold",
        Some(HoldState::Released) => "its pieces are released",
    };
    format!("Order {} is {}, and {its}", order.id, order.status.as_str())
}

/// Holds, payments, deadlines and views of orders that the orders service has never heard of, or that are over.
fn nothing_is_made_up(ledger: &Ledger<'_>, found: &mut Vec<Violation>) {
    if !ledger.knows(Source::Orders) {
        return;
    }
    let unknown = |id: &OrderId| !ledger.orders.contains_key(id);
    for id in ledger.holds_of_order.keys().filter(|id| unknown(id)) {
        let what = format!(
            "The tickets service holds pieces for order {id}, which the orders service does not know"
        );
        found.push(Violation::pending(Invariant::I7, &[id], &what));
    }
    for (holder, id) in ledger.order_replicas.keys().filter(|(_, id)| unknown(id)) {
        let what = format!("The {holder} service knows order {id}, and the orders service does not");
        found.push(Violation::pending(Invariant::I7, &[id], &what));
    }
    for id in ledger.payments.keys().filter(|id| unknown(id)) {
        let what = format!("There is a payment for order {id}, which the orders service does not know");
        found.push(Violation::pending(Invariant::I7, &[id], &what));
    }
    for id in ledger.deadlines.keys() {
        let what = match ledger.orders.get(id) {
            None => format!("A deadline is watched for order {id}, which the orders service does not know"),
            Some(order) => match order.status {
                OrderStatus::Created | OrderStatus::AwaitingPayment => continue,
                OrderStatus::Accepted
                | OrderStatus::Complete
                | OrderStatus::Refunding
                | OrderStatus::Cancelled => format!(
                    "A deadline is still watched for order {id}, which is {}",
                    order.status.as_str()
                ),
            },
        };
        found.push(Violation::pending(Invariant::I7, &[id], &what));
    }
}
