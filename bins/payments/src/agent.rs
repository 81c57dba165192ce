//! Brings one payment one step on: looks at Stripe, tells the domain what is there, makes at most one call,
//! and tells the domain what came of it.
//!
//! It holds no state of its own that matters: killed at any point, the next step begins with the stored
//! payment and a look. When and how often steps are made is the [`crate::worker`]'s business.

use std::convert::Infallible;
use std::time::Duration;

use events::{PaymentId, Version};
use service::Clock;
use store::{Context, Store, StoreError, TransactError, Txn, TxnError};
use tokio::time::timeout;

use crate::domain::{
    Call, Command, Decision, IntentStatus, Lapse, Order, Payment, PaymentError, Step, StripeView, decide,
    follow, next_call, next_step,
};
use crate::store::PaymentIndexes;
use crate::stripe::{Stripe, Trouble};

mod notices;

use self::notices::mark_read;

/// How often Stripe may fail by itself over one request for a session before the attempt is given up.
const SESSION_FAILURES_MAX: u32 = 3;
/// How often Stripe may refuse a capture for reasons other than the bank's before it is given up.
const CAPTURE_REFUSALS_MAX: u32 = 3;
/// How close to its end a session can't be opened any more; Stripe's minimum.
const SESSION_SECONDS_MIN: u64 = 30 * 60;
/// How long a step waits for the state that it is about to become durable.
const DURABLE_SECONDS_MAX: u64 = 5;

/// Acts at Stripe for payments.
#[derive(Debug, Clone)]
pub struct Agent {
    store: Store<PaymentIndexes>,
    stripe: Stripe,
    clock: Clock,
}

/// What is remembered, while this process runs, of what was tried for a payment in its present version.
#[derive(Debug, Default)]
pub struct Tries {
    /// How often Stripe failed by itself to open the session.
    session_failures: u32,
    /// How many calls were answered with anything but success, which may be stored under their keys.
    repeat: u32,
    /// Whether Stripe has done or said what was asked of it in the last step.
    answered: bool,
}

impl Tries {
    /// Whether Stripe has done or said what was asked of it in the last step.
    pub const fn answered(&self) -> bool {
        self.answered
    }

