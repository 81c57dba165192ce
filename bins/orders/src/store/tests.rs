//! The stored bytes of orders and ticket views, held for ever: a row that was written by this version must be read by
//! every later one. A test that fails here means that a new schema number is needed, never new bytes. And the indexes,
//! against naive sums and lists.

use std::collections::BTreeMap;
use std::fmt::Debug;

use events::{Currency, ShowTimeError};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn id(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn eur(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Eur).unwrap()
}

fn order() -> Order {
    Order {
        id: OrderId::from_bytes(id(1)),
        version: Version(300),
        user_id: UserId::from_bytes(id(2)),
        status: OrderStatus::Cancelled,
        reason: Some(CancelReason::Refunded),
        quantity: 2,
        total: eur(9100),
        expires_at: Timestamp::from_seconds(1_800_000_900),
        created_at: Timestamp::from_micros(1_800_000_000_000_001),
        ticket: OrderedTicket {
            id: TicketId::from_bytes(id(3)),
            version: Version(7),
            seller_id: UserId::from_bytes(id(4)),
            title: "Nächte".into(),
            price: eur(4550),
            venue: Some("Kino".into()),
            starts_at: Some("2027-05-01T20:00:00+02:00[Europe/Berlin]".parse().unwrap()),
        },
    }
}

fn view() -> TicketView {
    let ticket = order().ticket;
    TicketView {
        id: ticket.id,
        version: ticket.version,
        seller_id: ticket.seller_id,
        title: ticket.title,
        venue: ticket.venue,
        starts_at: ticket.starts_at,
        price: ticket.price,
        quantity: 100_000,
        deleted: false,
    }
}

/// The row has these bytes, is read back from them, and from nothing that is shorter, longer or newer.
fn holds<R: Record + PartialEq + Debug>(row: &R, expected: &str) {
    let bytes = row.encode();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected);
    assert_eq!(R::decode(1, &bytes).as_ref(), Ok(row));
    for schema in [0, 2, 255] {
        assert_eq!(
            R::decode(schema, &bytes).err(),
            Some(DecodeError::UnknownSchema(schema))
        );
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(R::decode(1, &longer).err(), Some(DecodeError::Trailing(1)));
    for length in 0..bytes.len() {
        let cut = R::decode(1, &bytes[..length]);
        assert!(
            matches!(cut, Err(DecodeError::Malformed(_))),
            "{length} bytes: {cut:?}"
        );
    }
    let mut damaged = bytes;
    for place in 0..damaged.len() {
        for value in 0..=255 {
            let byte = std::mem::replace(&mut damaged[place], value);
            // Another row or an error, but never a panic.
            drop(R::decode(1, &damaged));
            damaged[place] = byte;
        }
    }
}

#[test]
fn an_order_keeps_its_bytes() {
    holds(
        &order(),
        concat!(
            "019394b60c0070008000000000000001fb2c01019394b60c007000800000000000000206010602fb184702fd00",
            "d27abc2eca0c00fd020031512eca0c00019394b60c007000800000000000000307019394b60c00700080000000",
            "00000004074ec3a463687465fb8c2301044b696e6f0128323032372d30352d30315432303a30303a30302b3032",
            "3a30305b4575726f70652f4265726c696e5d",
        ),
    );
    let bare = Order {
        status: OrderStatus::Created,
        reason: None,
        ticket: OrderedTicket {
            venue: None,
            starts_at: None,
            ..order().ticket
        },
        ..order()
    };
    holds(
        &bare,
        concat!(
            "019394b60c0070008000000000000001fb2c01019394b60c0070008000000000000002010002fb184702fd00d2",
            "7abc2eca0c00fd020031512eca0c00019394b60c007000800000000000000307019394b60c0070008000000000",
            "000004074ec3a463687465fb8c230000",
        ),
    );
}

#[test]
fn a_ticket_view_keeps_its_bytes() {
    holds(
        &view(),
        concat!(
            "019394b60c007000800000000000000307019394b60c0070008000000000000004074ec3a46368746501044b69",
            "6e6f0128323032372d30352d30315432303a30303a30302b30323a30305b4575726f70652f4265726c696e5dfb",
            "8c2302fca086010000",
        ),
    );
    let gone = TicketView {
        venue: None,
        starts_at: None,
        deleted: true,
        ..view()
    };
    holds(
        &gone,
        concat!(
            "019394b60c007000800000000000000307019394b60c0070008000000000000004074ec3a4636874650000fb8c",
            "2302fca086010001",
        ),
    );
}

