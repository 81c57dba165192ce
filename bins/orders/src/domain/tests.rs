//! Every command in every state, as a table; and random histories.

use super::*;
use events::Currency;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const HOLD: Duration = Duration::from_secs(900);

fn bytes(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Usd).unwrap()
}

fn ticket() -> TicketView {
    TicketView {
        id: TicketId::from_bytes(bytes(1)),
        version: Version(4),
        seller_id: UserId::from_bytes(bytes(2)),
        title: "A show".into(),
        venue: None,
        starts_at: None,
        price: usd(1000),
        quantity: 3,
        deleted: false,
    }
}

fn wish() -> PlaceOrder {
    PlaceOrder {
        id: OrderId::from_bytes(bytes(3)),
        user_id: UserId::from_bytes(bytes(4)),
        quantity: 2,
        seen_price: Some(usd(1000)),
        hold: HOLD,
    }
}

fn placed() -> Order {
    place(&ticket(), 0, &wish(), NOW).unwrap().order.unwrap()
}

fn then(order: &Order, command: Command) -> Order {
    decide(order, command, NOW).unwrap().order.unwrap()
}

#[test]
fn a_wish_is_granted_or_refused_by_name() {
    let order = placed();
    assert_eq!(
        (order.status, order.total, order.expires_at),
        (OrderStatus::Created, usd(2000), NOW.plus(HOLD))
    );
    let refusal =
        |ticket: &TicketView, claimed, wish: &PlaceOrder| place(ticket, claimed, wish, NOW).unwrap_err();
    let gone = TicketView {
        deleted: true,
        ..ticket()
    };
    assert_eq!(refusal(&gone, 0, &wish()), OrderError::TicketNotFound);
    let own = PlaceOrder {
        user_id: ticket().seller_id,
        ..wish()
    };
    assert_eq!(refusal(&ticket(), 0, &own), OrderError::OwnTicket);
    let outdated = PlaceOrder {
        seen_price: Some(usd(999)),
        ..wish()
    };
    assert_eq!(
        refusal(&ticket(), 0, &outdated),
        OrderError::PriceChanged { now: usd(1000) }
    );
    assert_eq!(
        refusal(&ticket(), 3, &wish()),
        OrderError::NotEnoughLeft { left: 0 }
    );
    assert_eq!(
        refusal(&ticket(), 2, &wish()),
        OrderError::NotEnoughLeft { left: 1 }
    );
    assert_eq!(
        refusal(&ticket(), 9, &wish()),
        OrderError::NotEnoughLeft { left: 0 }
    );
    assert_eq!(
        refusal(
            &ticket(),
            0,
            &PlaceOrder {
                quantity: 0,
                ..wish()
            }
        ),
        OrderError::NotEnoughLeft { left: 3 }
    );
    let dear = TicketView {
        price: usd(90_000_000),
        ..ticket()
    };
    let wish = PlaceOrder {
        seen_price: None,
        ..wish()
    };
    assert_eq!(refusal(&dear, 0, &wish), OrderError::TotalTooLarge);
}

#[test]
fn the_words_are_those_of_the_contract() {
    assert_eq!(
        OrderError::NotEnoughLeft { left: 0 }.to_string(),
        "Ticket is already reserved"
    );
    assert_eq!(OrderError::NotEnoughLeft { left: 4 }.to_string(), "Only 4 left");
    assert!(
        OrderError::PriceChanged { now: usd(1000) }
            .to_string()
            .starts_with("Price changed")
    );
}

#[test]
fn every_command_in_every_state() {
    let created = placed();
    let awaiting = then(&created, Command::Reserved);
    let accepted = then(&awaiting, Command::PaymentAuthorized);
    let complete = then(&accepted, Command::PaymentCaptured);
    let refunding = then(&complete, Command::Refund);
    let cancelled = then(&created, Command::Cancel);
    let commands = [
        ("cancel", Command::Cancel, NOW),
        ("refund", Command::Refund, NOW),
        ("reserved", Command::Reserved, NOW),
        (
            "rejected: sold out",
            Command::Rejected(RejectReason::SoldOut),
            NOW,
        ),
        ("rejected: deleted", Command::Rejected(RejectReason::Deleted), NOW),
        ("payment authorized", Command::PaymentAuthorized, NOW),
        ("payment captured", Command::PaymentCaptured, NOW),
        ("payment failed", Command::PaymentFailed, NOW),
        ("payment refunded", Command::PaymentRefunded, NOW),
        ("expire, too early", Command::Expire, NOW),
        ("expire, in time", Command::Expire, NOW.plus(HOLD)),
    ];
    let mut table = String::new();
    for order in [created, awaiting, accepted, complete, refunding, cancelled] {
        for (name, command, now) in commands {
            let outcome = match decide(&order, command, now) {
                Ok(decision) => {
                    let events: Vec<_> = decision
                        .events
                        .iter()
                        .map(|event| event.event_type().as_str())
                        .collect();
                    let next = decision.order.map(|next| (next.status.as_str(), next.reason));
                    format!("ok: {events:?} {next:?}")
                }
                Err(error) => format!("refused: {error:?}"),
            };
            table.push_str(&format!("{:16} {name:20} {outcome}\n", order.status.as_str()));
        }
    }
    insta::assert_snapshot!(table);
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(Command::Cancel),
        Just(Command::Refund),
        Just(Command::Reserved),
        Just(Command::Rejected(RejectReason::PriceChanged)),
        Just(Command::PaymentAuthorized),
        Just(Command::PaymentCaptured),
        Just(Command::PaymentFailed),
        Just(Command::PaymentRefunded),
        Just(Command::Expire),
    ]
}

proptest! {
    #[test]
    fn a_history_never_turns_back(commands in proptest::collection::vec((command(), 0..1800_u64), 1..40)) {
        let mut order = placed();
        let mut captured = false;
        for (command, seconds) in commands {
            let Ok(decision) = decide(&order, command, NOW.plus(Duration::from_secs(seconds))) else { continue };
            prop_assert_eq!(decision.events.len(), 1, "each change says what it was, once");
            let Some(next) = decision.order else { continue };
            prop_assert_eq!(next.version, order.version.next());
            prop_assert_ne!(order.status, OrderStatus::Cancelled, "cancelled is final");
            prop_assert_eq!(next.reason.is_some(), next.status == OrderStatus::Cancelled);
            captured |= next.status == OrderStatus::Complete;
            if captured && next.status == OrderStatus::Cancelled {
                prop_assert_eq!(next.reason, Some(CancelReason::Refunded), "paid orders end only by a refund");
            }
            order = next;
        }
    }

    #[test]
    fn the_claims_of_all_orders_never_exceed_the_quantity(wishes in proptest::collection::vec((1..4_u32, any::<bool>()), 1..30)) {
        let ticket = ticket();
        let mut orders: Vec<Order> = Vec::new();
        for (quantity, cancel) in wishes {
            let claimed = orders.iter().map(Order::claimed).sum();
            if let Ok(decision) = place(&ticket, claimed, &PlaceOrder { quantity, ..wish() }, NOW) {
                orders.extend(decision.order);
            }
            if let (true, Some(last)) = (cancel, orders.last_mut())
                && let Ok(decision) = decide(last, Command::Cancel, NOW)
            {
                *last = decision.order.unwrap();
            }
            prop_assert!(orders.iter().map(Order::claimed).sum::<u32>() <= ticket.quantity);
        }
    }
}
