//! The HTTP side of orders: thin handlers over the domain and the indexes.

mod body;

use std::time::Duration;

use axum::extract::{FromRef, State};
use axum::response::{IntoResponse, Response};
use errors::Problem;
use events::{OrderId, Source, UserId};
use http::{HeaderValue, StatusCode, header};
use service::http::{ETag, IfNoneMatch, Links, Page, PageQuery, Path, Prefer, Query};
use service::{Once, OrProblem as _, Parts, Reply};
use session::{Access, CurrentUser};
use store::TransactError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use body::{NoFields, OrderBody, OrderRequest, OrderedTicketBody, RefundBody};

use crate::consumer::stage;
use crate::domain::{self, Command, Order, OrderError, TicketView};
use crate::store::OrderIndexes;

/// What the handlers need.
#[derive(Clone)]
pub struct Orders {
    /// The service.
    pub parts: Parts<OrderIndexes>,
    /// How long an unpaid order holds its tickets.
    pub hold: Duration,
}

impl FromRef<Orders> for Access {
    fn from_ref(orders: &Orders) -> Self {
        orders.parts.access.clone()
    }
}

/// The routes of this service.
pub fn router(orders: Orders) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(place_order, list_orders))
        .routes(routes!(get_order, cancel_order))
        .routes(routes!(refund_order))
        .with_state(orders)
}

/// Order a ticket
///
/// The order is `created` and holds its pieces until `expiresAt`; a moment later it is `awaiting:payment`.
#[utoipa::path(post, path = "/api/orders", tag = "orders", request_body = OrderRequest, responses(
    (status = 201, body = OrderBody), (status = 400, body = errors::ProblemBody),
    (status = 401, body = errors::ProblemBody), (status = 404, body = errors::ProblemBody),
    (status = 409, body = errors::ProblemBody), (status = 422, body = errors::ProblemBody),
), params(("Idempotency-Key" = Option<String>, Header)), security(("session" = [])))]
async fn place_order(
    State(Orders { parts, hold }): State<Orders>,
    user: CurrentUser,
    request: Once<OrderRequest>,
) -> Result<Reply, Problem> {
    let wish = request.body.parse()?;
    let ticket_id = wish.ticket_id;
    let key = request.key.map(|key| key.of(user.id, "POST /api/orders"));
    let known = parts
        .appears::<TicketView>(&ticket_id, ticket_id.created_at(), Source::Tickets)
        .await?;
    known.ok_or(OrderError::TicketNotFound)?;
    let id = parts.clock.order_id();
    let placed = parts.once(key, move |tx| {
        let ticket = tx.get::<TicketView>(&ticket_id)?;
        let ticket = ticket.ok_or(TransactError::Refused(OrderError::TicketNotFound))?;
        let claimed = tx.indexes().claimed(ticket_id);
        let wish = wish
            .into_command(id, user.id, &ticket, hold)
            .map_err(TransactError::Refused)?;
        let decision = domain::place(&ticket, claimed, &wish, tx.now()).map_err(TransactError::Refused)?;
        let reply = decision.order.as_ref().map(created);
        stage(tx, None, decision)?;
        reply.ok_or(TransactError::Refused(OrderError::Impossible(
            "an order was placed and is not there",
        )))
    });
    placed.await
}

/// One's own orders, the latest first
#[utoipa::path(get, path = "/api/orders", tag = "orders", params(PageQuery), responses(
    (status = 200, body = [OrderBody], headers(("Link" = String, description = "rel=next, when there is more"))),
    (status = 400, body = errors::ProblemBody), (status = 401, body = errors::ProblemBody),
), security(("session" = [])))]
async fn list_orders(
    State(Orders { parts, .. }): State<Orders>,
    user: CurrentUser,
    links: Links,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let page: Page<OrderId> = query.parse()?;
    let mut ids = parts
        .store
        .read(|indexes| indexes.of_buyer(user.id, page.after, page.limit + 1));
    let more = ids.len() > page.limit;
    ids.truncate(page.limit);
    let mut orders = Vec::with_capacity(ids.len());
    for id in &ids {
        // The index may be ahead of what is durable by a moment; such an order is on the next reading of the page.
        if let Some(order) = parts.store.get::<Order>(id).or_problem()? {
            orders.push(OrderBody::from(&order));
        }
    }
    Ok((links.next(ids.last().filter(|_| more)), axum::Json(orders)).into_response())
}

