//! Stripe's side: the few calls that are made, what their answers mean, and the account they are made with.
//!
//! Every call that changes something carries an idempotency key of our own and is made once: whoever calls
//! looks first, with [`Stripe::read`], and looks again before it repeats a call, because Stripe forgets keys
//! after a day and stores failures under them. Nothing here decides, and nothing here retries.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use events::{Currency, OrderId};
use failpoint::Point;
use stripe::{Client, ClientBuilder, IdempotencyKey, RequestStrategy, StripeRequest};
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionLineItems, CreateCheckoutSessionLineItemsPriceData,
    CreateCheckoutSessionPaymentIntentData, CreateCheckoutSessionPaymentIntentDataCaptureMethod,
    ExpireCheckoutSession, ProductData, RetrieveCheckoutSession,
};
use stripe_core::payment_intent::{CancelPaymentIntent, CapturePaymentIntent, RetrievePaymentIntent};
use stripe_core::refund::{CreateRefund, ListRefund};
use stripe_shared::{
    CheckoutSession, CheckoutSessionMode, CheckoutSessionStatus, PaymentIntent, PaymentIntentStatus, Refund,
};
use stripe_types::Expandable;
use tokio::time::Instant;

mod account;
mod answering;
mod trouble;

pub use self::account::{AccountError, StandIn, StripeAccount};
use self::answering::Answering;
pub use self::trouble::Trouble;
use crate::domain::{Call, Intent, IntentStatus, Payment, SessionStatus, StripeView};

/// How long one call may take; what comes later is as unknown as what never comes.
pub const CALL_SECONDS_MAX: u64 = 10;
/// How many refunds of one payment are looked at. Stripe's own limit of a page.
const REFUNDS_READ_MAX: i64 = 100;
/// The metadata that ties Stripe's objects to ours; Stripe copies it from the session's request to the
/// PaymentIntent and on to its charge.
pub(crate) const META_PAYMENT: &str = "payment_id";
/// The order that is paid.
pub(crate) const META_ORDER: &str = "order_id";
const META_ATTEMPT: &str = "attempt";

/// Stripe, as far as it is used. Cheap to clone.
#[derive(Clone)]
pub struct Stripe {
    client: Client,
    answering: Answering,
}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stripe").finish_non_exhaustive()
    }
}

impl Stripe {
    /// A client for `account`. Connects to nothing yet.
    ///
    /// # Errors
    /// When the key and the address don't go together, or either is malformed.
    pub fn new(account: &StripeAccount) -> Result<Self, AccountError> {
        account.check()?;
        let mut builder = ClientBuilder::new(&account.secret_key)
            .timeout(Duration::from_secs(CALL_SECONDS_MAX))
            .request_strategy(RequestStrategy::Once)
            .app_info("boxoffice", Some(env!("CARGO_PKG_VERSION").to_owned()), None);
        if let Some(base) = &account.api_base {
            // The client puts its paths right behind the address.
            builder = builder.url(format!("{}/", base.trim_end_matches('/')));
        }
        let client = builder
            .build()
            .map_err(|error| AccountError::Unusable(error.to_string()))?;
        Ok(Self {
            client,
            answering: Answering::default(),
        })
    }

    /// Whether Stripe can be reached and does its work, as far as the last call tells; nothing is asked for it.
    pub fn seems_well(&self) -> bool {
        self.answering.is_likely(Instant::now())
    }

