//! I2: money captured less refunded is the price of what was delivered; an orphan authorisation is voided, never
//! captured. Judged by the payments service's books, and by Stripe's own where they are given.

use std::collections::BTreeMap;

use events::{CancelReason, OrderId, OrderStatus, Source, Timestamp};

use crate::ledger::Ledger;
use crate::{Charge, HoldState, Invariant, Order, Payment, PaymentState, Tolerance, Violation};

pub(crate) fn check(ledger: &Ledger<'_>, now: Timestamp, tolerance: Tolerance, found: &mut Vec<Violation>) {
    let now = ledger.time_of(Source::Payments, now);
    paid_once(ledger, found);
    for order in ledger.orders.values() {
        match ledger.payment_of(order.id) {
            Some(payment) => {
                right_amount(order, payment, found);
                paid_as_ordered(order, payment, now, tolerance, found);
            }
            None if ledger.knows(Source::Payments) => paid_at_all(order, found),
            None => {}
        }
        delivered(ledger, order, found);
    }
    for (order, charges) in &ledger.charges {
        charged(ledger, *order, charges, found);
    }
}

/// One payment for an order, and one for what Stripe knows as one.
fn paid_once(ledger: &Ledger<'_>, found: &mut Vec<Violation>) {
    let mut payer: BTreeMap<&str, OrderId> = BTreeMap::new();
    for (order, payments) in &ledger.payments {
        if payments.len() > 1 {
            let what = format!("Order {order} has {} payments", payments.len());
            found.push(Violation::broken(Invariant::I2, &[order], &what));
        }
        for intent in payments.iter().filter_map(|payment| payment.intent.as_deref()) {
            let other = payer.insert(intent, *order);
            if let Some(other) = other.filter(|other| other != order) {
                let what = format!("Orders {other} and {order} are paid by the same {intent}");
                found.push(Violation::broken(Invariant::I2, &[&other, order], &what));
            }
        }
    }
}

fn right_amount(order: &Order, payment: &Payment, found: &mut Vec<Violation>) {
    if payment.amount != order.total {
        let what = format!(
            "Order {id} costs {total}, and its payment is one of {amount}",
            id = order.id,
            total = order.total,
            amount = payment.amount,
        );
        found.push(Violation::broken(Invariant::I2, &[&order.id, &payment.id], &what));
    }
}

/// How a payment stands to its order.
enum Standing {
    /// As it should, or under way within its time.
    Right,
    /// On its way; wrong once its time is over.
    UnderWay,
    /// Something has yet to arrive.
    Behind,
    /// Nothing that is under way explains it.
    Never,
}

fn paid_as_ordered(
    order: &Order,
    payment: &Payment,
    now: Timestamp,
    tolerance: Tolerance,
    found: &mut Vec<Violation>,
) {
    let subjects: [&dyn std::fmt::Display; 2] = [&order.id, &payment.id];
    let is = format!(
        "Order {id} is {status}{why}, and its payment of {amount} is {state}",
        id = order.id,
        status = order.status.as_str(),
        why = order
            .reason
            .map(|reason| format!(" ({})", reason.as_str()))
            .unwrap_or_default(),
        amount = payment.amount,
        state = payment.state.as_str(),
    );
    match standing(order, payment.state) {
        Standing::Right => {}
        Standing::UnderWay => {
            if now > payment.changed_at.plus(tolerance.money) {
                let what = format!("{is} since {}", payment.changed_at);
                found.push(Violation::pending(Invariant::I2, &subjects, &what));
            }
        }
        Standing::Behind => found.push(Violation::pending(Invariant::I2, &subjects, &is)),
        Standing::Never => found.push(Violation::broken(Invariant::I2, &subjects, &is)),
    }
}

/// The table of what goes together. The two rows may be read at different moments, but an order that was cancelled
/// without ever having been accepted stays so, and then no money may be taken at any moment.
fn standing(order: &Order, payment: PaymentState) -> Standing {
    use PaymentState as P;
    match order.status {
        OrderStatus::Created | OrderStatus::AwaitingPayment => match payment {
            P::Opening | P::Open | P::Lapsed => Standing::Right,
            P::Authorized
            | P::Capturing
            | P::Captured
            | P::Closing
            | P::Closed
            | P::FailedUnsettled
            | P::Failed
            | P::Refunding
            | P::Refunded => Standing::Behind,
        },
        OrderStatus::Accepted => match payment {
            P::Capturing => Standing::UnderWay,
            P::Opening
            | P::Open
            | P::Authorized
            | P::Captured
            | P::Closing
            | P::Closed
            | P::Lapsed
            | P::FailedUnsettled
            | P::Failed
            | P::Refunding
            | P::Refunded => Standing::Behind,
        },
        OrderStatus::Complete => match payment {
            P::Captured => Standing::Right,
            P::Opening
            | P::Open
            | P::Authorized
            | P::Capturing
            | P::Closing
            | P::Closed
            | P::Lapsed
            | P::FailedUnsettled
            | P::Failed
            | P::Refunding
            | P::Refunded => Standing::Behind,
        },
        OrderStatus::Refunding => match payment {
            P::Refunding => Standing::UnderWay,
            P::Opening
            | P::Open
            | P::Authorized
            | P::Capturing
            | P::Captured
            | P::Closing
            | P::Closed
            | P::Lapsed
            | P::FailedUnsettled
            | P::Failed
            | P::Refunded => Standing::Behind,
        },
        OrderStatus::Cancelled => cancelled(order.reason, payment),
    }
}

