//! Every command in every state, as a table; what each look at Stripe leads to; and random histories.

use std::fmt::Write as _;
use std::time::Duration;

use events::{
    CancelReason, Currency, FailureReason, Money, OrderId, OrderSnapshot, OrderStatus, OrderedTicket,
    TicketId, UserId,
};

use super::*;

mod history;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const SITE: &str = "https://boxoffice.test/";

fn bytes(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Usd).unwrap()
}

fn order_snapshot(version: u64, status: OrderStatus, reason: Option<CancelReason>) -> OrderSnapshot {
    OrderSnapshot {
        id: OrderId::from_bytes(bytes(1)),
        version: Version(version),
        user_id: UserId::from_bytes(bytes(2)),
        status,
        reason,
        quantity: 2,
        total: usd(2000),
        expires_at: NOW.plus(Duration::from_secs(900)),
        created_at: NOW,
        ticket: OrderedTicket {
            id: TicketId::from_bytes(bytes(3)),
            version: Version(1),
            seller_id: UserId::from_bytes(bytes(4)),
            title: "A show".into(),
            price: usd(1000),
            venue: None,
            starts_at: None,
        },
    }
}

fn order(status: OrderStatus) -> Order {
    Order::learn(None, &order_snapshot(2, status, None)).unwrap()
}

fn id() -> PaymentId {
    PaymentId::from_bytes(bytes(5))
}

fn opening() -> Payment {
    pay(&order(OrderStatus::AwaitingPayment), None, id(), SITE, NOW)
        .unwrap()
        .payment
}

fn request() -> CheckoutRequest {
    CheckoutRequest::new(&order(OrderStatus::AwaitingPayment), SITE, NOW)
}

fn intent(status: IntentStatus) -> Intent {
    Intent {
        id: "pi_1".into(),
        status,
        captured_minor: if status == IntentStatus::Succeeded {
            2000
        } else {
            0
        },
        refunded_minor: 0,
        refund_pending_minor: 0,
        refunds: 0,
    }
}

fn refunded(minor: i64) -> Intent {
    Intent {
        refunded_minor: minor,
        refunds: 1,
        ..intent(IntentStatus::Succeeded)
    }
}

fn view(session_status: SessionStatus, intent: Option<Intent>) -> StripeView {
    StripeView {
        session: "cs_1".into(),
        attempt: 1,
        session_status,
        url: (session_status == SessionStatus::Open).then(|| "https://stripe.test/cs_1".into()),
        intent,
    }
}

fn unpaid() -> StripeView {
    view(SessionStatus::Open, None)
}

fn complete(status: IntentStatus) -> StripeView {
    view(SessionStatus::Complete, Some(intent(status)))
}

fn authorization() -> Authorization {
    Authorization {
        session: "cs_1".into(),
        intent: "pi_1".into(),
    }
}

fn in_state(state: State) -> Payment {
    Payment { state, ..opening() }
}

/// Every state, and every variant of it that behaves differently.
fn states() -> Vec<(&'static str, Payment)> {
    let lapsed = |session: Option<&str>| {
        State::Lapsed(Lapsed {
            session: session.map(Into::into),
            why: Lapse::Expired,
        })
    };
    let failed = |settled| {
        State::Failed(Failure {
            authorization: authorization(),
            reason: FailureReason::CaptureRefused,
            settled,
        })
    };
    let checkout = Checkout {
        session: "cs_1".into(),
        url: "https://stripe.test/cs_1".into(),
    };
    [
        ("opening", State::Opening),
        ("recalled", State::Recalled("cs_1".into())),
        ("open", State::Open(checkout)),
        ("authorized", State::Authorized(authorization())),
        ("capturing", State::Capturing(authorization())),
        ("captured", State::Captured(authorization())),
        ("closing, id unknown", State::Closing(None)),
        ("closing", State::Closing(Some("cs_1".into()))),
        ("closed, id unknown", State::Closed(None)),
        ("closed", State::Closed(Some("cs_1".into()))),
        ("lapsed, id unknown", lapsed(None)),
        ("lapsed", lapsed(Some("cs_1"))),
        ("failed", failed(false)),
        ("failed, settled", failed(true)),
        ("refunding", State::Refunding(authorization())),
        ("refunded", State::Refunded(authorization())),
    ]
    .into_iter()
    .map(|(name, state)| (name, in_state(state)))
    .collect()
}

