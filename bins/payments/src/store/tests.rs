//! Every row comes back as it was, its bytes stay what they are, and the indexes can take back what they took.

use std::time::Duration;

use events::{
    CancelReason, Currency, FailureReason, Money, OrderId, OrderStatus, PaymentId, Timestamp, UserId, Version,
};
use store::codec::DecodeError;
use store::{Change, Indexes, Record};

use super::{Notice, PaymentIndexes};
use crate::domain::{
    Authorization, Checkout, CheckoutRequest, Failure, Lapse, Lapsed, Order, Payment, State,
};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn bytes(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn money(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Jpy).unwrap()
}

fn order() -> Order {
    Order {
        id: OrderId::from_bytes(bytes(1)),
        version: Version(3),
        user_id: UserId::from_bytes(bytes(2)),
        status: OrderStatus::Cancelled,
        reason: Some(CancelReason::Expired),
        title: "A show".into(),
        price: money(500),
        quantity: 2,
        total: money(1000),
        expires_at: NOW,
        payment_id: Some(PaymentId::from_bytes(bytes(3))),
    }
}

fn payment(state: State) -> Payment {
    Payment {
        id: PaymentId::from_bytes(bytes(3)),
        version: Version(5),
        published: Version(2),
        order_id: OrderId::from_bytes(bytes(1)),
        user_id: UserId::from_bytes(bytes(2)),
        amount: money(1000),
        attempt: 2,
        request: CheckoutRequest {
            title: "A show".into(),
            price: money(500),
            quantity: 2,
            success_url: "https://boxoffice.test/ok".into(),
            cancel_url: "https://boxoffice.test/back".into(),
            expires_at: NOW.plus(Duration::from_secs(2100)),
        },
        state,
        changed_at: NOW,
    }
}

fn authorization() -> Authorization {
    Authorization {
        session: "cs_1".into(),
        intent: "pi_1".into(),
    }
}

fn states() -> Vec<State> {
    let lapsed = |session: Option<&str>, why| Lapsed {
        session: session.map(Into::into),
        why,
    };
    let failure = |reason, settled| Failure {
        authorization: authorization(),
        reason,
        settled,
    };
    vec![
        State::Opening,
        State::Open(Checkout {
            session: "cs_1".into(),
            url: "https://stripe.test/1".into(),
        }),
        State::Authorized(authorization()),
        State::Capturing(authorization()),
        State::Captured(authorization()),
        State::Closing(None),
        State::Closing(Some("cs_1".into())),
        State::Closed(None),
        State::Closed(Some("cs_1".into())),
        State::Lapsed(lapsed(None, Lapse::Unanswered)),
        State::Lapsed(lapsed(None, Lapse::Refused)),
        State::Lapsed(lapsed(Some("cs_1"), Lapse::Expired)),
        State::Lapsed(lapsed(Some("cs_1"), Lapse::AuthorizationGone)),
        State::Failed(failure(FailureReason::CaptureRefused, false)),
        State::Failed(failure(FailureReason::AuthorizationGone, true)),
        State::Refunding(authorization()),
        State::Refunded(authorization()),
        State::Recalled("cs_1".into()),
    ]
}

fn notice(id: &str, read: bool) -> Notice {
    Notice {
        id: id.into(),
        kind: "checkout.session.completed".into(),
        payment_id: PaymentId::from_bytes(bytes(3)),
        session: Some("cs_1".into()),
        received_at: NOW,
        read,
    }
}

fn comes_back<R: Record + PartialEq + std::fmt::Debug>(row: &R) -> String {
    let bytes = row.encode();
    assert_eq!(R::decode(R::SCHEMA, &bytes).as_ref(), Ok(row));
    assert_eq!(
        R::decode(R::SCHEMA + 1, &bytes).err(),
        Some(DecodeError::UnknownSchema(R::SCHEMA + 1))
    );
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(
        R::decode(R::SCHEMA, &longer).err(),
        Some(DecodeError::Trailing(1))
    );
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_row_comes_back_and_keeps_its_bytes() {
    let mut stored = vec![comes_back(&order()), comes_back(&notice("evt_1", true))];
    stored.extend(states().into_iter().map(|state| comes_back(&payment(state))));
    // What stands here is on people's disks: a change is a new schema, never a new snapshot.
    insta::assert_snapshot!(stored.join("\n"));
}

#[test]
fn a_row_that_makes_no_sense_is_refused() {
    let mut row = payment(State::Opening).encode();
    assert!(Payment::decode(1, &row).is_ok());
    for byte in 0..row.len() {
        for value in [0, 12, 255] {
            let before = std::mem::replace(&mut row[byte], value);
            // Anything but a panic.
            drop(Payment::decode(1, &row));
            row[byte] = before;
        }
    }
    let unknown = State::Lapsed(Lapsed {
        session: None,
        why: Lapse::Refused,
    });
    let mut row = payment(unknown).encode();
    // The code of the lapse stands right before `settled` and the time of the last change.
    let code = row.iter().rposition(|byte| *byte == 4).unwrap();
    row[code] = 9;
    assert_eq!(
        Payment::decode(1, &row).err(),
        Some(DecodeError::Invalid("9 stands for no lapse".to_owned()))
    );
}

fn apply<R: Record>(indexes: &mut PaymentIndexes, before: Option<&R>, after: Option<&R>) {
    indexes.apply(&Change::new(before, after));
}

#[test]
fn the_indexes_take_back_what_they_took() {
    let mut indexes = PaymentIndexes::default();
    let shown = |indexes: &PaymentIndexes| format!("{indexes:?}");
    for from in states() {
        let from = payment(from);
        apply(&mut indexes, None, Some(&from));
        for to in states() {
            let to = Payment {
                version: from.version.next(),
                ..payment(to)
            };
            let before = shown(&indexes);
            apply(&mut indexes, Some(&from), Some(&to));
            apply(&mut indexes, Some(&to), Some(&from));
            assert_eq!(shown(&indexes), before, "{:?} and {:?}", from.state, to.state);
        }
        apply(&mut indexes, Some(&from), None);
    }
    for (from, to) in [(false, true), (true, false), (false, false), (true, true)] {
        let (from, to) = (notice("evt_1", from), notice("evt_1", to));
        apply(&mut indexes, None, Some(&from));
        let before = shown(&indexes);
        apply(&mut indexes, Some(&from), Some(&to));
        apply(&mut indexes, Some(&to), Some(&from));
        assert_eq!(shown(&indexes), before);
        apply(&mut indexes, Some(&from), None);
    }
    assert_eq!(indexes.urgent().len(), 0);
    assert_eq!(indexes.watched().count(), 0);
}

#[test]
fn old_notices_and_those_in_excess_are_forgotten_the_oldest_first() {
    let mut indexes = PaymentIndexes::default();
    for n in 0..5_i64 {
        let at = Timestamp::from_seconds(NOW.as_seconds() + n);
        let row = Notice {
            received_at: at,
            ..notice(&format!("evt_{n}"), true)
        };
        apply(&mut indexes, None, Some(&row));
    }
    apply(&mut indexes, None, Some(&notice("evt_unread", false)));
    let at = |seconds| Timestamp::from_seconds(NOW.as_seconds() + seconds);
    assert_eq!(indexes.forgettable(NOW, 10, 10), Vec::<String>::new());
    assert_eq!(indexes.forgettable(at(2), 10, 10), ["evt_0", "evt_1"]);
    assert_eq!(indexes.forgettable(NOW, 3, 10), ["evt_0", "evt_1"]);
    assert_eq!(indexes.forgettable(at(100), 10, 2), ["evt_0", "evt_1"]);
}