#[test]
fn every_status_and_reason_comes_back() {
    for status in OrderStatus::ALL {
        for reason in CancelReason::ALL.map(Some).into_iter().chain([None]) {
            let row = Order {
                status,
                reason,
                ..order()
            };
            assert_eq!(Order::decode(1, &row.encode()), Ok(row));
        }
    }
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let row = || OrderV1 {
        id: id(1),
        version: 1,
        user_id: id(2),
        status: 1,
        reason: None,
        quantity: 1,
        total_minor: 1000,
        currency: 1,
        expires_at_micros: 0,
        created_at_micros: 0,
        ticket_id: id(3),
        ticket_version: 1,
        seller_id: id(4),
        title: "A show".into(),
        price_minor: 1000,
        venue: None,
        starts_at: None,
    };
    assert!(Order::decode(1, &codec::encode(&row())).is_ok());
    for (wrong, what) in [
        (OrderV1 { status: 7, ..row() }, "an order's status is unknown"),
        (
            OrderV1 {
                reason: Some(0),
                ..row()
            },
            "an order's reason is unknown",
        ),
        (
            OrderV1 {
                total_minor: -1,
                ..row()
            },
            "an amount is out of range",
        ),
        (
            OrderV1 {
                price_minor: i64::MAX,
                ..row()
            },
            "an amount is out of range",
        ),
        (
            OrderV1 {
                currency: 99,
                ..row()
            },
            "an amount must be one of the supported currencies, such as usd or eur",
        ),
        (
            OrderV1 {
                starts_at: Some("tonight".into()),
                ..row()
            },
            &format!("a show's time {ShowTimeError}"),
        ),
    ] {
        assert_eq!(
            Order::decode(1, &codec::encode(&wrong)).err(),
            Some(DecodeError::Invalid(what.to_owned()))
        );
    }

    let row = || TicketViewV1 {
        id: id(3),
        version: 1,
        seller_id: id(4),
        title: "A show".into(),
        venue: None,
        starts_at: None,
        price_minor: 1000,
        currency: 1,
        quantity: 1,
        deleted: false,
    };
    assert!(TicketView::decode(1, &codec::encode(&row())).is_ok());
    for wrong in [
        TicketViewV1 { currency: 0, ..row() },
        TicketViewV1 {
            price_minor: -1,
            ..row()
        },
        TicketViewV1 {
            starts_at: Some(String::new()),
            ..row()
        },
    ] {
        let refused = TicketView::decode(1, &codec::encode(&wrong));
        assert!(
            matches!(refused, Err(DecodeError::Invalid(_))),
            "{wrong:?}: {refused:?}"
        );
    }
}

#[derive(Debug, Clone)]
struct Wanted {
    order: u8,
    /// None: the row goes.
    as_follows: Option<(OrderStatus, u32)>,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let row = proptest::option::weighted(0.85, (select(OrderStatus::ALL.as_slice()), 0..4_u32));
    (0..8_u8, row).prop_map(|(order, as_follows)| Wanted { order, as_follows })
}

/// Whose order it is and of what never changes.
fn nth_order(n: u8, status: OrderStatus, quantity: u32) -> Order {
    Order {
        id: OrderId::from_bytes(id(n)),
        user_id: UserId::from_bytes(id(100 + n % 3)),
        status,
        quantity,
        ticket: OrderedTicket {
            id: TicketId::from_bytes(id(200 + n % 2)),
            ..order().ticket
        },
        ..order()
    }
}

proptest! {
    #[test]
    fn the_indexes_are_what_a_naive_look_gives_and_can_be_taken_back(
        changes in proptest::collection::vec(wanted(), 1..40),
        limit in 1..4_usize,
    ) {
        let mut indexes = OrderIndexes::default();
        let mut orders: BTreeMap<OrderId, Order> = BTreeMap::new();
        let mut history = Vec::new();
        for Wanted { order, as_follows } in changes {
            let next = as_follows.map(|(status, quantity)| nth_order(order, status, quantity));
            let before = match next.clone() {
                Some(next) => orders.insert(next.id, next),
                None => orders.remove(&OrderId::from_bytes(id(order))),
            };
            indexes.apply(&Change::new(before.as_ref(), next.as_ref()));
            history.push((before, next));

            for ticket in [200, 201].map(|n| TicketId::from_bytes(id(n))) {
                let of_ticket = orders.values().filter(|order| order.ticket.id == ticket);
                let naive: u32 = of_ticket
                    .filter(|order| order.status != OrderStatus::Cancelled)
                    .map(|order| order.quantity)
                    .sum();
                prop_assert_eq!(indexes.claimed(ticket), naive);
            }
            for buyer in [100, 101, 102].map(|n| UserId::from_bytes(id(n))) {
                let naive: Vec<OrderId> = orders
                    .values()
                    .rev()
                    .filter(|order| order.user_id == buyer)
                    .map(|order| order.id)
                    .collect();
                let mut paged: Vec<OrderId> = Vec::new();
                loop {
                    let page = indexes.of_buyer(buyer, paged.last().copied(), limit);
                    if page.is_empty() {
                        break;
                    }
                    prop_assert!(page.len() <= limit);
                    paged.extend(page);
                }
                prop_assert_eq!(paged, naive);
            }
        }
        for (before, after) in history.iter().rev() {
            indexes.apply(&Change::new(after.as_ref(), before.as_ref()));
        }
        prop_assert_eq!(indexes, OrderIndexes::default());
    }

    #[test]
    fn a_ticket_view_is_in_no_index(known in any::<bool>()) {
        let mut indexes = OrderIndexes::default();
        let view = view();
        indexes.apply(&Change::new(known.then_some(&view), Some(&view)));
        prop_assert_eq!(indexes, OrderIndexes::default());
    }
}
