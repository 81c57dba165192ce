//! What is wrong whatever the time is.

use events::{OrderStatus, Seq, Source, Version};
use invariants::{Books, Fact, HoldState, Invariant, Order, PaymentState, Severity, VersionGap};

use crate::world::{
    among, at, books, charge, found, hold, known_as, only, order, order_id, payment, sentences, ticket,
    ticket_id, usd, with,
};

/// Every state that an order can rest in.
const AT_REST: [OrderStatus; 5] = [
    OrderStatus::AwaitingPayment,
    OrderStatus::Accepted,
    OrderStatus::Complete,
    OrderStatus::Refunding,
    OrderStatus::Cancelled,
];

#[test]
fn good_books_pass() {
    for status in AT_REST {
        assert_eq!(found(&books(status)), [], "{status:?}");
    }
    assert_eq!(found(&Books::default()), [], "nothing is not wrong");
}

#[test]
fn partial_books_are_checked_as_far_as_they_go() {
    for missing in Source::ALL {
        for status in AT_REST {
            let mut partial = with(books(status), |fact| {
                (fact.source() != Some(missing)).then_some(fact)
            });
            partial.accounts.retain(|account| account.source != missing);
            assert_eq!(found(&partial), [], "{status:?} without {missing}");
        }
    }
}

#[test]
fn books_travel_as_json() {
    for status in AT_REST {
        let mut sent = books(status);
        sent.facts.push(Fact::Charge(charge(0, 1_200, 0)));
        let json = serde_json::to_string(&sent).expect("books can be written");
        assert_eq!(
            serde_json::from_str::<Books>(&json).expect("books can be read"),
            sent
        );
    }
}

#[test]
fn the_order_of_what_is_found_depends_on_the_books_alone() {
    let mut one = with(books(OrderStatus::Complete), |fact| match fact {
        Fact::Ticket(_) => Some(Fact::Ticket(ticket(2, 1))),
        Fact::Hold(_) => None,
        other => Some(other),
    });
    let first = found(&one);
    assert!(first.len() > 2, "{first:?}");
    assert!(first[0].is_broken(), "the worst comes first");
    one.facts.reverse();
    one.accounts.reverse();
    assert_eq!(found(&one), first);
}

#[test]
fn i1_a_ticket_that_is_sold_twice() {
    let oversold = with(books(OrderStatus::Complete), |fact| match fact {
        Fact::Ticket(_) => Some(Fact::Ticket(ticket(2, 1))),
        other => Some(other),
    });
    let id = ticket_id(1);
    let sentence = format!("Ticket {id} has 3 of 2 pieces reserved or sold (I1).");
    among(&oversold, Severity::Broken, Invariant::I1, &sentence);
    let sentence = format!("Ticket {id} counts 2 pieces as reserved, and its holds amount to 0 (I1).");
    among(&oversold, Severity::Pending, Invariant::I1, &sentence);
}

#[test]
fn i1_an_order_that_holds_twice() {
    let mut twice = books(OrderStatus::Complete);
    let mut other = hold(HoldState::Released);
    other.ticket_id = ticket_id(2);
    twice.facts.push(Fact::Hold(other));
    let sentence = format!(
        "Order {} has 2 holds, on ticket {} and on ticket {} among them (I1).",
        order_id(1),
        ticket_id(1),
        ticket_id(2)
    );
    only(&twice, Severity::Broken, Invariant::I1, &sentence);
}

#[test]
fn i1_a_hold_of_something_else_than_what_was_ordered() {
    let wrong = with(books(OrderStatus::Cancelled), |fact| match fact {
        Fact::Hold(mut hold) => {
            hold.quantity = 2;
            Some(Fact::Hold(hold))
        }
        other => Some(other),
    });
    let all = found(&wrong);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(
        all[0].is_broken() && all[0].sentence.contains("and 2 pieces of ticket"),
        "{all:?}"
    );
}

#[test]
fn i1_more_is_promised_than_there_is() {
    let mut promised = books(OrderStatus::AwaitingPayment);
    for number in 2..4 {
        let mut other = order(OrderStatus::AwaitingPayment);
        other.id = order_id(number);
        promised.facts.push(Fact::Order(other));
    }
    let sentence = format!(
        "Ticket {} has 2 pieces, and 3 are promised to buyers (I1).",
        ticket_id(1)
    );
    among(&promised, Severity::Pending, Invariant::I1, &sentence);
}

#[test]
fn i5_versions_that_jump() {
    let mut jumped = books(OrderStatus::Complete);
    jumped.accounts[2].version_gaps.push(VersionGap {
        subject: order_id(1).to_string(),
        seq: Seq(7),
        before: Version(3),
        found: Version(5),
    });
    let sentence = format!(
        "Event 7 of orders says version 5 of {}, and the event before it said version 3 (I5).",
        order_id(1)
    );
    only(&jumped, Severity::Broken, Invariant::I5, &sentence);
}