fn cancelled(reason: Option<CancelReason>, payment: PaymentState) -> Standing {
    use PaymentState as P;
    match payment {
        P::Closed | P::Failed | P::Refunded => Standing::Right,
        // What was taken for an order that its owner has since lost for good goes back in the same way.
        P::Closing | P::FailedUnsettled | P::Refunding => Standing::UnderWay,
        P::Opening | P::Open | P::Authorized | P::Lapsed => Standing::Behind,
        P::Capturing | P::Captured if was_accepted(reason) => Standing::Behind,
        P::Capturing | P::Captured => Standing::Never,
    }
}

/// An order goes past `awaiting:payment` only with money.
fn paid_at_all(order: &Order, found: &mut Vec<Violation>) {
    match order.status {
        OrderStatus::Accepted | OrderStatus::Complete | OrderStatus::Refunding => {
            let what = format!(
                "Order {id} is {status}, and there is no payment for it",
                id = order.id,
                status = order.status.as_str(),
            );
            found.push(Violation::pending(Invariant::I2, &[&order.id], &what));
        }
        OrderStatus::Created | OrderStatus::AwaitingPayment | OrderStatus::Cancelled => {}
    }
}

/// Who has paid has the pieces.
fn delivered(ledger: &Ledger<'_>, order: &Order, found: &mut Vec<Violation>) {
    if order.status != OrderStatus::Complete || !ledger.knows(Source::Tickets) {
        return;
    }
    if ledger.hold_of_order(order.id).map(|hold| hold.state) != Some(HoldState::Sold) {
        let what = format!(
            "Order {id} is paid and complete, and its {quantity} pieces of ticket {ticket} are not sold to it",
            id = order.id,
            quantity = order.quantity,
            ticket = order.ticket_id,
        );
        found.push(Violation::pending(
            Invariant::I2,
            &[&order.id, &order.ticket_id],
            &what,
        ));
    }
}

/// What Stripe itself has taken for an order.
fn charged(ledger: &Ledger<'_>, id: OrderId, charges: &[&Charge], found: &mut Vec<Violation>) {
    let captures = charges.iter().filter(|charge| charge.captured_minor > 0).count();
    if captures > 1 {
        let what = format!("Order {id} was charged {captures} times at Stripe");
        found.push(Violation::broken(Invariant::I2, &[&id], &what));
    }
    let sum = |of: fn(&Charge) -> i64| charges.iter().map(|charge| of(charge)).sum::<i64>();
    let (captured, refunded) = (
        sum(|charge| charge.captured_minor),
        sum(|charge| charge.refunded_minor),
    );
    let authorized = sum(|charge| charge.authorized_minor);
    if refunded > captured {
        let what = format!("Stripe gave back {refunded} minor units for order {id}, and took {captured}");
        found.push(Violation::broken(Invariant::I2, &[&id], &what));
    }
    let Some(order) = ledger.orders.get(&id) else {
        if ledger.knows(Source::Orders) {
            let what = format!("Stripe has a payment for order {id}, which the orders service does not know");
            found.push(Violation::pending(Invariant::I2, &[&id], &what));
        }
        return;
    };
    let total = order.total.minor();
    if captured > total {
        let what = format!("Order {id} costs {total} minor units, and Stripe took {captured}");
        found.push(Violation::broken(Invariant::I2, &[&id], &what));
    }
    if captured > 0 && never_accepted(order) {
        let what = format!(
            "Order {id} was cancelled before it was accepted, and Stripe took {captured} minor units"
        );
        found.push(Violation::broken(Invariant::I2, &[&id], &what));
    }
    let owed = match order.status {
        OrderStatus::Complete => total,
        OrderStatus::Created | OrderStatus::AwaitingPayment | OrderStatus::Cancelled => 0,
        // Money is on its way; how long it may be is judged by the payment.
        OrderStatus::Accepted | OrderStatus::Refunding => return,
    };
    if captured - refunded != owed {
        let what = format!(
            "Order {id} is {status}, so that Stripe should have {owed} minor units for it, and has {has}",
            status = order.status.as_str(),
            has = captured - refunded,
        );
        found.push(Violation::pending(Invariant::I2, &[&id], &what));
    }
    if authorized > 0 && matches!(order.status, OrderStatus::Complete | OrderStatus::Cancelled) {
        let what = format!(
            "Order {id} is {status}, and Stripe still holds {authorized} minor units of its buyer's",
            status = order.status.as_str(),
        );
        found.push(Violation::pending(Invariant::I2, &[&id], &what));
    }
}

fn never_accepted(order: &Order) -> bool {
    order.status == OrderStatus::Cancelled && !was_accepted(order.reason)
}

/// Whether an order that was cancelled for this reason had been accepted before.
const fn was_accepted(reason: Option<CancelReason>) -> bool {
    match reason {
        Some(CancelReason::PaymentFailed | CancelReason::Refunded) => true,
        Some(
            CancelReason::Buyer
            | CancelReason::Expired
            | CancelReason::Rejected
            | CancelReason::TicketDeleted,
        )
        | None => false,
    }
}