/// One order
///
/// With `If-None-Match` and `Prefer: wait=N` it answers as soon as there is another version.
#[utoipa::path(get, path = "/api/orders/{id}", tag = "orders", params(("id" = String, Path)), responses(
    (status = 200, body = OrderBody), (status = 304, description = "Still the same"),
    (status = 401, body = errors::ProblemBody), (status = 404, body = errors::ProblemBody),
), security(("session" = [])))]
async fn get_order(
    State(Orders { parts, .. }): State<Orders>,
    user: CurrentUser,
    Path(id): Path<OrderId>,
    known: IfNoneMatch,
    prefer: Prefer,
) -> Result<Response, Problem> {
    // Whose it is never changes: it is looked at before anyone is kept waiting.
    own(parts.store.get::<Order>(&id).or_problem()?, user.id)?;
    let order = own(parts.poll::<Order>(&id, &known, prefer).await?, user.id)?;
    let tag = ETag(order.version);
    if known.matches(order.version) {
        return Ok((StatusCode::NOT_MODIFIED, tag, ()).into_response());
    }
    Ok((tag, axum::Json(OrderBody::from(&order))).into_response())
}

/// Cancel an order
///
/// Nothing will be charged. Cancelling a cancelled order is fine.
#[utoipa::path(delete, path = "/api/orders/{id}", tag = "orders", params(("id" = String, Path)), responses(
    (status = 204, description = "Cancelled"), (status = 401, body = errors::ProblemBody),
    (status = 404, body = errors::ProblemBody), (status = 409, body = errors::ProblemBody),
), security(("session" = [])))]
async fn cancel_order(
    State(Orders { parts, .. }): State<Orders>,
    user: CurrentUser,
    Path(id): Path<OrderId>,
) -> Result<StatusCode, Problem> {
    own(parts.store.get::<Order>(&id).or_problem()?, user.id)?;
    let cancelled = parts.transact(move |tx| {
        let order = tx
            .get::<Order>(&id)?
            .ok_or(TransactError::Refused(OrderError::NotFound))?;
        let decision = domain::decide(&order, Command::Cancel, tx.now()).map_err(TransactError::Refused)?;
        stage(tx, Some(&order), decision)
    });
    match cancelled.await {
        // What was asked for is so.
        Ok(()) | Err(TransactError::Refused(OrderError::AlreadyCancelled)) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(error).or_problem(),
    }
}

/// Give an order's money back
///
/// By the ticket's seller. The whole order's money goes back; it ends `cancelled` with reason `refunded`.
#[utoipa::path(post, path = "/api/orders/{id}/refund", tag = "orders", responses(
    (status = 202, body = RefundBody), (status = 401, body = errors::ProblemBody),
    (status = 403, body = errors::ProblemBody), (status = 404, body = errors::ProblemBody),
    (status = 409, body = errors::ProblemBody), (status = 422, body = errors::ProblemBody),
), params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)), security(("session" = [])))]
async fn refund_order(
    State(Orders { parts, .. }): State<Orders>,
    user: CurrentUser,
    Path(id): Path<OrderId>,
    request: Once<Option<NoFields>>,
) -> Result<Reply, Problem> {
    let order = parts
        .store
        .get::<Order>(&id)
        .or_problem()?
        .ok_or_else(Problem::not_found)?;
    if order.ticket.seller_id != user.id {
        // The buyer may know of the order; to anyone else it does not exist.
        own(Some(order), user.id)?;
        return Err(Problem::forbidden("Only the seller can give the money back"));
    }
    let key = request
        .key
        .map(|key| key.of(user.id, "POST /api/orders/{id}/refund"));
    let refunding = parts.once(key, move |tx| {
        let order = tx
            .get::<Order>(&id)?
            .ok_or(TransactError::Refused(OrderError::NotFound))?;
        let decision = domain::decide(&order, Command::Refund, tx.now()).map_err(TransactError::Refused)?;
        let reply = Reply::accepted(&RefundBody::from(decision.order.as_ref().unwrap_or(&order)));
        stage(tx, Some(&order), decision)?;
        Ok(reply)
    });
    refunding.await
}

fn created(order: &Order) -> Reply {
    let location = format!("/api/orders/{}", order.id);
    let location = HeaderValue::try_from(location).expect("an id may stand in a header");
    Reply::created(&OrderBody::from(order))
        .header(&header::LOCATION, &location)
        .header(&header::ETAG, &ETag(order.version).value())
}

/// The order if it is this person's; to anyone else it does not exist.
fn own(order: Option<Order>, user: UserId) -> Result<Order, Problem> {
    order
        .filter(|order| order.user_id == user)
        .ok_or_else(Problem::not_found)
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::TicketNotFound => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            OrderError::NotFound => Self::not_found(),
            OrderError::OwnTicket
            | OrderError::PriceChanged { .. }
            | OrderError::NotEnoughLeft { .. }
            | OrderError::TotalTooLarge
            | OrderError::AlreadyAccepted
            | OrderError::AlreadyComplete
            | OrderError::AlreadyRefunding
            | OrderError::AlreadyCancelled
            | OrderError::NotComplete => Self::conflict(error.to_string()),
            OrderError::Stale(reason) | OrderError::Impossible(reason) => Self::internal(reason),
        }
    }
}
