//! `/tickets/{id}`: one ticket, and reserving it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::Site;
use crate::api::{Order, OrderStatus, Person, Reservation, Sale, Ticket};
use crate::format::{self, Moment};
use crate::forms::{Form, Submitted};
use crate::pages::Id;
use crate::problem::{Failure, Refusal};
use crate::session::Visit;
use crate::upstream::Call;
use crate::view::{self, Section, Shell};

/// How long a reservation's page waits for the ticket's owner service to confirm it.
const CONFIRMATION_SECONDS: u64 = 2;
/// Pieces that the quantity field offers at most at once.
const PIECES_MAX: u64 = 100_000;

/// What may stand behind the `?` of a page.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Done {
    /// The code of what has just been done.
    pub(crate) done: Option<String>,
}

/// An order of the seller's own ticket, as a row.
pub(crate) struct SaleRow {
    pub(crate) id: String,
    pub(crate) status: OrderStatus,
    pub(crate) pieces: String,
    pub(crate) total: String,
    pub(crate) placed: Option<Moment>,
    pub(crate) refundable: bool,
}

impl SaleRow {
    /// The first two groups of the id: enough to tell one's orders apart in a table.
    fn short_id(&self) -> &str {
        self.id.get(..13).unwrap_or(&self.id)
    }
}

#[derive(Template)]
#[template(path = "ticket.html")]
struct TicketPage {
    shell: Shell,
    form: Form,
    attempt: String,
    ticket: Ticket,
    paragraphs: Vec<String>,
    when: Option<Moment>,
    begun: bool,
    price: String,
    most: u64,
    own: bool,
    signed_in: bool,
    /// The auth service does not answer: the ticket is shown, but nothing can be reserved.
    nobody_knows: bool,
    sales: Vec<SaleRow>,
    sales_unknown: bool,
}

