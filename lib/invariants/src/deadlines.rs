//! I4: an order does not stay open after its deadline, and money that is on its way arrives.

use std::time::Duration;

use events::{OrderStatus, Source, Timestamp};

use crate::ledger::Ledger;
use crate::{Invariant, Order, PaymentState, Tolerance, Violation};

pub(crate) fn check(ledger: &Ledger<'_>, now: Timestamp, tolerance: Tolerance, found: &mut Vec<Violation>) {
    let now = ledger.time_of(Source::Orders, now);
    for order in ledger.orders.values() {
        match order.status {
            OrderStatus::Created | OrderStatus::AwaitingPayment => {
                overdue(order, now, tolerance.deadline, found);
                watched_for(ledger, order, found);
            }
            // An order is accepted before its time is over, so that its deadline is a bound for what follows, too.
            OrderStatus::Accepted => overdue(order, now, tolerance.deadline + tolerance.money, found),
            OrderStatus::Refunding => refund_under_way(ledger, order, now, tolerance, found),
            OrderStatus::Complete | OrderStatus::Cancelled => {}
        }
    }
}

fn overdue(order: &Order, now: Timestamp, grace: Duration, found: &mut Vec<Violation>) {
    if now > order.expires_at.plus(grace) {
        let what = format!(
            "Order {id} is still {status} {late} s after its deadline",
            id = order.id,
            status = order.status.as_str(),
            late = now.since(order.expires_at).as_secs(),
        );
        found.push(Violation::pending(Invariant::I4, &[&order.id], &what));
    }
}

/// What nobody watches never runs out.
fn watched_for(ledger: &Ledger<'_>, order: &Order, found: &mut Vec<Violation>) {
    if ledger.knows(Source::Expiration) && !ledger.deadlines.contains_key(&order.id) {
        let what = format!(
            "Order {id} is {status}, and the expiration service does not know its deadline",
            id = order.id,
            status = order.status.as_str(),
        );
        found.push(Violation::pending(Invariant::I4, &[&order.id], &what));
    }
}

fn refund_under_way(
    ledger: &Ledger<'_>,
    order: &Order,
    now: Timestamp,
    tolerance: Tolerance,
    found: &mut Vec<Violation>,
) {
    let Some(payment) = ledger.payment_of(order.id) else {
        return;
    };
    let now = ledger.time_of(Source::Payments, now);
    if payment.state != PaymentState::Refunding || now > payment.changed_at.plus(tolerance.money) {
        let what = format!(
            "Order {id} is still refunding, and its payment is {state} since {since}",
            id = order.id,
            state = payment.state.as_str(),
            since = payment.changed_at,
        );
        found.push(Violation::pending(
            Invariant::I4,
            &[&order.id, &payment.id],
            &what,
        ));
    }
}
