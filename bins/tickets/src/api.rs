//! The HTTP side of tickets: thin handlers over the domain and the indexes.

mod body;
mod list;
mod lists;

use std::sync::Arc;

use axum::extract::{FromRef, State};
use axum::response::{IntoResponse, Response};
use errors::Problem;
use events::{OrderId, TicketId, Version};
use http::{HeaderValue, StatusCode, header};
use service::http::{ETag, IfMatch, IfNoneMatch, Json, Links, Page, PageQuery, Path, Prefer, Query};
use service::{Once, OrProblem as _, Parts, Reply};
use session::{Access, CurrentUser, OptionalUser};
use store::TransactError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use body::{HoldBody, TicketBody, TicketRequest};
pub use list::ListQuery;

use crate::consumer::stage;
use crate::domain::{self, Command, Hold, Ticket, TicketError};
use crate::search::TicketIndexes;
use lists::Lists;

type Tickets = State<Parts<TicketIndexes>>;

/// What the handlers share. Behind one count, since every request takes it several times, and from both cores.
#[derive(Clone)]
struct Shared(Arc<Inner>);

struct Inner {
    parts: Parts<TicketIndexes>,
    lists: Lists,
}

impl FromRef<Shared> for Parts<TicketIndexes> {
    fn from_ref(Shared(inner): &Shared) -> Self {
        inner.parts.clone()
    }
}

impl FromRef<Shared> for Access {
    fn from_ref(Shared(inner): &Shared) -> Self {
        inner.parts.access.clone()
    }
}

/// The routes of this service.
pub fn router(parts: Parts<TicketIndexes>) -> OpenApiRouter {
    let shared = Shared(Arc::new(Inner {
        parts,
        lists: Lists::default(),
    }));
    OpenApiRouter::new()
        .routes(routes!(list_tickets, create_ticket))
        .routes(routes!(get_ticket, update_ticket, delete_ticket))
        .routes(routes!(list_ticket_orders))
        .with_state(shared)
}

/// Tickets on sale
///
/// Those with something available, searched, filtered and sorted; or, with `seller=me`, all that one sells.
#[utoipa::path(get, path = "/api/tickets", tag = "tickets", params(ListQuery), responses(
    (status = 200, body = [TicketBody], headers(("Link" = String, description = "rel=next, when there is more"))),
    (status = 400, body = errors::ProblemBody), (status = 401, body = errors::ProblemBody),
))]
async fn list_tickets(
    State(Shared(shared)): State<Shared>,
    OptionalUser(user): OptionalUser,
    links: Links,
) -> Result<Response, Problem> {
    let user = user.map(|user| user.id);
    let page = shared.lists.page(&shared.parts.store, user, &links)?;
    Ok(page.into_response())
}

/// List a ticket
#[utoipa::path(post, path = "/api/tickets", tag = "tickets", request_body = TicketRequest, responses(
    (status = 201, body = TicketBody), (status = 400, body = errors::ProblemBody),
    (status = 401, body = errors::ProblemBody), (status = 422, body = errors::ProblemBody),
), params(("Idempotency-Key" = Option<String>, Header)), security(("session" = [])))]
async fn create_ticket(
    State(parts): Tickets,
    user: CurrentUser,
    request: Once<TicketRequest>,
) -> Result<Reply, Problem> {
    let details = request.body.parse()?;
    let key = request.key.map(|key| key.of(user.id, "POST /api/tickets"));
    let id = parts.clock.ticket_id();
    let created = parts.once::<TicketError>(key, move |tx| {
        let decision = domain::list(id, user.id, details, tx.now());
        let body = decision.ticket.as_ref().map(TicketBody::from);
        stage(tx, None, decision)?;
        let location =
            HeaderValue::try_from(format!("/api/tickets/{id}")).expect("an id may stand in a header");
        Ok(Reply::created(&body)
            .header(&header::LOCATION, &location)
            .header(&header::ETAG, &ETag(Version::FIRST).value()))
    });
    created.await
}

/// One ticket
///
/// With `If-None-Match` and `Prefer: wait=N` it answers as soon as there is another version.
#[utoipa::path(get, path = "/api/tickets/{id}", tag = "tickets", params(("id" = String, Path)), responses(
    (status = 200, body = TicketBody), (status = 304, description = "Still the same"),
    (status = 404, body = errors::ProblemBody),
))]
async fn get_ticket(
    State(Shared(shared)): State<Shared>,
    Path(id): Path<TicketId>,
    known: IfNoneMatch,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let ticket = shared.parts.poll::<Ticket>(&id, &known, prefer).await?;
    let ticket = ticket
        .filter(|ticket| !ticket.deleted)
        .ok_or_else(Problem::not_found)?;
    Ok(answer(&ticket, &known))
}

