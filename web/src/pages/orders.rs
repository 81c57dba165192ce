//! What a person has ordered: the list, one order with its time left, paying and cancelling.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::Site;
use crate::api::{Order, OrderStatus, Payment, PaymentRequest, Person};
use crate::format::{self, Moment};
use crate::forms::Submitted;
use crate::pages::Id;
use crate::problem::{Failure, Refusal};
use crate::session::Visit;
use crate::upstream::Call;
use crate::view::{self, Section, Shell};

/// Orders on one page.
const PAGE_ORDERS: usize = 20;
/// How long the page waits for the order to move on when a person comes back from paying.
const RETURN_WAIT_SECONDS: u64 = 5;
/// After how long a browser without the script looks again while something is under way.
const REFRESH_SECONDS: u64 = 3;

/// What may stand behind the `?` of a list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Paging {
    /// Where the page begins.
    pub(crate) after: Option<String>,
    /// The code of what has just been done.
    pub(crate) done: Option<String>,
}

/// What may stand behind the `?` of an order.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct OrderQuery {
    /// Stripe's session, when the person comes back from paying.
    session_id: Option<String>,
    done: Option<String>,
}

struct Row {
    id: String,
    title: String,
    venue: Option<String>,
    when: Option<Moment>,
    pieces: String,
    total: String,
    status: OrderStatus,
}

#[derive(Template)]
#[template(path = "orders.html")]
struct OrdersPage {
    shell: Shell,
    rows: Vec<Row>,
    paged: bool,
    next_page: Option<String>,
}

#[derive(Template)]
#[template(path = "order.html")]
struct OrderPage {
    shell: Shell,
    order: Order,
    heading: &'static str,
    text: &'static str,
    problem: Option<String>,
    when: Option<Moment>,
    placed: Option<Moment>,
    deadline: Option<Moment>,
    left: String,
    payable: bool,
    pieces: String,
    each: String,
    total: String,
    /// How many of the three steps (reserved, paid, yours) are done; nothing for an order that has ended.
    steps_done: Option<usize>,
}

/// `GET /orders`
pub(crate) async fn list(
    State(site): State<Arc<Site>>,
    visit: Visit,
    Query(paging): Query<Paging>,
) -> Result<Response, Failure> {
    let mut path = format!("/api/orders?limit={PAGE_ORDERS}");
    if let Some(after) = &paging.after {
        path.push_str(&format!("&after={}", format::encode(after)));
    }
    let person = visit.signed_in(&site).await?;
    let answer = site.send(&visit, Call::get(path)).await?;
    let orders: Vec<Order> = site.read(&visit, &answer)?;
    let rows = orders.into_iter().map(|order| Row {
        total: format::money(&order.total, &order.currency),
        pieces: format::pieces(order.quantity),
        when: Moment::of_show(
            order.ticket.starts_at.as_deref(),
            order.ticket.time_zone.as_deref(),
        ),
        title: order.ticket.title,
        venue: order.ticket.venue.filter(|venue| !venue.is_empty()),
        status: order.status,
        id: order.id,
    });
    let mut shell = Shell::new(&site, &visit, Some(&person), Section::Orders, "My orders");
    shell.notice = view::notice(paging.done.as_deref());
    let page = OrdersPage {
        shell,
        rows: rows.collect(),
        paged: paging.after.is_some(),
        next_page: super::home::next_cursor(&answer).map(|after| format!("/orders?after={after}")),
    };
    Ok(view::render(StatusCode::OK, &page))
}

/// `GET /orders/{id}`
pub(crate) async fn show(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Id,
    Query(query): Query<OrderQuery>,
) -> Result<Response, Failure> {
    let person = visit.signed_in(&site).await?;
    let mut order: Order = site.fetch(&visit, Call::get(format!("/api/orders/{id}"))).await?;
    if query.session_id.is_some() && is_being_paid(order.status) {
        order = after_payment(&site, &visit, order).await?;
    }
    let returned = query.session_id.is_some();
    let page = order_page(
        &site,
        &visit,
        &person,
        order,
        returned,
        query.done.as_deref(),
        None,
    );
    Ok(view::render(StatusCode::OK, &page))
}