fn commands() -> Vec<(&'static str, Command)> {
    let observe = |view| Command::Observe(view);
    vec![
        ("open", Command::Open(request())),
        ("capture (order accepted)", Command::Capture),
        ("close (order cancelled)", Command::Close),
        ("refund (order refunding)", Command::Refund),
        ("give up opening", Command::GiveUpOpening(Lapse::Unanswered)),
        ("give up capturing", Command::GiveUpCapturing),
        ("see: open, nothing paid", observe(unpaid())),
        ("see: expired", observe(view(SessionStatus::Expired, None))),
        (
            "see: complete, processing",
            observe(complete(IntentStatus::Processing)),
        ),
        (
            "see: complete, requires payment",
            observe(complete(IntentStatus::RequiresPayment)),
        ),
        (
            "see: complete, requires capture",
            observe(complete(IntentStatus::RequiresCapture)),
        ),
        (
            "see: complete, cancelled",
            observe(complete(IntentStatus::Canceled)),
        ),
        ("see: captured", observe(complete(IntentStatus::Succeeded))),
        (
            "see: captured, half of it back",
            observe(view(SessionStatus::Complete, Some(refunded(1000)))),
        ),
        (
            "see: captured, all of it back",
            observe(view(SessionStatus::Complete, Some(refunded(2000)))),
        ),
        (
            "see: another session",
            observe(StripeView {
                session: "cs_2".into(),
                ..unpaid()
            }),
        ),
        (
            "see: another attempt",
            observe(StripeView {
                attempt: 2,
                ..unpaid()
            }),
        ),
    ]
}

