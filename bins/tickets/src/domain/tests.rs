//! Every command in every state, as a table; and random histories, which must keep invariant I1.

use super::*;
use events::{Currency, EventType};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn bytes(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn seller() -> UserId {
    UserId::from_bytes(bytes(1))
}

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Usd).unwrap()
}

fn details(quantity: u32, price: i64) -> Details {
    Details {
        title: "A show".into(),
        description: String::new(),
        venue: None,
        starts_at: None,
        price: usd(price),
        quantity,
    }
}

fn fresh(quantity: u32) -> Ticket {
    list(
        TicketId::from_bytes(bytes(2)),
        seller(),
        details(quantity, 1000),
        NOW,
    )
    .ticket
    .unwrap()
}

fn claim(order: u8, quantity: u32) -> Claim {
    Claim {
        ticket_id: TicketId::from_bytes(bytes(2)),
        order_id: OrderId::from_bytes(bytes(order)),
        quantity,
        price: usd(1000),
        total: usd(1000 * i64::from(quantity)),
        ordered_at: NOW,
    }
}

/// Applies a command that must be allowed.
fn then(state: (Ticket, Option<Hold>), command: Command) -> (Ticket, Option<Hold>) {
    let decision = decide(Some(&state.0), state.1.as_ref(), command, NOW).unwrap();
    (decision.ticket.unwrap_or(state.0), decision.hold.or(state.1))
}

