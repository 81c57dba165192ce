//! The HTTP side of payments: thin handlers over the domain, the store, and the worker's looks at Stripe.

mod body;
mod opening;

use axum::extract::{FromRef, State};
use errors::Problem;
use events::PaymentId;
use service::http::Path;
use service::{Once, OrProblem as _, Parts, Reply};
use session::{Access, CurrentUser};
use std::sync::Arc;
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use body::{OpenedBody, PaymentBody, PaymentRequest};
pub use opening::LOOK_SECONDS_MAX;

use crate::agent::Agent;
use crate::domain::{Payment, PaymentError, State as PaymentState};
use crate::store::PaymentIndexes;
use crate::webhook;
use crate::worker::Looks;

/// What the handlers share.
#[derive(Clone)]
pub struct Shared {
    /// The service's parts.
    pub parts: Parts<PaymentIndexes>,
    /// Asks the worker for a look at Stripe.
    pub looks: Looks,
    /// What Stripe may have signed a notice with: one secret, or two while one takes the place of the other.
    pub webhook_secrets: Arc<[String]>,
    /// Makes the steps that requests still need when the worker has ended.
    agent: Agent,
    /// The places of those who make such steps.
    last_steps: Arc<Semaphore>,
}

impl Shared {
    /// What the handlers share: the agent that the worker has, too, and the worker's looks.
    pub fn new(
        parts: Parts<PaymentIndexes>,
        agent: Agent,
        looks: Looks,
        webhook_secrets: Arc<[String]>,
    ) -> Self {
        Self {
            parts,
            looks,
            webhook_secrets,
            agent,
            last_steps: Arc::new(Semaphore::new(opening::LAST_STEPS_MAX)),
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl FromRef<Shared> for Access {
    fn from_ref(shared: &Shared) -> Self {
        shared.parts.access.clone()
    }
}

/// The routes of this service.
pub fn router(shared: Shared) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(open_payment))
        .routes(routes!(get_payment))
        .routes(routes!(webhook::receive))
        .with_state(shared)
}

/// After how long it is worth coming back.
pub(crate) const RETRY_SECONDS: u32 = 2;

/// The route as idempotency keys are counted.
const OPEN_ROUTE: &str = "POST /api/payments";

/// Pay an order
///
/// Opens Stripe's page for it, or answers with the one that is open. Waits while the order's tickets are being
/// reserved, but not for long: then it is 503, come again.
#[utoipa::path(post, path = "/api/payments", tag = "payments", request_body = PaymentRequest, responses(
    (status = 201, body = OpenedBody), (status = 400, body = errors::ProblemBody),
    (status = 401, body = errors::ProblemBody), (status = 404, body = errors::ProblemBody),
    (status = 409, body = errors::ProblemBody), (status = 422, body = errors::ProblemBody),
    (status = 503, body = errors::ProblemBody),
), params(("Idempotency-Key" = Option<String>, Header)), security(("session" = [])))]
async fn open_payment(
    State(shared): State<Shared>,
    user: CurrentUser,
    request: Once<PaymentRequest>,
) -> Result<Reply, Problem> {
    let key = request.key.map(|key| key.of(user.id, OPEN_ROUTE));
    if let Some(key) = &key
        && let Some(reply) = shared.parts.answered(key).await?
    {
        return Ok(reply);
    }
    let payment = opening::payable(&shared, user.id, request.body.order_id).await?;
    let reply = Reply::created(&OpenedBody::from(&payment));
    if key.is_none() {
        return Ok(reply);
    }
    // The effect is there already, and asking for it again has none: only the answer is left to be stored. One
    // key that comes for two orders at the same moment opens a page for each and stores one answer, and the other
    // request hears 422: that order's page is the same as the one that asking for it rightly would have opened,
    // nobody is told of it before, and no money moves by it. That is why the key is not claimed beforehand: a
    // claim without an answer would have to be taken back whenever Stripe does not answer.
    shared.parts.once::<PaymentError>(key, move |_| Ok(reply)).await
}

/// One payment
///
/// While Stripe's page is open, Stripe is asked first, so that a lost notice costs nothing.
#[utoipa::path(get, path = "/api/payments/{id}", tag = "payments", params(("id" = String, Path)), responses(
    (status = 200, body = PaymentBody), (status = 401, body = errors::ProblemBody),
    (status = 404, body = errors::ProblemBody),
), security(("session" = [])))]
async fn get_payment(
    State(shared): State<Shared>,
    user: CurrentUser,
    Path(id): Path<PaymentId>,
) -> Result<axum::Json<PaymentBody>, Problem> {
    let read = || shared.parts.store.get::<Payment>(&id).or_problem();
    let own = |payment: &Payment| payment.user_id == user.id;
    let mut payment = read()?.filter(own).ok_or_else(Problem::not_found)?;
    if matches!(payment.state, PaymentState::Open(_)) {
        shared.looks.look(id, opening::LOOK_WAIT_MAX).await;
        payment = read()?.ok_or_else(Problem::not_found)?;
    }
    Ok(axum::Json(PaymentBody::from(&payment)))
}

impl From<PaymentError> for Problem {
    fn from(error: PaymentError) -> Self {
        match error {
            // It passes by itself, so that nobody should take it for the end of the order.
            PaymentError::NotReserved => Self::unavailable(format!("{error}, try again soon"), RETRY_SECONDS),
            PaymentError::Expired
            | PaymentError::OrderCancelled
            | PaymentError::AlreadyPaid
            | PaymentError::AlreadyRefunded
            | PaymentError::AlreadyFailed => Self::conflict(error.to_string()),
            PaymentError::SessionUnknown
            | PaymentError::NothingToRefund
            | PaymentError::ForeignSession
            | PaymentError::ForeignIntent
            | PaymentError::NotOpening
            | PaymentError::NotCapturing
            | PaymentError::Stale(_) => Self::internal(format!("a buyer's request ended in: {error}")),
        }
    }
}