/// `POST /orders/{id}/pay`: leads to Stripe's page.
pub(crate) async fn pay(
    State(site): State<Arc<Site>>,
    id: Id,
    submitted: Submitted,
) -> Result<Response, Failure> {
    let visit = &submitted.visit;
    let order_id = id.to_string();
    let call = Call::json(
        Method::POST,
        "/api/payments",
        &PaymentRequest { order_id: &order_id },
    );
    let answer = site.send(visit, call).await?;
    if answer.status.is_success() {
        let payment: Payment = site.read(visit, &answer)?;
        return match payment.url {
            Some(url) if is_web_address(&url) => Ok(Redirect::to(&url).into_response()),
            Some(_) => {
                tracing::error!(order = order_id, "the payment's address is no web address");
                Err(Failure::Broken)
            }
            // There is nothing to pay any more; the order's page says why.
            None => Ok(Redirect::to(&format!("/orders/{id}")).into_response()),
        };
    }
    let refusal = Refusal::read(&answer, &format!("/orders/{id}"))?;
    refused(&site, visit, &id, refusal).await
}

/// `POST /orders/{id}/cancel`
pub(crate) async fn cancel(
    State(site): State<Arc<Site>>,
    id: Id,
    submitted: Submitted,
) -> Result<Response, Failure> {
    let visit = &submitted.visit;
    let answer = site
        .send(visit, Call::new(Method::DELETE, format!("/api/orders/{id}")))
        .await?;
    if answer.status.is_success() {
        return Ok(Redirect::to(&format!("/orders/{id}?done=cancelled")).into_response());
    }
    let refusal = Refusal::read(&answer, &format!("/orders/{id}"))?;
    refused(&site, visit, &id, refusal).await
}

/// The order's page with what the service said no to.
async fn refused(site: &Site, visit: &Visit, id: &Id, refusal: Refusal) -> Result<Response, Failure> {
    let person = visit.signed_in(site).await?;
    let order: Order = site.fetch(visit, Call::get(format!("/api/orders/{id}"))).await?;
    let message = refusal.message().to_owned();
    let page = order_page(site, visit, &person, order, false, None, Some(message));
    Ok(view::render(refusal.status, &page))
}

fn is_being_paid(status: OrderStatus) -> bool {
    match status {
        OrderStatus::AwaitingPayment | OrderStatus::Accepted => true,
        OrderStatus::Created | OrderStatus::Complete | OrderStatus::Refunding | OrderStatus::Cancelled => {
            false
        }
    }
}

/// Waits a little for the order to settle when the person comes back from Stripe. Asking the payments
/// service makes it look at the session at once instead of waiting for the webhook; it changes nothing that
/// the webhook would not change, so it may stand behind a link.
async fn after_payment(site: &Site, visit: &Visit, order: Order) -> Result<Order, Failure> {
    let id = order.id.clone();
    let nudge = async {
        let call = Call::json(Method::POST, "/api/payments", &PaymentRequest { order_id: &id });
        // 409 is the usual answer of an order that has moved on meanwhile; only silence is worth a word.
        if let Err(failure) = site.send(visit, call).await {
            tracing::debug!(?failure, order = id, "payments could not be asked to look again");
        }
    };
    let settled = async {
        let mut current = order.clone();
        while is_being_paid(current.status) {
            let call =
                Call::get(format!("/api/orders/{id}")).changed_since(current.version, RETURN_WAIT_SECONDS);
            let answer = site.send(visit, call).await?;
            if answer.status == StatusCode::NOT_MODIFIED {
                break;
            }
            current = site.read(visit, &answer)?;
        }
        Ok(current)
    };
    let limit = Duration::from_secs(RETURN_WAIT_SECONDS);
    let (_, settled) = tokio::join!(
        tokio::time::timeout(limit, nudge),
        tokio::time::timeout(limit, settled)
    );
    match settled {
        Ok(order) => order,
        Err(_) => site.fetch(visit, Call::get(format!("/api/orders/{id}"))).await,
    }
}

/// Whether a payment's address is one that a browser may be sent to.
fn is_web_address(url: &str) -> bool {
    url.parse::<Uri>()
        .is_ok_and(|uri| matches!(uri.scheme_str(), Some("https" | "http")) && uri.host().is_some())
}