#[test]
fn every_command_in_every_state() {
    let mut table = String::new();
    for (state, payment) in states() {
        writeln!(table, "{state}  (wants {:?})", next_step(&payment)).unwrap();
        for (name, command) in commands() {
            let answer = match decide(&payment, command, NOW) {
                Ok(decision) => {
                    let told: Vec<_> = decision
                        .events
                        .iter()
                        .map(|event| event.event_type().as_str())
                        .collect();
                    format!("-> {:?} {told:?}", decision.payment.state)
                }
                Err(PaymentError::Stale(reason)) => format!("stale: {reason}"),
                Err(error) => format!("refused: {error}"),
            };
            writeln!(table, "    {name:34} {answer}").unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn every_state_looks_before_it_acts() {
    let views = [
        ("open", unpaid()),
        ("expired", view(SessionStatus::Expired, None)),
        ("processing", complete(IntentStatus::Processing)),
        ("requires payment", complete(IntentStatus::RequiresPayment)),
        ("requires capture", complete(IntentStatus::RequiresCapture)),
        ("cancelled", complete(IntentStatus::Canceled)),
        ("captured", complete(IntentStatus::Succeeded)),
        (
            "half of it back",
            view(SessionStatus::Complete, Some(refunded(1000))),
        ),
        (
            "all of it back",
            view(SessionStatus::Complete, Some(refunded(2000))),
        ),
    ];
    let mut table = String::new();
    for (state, payment) in states() {
        writeln!(table, "{state}").unwrap();
        for (name, view) in &views {
            writeln!(table, "    {name:20} {:?}", next_call(&payment, view)).unwrap();
        }
    }
    writeln!(table, "a session that is not the payment's").unwrap();
    for (name, view) in &views {
        writeln!(table, "    {name:20} {:?}", undo(view)).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn an_order_is_paid_only_while_it_waits_for_it() {
    let refusal = |status, reason| {
        let order = Order {
            reason,
            ..order(status)
        };
        pay(&order, None, id(), SITE, NOW).unwrap_err()
    };
    assert_eq!(refusal(OrderStatus::Created, None), PaymentError::NotReserved);
    assert_eq!(refusal(OrderStatus::Accepted, None), PaymentError::AlreadyPaid);
    assert_eq!(refusal(OrderStatus::Complete, None), PaymentError::AlreadyPaid);
    assert_eq!(
        refusal(OrderStatus::Refunding, None),
        PaymentError::AlreadyRefunded
    );
    for (reason, expected) in [
        (CancelReason::Buyer, PaymentError::OrderCancelled),
        (CancelReason::Rejected, PaymentError::OrderCancelled),
        (CancelReason::TicketDeleted, PaymentError::OrderCancelled),
        (CancelReason::Expired, PaymentError::Expired),
        (CancelReason::Refunded, PaymentError::AlreadyRefunded),
        (CancelReason::PaymentFailed, PaymentError::AlreadyFailed),
    ] {
        assert_eq!(refusal(OrderStatus::Cancelled, Some(reason)), expected);
    }
}

#[test]
fn that_an_order_has_expired_is_not_for_this_clock_to_say() {
    let order = order(OrderStatus::AwaitingPayment);
    let late = order.expires_at.plus(Duration::from_secs(3600));
    let payment = pay(&order, None, id(), SITE, late).unwrap().payment;
    assert_eq!(
        payment.request.expires_at.since(late).as_secs(),
        CHECKOUT_SECONDS_MIN
    );
}

#[test]
fn an_event_about_an_order_that_is_older_than_what_is_known_is_not_learnt() {
    let known = Order {
        payment_id: Some(id()),
        ..order(OrderStatus::AwaitingPayment)
    };
    assert_eq!(
        Order::learn(Some(&known), &order_snapshot(2, OrderStatus::Cancelled, None)),
        None
    );
    let newer = order_snapshot(3, OrderStatus::Cancelled, Some(CancelReason::Buyer));
    let learnt = Order::learn(Some(&known), &newer).unwrap();
    assert_eq!(learnt.status, OrderStatus::Cancelled);
    assert_eq!(learnt.payment_id, Some(id()));
}

#[test]
fn a_request_lives_as_long_as_the_hold_within_what_stripe_allows() {
    let with_hold = |seconds| {
        let order = Order {
            expires_at: NOW.plus(Duration::from_secs(seconds)),
            ..order(OrderStatus::AwaitingPayment)
        };
        CheckoutRequest::new(&order, SITE, NOW)
            .expires_at
            .since(NOW)
            .as_secs()
    };
    assert_eq!(with_hold(2), CHECKOUT_SECONDS_MIN);
    assert_eq!(with_hold(7200), 7200);
    assert_eq!(with_hold(1_000_000), CHECKOUT_SECONDS_MAX);
    let order_id = OrderId::from_bytes(bytes(1));
    let page = format!("https://boxoffice.test/orders/{order_id}");
    assert_eq!(request().cancel_url, page);
    assert_eq!(request().success_url, page + "?session_id={CHECKOUT_SESSION_ID}");
}

#[test]
fn a_new_attempt_begins_only_after_the_last_has_lapsed() {
    let expired = Command::Observe(view(SessionStatus::Expired, None));
    let lapsed = decide(&opening(), expired, NOW).unwrap().payment;
    let again = decide(&lapsed, Command::Open(request()), NOW).unwrap().payment;
    assert_eq!((again.attempt, again.state.clone()), (2, State::Opening));
    // The first attempt's session is a stranger from now on.
    assert_eq!(
        decide(&again, Command::Observe(unpaid()), NOW),
        Err(PaymentError::ForeignSession)
    );
    assert_eq!(again.version, Version(3), "a version for each change");
    assert_eq!(
        again.published,
        Version(0),
        "and none for those that nobody is told of"
    );
}

#[test]
fn a_refund_that_is_on_its_way_is_not_asked_for_again() {
    let payment = in_state(State::Refunding(authorization()));
    let pending = Intent {
        refund_pending_minor: 2000,
        refunds: 1,
        ..intent(IntentStatus::Succeeded)
    };
    assert_eq!(
        next_call(&payment, &view(SessionStatus::Complete, Some(pending))),
        None
    );
    let failed = Intent {
        refunds: 1,
        ..intent(IntentStatus::Succeeded)
    };
    let call = RefundCall {
        intent: "pi_1".into(),
        amount_minor: 2000,
        number: 2,
    };
    assert_eq!(
        next_call(&payment, &view(SessionStatus::Complete, Some(failed))),
        Some(Call::Refund(call))
    );
}

#[test]
fn what_was_captured_in_part_by_hand_fails_and_goes_back() {
    let part = Intent {
        captured_minor: 500,
        ..intent(IntentStatus::Succeeded)
    };
    let seen = view(SessionStatus::Complete, Some(part));
    let capturing = in_state(State::Capturing(authorization()));
    let failed = decide(&capturing, Command::Observe(seen.clone()), NOW)
        .unwrap()
        .payment;
    let call = RefundCall {
        intent: "pi_1".into(),
        amount_minor: 500,
        number: 1,
    };
    assert_eq!(next_call(&failed, &seen), Some(Call::Refund(call)));
}

#[test]
fn an_authorisation_without_its_intent_is_refused_by_name() {
    for state in [
        State::Authorized(authorization()),
        State::Capturing(authorization()),
    ] {
        let payment = in_state(state);
        let bare = Command::Observe(view(SessionStatus::Complete, None));
        assert_eq!(decide(&payment, bare, NOW), Err(PaymentError::ForeignIntent));
    }
}
