//! Stripe's own books. They are never set back.

use std::collections::BTreeMap;

use events::OrderId;
use payments::domain::{Call, Intent, IntentStatus, Payment, SessionStatus, StripeView};

#[derive(Debug, Default)]
pub(crate) struct Stripe {
    sessions: BTreeMap<String, (OrderId, StripeView)>,
}

impl Stripe {
    /// The session of a payment's attempt: made, or the same again.
    pub(crate) fn session(&mut self, payment: &Payment) -> StripeView {
        let session = format!("cs_{}_{}", payment.order_id, payment.attempt);
        let made = self.sessions.entry(session.clone()).or_insert((
            payment.order_id,
            StripeView {
                url: Some(format!("https://stripe.test/{session}")),
                session,
                attempt: payment.attempt,
                session_status: SessionStatus::Open,
                intent: None,
            },
        ));
        made.1.clone()
    }

    pub(crate) fn look(&self, session: &str) -> StripeView {
        self.sessions[session].1.clone()
    }

    /// The buyer pays on the session's page, if it is still there.
    pub(crate) fn pay(&mut self, session: &str, amount_minor: i64) {
        let (_, view) = self.sessions.get_mut(session).unwrap();
        if view.session_status == SessionStatus::Open {
            view.session_status = SessionStatus::Complete;
            view.url = None;
            view.intent = Some(Intent {
                id: format!("pi_{session}_{amount_minor}"),
                status: IntentStatus::RequiresCapture,
                captured_minor: 0,
                refunded_minor: 0,
                refund_pending_minor: 0,
                refunds: 0,
            });
        }
    }

    pub(crate) fn call(&mut self, session: &str, call: &Call, amount_minor: i64) {
        let (_, view) = self.sessions.get_mut(session).unwrap();
        match (call, view.intent.as_mut()) {
            (Call::Expire(_), _) => {
                view.session_status = SessionStatus::Expired;
                view.url = None;
            }
            (Call::Void(_), Some(intent)) => intent.status = IntentStatus::Canceled,
            (Call::Capture(_), Some(intent)) => {
                assert_eq!(intent.captured_minor, 0, "captured twice");
                intent.status = IntentStatus::Succeeded;
                intent.captured_minor = amount_minor;
            }
            (Call::Refund(refund), Some(intent)) => {
                intent.refunded_minor += refund.amount_minor;
                intent.refunds += 1;
            }
            (call, None) => panic!("{call:?} without an intent"),
        }
    }

    /// What is captured of an order's money and not given back, and whether anything of it is only authorised.
    pub(crate) fn of(&self, order: OrderId) -> (i64, bool) {
        let views = self.sessions.values().filter(|(of, _)| *of == order);
        let intents: Vec<&Intent> = views.filter_map(|(_, view)| view.intent.as_ref()).collect();
        let kept = intents
            .iter()
            .map(|intent| intent.captured_minor - intent.refunded_minor);
        let authorised = intents
            .iter()
            .any(|intent| intent.status == IntentStatus::RequiresCapture);
        (kept.sum(), authorised)
    }
}
