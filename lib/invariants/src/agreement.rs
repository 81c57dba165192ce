//! I7, second half: what one service knows of another's things is what that one says of them.

use events::{OrderId, OrderStatus, Source};

use crate::ledger::Ledger;
use crate::{Hold, HoldState, Invariant, Order, OrderReplica, PaymentState, Violation};

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
    // Of a listing that its owner has lost for good, the view stays as one that was withdrawn.
    let on_sale = ledger
        .ticket_replicas
        .values()
        .filter(|view| !view.listing.deleted);
    for id in on_sale
        .map(|view| view.id)
        .filter(|id| !ledger.tickets.contains_key(id))
    {
        let what = format!("The orders service knows ticket {id}, and the tickets service does not");
        found.push(Violation::pending(Invariant::I7, &[&id], &what));
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

/// What goes on for orders that the orders service has never heard of, and deadlines of orders that are over. An order
/// that its owner has lost for good is known to others as one that has ended; that is how it should be.
fn nothing_is_made_up(ledger: &Ledger<'_>, found: &mut Vec<Violation>) {
    if !ledger.knows(Source::Orders) {
        return;
    }
    let unknown = |id: &OrderId| !ledger.orders.contains_key(id);
    let holds = ledger.holds_of_order.iter().filter(|(id, _)| unknown(id));
    for (id, hold) in holds.flat_map(|(id, holds)| holds.iter().map(move |hold| (id, hold))) {
        if hold.state != HoldState::Released {
            let what = format!(
                "The tickets service holds pieces for order {id}, which the orders service does not know"
            );
            found.push(Violation::pending(Invariant::I7, &[id], &what));
        }
    }
    for ((holder, id), replica) in ledger.order_replicas.iter().filter(|((_, id), _)| unknown(id)) {
        if replica.status != OrderStatus::Cancelled {
            let what = format!("The {holder} service knows order {id}, and the orders service does not");
            found.push(Violation::pending(Invariant::I7, &[id], &what));
        }
    }
    let payments = ledger.payments.iter().filter(|(id, _)| unknown(id));
    for (id, payment) in payments.flat_map(|(id, payments)| payments.iter().map(move |payment| (id, payment)))
    {
        if !has_ended(payment.state) {
            let what = format!(
                "The payment for order {id}, which the orders service does not know, is {state}",
                state = payment.state.as_str(),
            );
            found.push(Violation::pending(Invariant::I7, &[id], &what));
        }
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

/// Whether nobody owes anybody anything for it.
const fn has_ended(payment: PaymentState) -> bool {
    match payment {
        PaymentState::Closed | PaymentState::Lapsed | PaymentState::Failed | PaymentState::Refunded => true,
        PaymentState::Opening
        | PaymentState::Open
        | PaymentState::Authorized
        | PaymentState::Capturing
        | PaymentState::Captured
        | PaymentState::Closing
        | PaymentState::FailedUnsettled
        | PaymentState::Refunding => false,
    }
}