    #[cfg(test)]
    pub(crate) fn that_were_answered() -> Self {
        Self {
            answered: true,
            ..Self::default()
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// Nothing more is wanted.
    Idle,
    /// Something has changed; what comes next can be done at once.
    Moved,
    /// It is Stripe's turn.
    Waiting,
}

/// Why a step came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Stripe did not do or say what was asked.
    #[error(transparent)]
    Stripe(#[from] Trouble),
    /// The store did not.
    #[error(transparent)]
    Store(#[from] TransactError<Infallible>),
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl Agent {
    /// An agent for the payments of `store`.
    pub fn new(store: Store<PaymentIndexes>, stripe: Stripe, clock: Clock) -> Self {
        Self { store, stripe, clock }
    }

    /// The store whose payments it brings on.
    pub fn store(&self) -> &Store<PaymentIndexes> {
        &self.store
    }

    /// Whether Stripe seems to answer.
    pub fn stripe_seems_well(&self) -> bool {
        self.stripe.seems_well()
    }

    /// Brings a payment one step on.
    ///
    /// # Errors
    /// When Stripe or the store did not go along; the step can be repeated at any time.
    pub async fn step(&self, id: PaymentId, tries: &mut Tries) -> Result<Stepped, StepError> {
        tries.answered = false;
        let (wanted, unread) = self
            .store
            .read(|indexes| (indexes.wanted_version(id), indexes.unread(id)));
        let Some(payment) = self.durable(id, wanted).await? else {
            return Ok(Stepped::Idle);
        };
        let (own, strays) = self.notices(&payment, &unread)?;
        if next_step(&payment) == Some(Step::CreateSession) {
            return self.create(&payment, tries).await;
        }
        let looked = match payment.state.session() {
            Some(session) if next_step(&payment).is_some() || !own.is_empty() => {
                self.look_and_act(&payment, session, own, tries).await?
            }
            Some(_) => Stepped::Idle,
            None => {
                // There is nothing to look at: what comes of a session that was never learnt is told by that
                // session's own notices, which are among the strays.
                self.read_notices(own).await?;
                Stepped::Idle
            }
        };
        for notice in strays {
            self.see_to_stray(&payment, notice, tries).await?;
        }
        Ok(looked)
    }

    /// The payment in the version that the indexes speak of, which may be on its way to the disk.
    async fn durable(&self, id: PaymentId, wanted: Option<Version>) -> Result<Option<Payment>, StoreError> {
        loop {
            let changed = self.store.changed::<Payment>(&id);
            let payment = self.store.get::<Payment>(&id)?;
            let version = payment.as_ref().map_or(Version(0), |payment| payment.version);
            if wanted.is_none_or(|wanted| version >= wanted) {
                return Ok(payment);
            }
            if timeout(Duration::from_secs(DURABLE_SECONDS_MAX), changed.wait())
                .await
                .is_err()
            {
                // The batch was not written after all; the state that is there is the one to go on with.
                return Ok(payment);
            }
        }
    }

    async fn create(&self, payment: &Payment, tries: &mut Tries) -> Result<Stepped, StepError> {
        let trouble = match self.stripe.create_session(payment).await {
            Ok(view) => {
                tries.answered = true;
                self.apply(payment, Command::Observe(view), Vec::new()).await?;
                return Ok(Stepped::Moved);
            }
            Err(trouble) => trouble,
        };
        let too_late =
            self.clock.now().plus(Duration::from_secs(SESSION_SECONDS_MIN)) > payment.request.expires_at;
        let lapse = match &trouble {
            Trouble::Unknown(_) | Trouble::Busy(_) | Trouble::Unauthorized(_) => None,
            Trouble::ServerError(_) => {
                tries.session_failures += 1;
                (tries.session_failures >= SESSION_FAILURES_MAX).then_some(Lapse::Unanswered)
            }
            Trouble::KeyReused(_) => Some(Lapse::Unanswered),
            Trouble::Untimely(_) => {
                if !too_late {
                    tracing::error!(now = %self.clock.now(), end = %payment.request.expires_at,
                        "Stripe counts the time otherwise: payments needs a clock that is right to within five minutes");
                }
                Some(Lapse::Unanswered)
            }
            Trouble::Missing(_) | Trouble::OtherState(_) | Trouble::Declined(_) | Trouble::Refused(_) => {
                Some(if too_late {
                    Lapse::Unanswered
                } else {
                    Lapse::Refused
                })
            }
        };
        let Some(lapse) = lapse else {
            return Err(trouble.into());
        };
        tracing::warn!(payment = %payment.id, order = %payment.order_id, attempt = payment.attempt, %trouble,
            "the attempt to open a session is given up");
        self.apply(payment, Command::GiveUpOpening(lapse), Vec::new())
            .await?;
        Ok(Stepped::Moved)
    }

    async fn look_and_act(
        &self,
        payment: &Payment,
        session: &str,
        notices: Vec<String>,
        tries: &mut Tries,
    ) -> Result<Stepped, StepError> {
        let view = match self.stripe.read(session).await {
            Ok(view) => view,
            Err(trouble) => {
                if matches!(trouble, Trouble::Missing(_)) {
                    // The state may want it looked at again; what Stripe has not is not what a notice tells of.
                    self.read_notices(notices).await?;
                }
                return Err(trouble.into());
            }
        };
        tries.answered = true;
        let seen = self
            .apply(payment, Command::Observe(view.clone()), notices)
            .await?;
        let Some(call) = next_call(&seen, &view) else {
            return Ok(after(payment, &seen));
        };
        let view = match self.stripe.call(&call, tries.repeat).await {
            Ok(Some(intent)) => StripeView {
                intent: Some(intent),
                ..view
            },
            Ok(None) => self.stripe.read(session).await?,
            Err(trouble) => return self.call_failed(&seen, &call, trouble, tries).await,
        };
        let done = self.apply(&seen, Command::Observe(view), Vec::new()).await?;
        Ok(after(payment, &done))
    }

    async fn call_failed(
        &self,
        payment: &Payment,
        call: &Call,
        trouble: Trouble,
        tries: &mut Tries,
    ) -> Result<Stepped, StepError> {
        let refused = match &trouble {
            Trouble::Unknown(_) | Trouble::Busy(_) | Trouble::Unauthorized(_) => return Err(trouble.into()),
            Trouble::Declined(_) => true,
            Trouble::ServerError(_) | Trouble::OtherState(_) => false,
            Trouble::Missing(_) | Trouble::Refused(_) | Trouble::Untimely(_) | Trouble::KeyReused(_) => {
                tries.repeat + 1 >= CAPTURE_REFUSALS_MAX
            }
        };
        tries.repeat += 1;
        let (Call::Capture(intent), Some(session), true) = (call, payment.state.session(), refused) else {
            return Err(trouble.into());
        };
        // The refusal is definite, but only Stripe's own object says what is left of the authorisation.
        let view = self.stripe.read(session).await?;
        let still_authorized = view
            .intent
            .as_ref()
            .is_some_and(|seen| seen.status == IntentStatus::RequiresCapture);
        tracing::warn!(payment = %payment.id, order = %payment.order_id, %intent, %trouble, "the capture is refused");
        let command = if still_authorized {
            Command::GiveUpCapturing
        } else {
            Command::Observe(view)
        };
        let failed = self.apply(payment, command, Vec::new()).await?;
        Ok(after(payment, &failed))
    }

    /// Tells the domain something about a payment, and answers how the payment is then.
    async fn apply(
        &self,
        known: &Payment,
        command: Command,
        notices: Vec<String>,
    ) -> Result<Payment, StepError> {
        if notices.is_empty()
            && let Err(PaymentError::Stale(_)) = decide(known, command.clone(), self.clock.now())
        {
            return Ok(known.clone());
        }
        let known = known.clone();
        self.transact(move |tx| {
            let Some(payment) = tx.get::<Payment>(&known.id)? else { return Ok(known) };
            mark_read(tx, &notices)?;
            match decide(&payment, command, tx.now()) {
                Ok(decision) => {
                    let payment = stage(tx, Some(payment.version), decision)?;
                    follow_order(tx, payment)
                }
                Err(PaymentError::Stale(_)) => Ok(payment),
                Err(error) => {
                    // The payment went on while Stripe was being asked; the next look sees where it is now.
                    tracing::info!(payment = %payment.id, state = payment.state.as_str(), %error, "not applied");
                    Ok(payment)
                }
            }
        })
        .await
    }

    async fn transact<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Txn<'_, PaymentIndexes>) -> Result<T, TxnError> + Send + 'static,
    ) -> Result<T, StepError> {
        Ok(self
            .store
            .transact(Context::new(self.clock.now()), |tx| Ok(f(tx)?))
            .await?)
    }
}

/// Stages what was decided about a payment of that version, or about none yet.
///
/// # Errors
/// When the payment has another version by now.
pub fn stage(
    tx: &mut Txn<'_, PaymentIndexes>,
    version: Option<Version>,
    decision: Decision,
) -> Result<Payment, TxnError> {
    tx.put(version, decision.payment.clone())?;
    for event in decision.events {
        tx.emit(event);
    }
    Ok(decision.payment)
}

/// Brings a payment to where its order is, which a loss may have left behind or put ahead of it.
///
/// # Errors
/// When a row can't be read or staged.
pub fn follow_order(tx: &mut Txn<'_, PaymentIndexes>, mut payment: Payment) -> Result<Payment, TxnError> {
    let Some(order) = tx.get::<Order>(&payment.order_id)? else {
        return Ok(payment);
    };
    // Each command leaves a state that asks for less; it ends by itself.
    while let Some(command) = follow(&payment, order.status) {
        tracing::warn!(payment = %payment.id, order = %order.id, state = payment.state.as_str(), ?command,
            "the payment goes where its order is");
        match decide(&payment, command, tx.now()) {
            Ok(decision) => payment = stage(tx, Some(payment.version), decision)?,
            Err(error) => {
                tracing::error!(payment = %payment.id, order = %order.id, %error, "the payment can't follow its order");
                break;
            }
        }
    }
    Ok(payment)
}

fn after(before: &Payment, after: &Payment) -> Stepped {
    match next_step(after) {
        _ if after.version != before.version => Stepped::Moved,
        None | Some(Step::Observe) => Stepped::Idle,
        Some(Step::CreateSession | Step::Look | Step::Capture | Step::Close | Step::Refund) => {
            Stepped::Waiting
        }
    }
}