fn order_page(
    site: &Site,
    visit: &Visit,
    person: &Person,
    order: Order,
    returned: bool,
    done: Option<&str>,
    problem: Option<String>,
) -> OrderPage {
    let deadline = order.expires_at.as_deref().and_then(Moment::parse);
    let seconds_left = deadline
        .as_ref()
        .map(|deadline| deadline.timestamp().as_second() - visit.now.as_second());
    let late = seconds_left.is_some_and(|seconds| seconds <= 0);
    let (heading, text) = words(&order, returned, late);
    let mut shell =
        Shell::new(site, visit, Some(person), Section::Orders, heading).with_errors(problem.is_some());
    shell.notice = view::notice(done);
    shell.refresh_seconds = match order.status {
        OrderStatus::Created | OrderStatus::Accepted | OrderStatus::Refunding => Some(REFRESH_SECONDS),
        OrderStatus::AwaitingPayment if returned || late => Some(REFRESH_SECONDS),
        // The page is read in peace until the hold ends, and then tells that it has.
        OrderStatus::AwaitingPayment => seconds_left.and_then(|seconds| u64::try_from(seconds + 1).ok()),
        OrderStatus::Complete | OrderStatus::Cancelled => None,
    };
    OrderPage {
        heading,
        text,
        problem,
        when: Moment::of_show(
            order.ticket.starts_at.as_deref(),
            order.ticket.time_zone.as_deref(),
        ),
        placed: order.created_at.as_deref().and_then(Moment::parse),
        left: deadline
            .as_ref()
            .map(|deadline| format::time_left(visit.now, deadline.timestamp()))
            .unwrap_or_default(),
        deadline,
        payable: order.status == OrderStatus::AwaitingPayment && !late,
        pieces: format::pieces(order.quantity),
        each: format::money(&order.ticket.price, &order.currency),
        total: format::money(&order.total, &order.currency),
        steps_done: match order.status {
            OrderStatus::Created => Some(0),
            OrderStatus::AwaitingPayment => Some(1),
            OrderStatus::Accepted => Some(2),
            OrderStatus::Complete => Some(3),
            OrderStatus::Refunding | OrderStatus::Cancelled => None,
        },
        order,
        shell,
    }
}

/// What an order's state means for its buyer.
fn words(order: &Order, returned: bool, late: bool) -> (&'static str, &'static str) {
    match order.status {
        OrderStatus::Created => (
            "We are confirming your reservation",
            "This usually takes less than a second. Nothing is charged yet.",
        ),
        OrderStatus::AwaitingPayment if late => (
            "The time to pay is over",
            "The hold on your tickets is ending. Nothing was charged.",
        ),
        OrderStatus::AwaitingPayment if returned => (
            "We are waiting for your payment",
            "If you have just paid, Stripe is still confirming it: this page follows along. If you have not, you can pay now.",
        ),
        OrderStatus::AwaitingPayment => (
            "Reserved for you",
            "Nobody else can buy these tickets while you pay. Nothing is charged until you do.",
        ),
        OrderStatus::Accepted => (
            "Your payment is going through",
            "The tickets are yours as soon as it is complete. This takes a moment.",
        ),
        OrderStatus::Complete => (
            "The tickets are yours",
            "Your payment is complete. Enjoy the show.",
        ),
        OrderStatus::Refunding => (
            "Your money is on its way back",
            "The seller has refunded this order. Depending on your bank it takes a few days to arrive.",
        ),
        OrderStatus::Cancelled => match order.reason.as_deref() {
            Some("buyer") => (
                "You cancelled this order",
                "Nothing was charged, and the tickets are back on sale.",
            ),
            Some("expired") => (
                "The time to pay has run out",
                "Nothing was charged. The tickets are back on sale: if there are still some left, you can reserve them again.",
            ),
            Some("rejected") => (
                "The tickets could not be reserved",
                "Somebody else was faster, or the ticket changed at that moment. Nothing was charged.",
            ),
            Some("ticket_deleted") => (
                "The seller has withdrawn this ticket",
                "Your order is cancelled. Nothing was charged.",
            ),
            Some("payment_failed") => (
                "The payment did not go through",
                "Your order is cancelled and you keep your money. You can try again with another card.",
            ),
            Some("refunded") => (
                "This order was refunded",
                "The whole amount went back to the card that you paid with.",
            ),
            _ => ("This order is cancelled", "You keep your money."),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_to_web_addresses_only() {
        for good in [
            "https://checkout.stripe.com/c/pay/cs_1",
            "http://127.0.0.1:8090/stripe-fake/pay/1",
        ] {
            assert!(is_web_address(good), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "/pay",
            "//evil.example",
            "",
            "data:text/html,x",
        ] {
            assert!(!is_web_address(bad), "{bad}");
        }
    }
}