    /// Opens the Checkout Session of the payment's present attempt, or repeats the answer to that request.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn create_session(&self, payment: &Payment) -> Result<StripeView, Trouble> {
        self.called("create", Box::pin(self.create(payment))).await
    }

    async fn create(&self, payment: &Payment) -> Result<StripeView, Trouble> {
        let request = &payment.request;
        let product = ProductData::new(request.title.clone());
        let mut price = CreateCheckoutSessionLineItemsPriceData::new(currency(request.price.currency()));
        price.unit_amount = Some(request.price.minor());
        price.product_data = Some(product);
        let mut item = CreateCheckoutSessionLineItems::new();
        item.price_data = Some(price);
        item.quantity = Some(u64::from(request.quantity));
        let metadata: HashMap<String, String> = HashMap::from([
            (META_PAYMENT.to_owned(), payment.id.to_string()),
            (META_ORDER.to_owned(), payment.order_id.to_string()),
            (META_ATTEMPT.to_owned(), payment.attempt.to_string()),
        ]);
        let mut intent = CreateCheckoutSessionPaymentIntentData::new();
        intent.capture_method = Some(CreateCheckoutSessionPaymentIntentDataCaptureMethod::Manual);
        intent.metadata = Some(metadata.clone());
        let session = CreateCheckoutSession::new()
            .mode(CheckoutSessionMode::Payment)
            .client_reference_id(payment.order_id.to_string())
            .line_items(vec![item])
            .metadata(metadata)
            .payment_intent_data(intent)
            .success_url(request.success_url.clone())
            .cancel_url(request.cancel_url.clone())
            .expires_at(request.expires_at.as_seconds())
            .customize()
            .request_strategy(keyed(&session_key(payment.order_id, payment.attempt))?)
            .send(&self.client)
            .await?;
        Box::pin(self.view(session)).await
    }

    /// Everything that Stripe has about a session, read anew.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn read(&self, session: &str) -> Result<StripeView, Trouble> {
        self.called("read", Box::pin(self.retrieve(session))).await
    }

    async fn retrieve(&self, session: &str) -> Result<StripeView, Trouble> {
        let session = RetrieveCheckoutSession::new(session.to_owned())
            .expand(vec!["payment_intent".to_owned()])
            .customize()
            .send(&self.client)
            .await?;
        Box::pin(self.view(session)).await
    }

    /// Makes one call that changes something. `repeat` counts the calls for the same thing that Stripe has
    /// answered with anything but success: such an answer may be stored under the key, so it gets another.
    /// Answers the PaymentIntent as the call has left it, if that is what Stripe answers with.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn call(&self, call: &Call, repeat: u32) -> Result<Option<Intent>, Trouble> {
        let name = match call {
            Call::Expire(_) => "expire",
            Call::Void(_) => "void",
            Call::Capture(_) => "capture",
            Call::Refund(_) => "refund",
        };
        self.called(name, Box::pin(self.make(call, repeat))).await
    }

    async fn make(&self, call: &Call, repeat: u32) -> Result<Option<Intent>, Trouble> {
        let strategy = keyed(&call_key(call, repeat))?;
        let intent: PaymentIntent = match call {
            Call::Expire(session) => {
                let request = ExpireCheckoutSession::new(session.clone());
                request
                    .customize()
                    .request_strategy(strategy)
                    .send(&self.client)
                    .await?;
                return Ok(None);
            }
            Call::Refund(refund) => {
                let request = CreateRefund::new()
                    .payment_intent(refund.intent.clone())
                    .amount(refund.amount_minor);
                request
                    .customize()
                    .request_strategy(strategy)
                    .send(&self.client)
                    .await?;
                return Ok(None);
            }
            Call::Void(intent) => {
                let request = CancelPaymentIntent::new(intent.clone());
                request
                    .customize()
                    .request_strategy(strategy)
                    .send(&self.client)
                    .await?
            }
            Call::Capture(intent) => {
                let request = CapturePaymentIntent::new(intent.clone());
                request
                    .customize()
                    .request_strategy(strategy)
                    .send(&self.client)
                    .await?
            }
        };
        // Nothing can have been given back of what was captured this moment or never.
        known_intent(&intent, &[]).map(Some)
    }

    /// Makes a call, and notes what came of it, for the metrics and the probes.
    async fn called<T>(
        &self,
        call: &'static str,
        made: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        failpoint::reach(Point::BeforeStripe);
        let result = made.await;
        failpoint::reach(Point::AfterStripe);
        let outcome = result.as_ref().err().map_or("done", Trouble::kind);
        metrics::counter!("payments_stripe_calls_total", "call" => call, "outcome" => outcome).increment(1);
        self.answering.ended(&result);
        result
    }

    async fn view(&self, session: CheckoutSession) -> Result<StripeView, Trouble> {
        let metadata = session.metadata.unwrap_or_default();
        let intent = match session.payment_intent {
            None => None,
            Some(Expandable::Object(intent)) => Some(*intent),
            Some(Expandable::Id(id)) => Some(
                RetrievePaymentIntent::new(id)
                    .customize()
                    .send(&self.client)
                    .await?,
            ),
        };
        let intent = match intent {
            None => None,
            Some(intent) => Some(self.intent(&intent).await?),
        };
        Ok(StripeView {
            session: session.id.to_string(),
            attempt: metadata
                .get(META_ATTEMPT)
                .and_then(|attempt| attempt.parse().ok())
                .unwrap_or(0),
            session_status: session_status(session.status.as_ref())?,
            url: session.url,
            intent,
        })
    }

    async fn intent(&self, intent: &PaymentIntent) -> Result<Intent, Trouble> {
        if intent_status(&intent.status)? != IntentStatus::Succeeded {
            return known_intent(intent, &[]);
        }
        let request = ListRefund::new()
            .payment_intent(intent.id.to_string())
            .limit(REFUNDS_READ_MAX);
        let refunds = request.customize().send(&self.client).await?;
        known_intent(intent, &refunds.data)
    }
}

