//! What a service only hears after another one was set back by a loss. The domains have answers to it, which heal; here
//! nothing is ever lost, so that meeting one of these is a defect of the protocol, however well it would heal.

use events::OrderStatus;
use orders::domain::Order;
use payments::domain::{Payment, State};
use tickets::domain::{Hold, HoldState};

/// Whether the tickets service hears of an order that goes on without its pieces.
pub(super) fn shows_to_tickets(hold: Option<&Hold>, command: &tickets::domain::Command) -> bool {
    use tickets::domain::Command;
    match command {
        Command::Note(_) | Command::Sell(_) => {
            hold.is_some_and(|hold| matches!(hold.state, HoldState::Released | HoldState::Refused))
        }
        Command::Restate(..) | Command::Forsake => true,
        Command::Update { .. } | Command::Delete { .. } | Command::Reserve(_) | Command::Release(_) => false,
    }
}

/// Whether the orders service hears of pieces that an order had and lost, or of money that it never asked for.
pub(super) fn shows_to_orders(order: &Order, command: &orders::domain::Command) -> bool {
    use orders::domain::Command;
    matches!(
        (command, order.status),
        (
            Command::Rejected(_),
            OrderStatus::AwaitingPayment
                | OrderStatus::Accepted
                | OrderStatus::Complete
                | OrderStatus::Refunding
        ) | (Command::PaymentAuthorized, OrderStatus::Created)
            | (Command::PaymentCaptured, OrderStatus::Cancelled)
    )
}

/// Whether the payments service hears of an order that has gone on, or has ended, without its payment.
pub(super) fn shows_to_payments(payment: &Payment, command: &payments::domain::Command) -> bool {
    use payments::domain::Command;
    match command {
        Command::Capture => matches!(
            payment.state,
            State::Opening
                | State::Recalled(_)
                | State::Open(_)
                | State::Lapsed(_)
                | State::Closing(_)
                | State::Closed(_)
        ),
        Command::Close => matches!(
            payment.state,
            State::Capturing(_) | State::Captured(_) | State::Refunding(_)
        ),
        Command::Refund => matches!(
            payment.state,
            State::Opening | State::Recalled(_) | State::Open(_) | State::Authorized(_) | State::Capturing(_)
        ),
        Command::Open(_) | Command::Observe(_) | Command::GiveUpOpening(_) | Command::GiveUpCapturing => {
            false
        }
    }
}