/// `GET /tickets/{id}`
pub(crate) async fn show(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Id,
    done: Result<Query<Done>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failure> {
    let call = Call::get(format!("/api/tickets/{id}"));
    let (person, ticket) = tokio::join!(visit.person(&site), site.fetch::<Ticket>(&visit, call));
    let done = done.map(|Query(done)| done).unwrap_or_default();
    let form = Form::filled([("quantity", "1".to_owned())]);
    let notice = view::notice(done.done.as_deref());
    page(&site, &visit, person, ticket?, form, notice, StatusCode::OK).await
}

/// `POST /tickets/{id}`: reserve.
pub(crate) async fn reserve(
    State(site): State<Arc<Site>>,
    id: Id,
    submitted: Submitted,
) -> Result<Response, Failure> {
    let visit = &submitted.visit;
    let here = format!("/tickets/{id}");
    let mut form = submitted.keep();
    let quantity = submitted
        .text("quantity")
        .parse::<u64>()
        .ok()
        .filter(|count| (1..=PIECES_MAX).contains(count));
    let mut status = StatusCode::BAD_REQUEST;
    match quantity {
        None => form.refuse("quantity", "Enter how many tickets you want, as a whole number"),
        Some(quantity) => {
            let ticket_id = id.to_string();
            let body = Reservation {
                ticket_id: &ticket_id,
                quantity,
                price: submitted.optional("price"),
            };
            let call =
                Call::json(Method::POST, "/api/orders", &body).idempotency_key(submitted.text("attempt"));
            let answer = site.send(visit, call).await?;
            if answer.status.is_success() {
                let order: Order = site.read(visit, &answer)?;
                await_confirmation(&site, visit, &order).await;
                return Ok(Redirect::to(&format!("/orders/{}", order.id)).into_response());
            }
            let refusal = Refusal::read(&answer, &here)?;
            status = refusal.status;
            for error in refusal.errors {
                match error.field.as_deref() {
                    // The price is no field that a person fills in; the page shows the new one.
                    Some("quantity") => form.refuse("quantity", error.message),
                    _ => form.refuse("quantity", kindly(&error.message)),
                }
            }
        }
    }
    let call = Call::get(here.clone().replacen("/tickets", "/api/tickets", 1));
    let (person, ticket) = tokio::join!(visit.signed_in(&site), site.fetch::<Ticket>(visit, call));
    page(&site, visit, Ok(Some(person?)), ticket?, form, None, status).await
}

/// A new order is confirmed within milliseconds; waiting for it here saves the person an interim page. If it
/// takes longer, or the answer is lost, the order's own page shows how it stands.
async fn await_confirmation(site: &Site, visit: &Visit, order: &Order) {
    if order.status != OrderStatus::Created {
        return;
    }
    let call =
        Call::get(format!("/api/orders/{}", order.id)).changed_since(order.version, CONFIRMATION_SECONDS);
    if let Err(failure) = site.send(visit, call).await {
        tracing::debug!(?failure, order = order.id, "the confirmation was not waited for");
    }
}

/// The service's reasons for a refused reservation, with what to do about them.
fn kindly(message: &str) -> String {
    if message.starts_with("Price changed") {
        return "The price has changed since you opened the page. The new price is shown here; reserve again if it suits you".to_owned();
    }
    if message.starts_with("Ticket is already reserved") {
        return "Somebody else was faster: all remaining tickets are reserved. If they are not paid in time, they come back on sale".to_owned();
    }
    message.to_owned()
}

async fn page(
    site: &Site,
    visit: &Visit,
    person: Result<Option<Person>, Failure>,
    ticket: Ticket,
    form: Form,
    notice: Option<&'static str>,
    status: StatusCode,
) -> Result<Response, Failure> {
    let known = person.as_ref().ok().and_then(Option::as_ref);
    let own = known.is_some_and(|person| ticket.user_id.as_ref() == Some(&person.id));
    let (sales, sales_unknown) = if own {
        sales(site, visit, &ticket).await
    } else {
        (Vec::new(), false)
    };
    let when = Moment::of_show(ticket.starts_at.as_deref(), ticket.time_zone.as_deref());
    let mut shell = Shell::for_whoever(site, visit, &person, Section::Tickets, &ticket.title)
        .with_errors(!form.is_clean());
    shell.notice = notice;
    if let Some(description) = ticket.description.as_deref().filter(|text| !text.is_empty()) {
        shell.description = description.chars().take(150).collect();
    }
    let page = TicketPage {
        attempt: site.tokens.random_value(),
        paragraphs: paragraphs(ticket.description.as_deref().unwrap_or_default()),
        begun: when.as_ref().is_some_and(|when| when.timestamp() <= visit.now),
        price: format::money(&ticket.price, &ticket.currency),
        most: ticket.available.min(PIECES_MAX),
        signed_in: known.is_some(),
        nobody_knows: person.is_err(),
        shell,
        form,
        ticket,
        when,
        own,
        sales,
        sales_unknown,
    };
    Ok(view::render(status, &page))
}

/// The orders of the person's own ticket; whether they could not be had.
async fn sales(site: &Site, visit: &Visit, ticket: &Ticket) -> (Vec<SaleRow>, bool) {
    let call = Call::get(format!("/api/tickets/{}/orders?limit=100", ticket.id));
    match site.fetch::<Vec<Sale>>(visit, call).await {
        Ok(sales) => {
            let rows = sales.into_iter().map(|sale| SaleRow {
                refundable: sale.status == OrderStatus::Complete,
                pieces: format::pieces(sale.quantity),
                total: format::money(&sale.total, &ticket.currency),
                placed: sale.created_at.as_deref().and_then(Moment::parse),
                status: sale.status,
                id: sale.id,
            });
            (rows.collect(), false)
        }
        Err(_) => (Vec::new(), true),
    }
}

fn paragraphs(text: &str) -> Vec<String> {
    text.split("\n\n")
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}
