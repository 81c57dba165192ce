//! What needs more than one look: I3 against what was acknowledged, I5 over an outbox, I6 before and after.

use events::{
    Event, OrderSnapshot, OrderStatus, OrderedTicket, RejectReason, Seq, TicketChange, Timestamp, Version,
};
use invariants::{Acknowledged, Books, Fact, User, VersionGap, VersionScan, kept, unchanged};

use crate::world::{EXPIRES, books, order_id, payment_id, sentences, ticket_id, usd, user_id};

fn with_a_user() -> Books {
    let mut books = books(OrderStatus::Complete);
    books.facts.push(Fact::User(User {
        id: user_id(2),
        version: Version::FIRST,
    }));
    books
}

fn order(number: u8, version: u64, status: OrderStatus) -> Acknowledged {
    Acknowledged::Order {
        id: order_id(number),
        version: Version(version),
        status,
    }
}

#[test]
fn i3_what_was_acknowledged_is_there_or_newer() {
    let ticket = |number, version| Acknowledged::Ticket {
        id: ticket_id(number),
        version: Version(version),
    };
    let kept_promises = [
        Acknowledged::User { id: user_id(2) },
        ticket(1, 1),
        ticket(1, 4),
        order(1, 2, OrderStatus::AwaitingPayment),
        order(1, 3, OrderStatus::Complete),
        Acknowledged::Payment { id: payment_id(1) },
    ];
    assert_eq!(kept(&kept_promises, &with_a_user()), []);
    let broken_promises = [
        Acknowledged::User { id: user_id(3) },
        ticket(2, 1),
        ticket(1, 5),
        Acknowledged::TicketDeleted { id: ticket_id(1) },
        order(2, 1, OrderStatus::Created),
        order(1, 4, OrderStatus::Refunding),
        order(1, 3, OrderStatus::Accepted),
        Acknowledged::Payment { id: payment_id(2) },
    ];
    let found = kept(&broken_promises, &with_a_user());
    let said = sentences(&found);
    assert_eq!(said.len(), broken_promises.len(), "{said:#?}");
    for sentence in [
        format!("The sign-up of {} was acknowledged and is gone (I3).", user_id(3)),
        format!(
            "Ticket {} was acknowledged in version 5 and is in version 4 (I3).",
            ticket_id(1)
        ),
        format!(
            "Ticket {} was acknowledged as withdrawn and is on sale (I3).",
            ticket_id(1)
        ),
        format!(
            "Order {} was acknowledged as accepted in version 3, which is complete (I3).",
            order_id(1)
        ),
    ] {
        assert!(
            said.contains(&sentence.as_str()),
            "{sentence} is not in {said:#?}"
        );
    }
    assert!(found.iter().all(invariants::Violation::is_broken));
    let mut silent = with_a_user();
    silent.accounts.clear();
    assert_eq!(
        kept(&broken_promises, &silent),
        [],
        "what is not in the books is not judged"
    );
}

fn snapshot(number: u8, version: u64) -> OrderSnapshot {
    OrderSnapshot {
        id: order_id(number),
        version: Version(version),
        user_id: user_id(2),
        status: OrderStatus::Created,
        reason: None,
        quantity: 1,
        total: usd(1_200),
        expires_at: EXPIRES,
        created_at: Timestamp::from_seconds(1),
        ticket: OrderedTicket {
            id: ticket_id(1),
            version: Version::FIRST,
            seller_id: user_id(1),
            title: "Figaro".to_owned(),
            price: usd(1_200),
            venue: None,
            starts_at: None,
        },
    }
}

#[test]
fn i5_versions_in_an_outbox_go_up_by_one() {
    let mut scan = VersionScan::default();
    let mut see = |seq, event: &Event| scan.see(Seq(seq), event);
    assert_eq!(see(8, &Event::OrderCreated(snapshot(1, 1))), None);
    assert_eq!(
        see(9, &Event::OrderAccepted(snapshot(2, 6))),
        None,
        "what came before is trimmed"
    );
    assert_eq!(see(10, &Event::OrderAwaitingPayment(snapshot(1, 2))), None);
    let rejected = Event::TicketRejected(TicketChange {
        ticket: None,
        ticket_id: ticket_id(1),
        order_id: order_id(1),
        quantity: 1,
        reason: Some(RejectReason::Deleted),
    });
    assert_eq!(see(11, &rejected), None);
    assert_eq!(see(12, &rejected), None, "a rejection changes no version");
    let gap = |seq, before, found| VersionGap {
        subject: order_id(1).to_string(),
        seq: Seq(seq),
        before: Version(before),
        found: Version(found),
    };
    assert_eq!(
        see(13, &Event::OrderAccepted(snapshot(1, 4))),
        Some(gap(13, 2, 4))
    );
    assert_eq!(
        see(14, &Event::OrderCompleted(snapshot(1, 4))),
        Some(gap(14, 4, 4))
    );
    assert_eq!(see(15, &Event::OrderCompleted(snapshot(2, 7))), None);
}

#[test]
fn i6_hashes_that_differ() {
    let before = books(OrderStatus::Complete);
    assert_eq!(unchanged(&before, &before.clone()), []);
    let mut after = before.clone();
    after.accounts[3].state_hash = Some("another".to_owned());
    after.accounts[4].state_hash = None;
    assert_eq!(
        sentences(&unchanged(&before, &after)),
        [
            "The rows of expiration have changed though nothing new has happened: their hash was hash of expiration \
             and is another (I6)."
        ]
    );
}
