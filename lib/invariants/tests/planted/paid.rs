//! I2: what is wrong with the money.

use events::{CancelReason, OrderStatus};
use invariants::{Fact, HoldState, Invariant, PaymentState, Severity};

use crate::world::{
    among, books, charge, found, hold, only, order_id, payment, payment_id, ticket, ticket_id, usd, with,
};

#[test]
fn i2_money_for_an_order_that_was_never_accepted() {
    for state in [PaymentState::Capturing, PaymentState::Captured] {
        let taken = with(books(OrderStatus::Cancelled), |fact| match fact {
            Fact::Payment(_) => Some(Fact::Payment(payment(state))),
            other => Some(other),
        });
        let sentence = format!(
            "Order {} is cancelled (expired), and its payment of 12.00 usd is {} (I2).",
            order_id(1),
            state.as_str()
        );
        only(&taken, Severity::Broken, Invariant::I2, &sentence);
    }
}

#[test]
fn i2_money_that_was_not_given_back_yet() {
    let refunded = with(books(OrderStatus::Cancelled), |fact| match fact {
        Fact::Order(mut order) => {
            order.reason = Some(CancelReason::Refunded);
            Some(Fact::Order(order))
        }
        Fact::OrderReplica(mut replica) => {
            replica.reason = Some(CancelReason::Refunded);
            Some(Fact::OrderReplica(replica))
        }
        Fact::Payment(_) => Some(Fact::Payment(payment(PaymentState::Captured))),
        other => Some(other),
    });
    let sentence = format!(
        "Order {} is cancelled (refunded), and its payment of 12.00 usd is captured (I2).",
        order_id(1)
    );
    only(&refunded, Severity::Pending, Invariant::I2, &sentence);
}

#[test]
fn i2_complete_without_money_or_without_pieces() {
    let unpaid = with(books(OrderStatus::Complete), |fact| match fact {
        Fact::Payment(_) => None,
        other => Some(other),
    });
    let sentence = format!(
        "Order {} is complete, and there is no payment for it (I2).",
        order_id(1)
    );
    only(&unpaid, Severity::Pending, Invariant::I2, &sentence);

    let undelivered = with(books(OrderStatus::Complete), |fact| match fact {
        Fact::Hold(_) => Some(Fact::Hold(hold(HoldState::Released))),
        Fact::Ticket(_) => Some(Fact::Ticket(ticket(0, 0))),
        other => Some(other),
    });
    let sentence = format!(
        "Order {} is paid and complete, and its 1 pieces of ticket {} are not sold to it (I2).",
        order_id(1),
        ticket_id(1)
    );
    among(&undelivered, Severity::Pending, Invariant::I2, &sentence);
}

#[test]
fn i2_another_amount_another_payment_and_one_for_two() {
    let dearer = with(books(OrderStatus::Complete), |fact| match fact {
        Fact::Payment(mut payment) => {
            payment.amount = usd(1_300);
            Some(Fact::Payment(payment))
        }
        other => Some(other),
    });
    let sentence = format!(
        "Order {} costs 12.00 usd, and its payment is one of 13.00 usd (I2).",
        order_id(1)
    );
    only(&dearer, Severity::Broken, Invariant::I2, &sentence);

    let mut twice = books(OrderStatus::Complete);
    let mut second = payment(PaymentState::Captured);
    (second.id, second.intent) = (payment_id(2), Some("pi_2".to_owned()));
    twice.facts.push(Fact::Payment(second));
    only(
        &twice,
        Severity::Broken,
        Invariant::I2,
        &format!("Order {} has 2 payments (I2).", order_id(1)),
    );

    let mut shared = books(OrderStatus::Complete);
    let mut second = payment(PaymentState::Captured);
    (second.id, second.order_id) = (payment_id(2), order_id(2));
    shared.facts.push(Fact::Payment(second));
    let sentence = format!(
        "Orders {} and {} are paid by the same pi_1 (I2).",
        order_id(1),
        order_id(2)
    );
    among(&shared, Severity::Broken, Invariant::I2, &sentence);
}

#[test]
fn i2_by_stripes_own_books() {
    let with_charge = |status, charges: &[invariants::Charge]| {
        let mut books = books(status);
        books.facts.extend(charges.iter().cloned().map(Fact::Charge));
        books
    };
    let (complete, cancelled) = (OrderStatus::Complete, OrderStatus::Cancelled);
    assert_eq!(found(&with_charge(complete, &[charge(0, 1_200, 0)])), []);
    assert_eq!(found(&with_charge(cancelled, &[charge(0, 0, 0)])), []);
    let id = order_id(1);
    let mut again = charge(0, 1_200, 0);
    again.intent = "pi_2".to_owned();
    for (books, severity, sentence) in [
        (
            with_charge(complete, &[charge(0, 1_200, 0), again]),
            Severity::Broken,
            format!("Order {id} was charged 2 times at Stripe (I2)."),
        ),
        (
            with_charge(complete, &[charge(0, 1_300, 0)]),
            Severity::Broken,
            format!("Order {id} costs 1200 minor units, and Stripe took 1300 (I2)."),
        ),
        (
            with_charge(cancelled, &[charge(0, 1_200, 1_200)]),
            Severity::Broken,
            format!(
                "Order {id} was cancelled before it was accepted, and Stripe took 1200 minor units (I2)."
            ),
        ),
        (
            with_charge(complete, &[charge(0, 1_200, 1_300)]),
            Severity::Broken,
            format!("Stripe gave back 1300 minor units for order {id}, and took 1200 (I2)."),
        ),
        (
            with_charge(complete, &[charge(1_200, 0, 0)]),
            Severity::Pending,
            format!(
                "Order {id} is complete, so that Stripe should have 1200 minor units for it, and has 0 (I2)."
            ),
        ),
        (
            with_charge(cancelled, &[charge(1_200, 0, 0)]),
            Severity::Pending,
            format!("Order {id} is cancelled, and Stripe still holds 1200 minor units of its buyer's (I2)."),
        ),
    ] {
        among(&books, severity, Invariant::I2, &sentence);
    }
}
