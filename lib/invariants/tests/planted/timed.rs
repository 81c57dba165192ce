//! What is wrong only once its time is over.

use std::time::Duration;

use events::{OrderStatus, Timestamp};
use invariants::{Books, Fact, PaymentState, Severity, Tolerance, check};

use crate::world::{EXPIRES, NOW, books, order_id, payment, sentences, ticket, with};

/// What is found when every service's clock shows `now`.
fn found_at(mut books: Books, now: Timestamp, tolerance: Tolerance) -> Vec<String> {
    for account in &mut books.accounts {
        account.time = now;
    }
    let found = check(&books, Timestamp::from_seconds(0), tolerance);
    assert!(
        found
            .iter()
            .all(|violation| violation.severity == Severity::Pending),
        "{found:?}"
    );
    sentences(&found).into_iter().map(str::to_owned).collect()
}

fn after(moment: Timestamp, seconds: u64) -> Timestamp {
    moment.plus(Duration::from_secs(seconds))
}

#[test]
fn i4_an_order_that_outlives_its_deadline() {
    let open = books(OrderStatus::AwaitingPayment);
    let sentence = format!(
        "Order {} is still awaiting:payment 6 s after its deadline (I4).",
        order_id(1)
    );
    assert!(found_at(open.clone(), after(EXPIRES, 5), Tolerance::USUAL).is_empty());
    assert_eq!(
        found_at(open.clone(), after(EXPIRES, 6), Tolerance::USUAL),
        [sentence]
    );
    assert!(found_at(open.clone(), after(EXPIRES, 30), Tolerance::AFTER_FAULT).is_empty());
    assert_eq!(
        found_at(open, after(EXPIRES, 31), Tolerance::AFTER_FAULT).len(),
        1
    );
}

#[test]
fn i4_by_the_orders_services_own_clock_and_by_the_callers_without_one() {
    let mut open = books(OrderStatus::AwaitingPayment);
    assert_eq!(
        check(&open, after(EXPIRES, 3_600), Tolerance::USUAL),
        [],
        "its clock is what counts"
    );
    open.accounts.clear();
    assert_eq!(check(&open, after(EXPIRES, 3_600), Tolerance::USUAL).len(), 1);
}

#[test]
fn i4_an_order_that_nobody_watches() {
    let forgotten = with(books(OrderStatus::AwaitingPayment), |fact| match fact {
        Fact::Deadline(_) => None,
        other => Some(other),
    });
    let sentence = format!(
        "Order {} is awaiting:payment, and the expiration service does not know its deadline (I4).",
        order_id(1)
    );
    assert_eq!(found_at(forgotten, NOW, Tolerance::USUAL), [sentence]);
}

#[test]
fn i4_an_order_that_stays_accepted_or_refunding() {
    let accepted = books(OrderStatus::Accepted);
    assert!(found_at(accepted.clone(), after(NOW, 90), Tolerance::USUAL).is_empty());
    let late = found_at(accepted, after(EXPIRES, 96), Tolerance::USUAL);
    let sentence = format!(
        "Order {} is still accepted 96 s after its deadline (I4).",
        order_id(1)
    );
    assert!(late.contains(&sentence), "{late:?}");

    let refunding = books(OrderStatus::Refunding);
    assert!(found_at(refunding.clone(), after(NOW, 90), Tolerance::USUAL).is_empty());
    let late = found_at(refunding, after(NOW, 91), Tolerance::USUAL);
    let sentence = format!(
        "Order {} is still refunding, and its payment is refunding since {NOW} (I4).",
        order_id(1)
    );
    assert!(late.contains(&sentence), "{late:?}");
}

#[test]
fn i2_an_authorisation_that_is_not_voided_in_time() {
    for (state, word) in [
        (PaymentState::Closing, "closing"),
        (PaymentState::FailedUnsettled, "failed and not yet settled"),
        (PaymentState::Refunding, "refunding"),
    ] {
        let orphan = with(books(OrderStatus::Cancelled), |fact| match fact {
            Fact::Payment(_) => Some(Fact::Payment(payment(state))),
            other => Some(other),
        });
        assert!(found_at(orphan.clone(), after(NOW, 90), Tolerance::USUAL).is_empty());
        let sentence = format!(
            "Order {} is cancelled (expired), and its payment of 12.00 usd is {word} since {NOW} (I2).",
            order_id(1)
        );
        assert_eq!(
            found_at(orphan.clone(), after(NOW, 91), Tolerance::USUAL),
            [sentence]
        );
        let at_rest = found_at(orphan, after(NOW, 1), Tolerance::NONE);
        assert_eq!(at_rest.len(), 1, "at rest nothing is on its way: {at_rest:?}");
    }
}

#[test]
fn i1_what_one_store_says_at_one_moment_is_right_or_broken() {
    let miscounted = with(books(OrderStatus::AwaitingPayment), |fact| match fact {
        Fact::Ticket(_) => Some(Fact::Ticket(ticket(2, 0))),
        other => Some(other),
    });
    for (tolerance, severity) in [
        (Tolerance::USUAL, Severity::Pending),
        (Tolerance::OF_COPIES, Severity::Broken),
    ] {
        let found = check(&miscounted, NOW, tolerance);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].severity, severity);
    }
}
