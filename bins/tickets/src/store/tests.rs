//! The stored bytes of tickets and holds, held for ever: a row that was written by this version must be read by every
//! later one. A test that fails here means that a new schema number is needed, never new bytes.

use std::fmt::Debug;

use events::{Currency, ShowTimeError};

use super::*;

fn id(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn ticket() -> Ticket {
    Ticket {
        id: TicketId::from_bytes(id(1)),
        version: Version(300),
        seller_id: UserId::from_bytes(id(2)),
        details: Details {
            title: "Nächte".into(),
            description: "Row 4".into(),
            venue: Some("Kino".into()),
            starts_at: Some("2027-05-01T20:00:00+02:00[Europe/Berlin]".parse().unwrap()),
            price: Money::from_minor(4550, Currency::Eur).unwrap(),
            quantity: 100_000,
        },
        reserved: 7,
        sold: 70_000,
        deleted: false,
        created_at: Timestamp::from_seconds(1_800_000_000),
        updated_at: Timestamp::from_micros(1_800_000_000_000_001),
    }
}

fn bare_ticket() -> Ticket {
    let ticket = ticket();
    Ticket {
        details: Details {
            description: String::new(),
            venue: None,
            starts_at: None,
            price: Money::from_minor(1, Currency::Kwd).unwrap(),
            ..ticket.details
        },
        deleted: true,
        ..ticket
    }
}

fn hold(state: HoldState, order_status: OrderStatus) -> Hold {
    Hold {
        ticket_id: TicketId::from_bytes(id(1)),
        order_id: OrderId::from_bytes(id(3)),
        quantity: 2,
        state,
        order_status,
        total: Money::from_minor(9100, Currency::Eur).unwrap(),
        ordered_at: Timestamp::from_seconds(1_800_000_000),
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
fn a_ticket_keeps_its_bytes() {
    holds(
        &ticket(),
        concat!(
            "019394b60c0070008000000000000001fb2c01019394b60c0070008000000000000002074ec3a4636874650552",
            "6f77203401044b696e6f0128323032372d30352d30315432303a30303a30302b30323a30305b4575726f70652f",
            "4265726c696e5dfb8c2302fca086010007fc7011010000fd000031512eca0c00fd020031512eca0c00",
        ),
    );
    holds(
        &bare_ticket(),
        concat!(
            "019394b60c0070008000000000000001fb2c01019394b60c0070008000000000000002074ec3a4636874650000",
            "00020efca086010007fc7011010001fd000031512eca0c00fd020031512eca0c00",
        ),
    );
}

#[test]
fn a_hold_keeps_its_bytes() {
    holds(
        &hold(HoldState::Held, OrderStatus::AwaitingPayment),
        "019394b60c0070008000000000000001019394b60c0070008000000000000003020102fb184702fd000031512eca0c00",
    );
    holds(
        &hold(HoldState::Sold, OrderStatus::Complete),
        "019394b60c0070008000000000000001019394b60c0070008000000000000003020204fb184702fd000031512eca0c00",
    );
    holds(
        &hold(HoldState::Released, OrderStatus::Cancelled),
        "019394b60c0070008000000000000001019394b60c0070008000000000000003020306fb184702fd000031512eca0c00",
    );
    holds(
        &hold(HoldState::Refused, OrderStatus::Created),
        "019394b60c0070008000000000000001019394b60c0070008000000000000003020401fb184702fd000031512eca0c00",
    );
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let invalid = |what: &str| Some(DecodeError::Invalid(what.to_owned()));
    let row = TicketV1 {
        id: id(1),
        version: 1,
        seller_id: id(2),
        title: "A show".into(),
        description: String::new(),
        venue: None,
        starts_at: None,
        price_minor: 1000,
        currency: Currency::Usd.code(),
        quantity: 1,
        reserved: 0,
        sold: 0,
        deleted: false,
        created_at_micros: 0,
        updated_at_micros: 0,
    };
    assert!(Ticket::decode(1, &codec::encode(&row)).is_ok());
    let row = TicketV1 { currency: 99, ..row };
    assert_eq!(
        Ticket::decode(1, &codec::encode(&row)).err(),
        invalid("an amount must be one of the supported currencies, such as usd or eur")
    );
    let row = TicketV1 {
        currency: 1,
        price_minor: -1,
        ..row
    };
    assert_eq!(
        Ticket::decode(1, &codec::encode(&row)).err(),
        invalid("an amount is out of range")
    );
    let row = TicketV1 {
        price_minor: 1,
        starts_at: Some("tonight".into()),
        ..row
    };
    assert_eq!(
        Ticket::decode(1, &codec::encode(&row)).err(),
        invalid(&format!("a show's time {ShowTimeError}"))
    );

    let row = HoldV1 {
        ticket_id: id(1),
        order_id: id(3),
        quantity: 1,
        state: 1,
        order_status: 1,
        total_minor: 1000,
        currency: 1,
        ordered_at_micros: 0,
    };
    assert!(Hold::decode(1, &codec::encode(&row)).is_ok());
    let row = HoldV1 { state: 5, ..row };
    assert_eq!(
        Hold::decode(1, &codec::encode(&row)).err(),
        invalid("a hold's state is unknown")
    );
    let row = HoldV1 {
        state: 1,
        order_status: 0,
        ..row
    };
    assert_eq!(
        Hold::decode(1, &codec::encode(&row)).err(),
        invalid("an order's status is unknown")
    );
    let row = HoldV1 {
        order_status: 1,
        currency: 0,
        ..row
    };
    assert_eq!(
        Hold::decode(1, &codec::encode(&row)).err(),
        invalid("an amount must be one of the supported currencies, such as usd or eur")
    );
}