/// Change a ticket
#[utoipa::path(put, path = "/api/tickets/{id}", tag = "tickets", request_body = TicketRequest, responses(
    (status = 200, body = TicketBody), (status = 400, body = errors::ProblemBody),
    (status = 401, body = errors::ProblemBody), (status = 403, body = errors::ProblemBody),
    (status = 404, body = errors::ProblemBody), (status = 409, body = errors::ProblemBody),
    (status = 412, body = errors::ProblemBody),
), params(("id" = String, Path), ("If-Match" = Option<String>, Header)), security(("session" = [])))]
async fn update_ticket(
    State(parts): Tickets,
    user: CurrentUser,
    Path(id): Path<TicketId>,
    expected: IfMatch,
    Json(request): Json<TicketRequest>,
) -> Result<Response, Problem> {
    let details = request.parse()?;
    let ticket = change(&parts, id, &expected, Command::Update { by: user.id, details }).await?;
    Ok(answer(&ticket, &IfNoneMatch::default()))
}

/// Withdraw a ticket
#[utoipa::path(delete, path = "/api/tickets/{id}", tag = "tickets", responses(
    (status = 204, description = "Withdrawn"),
    (status = 401, body = errors::ProblemBody), (status = 403, body = errors::ProblemBody),
    (status = 404, body = errors::ProblemBody), (status = 409, body = errors::ProblemBody),
    (status = 412, body = errors::ProblemBody),
), params(("id" = String, Path), ("If-Match" = Option<String>, Header)), security(("session" = [])))]
async fn delete_ticket(
    State(parts): Tickets,
    user: CurrentUser,
    Path(id): Path<TicketId>,
    expected: IfMatch,
) -> Result<StatusCode, Problem> {
    change(&parts, id, &expected, Command::Delete { by: user.id }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The orders of one's ticket
///
/// What a seller may know of them; nothing about the buyers.
#[utoipa::path(get, path = "/api/tickets/{id}/orders", tag = "tickets", params(("id" = String, Path), PageQuery),
    responses((status = 200, body = [HoldBody]), (status = 401, body = errors::ProblemBody),
        (status = 403, body = errors::ProblemBody), (status = 404, body = errors::ProblemBody)),
    security(("session" = [])))]
async fn list_ticket_orders(
    State(parts): Tickets,
    user: CurrentUser,
    Path(id): Path<TicketId>,
    links: Links,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let page: Page<OrderId> = query.parse()?;
    let ticket = parts
        .store
        .get::<Ticket>(&id)
        .or_problem()?
        .ok_or_else(Problem::not_found)?;
    if ticket.seller_id != user.id {
        return Err(TicketError::NotSeller.into());
    }
    let mut orders = parts
        .store
        .read(|indexes| indexes.orders_of(id, page.after, page.limit + 1));
    let more = orders.len() > page.limit;
    orders.truncate(page.limit);
    let mut bodies = Vec::with_capacity(orders.len());
    for order in &orders {
        if let Some(hold) = parts.store.get::<Hold>(&(id, *order)).or_problem()? {
            bodies.push(HoldBody::from(&hold));
        }
    }
    Ok((links.next(orders.last().filter(|_| more)), axum::Json(bodies)).into_response())
}

/// Carries out a seller's command on the version that the seller has seen.
async fn change(
    parts: &Parts<TicketIndexes>,
    id: TicketId,
    expected: &IfMatch,
    command: Command,
) -> Result<Ticket, Problem> {
    let read = parts
        .store
        .get::<Ticket>(&id)
        .or_problem()?
        .ok_or(TicketError::NotFound)?;
    // Refused before the version is compared, so that nobody learns from a 412 about what is not theirs.
    domain::decide(Some(&read), None, command.clone(), read.updated_at)?;
    if !expected.allows(read.version) {
        return Err(Problem::precondition_failed());
    }
    let changed = parts.transact(move |tx| {
        let ticket = tx.get::<Ticket>(&id)?;
        if ticket
            .as_ref()
            .is_none_or(|ticket| ticket.version != read.version)
        {
            return Err(TransactError::Conflict);
        }
        let decision =
            domain::decide(ticket.as_ref(), None, command, tx.now()).map_err(TransactError::Refused)?;
        let next = decision.ticket.clone();
        stage(tx, ticket.as_ref(), decision)?;
        next.ok_or(TransactError::Refused(TicketError::NotFound))
    });
    let changed = changed.await;
    if let Err(TransactError::Conflict) = changed {
        // Somebody else was faster. Whoever has named a version is told the same as a moment later: it is gone.
        let now = parts.store.get::<Ticket>(&id).or_problem()?;
        if now.is_some_and(|now| !expected.allows(now.version)) {
            return Err(Problem::precondition_failed());
        }
    }
    changed.or_problem()
}

/// The ticket with its `ETag`, or 304 if the client has it.
fn answer(ticket: &Ticket, known: &IfNoneMatch) -> Response {
    let tag = ETag(ticket.version);
    if known.matches(ticket.version) {
        return (StatusCode::NOT_MODIFIED, tag, ()).into_response();
    }
    (tag, axum::Json(TicketBody::from(ticket))).into_response()
}

impl From<TicketError> for Problem {
    fn from(error: TicketError) -> Self {
        match error {
            TicketError::NotFound => Self::not_found(),
            TicketError::NotSeller => Self::forbidden(error.to_string()),
            TicketError::Reserved
            | TicketError::ReservedNotDeletable
            | TicketError::QuantityBelowSold { .. }
            | TicketError::CurrencyChanged => Self::conflict(error.to_string()),
            TicketError::Stale(reason) | TicketError::Impossible(reason) => Self::internal(reason),
        }
    }
}