fn known_intent(intent: &PaymentIntent, refunds: &[Refund]) -> Result<Intent, Trouble> {
    let sum = |wanted: RefundStatus| {
        refunds
            .iter()
            .filter(|refund| refund_status(refund) == wanted)
            .map(|refund| refund.amount)
            .sum()
    };
    Ok(Intent {
        id: intent.id.to_string(),
        status: intent_status(&intent.status)?,
        captured_minor: intent.amount_received,
        refunded_minor: sum(RefundStatus::Done),
        refund_pending_minor: sum(RefundStatus::Pending),
        refunds: u32::try_from(refunds.len()).unwrap_or(u32::MAX),
    })
}

/// The key under which a payment's attempt opens its session.
fn session_key(order: OrderId, attempt: u32) -> String {
    format!("cs:{order}:{attempt}")
}

fn call_key(call: &Call, repeat: u32) -> String {
    let key = match call {
        Call::Expire(session) => format!("exp:{session}"),
        Call::Void(intent) => format!("void:{intent}"),
        Call::Capture(intent) => format!("cap:{intent}"),
        Call::Refund(refund) => format!("ref:{}:{}", refund.intent, refund.number),
    };
    if repeat == 0 {
        key
    } else {
        format!("{key}:again{repeat}")
    }
}

fn keyed(key: &str) -> Result<RequestStrategy, Trouble> {
    let key = IdempotencyKey::new(key).map_err(|error| Trouble::Refused(error.to_string()))?;
    Ok(RequestStrategy::Idempotent(key))
}

fn currency(currency: Currency) -> stripe_types::Currency {
    let Ok(currency) = currency.as_str().parse();
    currency
}

fn session_status(status: Option<&CheckoutSessionStatus>) -> Result<SessionStatus, Trouble> {
    match status {
        Some(CheckoutSessionStatus::Open) => Ok(SessionStatus::Open),
        Some(CheckoutSessionStatus::Complete) => Ok(SessionStatus::Complete),
        Some(CheckoutSessionStatus::Expired) => Ok(SessionStatus::Expired),
        Some(other) => Err(Trouble::Unknown(format!("a session is `{other}`"))),
        None => Err(Trouble::Unknown("a session without a status".to_owned())),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is Stripe's and not exhaustive; what it may yet say is unknown, never guessed"
)]
fn intent_status(status: &PaymentIntentStatus) -> Result<IntentStatus, Trouble> {
    match status {
        PaymentIntentStatus::RequiresPaymentMethod
        | PaymentIntentStatus::RequiresConfirmation
        | PaymentIntentStatus::RequiresAction => Ok(IntentStatus::RequiresPayment),
        PaymentIntentStatus::Processing => Ok(IntentStatus::Processing),
        PaymentIntentStatus::RequiresCapture => Ok(IntentStatus::RequiresCapture),
        PaymentIntentStatus::Succeeded => Ok(IntentStatus::Succeeded),
        PaymentIntentStatus::Canceled => Ok(IntentStatus::Canceled),
        other => Err(Trouble::Unknown(format!("a payment intent is `{other}`"))),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RefundStatus {
    Done,
    Pending,
    Failed,
}

fn refund_status(refund: &Refund) -> RefundStatus {
    match refund.status.as_deref() {
        Some("succeeded") => RefundStatus::Done,
        Some("failed" | "canceled") => RefundStatus::Failed,
        // `pending`, `requires_action`, and what Stripe may yet invent: until it is known to have failed, the
        // money counts as on its way, so that it is not sent twice.
        Some(_) | None => RefundStatus::Pending,
    }
}
