//! Stripe, and what the payments service does there: always after it has looked.

use payments::domain::{
    self as pay, Call, Intent, IntentStatus, SessionStatus, State, Step as Wanted, StripeView,
};

use super::{NOW, Purchase, World};

/// What Stripe has for one order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub(super) status: SessionStatus,
    pub(super) intent: Option<IntentStatus>,
    pub(super) refunded: bool,
}

impl World {
    /// What the payments service does at Stripe, always after it has looked; and what it sees.
    pub(super) fn steps_of_stripe(&self, n: usize) -> Vec<(&'static str, bool, Self)> {
        let mut steps = Vec::new();
        let purchase = &self.purchases[n];
        let Some(payment) = &purchase.payment else {
            return steps;
        };
        let Some(session) = &purchase.session else {
            if pay::next_step(payment) == Some(Wanted::CreateSession) {
                let open = Session {
                    status: SessionStatus::Open,
                    intent: None,
                    refunded: false,
                };
                steps.push(("Stripe makes the session", false, self.after_call(n, open)));
            }
            return steps;
        };
        let refunded = || Session {
            refunded: true,
            ..session.clone()
        };
        let with_intent = |intent| Session {
            intent: Some(intent),
            ..session.clone()
        };
        let view = view(n, session);
        if pay::next_step(payment).is_none() {
            if matches!(payment.state, State::Captured(_)) && !session.refunded {
                // Nothing is wanted of Stripe, so it is Stripe's notice that makes the service look.
                let told = self.with_session(n, refunded()).having_looked(n);
                steps.push(("refund in Stripe's dashboard", true, told));
            }
            return steps;
        }
        if let Ok(decision) = pay::decide(payment, pay::Command::Observe(view.clone()), NOW) {
            steps.push(("look at Stripe", false, self.with_payment(n, decision)));
        }
        match pay::next_call(payment, &view) {
            Some(Call::Expire(_)) => {
                let expired = Session {
                    status: SessionStatus::Expired,
                    ..session.clone()
                };
                steps.push(("Stripe expires the session", false, self.after_call(n, expired)));
            }
            Some(Call::Void(_)) => {
                steps.push((
                    "Stripe voids",
                    false,
                    self.after_call(n, with_intent(IntentStatus::Canceled)),
                ));
            }
            Some(Call::Capture(_)) => {
                let captured = with_intent(IntentStatus::Succeeded);
                steps.push(("Stripe captures", false, self.after_call(n, captured)));
                let gone = with_intent(IntentStatus::Canceled);
                steps.push(("Stripe's authorisation is gone", true, self.after_call(n, gone)));
            }
            Some(Call::Refund(_)) => steps.push(("Stripe refunds", false, self.after_call(n, refunded()))),
            None => {}
        }
        steps
    }

    /// After a call that changed something at Stripe: its answer may be read at once, or be lost, so that only a later
    /// look tells.
    fn after_call(&self, n: usize, session: Session) -> Self {
        let world = self.with_session(n, session);
        if self.answers_are_lost {
            world
        } else {
            world.having_looked(n)
        }
    }

    fn having_looked(self, n: usize) -> Self {
        let Purchase {
            payment: Some(payment),
            session: Some(session),
            ..
        } = &self.purchases[n]
        else {
            return self;
        };
        match pay::decide(payment, pay::Command::Observe(view(n, session)), NOW) {
            Ok(decision) => self.with_payment(n, decision),
            Err(_) => self,
        }
    }
}

fn view(n: usize, session: &Session) -> StripeView {
    let minor = |there| if there { 1000 } else { 0 };
    StripeView {
        session: format!("cs_{n}"),
        attempt: 1,
        session_status: session.status,
        url: (session.status == SessionStatus::Open).then(|| format!("https://stripe/{n}")),
        intent: session.intent.map(|status| Intent {
            id: format!("pi_{n}"),
            status,
            captured_minor: minor(status == IntentStatus::Succeeded),
            refunded_minor: minor(session.refunded),
            refund_pending_minor: 0,
            refunds: u32::from(session.refunded),
        }),
    }
}
