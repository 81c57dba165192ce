//! Good books to plant something wrong in: one listing of two pieces, and one order of it in any state.

use events::{
    CancelReason, Currency, Epoch, Money, OrderId, OrderStatus, PaymentId, Position, Seq, Source, TicketId,
    Timestamp, UserId, Version,
};
use invariants::{
    Account, Books, Charge, Deadline, Fact, Hold, HoldState, Invariant, Listing, Order, OrderReplica,
    Payment, PaymentState, Reading, Severity, Ticket, TicketReplica, Tolerance, Violation, check,
};

pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_000_000);
pub(crate) const EXPIRES: Timestamp = Timestamp::from_seconds(1_000_100);

pub(crate) fn ticket_id(number: u8) -> TicketId {
    id(1, number).parse().expect("it is a UUIDv7")
}

pub(crate) fn order_id(number: u8) -> OrderId {
    id(2, number).parse().expect("it is a UUIDv7")
}

pub(crate) fn payment_id(number: u8) -> PaymentId {
    id(3, number).parse().expect("it is a UUIDv7")
}

pub(crate) fn user_id(number: u8) -> UserId {
    id(4, number).parse().expect("it is a UUIDv7")
}

fn id(kind: u8, number: u8) -> String {
    format!("019394b6-0c00-7000-8000-{kind:04}{number:08}")
}

pub(crate) fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Usd).expect("it is in range")
}

pub(crate) fn at(seq: u64) -> Position {
    Position {
        epoch: Epoch::FIRST,
        seq: Seq(seq),
    }
}

pub(crate) fn ticket(reserved: u32, sold: u32) -> Ticket {
    Ticket {
        id: ticket_id(1),
        version: Version(4),
        listing: listing(),
        reserved,
        sold,
    }
}

pub(crate) fn listing() -> Listing {
    Listing {
        seller_id: user_id(1),
        price: usd(1_200),
        quantity: 2,
        deleted: false,
        words: Listing::words("Figaro", None, None),
    }
}

pub(crate) fn replica() -> TicketReplica {
    TicketReplica {
        id: ticket_id(1),
        version: Version(1),
        listing: listing(),
    }
}

pub(crate) fn hold(state: HoldState) -> Hold {
    Hold {
        ticket_id: ticket_id(1),
        order_id: order_id(1),
        quantity: 1,
        total: usd(1_200),
        state,
    }
}

pub(crate) fn order(status: OrderStatus) -> Order {
    Order {
        id: order_id(1),
        version: Version(3),
        user_id: user_id(2),
        ticket_id: ticket_id(1),
        quantity: 1,
        total: usd(1_200),
        status,
        reason: (status == OrderStatus::Cancelled).then_some(CancelReason::Expired),
        expires_at: EXPIRES,
    }
}

pub(crate) fn known_as(order: &Order) -> OrderReplica {
    OrderReplica {
        holder: Source::Payments,
        id: order.id,
        version: order.version,
        user_id: order.user_id,
        quantity: order.quantity,
        total: order.total,
        status: order.status,
        reason: order.reason,
        expires_at: order.expires_at,
    }
}

pub(crate) fn payment(state: PaymentState) -> Payment {
    Payment {
        id: payment_id(1),
        version: Version(2),
        order_id: order_id(1),
        amount: usd(1_200),
        state,
        changed_at: NOW,
        intent: Some("pi_1".to_owned()),
    }
}

pub(crate) fn deadline() -> Deadline {
    Deadline {
        order_id: order_id(1),
        due: EXPIRES,
        fired: false,
    }
}

pub(crate) fn charge(authorized: i64, captured: i64, refunded: i64) -> Charge {
    Charge {
        intent: "pi_1".to_owned(),
        order_id: order_id(1),
        authorized_minor: authorized,
        captured_minor: captured,
        refunded_minor: refunded,
    }
}

/// The accounts of five stores that serve and have read each other to the end.
pub(crate) fn accounts() -> Vec<Account> {
    Source::ALL.into_iter().map(account).collect()
}

fn account(source: Source) -> Account {
    let reads: &[Source] = match source {
        Source::Auth => &[],
        Source::Orders => &[
            Source::Auth,
            Source::Tickets,
            Source::Expiration,
            Source::Payments,
        ],
        Source::Tickets | Source::Expiration | Source::Payments => &[Source::Auth, Source::Orders],
    };
    Account {
        source,
        serving: true,
        state: "serving".to_owned(),
        time: NOW,
        head: at(7),
        oldest: 1,
        relayed: Some(at(7)),
        relay_trouble: None,
        readings: reads
            .iter()
            .map(|source| Reading {
                source: *source,
                cursor: at(7),
                state: Some("reading".to_owned()),
            })
            .collect(),
        dead_letters: 0,
        keys: 10,
        state_hash: Some(format!("hash of {source}")),
        version_gaps: Vec::new(),
    }
}

/// The books of one order that is at rest in `status`, everything else as it should be then.
pub(crate) fn books(status: OrderStatus) -> Books {
    let (reserved, sold, held, paid) = match status {
        OrderStatus::Created | OrderStatus::AwaitingPayment => (1, 0, HoldState::Held, PaymentState::Open),
        OrderStatus::Accepted => (1, 0, HoldState::Held, PaymentState::Capturing),
        OrderStatus::Complete => (0, 1, HoldState::Sold, PaymentState::Captured),
        OrderStatus::Refunding => (0, 1, HoldState::Sold, PaymentState::Refunding),
        OrderStatus::Cancelled => (0, 0, HoldState::Released, PaymentState::Closed),
    };
    let order = order(status);
    let mut facts = vec![
        Fact::Ticket(ticket(reserved, sold)),
        Fact::Hold(hold(held)),
        Fact::Order(order),
        Fact::TicketReplica(replica()),
        Fact::OrderReplica(known_as(&order)),
        Fact::Payment(payment(paid)),
    ];
    if matches!(status, OrderStatus::Created | OrderStatus::AwaitingPayment) {
        facts.push(Fact::Deadline(deadline()));
    }
    Books {
        accounts: accounts(),
        facts,
    }
}

/// The same books with every fact changed by `change`; a fact for which it answers nothing is left out.
pub(crate) fn with(mut books: Books, change: impl Fn(Fact) -> Option<Fact>) -> Books {
    books.facts = books.facts.into_iter().filter_map(change).collect();
    books
}

pub(crate) fn found(books: &Books) -> Vec<Violation> {
    check(books, NOW, Tolerance::USUAL)
}

pub(crate) fn sentences(found: &[Violation]) -> Vec<&str> {
    found
        .iter()
        .map(|violation| violation.sentence.as_str())
        .collect()
}

/// The one violation of these books.
#[track_caller]
pub(crate) fn only(books: &Books, severity: Severity, invariant: Invariant, sentence: &str) {
    let all = found(books);
    assert_eq!(sentences(&all), [sentence]);
    assert_eq!((all[0].severity, all[0].invariant), (severity, invariant));
}

/// That this is among what is found.
#[track_caller]
pub(crate) fn among(books: &Books, severity: Severity, invariant: Invariant, sentence: &str) {
    let all = found(books);
    let is_it = |violation: &&Violation| violation.sentence == sentence;
    let it = all.iter().find(is_it);
    let it = it.unwrap_or_else(|| panic!("not found in {:#?}", sentences(&all)));
    assert_eq!((it.severity, it.invariant), (severity, invariant));
}