#[test]
fn every_command_in_every_state() {
    let on_sale = (fresh(3), None);
    let held = then(on_sale.clone(), Command::Reserve(claim(9, 2)));
    let sold = then(held.clone(), Command::Sell(claim(9, 2)));
    let released = then(held.clone(), Command::Release(claim(9, 2)));
    let refused = then(on_sale.clone(), Command::Reserve(claim(9, 4)));
    let withdrawn = then(on_sale.clone(), Command::Delete { by: seller() });
    let withdrawn_sold = then(sold.clone(), Command::Delete { by: seller() });
    let states = [
        ("never listed", (None, None)),
        ("on sale", (Some(on_sale.0), on_sale.1)),
        ("held", (Some(held.0), held.1)),
        ("sold", (Some(sold.0), sold.1)),
        ("released", (Some(released.0), released.1)),
        ("refused", (Some(refused.0), refused.1)),
        ("withdrawn", (Some(withdrawn.0), withdrawn.1)),
        ("withdrawn, sold", (Some(withdrawn_sold.0), withdrawn_sold.1)),
    ];
    let other_currency = Details {
        price: Money::from_minor(900, Currency::Eur).unwrap(),
        ..details(5, 1000)
    };
    let commands = [
        (
            "update",
            Command::Update {
                by: seller(),
                details: details(5, 1200),
            },
        ),
        (
            "update by another",
            Command::Update {
                by: UserId::from_bytes(bytes(7)),
                details: details(5, 1200),
            },
        ),
        (
            "update to fewer",
            Command::Update {
                by: seller(),
                details: details(1, 1000),
            },
        ),
        (
            "update currency",
            Command::Update {
                by: seller(),
                details: other_currency,
            },
        ),
        ("delete", Command::Delete { by: seller() }),
        (
            "delete by another",
            Command::Delete {
                by: UserId::from_bytes(bytes(7)),
            },
        ),
        ("reserve 1", Command::Reserve(claim(9, 1))),
        ("reserve 4", Command::Reserve(claim(9, 4))),
        ("reserve 0", Command::Reserve(claim(9, 0))),
        (
            "reserve at old price",
            Command::Reserve(Claim {
                price: usd(1),
                ..claim(9, 1)
            }),
        ),
        ("note accepted", Command::Note(OrderStatus::Accepted)),
        ("sell", Command::Sell(claim(9, 2))),
        ("release", Command::Release(claim(9, 2))),
        ("forsake", Command::Forsake),
    ];
    let restated = OrderStatus::ALL.map(|status| (status.as_str(), Command::Restate(claim(9, 2), status)));
    let mut table = String::new();
    for (state, (ticket, hold)) in &states {
        for (name, command) in commands.iter().chain(&restated) {
            let outcome = match decide(ticket.as_ref(), hold.as_ref(), command.clone(), NOW) {
                Ok(decision) => {
                    let events: Vec<_> = decision
                        .events
                        .iter()
                        .map(|event| event.event_type().as_str())
                        .collect();
                    let left = decision.ticket.as_ref().map(|ticket| ticket.available());
                    let hold = decision.hold.as_ref().map(|hold| hold.state);
                    format!("ok: {events:?} left {left:?} hold {hold:?}")
                }
                Err(error) => format!("refused: {error:?}"),
            };
            table.push_str(&format!("{state:16} {name:22} {outcome}\n"));
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn what_is_paid_for_a_ticket_that_is_lost_is_rejected_and_not_a_riddle() {
    let asked = Command::Reserve(claim(9, 2));
    // Restored to before it was listed, the service hears of the order again, and of all that has come of it since.
    let refused = decide(None, None, asked, NOW).unwrap().hold.unwrap();
    let accepted = Command::Note(OrderStatus::Accepted);
    let accepted = decide(None, Some(&refused), accepted, NOW).unwrap().hold.unwrap();
    let decision = decide(None, Some(&accepted), Command::Sell(claim(9, 2)), NOW).unwrap();
    let [Event::TicketRejected(rejected)] = decision.events.as_slice() else {
        panic!("{decision:?}");
    };
    assert_eq!(rejected.order_id, OrderId::from_bytes(bytes(9)));
    let hold = decision.hold.unwrap();
    assert_eq!(
        (hold.state, hold.order_status),
        (HoldState::Refused, OrderStatus::Complete)
    );
    let again = decide(None, Some(&hold), Command::Sell(claim(9, 2)), NOW);
    assert_eq!(
        again,
        Err(TicketError::Stale("the order is known to be further on"))
    );
    // Pieces of a ticket that is not there are still a riddle.
    for state in [HoldState::Held, HoldState::Sold] {
        let hold = Hold {
            state,
            ..accepted.clone()
        };
        let riddle = decide(None, Some(&hold), Command::Sell(claim(9, 2)), NOW);
        assert_eq!(riddle, Err(TicketError::Impossible("a hold without its ticket")));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Update {
        quantity: u32,
        price: i64,
    },
    Delete,
    Reserve {
        order: u8,
        quantity: u32,
    },
    Sell {
        order: u8,
    },
    Release {
        order: u8,
    },
    Restate {
        order: u8,
        quantity: u32,
        status: OrderStatus,
    },
    Forsake {
        order: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..12_u32, 1..4_i64).prop_map(|(quantity, price)| Step::Update { quantity, price: price * 500 }),
        1 => Just(Step::Delete),
        6 => (0..8_u8, 0..5_u32).prop_map(|(order, quantity)| Step::Reserve { order, quantity }),
        4 => (0..8_u8).prop_map(|order| Step::Sell { order }),
        4 => (0..8_u8).prop_map(|order| Step::Release { order }),
        2 => (0..8_u8, 0..5_u32, proptest::sample::select(OrderStatus::ALL.as_slice()))
            .prop_map(|(order, quantity, status)| Step::Restate { order, quantity, status }),
        1 => (0..8_u8).prop_map(|order| Step::Forsake { order }),
    ]
}

proptest! {
    #[test]
    fn no_history_oversells(quantity in 1..10_u32, steps in proptest::collection::vec(step(), 1..60)) {
        let mut ticket = fresh(quantity);
        let mut holds: [Option<Hold>; 8] = Default::default();
        for step in steps {
            let (command, order) = match step {
                Step::Update { quantity, price } => (Command::Update { by: seller(), details: details(quantity, price) }, None),
                Step::Delete => (Command::Delete { by: seller() }, None),
                Step::Reserve { order, quantity } => (Command::Reserve(claim(100 + order, quantity)), Some(order)),
                Step::Sell { order } => (Command::Sell(claim(100 + order, 1)), Some(order)),
                Step::Release { order } => (Command::Release(claim(100 + order, 1)), Some(order)),
                Step::Restate { order, quantity, status } => (Command::Restate(claim(100 + order, quantity), status), Some(order)),
                Step::Forsake { order } => (Command::Forsake, Some(order)),
            };
            let slot = order.map(usize::from);
            let hold = slot.and_then(|slot| holds[slot].clone());
            let before = ticket.clone();
            if let Ok(decision) = decide(Some(&ticket), hold.as_ref(), command, NOW) {
                let told = decision.events.iter().any(|event| event.event_type() != EventType::TicketRejected);
                prop_assert_eq!(told, decision.ticket.is_some(), "others hear of every change of the ticket");
                if let Some(next) = decision.ticket {
                    prop_assert_eq!(next.version, before.version.next());
                    ticket = next;
                }
                if let (Some(slot), Some(next)) = (slot, decision.hold) {
                    holds[slot] = Some(next);
                }
            }
            prop_assert!(ticket.is_consistent(), "I1: {:?}", ticket);
            let sum = |state| holds.iter().flatten().filter(|hold| hold.state == state).map(|hold| hold.quantity).sum::<u32>();
            prop_assert_eq!(ticket.reserved, sum(HoldState::Held));
            prop_assert_eq!(ticket.sold, sum(HoldState::Sold));
        }
    }
}