#[test]
fn i7_an_outbox_that_is_not_drained_and_a_reader_that_is_behind() {
    let mut behind = books(OrderStatus::Complete);
    behind.accounts[1].relayed = Some(at(5));
    behind.accounts[1].relay_trouble = Some("Redis can't be reached".to_owned());
    behind.accounts[2].readings[1].cursor = at(4);
    let all = found(&behind);
    assert_eq!(
        sentences(&all),
        [
            "orders has read tickets up to event 1-4, and there are events up to 1-7 (reading) (I7).",
            "The outbox of tickets ends with event 1-7, and 1-5 is the last one in its stream; its relay says: Redis \
             can't be reached (I7).",
        ]
    );
    assert!(all.iter().all(|violation| !violation.is_broken()));
}

#[test]
fn i7_a_store_that_has_lost_something_or_does_not_serve() {
    let mut old = books(OrderStatus::Complete);
    old.accounts[1].head = at(3);
    let all = found(&old);
    assert_eq!(
        sentences(&all),
        [
            "orders has read tickets up to event 1-7, and the store of tickets ends with 1-3: that store has lost \
             something (reading) (I7).",
            "The stream of tickets ends with event 1-7 and its store with 1-3 (I7).",
        ]
    );
    let mut silent = with(books(OrderStatus::Complete), |fact| match fact {
        // What a store that does not serve says is not believed, so that it can't break anything.
        Fact::Ticket(_) => Some(Fact::Ticket(ticket(2, 1))),
        other => Some(other),
    });
    silent.accounts[1].serving = false;
    silent.accounts[1].state = "old: it ends with event 3".to_owned();
    only(
        &silent,
        Severity::Pending,
        Invariant::I7,
        "The tickets store does not serve: old: it ends with event 3 (I7).",
    );
}

#[test]
fn i7_replicas_that_disagree() {
    let id = ticket_id(1);
    let stale = with(books(OrderStatus::Cancelled), |fact| match fact {
        Fact::TicketReplica(mut replica) => {
            replica.listing.price = usd(1_100);
            Some(Fact::TicketReplica(replica))
        }
        other => Some(other),
    });
    only(
        &stale,
        Severity::Pending,
        Invariant::I7,
        &format!(
            "The orders service knows ticket {id} as it was in version 1, and version 4 of it says something else (I7)."
        ),
    );
    let unknown = with(books(OrderStatus::Cancelled), |fact| match fact {
        Fact::TicketReplica(_) => None,
        other => Some(other),
    });
    only(
        &unknown,
        Severity::Pending,
        Invariant::I7,
        &format!("The orders service does not know ticket {id} (I7)."),
    );
    let older = with(books(OrderStatus::Complete), |fact| match fact {
        Fact::OrderReplica(mut replica) => {
            (replica.version, replica.status) = (Version(2), OrderStatus::Accepted);
            Some(Fact::OrderReplica(replica))
        }
        other => Some(other),
    });
    only(
        &older,
        Severity::Pending,
        Invariant::I7,
        &format!(
            "The payments service knows order {} as accepted in version 2, and it is complete in version 3 (I7).",
            order_id(1)
        ),
    );
}

#[test]
fn i7_a_hold_that_does_not_follow_and_things_of_an_order_that_is_not_there() {
    let held = with(books(OrderStatus::Cancelled), |fact| match fact {
        Fact::Hold(_) => Some(Fact::Hold(hold(HoldState::Held))),
        Fact::Ticket(_) => Some(Fact::Ticket(ticket(1, 0))),
        other => Some(other),
    });
    only(
        &held,
        Severity::Pending,
        Invariant::I7,
        &format!(
            "Order {} is cancelled, and its pieces are held (I7).",
            order_id(1)
        ),
    );
    let orphans = with(books(OrderStatus::AwaitingPayment), |fact| match fact {
        Fact::Order(_) => None,
        other => Some(other),
    });
    let all = found(&orphans);
    assert_eq!(
        all.len(),
        4,
        "a hold, a replica, a payment and a deadline: {all:?}"
    );
    assert!(
        all.iter().all(|violation| violation.invariant == Invariant::I7),
        "{all:?}"
    );
    let ended = with(books(OrderStatus::Cancelled), |fact| match fact {
        Fact::Order(_) => None,
        other => Some(other),
    });
    assert_eq!(
        found(&ended),
        [],
        "what was lost for good has ended for everyone else"
    );
    let moved_on = |fact| match fact {
        Fact::Order(_) => Some(Fact::Order(order(OrderStatus::Accepted))),
        Fact::OrderReplica(_) => {
            let accepted: Order = order(OrderStatus::Accepted);
            Some(Fact::OrderReplica(known_as(&accepted)))
        }
        Fact::Payment(_) => Some(Fact::Payment(payment(PaymentState::Capturing))),
        other => Some(other),
    };
    only(
        &with(books(OrderStatus::AwaitingPayment), moved_on),
        Severity::Pending,
        Invariant::I7,
        &format!(
            "A deadline is still watched for order {}, which is accepted (I7).",
            order_id(1)
        ),
    );
}
