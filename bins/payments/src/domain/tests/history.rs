//! Random histories of one payment: people, the orders service, Stripe and the worker, in any order.

use events::EventType;
use proptest::prelude::*;

use super::*;

/// One move in a random history: what people, the orders service, Stripe and this service's worker may do.
#[derive(Debug, Clone, Copy)]
enum Move {
    Pay,
    Accept,
    Cancel,
    GiveBack,
    BuyerPays,
    SessionRunsOut,
    AuthorizationRunsOut,
    DashboardRefund,
    Look,
    Work { refused: bool },
    GiveUp,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => Just(Move::Pay),
        2 => Just(Move::Accept),
        1 => Just(Move::Cancel),
        1 => Just(Move::GiveBack),
        3 => Just(Move::BuyerPays),
        1 => Just(Move::SessionRunsOut),
        1 => Just(Move::AuthorizationRunsOut),
        1 => Just(Move::DashboardRefund),
        4 => Just(Move::Look),
        5 => any::<bool>().prop_map(|refused| Move::Work { refused }),
        1 => Just(Move::GiveUp),
    ];
    proptest::collection::vec(one, 0..60)
}

/// The orders service and Stripe around one payment, as simply as they can be told.
struct World {
    payment: Payment,
    told: Vec<PaymentStatus>,
    accepted: bool,
    cancelled: bool,
    refunding: bool,
    stripe: Option<StripeView>,
    captured_after_acceptance: bool,
}

fn told(event: &Event) -> PaymentStatus {
    match event.event_type() {
        EventType::PaymentOpened => PaymentStatus::Opened,
        EventType::PaymentAuthorized => PaymentStatus::Authorized,
        EventType::PaymentCreated => PaymentStatus::Captured,
        EventType::PaymentFailed => PaymentStatus::Failed,
        EventType::PaymentRefunded => PaymentStatus::Refunded,
        EventType::UserRegistered
        | EventType::SessionRevoked
        | EventType::KeyPublished
        | EventType::KeyRetired
        | EventType::TicketCreated
        | EventType::TicketUpdated
        | EventType::TicketDeleted
        | EventType::TicketReserved
        | EventType::TicketRejected
        | EventType::TicketReleased
        | EventType::TicketSold
        | EventType::OrderCreated
        | EventType::OrderAwaitingPayment
        | EventType::OrderAccepted
        | EventType::OrderCompleted
        | EventType::OrderRefunding
        | EventType::OrderCancelled
        | EventType::OrderNotDue
        | EventType::OrderExpired => panic!("{event:?} is no event of payments"),
    }
}

impl World {
    fn new() -> Self {
        Self {
            payment: opening(),
            told: Vec::new(),
            accepted: false,
            cancelled: false,
            refunding: false,
            stripe: None,
            captured_after_acceptance: true,
        }
    }

    fn command(&mut self, command: &Command) {
        let before = self.payment.clone();
        match decide(&self.payment, command.clone(), NOW) {
            Ok(decision) => {
                assert_eq!(decision.payment.version, before.version.next());
                for event in &decision.events {
                    self.payment.published = self.payment.published.next();
                    assert_eq!(
                        event.entity_version(),
                        self.payment.published,
                        "no gap for consumers"
                    );
                }
                self.told.extend(decision.events.iter().map(told));
                self.payment = decision.payment;
            }
            Err(PaymentError::Stale(_)) => {}
            Err(PaymentError::AlreadyPaid | PaymentError::AlreadyRefunded) if self.accepted => {}
            Err(PaymentError::AlreadyFailed) if self.accepted => {}
            Err(PaymentError::OrderCancelled) if self.cancelled => {}
            Err(PaymentError::NothingToRefund) => panic!("asked to give back what was never told captured"),
            Err(error) => panic!("{command:?} in {before:?}: {error}"),
        }
    }

