//! The wire form of every event, held by snapshots: a change here is a change of what others read.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

use events::*;

fn id(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Usd).unwrap()
}

fn ticket() -> TicketSnapshot {
    TicketSnapshot {
        id: TicketId::from_bytes(id(1)),
        version: Version(3),
        seller_id: UserId::from_bytes(id(2)),
        title: "Nils Frahm, live".into(),
        description: "Row 4 \"centre\"".into(),
        venue: Some("Philharmonie".into()),
        starts_at: Some("2027-05-01T20:00:00+02:00".parse().unwrap()),
        price: usd(4550),
        quantity: 4,
        reserved: 1,
        sold: 2,
        deleted: false,
        created_at: Timestamp::from_seconds(1_800_000_000),
        updated_at: Timestamp::from_millis(1_800_000_000_250),
    }
}

fn change(reason: Option<RejectReason>) -> TicketChange {
    TicketChange {
        ticket: Some(ticket()),
        ticket_id: TicketId::from_bytes(id(1)),
        order_id: OrderId::from_bytes(id(3)),
        quantity: 2,
        reason,
    }
}

fn order(status: OrderStatus, reason: Option<CancelReason>) -> OrderSnapshot {
    OrderSnapshot {
        id: OrderId::from_bytes(id(3)),
        version: Version(2),
        user_id: UserId::from_bytes(id(4)),
        status,
        reason,
        quantity: 2,
        total: usd(9100),
        expires_at: Timestamp::from_seconds(1_800_000_900),
        created_at: Timestamp::from_seconds(1_800_000_000),
        ticket: OrderedTicket {
            id: TicketId::from_bytes(id(1)),
            version: Version(1),
            seller_id: UserId::from_bytes(id(2)),
            title: "Nils Frahm, live".into(),
            price: usd(4550),
            venue: None,
            starts_at: None,
        },
    }
}

fn payment(status: PaymentStatus, reason: Option<FailureReason>) -> PaymentSnapshot {
    PaymentSnapshot {
        id: PaymentId::from_bytes(id(5)),
        version: Version(2),
        order_id: OrderId::from_bytes(id(3)),
        user_id: UserId::from_bytes(id(4)),
        status,
        stripe_id: "pi_123".into(),
        amount: usd(9100),
        reason,
    }
}

fn every_event() -> Vec<Event> {
    let user_id = UserId::from_bytes(id(4));
    let moment = Timestamp::from_seconds(1_800_000_000);
    let order_id = OrderId::from_bytes(id(3));
    vec![
        Event::UserRegistered(UserRegistered { user_id }),
        Event::SessionRevoked(SessionRevoked {
            user_id,
            session_id: Some(SessionId::from_bytes(id(6))),
            except: None,
            before: moment,
            until: moment,
        }),
        Event::KeyPublished(KeyPublished {
            kid: "k1".into(),
            public_key: "AAAA".into(),
            usable_from: moment,
        }),
        Event::KeyRetired(KeyRetired { kid: "k1".into() }),
        Event::TicketCreated(ticket()),
        Event::TicketUpdated(ticket()),
        Event::TicketDeleted(TicketSnapshot {
            deleted: true,
            venue: None,
            starts_at: None,
            ..ticket()
        }),
        Event::TicketReserved(change(None)),
        Event::TicketRejected(TicketChange {
            ticket: None,
            ..change(Some(RejectReason::SoldOut))
        }),
        Event::TicketReleased(change(None)),
        Event::TicketSold(change(None)),
        Event::OrderCreated(order(OrderStatus::Created, None)),
        Event::OrderAwaitingPayment(order(OrderStatus::AwaitingPayment, None)),
        Event::OrderAccepted(order(OrderStatus::Accepted, None)),
        Event::OrderCompleted(order(OrderStatus::Complete, None)),
        Event::OrderRefunding(order(OrderStatus::Refunding, None)),
        Event::OrderCancelled(order(OrderStatus::Cancelled, Some(CancelReason::TicketDeleted))),
        Event::OrderNotDue(OrderNotDue {
            order_id,
            remaining_ms: 1500,
        }),
        Event::OrderExpired(OrderExpired {
            order_id,
            expires_at: moment,
        }),
        Event::PaymentOpened(payment(PaymentStatus::Opened, None)),
        Event::PaymentAuthorized(payment(PaymentStatus::Authorized, None)),
        Event::PaymentCreated(payment(PaymentStatus::Captured, None)),
        Event::PaymentFailed(payment(
            PaymentStatus::Failed,
            Some(FailureReason::CaptureRefused),
        )),
        Event::PaymentRefunded(payment(PaymentStatus::Refunded, None)),
    ]
}

fn envelope(event: Event) -> Envelope {
    Envelope {
        source: event.event_type().source(),
        position: Position {
            epoch: Epoch(1),
            seq: Seq(42),
        },
        time: Timestamp::from_millis(1_800_000_000_125),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        cause: Some(Cause::new(
            Source::Orders,
            Position {
                epoch: Epoch(1),
                seq: Seq(7),
            },
        )),
        event,
    }
}

#[test]
fn every_event_has_its_wire_form() {
    let events = every_event();
    let types: Vec<_> = events.iter().map(Event::event_type).collect();
    assert_eq!(
        types,
        EventType::ALL,
        "each type of the catalog once, in its order"
    );
    let wire: Vec<String> = events
        .into_iter()
        .map(|event| envelope(event).to_json())
        .collect();
    insta::assert_snapshot!(wire.join("\n"));
}

#[test]
fn every_event_is_read_back() {
    for event in every_event() {
        let envelope = envelope(event);
        let text = envelope.to_json();
        assert_eq!(Envelope::from_json(&text).unwrap(), envelope);
        assert_eq!(
            EnvelopeHead::from_json(&text).unwrap().position(),
            envelope.position
        );
    }
}

#[test]
fn what_cannot_be_applied_is_told_apart() {
    let good = envelope(Event::KeyRetired(KeyRetired { kid: "k1".into() })).to_json();
    let newer = good.replace("key:retired:1", "key:retired:2");
    assert!(matches!(
        Envelope::from_json(&newer),
        Err(EnvelopeError::NewerSchema { .. })
    ));
    let alien = good.replace("urn:boxoffice", "urn:elsewhere");
    assert!(matches!(
        Envelope::from_json(&alien),
        Err(EnvelopeError::UnknownSchema(_))
    ));
    let unknown = good.replace("key:retired", "key:eaten");
    assert!(matches!(
        Envelope::from_json(&unknown),
        Err(EnvelopeError::UnknownType(_))
    ));
    let field = good.replace("\"kid\"", "\"kids\"");
    assert!(matches!(
        Envelope::from_json(&field),
        Err(EnvelopeError::MalformedData { .. })
    ));
    for broken in ["", "{", "[]", "null", &good[..good.len() - 1]] {
        assert!(
            matches!(Envelope::from_json(broken), Err(EnvelopeError::Malformed(_))),
            "{broken}"
        );
    }
}