    fn make(&mut self, step: Move) {
        let authorized = self.told.contains(&PaymentStatus::Authorized);
        match step {
            Move::Pay if !self.cancelled && !self.accepted => self.command(&Command::Open(request())),
            Move::Accept if authorized && !self.accepted && !self.cancelled => {
                self.accepted = true;
                self.command(&Command::Capture);
            }
            Move::Cancel if !self.accepted && !self.cancelled => {
                self.cancelled = true;
                self.command(&Command::Close);
            }
            Move::GiveBack if self.told.contains(&PaymentStatus::Captured) && !self.refunding => {
                self.refunding = true;
                self.command(&Command::Refund);
            }
            Move::BuyerPays => {
                // Only a buyer who was given the page's address can pay on it.
                let open = matches!(self.payment.state, State::Open(_));
                if let Some(stripe) = &mut self.stripe
                    && stripe.session_status == SessionStatus::Open
                    && open
                {
                    stripe.session_status = SessionStatus::Complete;
                    stripe.url = None;
                    stripe.intent = Some(intent(IntentStatus::RequiresCapture));
                }
            }
            Move::SessionRunsOut => {
                if let Some(stripe) = &mut self.stripe
                    && stripe.session_status == SessionStatus::Open
                {
                    stripe.session_status = SessionStatus::Expired;
                    stripe.url = None;
                }
            }
            Move::AuthorizationRunsOut => self.with_intent(IntentStatus::RequiresCapture, |intent| {
                intent.status = IntentStatus::Canceled;
            }),
            Move::DashboardRefund => self.with_intent(IntentStatus::Succeeded, |intent| {
                intent.refunded_minor = intent.captured_minor;
                intent.refunds += 1;
            }),
            Move::Look => self.look(),
            Move::Work { refused } => self.work(refused),
            Move::GiveUp
                if self
                    .stripe
                    .as_ref()
                    .is_none_or(|seen| seen.attempt != self.payment.attempt) =>
            {
                if next_step(&self.payment) == Some(Step::CreateSession) {
                    self.command(&Command::GiveUpOpening(Lapse::Unanswered));
                }
            }
            Move::Pay | Move::Accept | Move::Cancel | Move::GiveBack | Move::GiveUp => {}
        }
    }

    fn with_intent(&mut self, status: IntentStatus, change: impl FnOnce(&mut Intent)) {
        if let Some(intent) = self.stripe.as_mut().and_then(|stripe| stripe.intent.as_mut())
            && intent.status == status
        {
            change(intent);
        }
    }

    fn look(&mut self) {
        if let Some(seen) = self.stripe.clone()
            && seen.attempt == self.payment.attempt
        {
            self.command(&Command::Observe(seen));
        }
    }

    fn work(&mut self, refused: bool) {
        if next_step(&self.payment) == Some(Step::CreateSession) {
            if self
                .stripe
                .as_ref()
                .is_none_or(|seen| seen.attempt != self.payment.attempt)
            {
                let attempt = self.payment.attempt;
                self.stripe = Some(StripeView {
                    session: format!("cs_{attempt}"),
                    attempt,
                    ..unpaid()
                });
            }
            return self.look();
        }
        let Some(seen) = self.stripe.clone() else { return };
        match next_call(&self.payment, &seen) {
            Some(Call::Expire(_)) => self.make(Move::SessionRunsOut),
            Some(Call::Void(_)) => self.make(Move::AuthorizationRunsOut),
            Some(Call::Capture(_)) if refused => self.command(&Command::GiveUpCapturing),
            Some(Call::Capture(_)) => {
                self.captured_after_acceptance &= self.accepted && !self.cancelled;
                self.with_intent(IntentStatus::RequiresCapture, |intent| {
                    intent.status = IntentStatus::Succeeded;
                    intent.captured_minor = 2000;
                });
            }
            Some(Call::Refund(call)) => self.with_intent(IntentStatus::Succeeded, |intent| {
                assert_eq!(call.number, intent.refunds + 1);
                intent.refunded_minor += call.amount_minor;
                intent.refunds += 1;
            }),
            None => {}
        }
        self.look();
    }

    fn money_kept(&self) -> i64 {
        let intent = self.stripe.as_ref().and_then(|stripe| stripe.intent.as_ref());
        intent.map_or(0, |intent| intent.captured_minor - intent.refunded_minor)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_history_takes_money_for_nothing(history in moves()) {
        let mut world = World::new();
        for step in history {
            world.make(step);
            prop_assert!(world.money_kept() >= 0 && world.money_kept() <= 2000);
        }
        prop_assert!(world.captured_after_acceptance, "nothing is captured before the order is accepted");
        // Left alone, the worker brings it to an end: no step is wanted for ever.
        for _ in 0..8 {
            world.work(false);
        }
        let wanted = next_step(&world.payment);
        prop_assert!(matches!(wanted, None | Some(Step::Observe)), "{:?} hangs", world.payment.state);
        if world.cancelled || world.told.contains(&PaymentStatus::Failed) {
            prop_assert_eq!(world.money_kept(), 0);
            let live = world.stripe.as_ref().and_then(undo);
            prop_assert_eq!(live, None, "nothing is left at Stripe");
        }
        if world.told.contains(&PaymentStatus::Captured) && !world.told.contains(&PaymentStatus::Refunded) {
            world.look();
            let back = world.told.contains(&PaymentStatus::Refunded);
            prop_assert_eq!(world.money_kept(), if back { 0 } else { 2000 });
        }
    }
}
