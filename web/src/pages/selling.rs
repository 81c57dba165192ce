//! What a person sells: listing, changing and withdrawing a ticket, and giving a buyer's money back.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};

use crate::Site;
use crate::api::{Person, Ticket, TicketDraft};
use crate::format::{self, Moment};
use crate::forms::{Form, Submitted};
use crate::pages::Id;
use crate::pages::cards::Cards;
use crate::pages::home::next_cursor;
use crate::pages::orders::Paging;
use crate::problem::{Failure, Refusal};
use crate::session::Visit;
use crate::upstream::Call;
use crate::view::{self, Section, Shell};

/// Tickets on one page of a seller's own.
const PAGE_TICKETS: usize = 30;

/// Currencies that the form offers; the service knows more.
const CURRENCIES: [(&str, &str); 9] = [
    ("usd", "US dollar (USD)"),
    ("eur", "Euro (EUR)"),
    ("gbp", "Pound sterling (GBP)"),
    ("chf", "Swiss franc (CHF)"),
    ("cad", "Canadian dollar (CAD)"),
    ("aud", "Australian dollar (AUD)"),
    ("sek", "Swedish krona (SEK)"),
    ("jpy", "Japanese yen (JPY)"),
    ("inr", "Indian rupee (INR)"),
];

/// Time zones that the form offers: one for each place where many shows are, west to east.
const ZONES: [&str; 32] = [
    "Pacific/Honolulu",
    "America/Anchorage",
    "America/Los_Angeles",
    "America/Denver",
    "America/Chicago",
    "America/Mexico_City",
    "America/New_York",
    "America/Toronto",
    "America/Bogota",
    "America/Halifax",
    "America/Sao_Paulo",
    "America/Argentina/Buenos_Aires",
    "UTC",
    "Europe/London",
    "Europe/Dublin",
    "Europe/Lisbon",
    "Africa/Lagos",
    "Europe/Berlin",
    "Europe/Madrid",
    "Europe/Paris",
    "Europe/Rome",
    "Europe/Stockholm",
    "Europe/Warsaw",
    "Africa/Johannesburg",
    "Europe/Athens",
    "Europe/Istanbul",
    "Asia/Dubai",
    "Asia/Kolkata",
    "Asia/Singapore",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Pacific/Auckland",
];

#[derive(Template)]
#[template(path = "ticket_form.html")]
struct TicketFormPage {
    shell: Shell,
    form: Form,
    heading: &'static str,
    action: String,
    /// The ticket's id and its version when it is being changed.
    editing: Option<(String, String)>,
    currencies: Vec<(&'static str, &'static str)>,
    zones: Vec<String>,
}

#[derive(Template)]
#[template(path = "selling.html")]
struct SellingPage {
    shell: Shell,
    cards: Cards,
    paged: bool,
    next_page: Option<String>,
}

/// `GET /selling`
pub(crate) async fn list(
    State(site): State<Arc<Site>>,
    visit: Visit,
    Query(paging): Query<Paging>,
) -> Result<Response, Failure> {
    let mut path = format!("/api/tickets?seller=me&limit={PAGE_TICKETS}");
    if let Some(after) = &paging.after {
        path.push_str(&format!("&after={}", format::encode(after)));
    }
    let person = visit.signed_in(&site).await?;
    let answer = site.send(&visit, Call::get(path)).await?;
    let tickets: Vec<Ticket> = site.read(&visit, &answer)?;
    let mut shell = Shell::new(&site, &visit, Some(&person), Section::Selling, "What I sell");
    shell.notice = view::notice(paging.done.as_deref());
    let page = SellingPage {
        shell,
        cards: Cards::of(tickets)?,
        paged: paging.after.is_some(),
        next_page: next_cursor(&answer).map(|after| format!("/selling?after={after}")),
    };
    Ok(view::render(StatusCode::OK, &page))
}

/// `GET /tickets/new`
pub(crate) async fn new_form(State(site): State<Arc<Site>>, visit: Visit) -> Result<Response, Failure> {
    let person = visit.signed_in(&site).await?;
    let form = Form::filled([
        ("quantity", "1".into()),
        ("currency", "usd".into()),
        ("zone", "UTC".into()),
    ]);
    Ok(form_page(&site, &visit, &person, form, None, StatusCode::OK))
}

/// `POST /tickets/new`
pub(crate) async fn create(State(site): State<Arc<Site>>, submitted: Submitted) -> Result<Response, Failure> {
    let visit = &submitted.visit;
    let mut form = submitted.keep();
    let mut status = StatusCode::BAD_REQUEST;
    if let Some(draft) = draft(&submitted, &mut form) {
        let call =
            Call::json(Method::POST, "/api/tickets", &draft).idempotency_key(submitted.text("attempt"));
        let answer = site.send(visit, call).await?;
        if answer.status.is_success() {
            let ticket: Ticket = site.read(visit, &answer)?;
            return Ok(Redirect::to(&format!("/tickets/{}?done=listed", ticket.id)).into_response());
        }
        let refusal = Refusal::read(&answer, "/tickets/new")?;
        status = refusal.status;
        form.refuse_all(refusal);
    }
    let person = visit.signed_in(&site).await?;
    Ok(form_page(&site, visit, &person, form, None, status))
}

/// `GET /tickets/{id}/edit`
pub(crate) async fn edit_form(
    State(site): State<Arc<Site>>,
    visit: Visit,
    id: Id,
) -> Result<Response, Failure> {
    let person = visit.signed_in(&site).await?;
    let ticket: Ticket = site
        .fetch(&visit, Call::get(format!("/api/tickets/{id}")))
        .await?;
    if ticket.user_id.as_ref() != Some(&person.id) {
        return Err(Failure::NotYours);
    }
    let moment = Moment::of_show(ticket.starts_at.as_deref(), ticket.time_zone.as_deref());
    let form = Form::filled([
        ("title", ticket.title),
        ("description", ticket.description.unwrap_or_default()),
        ("venue", ticket.venue.unwrap_or_default()),
        ("price", format::plain(&ticket.price, &ticket.currency)),
        ("currency", ticket.currency),
        ("quantity", ticket.quantity.to_string()),
        (
            "startsAt",
            moment.as_ref().map(Moment::form_value).unwrap_or_default(),
        ),
        (
            "zone",
            moment.as_ref().map_or("UTC", Moment::zone_name).to_owned(),
        ),
        ("version", ticket.version.to_string()),
    ]);
    Ok(form_page(&site, &visit, &person, form, Some(&id), StatusCode::OK))
}

/// `POST /tickets/{id}/edit`
pub(crate) async fn update(
    State(site): State<Arc<Site>>,
    id: Id,
    submitted: Submitted,
) -> Result<Response, Failure> {
    let visit = &submitted.visit;
    let mut form = submitted.keep();
    let mut status = StatusCode::BAD_REQUEST;
    let version: u64 = submitted
        .text("version")
        .parse()
        .map_err(|_| Failure::Malformed)?;
    if let Some(draft) = draft(&submitted, &mut form) {
        let call = Call::json(Method::PUT, format!("/api/tickets/{id}"), &draft).if_match(version);
        let answer = site.send(visit, call).await?;
        if answer.status.is_success() {
            return Ok(Redirect::to(&format!("/tickets/{id}?done=saved")).into_response());
        }
        let refusal = Refusal::read(&answer, &format!("/tickets/{id}/edit"))?;
        status = refusal.status;
        if status == StatusCode::PRECONDITION_FAILED {
            form.refuse(
                "",
                "This ticket was changed or reserved while you were editing it. Open the page again to see how it stands now",
            );
        } else {
            form.refuse_all(refusal);
        }
    }
    let person = visit.signed_in(&site).await?;
    Ok(form_page(&site, visit, &person, form, Some(&id), status))
}

/// `POST /tickets/{id}/delete`
pub(crate) async fn withdraw(
    State(site): State<Arc<Site>>,
    id: Id,
    submitted: Submitted,
) -> Result<Response, Failure> {
    let call = Call::new(Method::DELETE, format!("/api/tickets/{id}"));
    let answer = site.send(&submitted.visit, call).await?;
    if answer.status.is_success() {
        return Ok(Redirect::to("/selling?done=withdrawn").into_response());
    }
    Err(Failure::of_answer(&answer, &format!("/tickets/{id}/edit")))
}

/// `POST /tickets/{id}/refund`: gives the money of one whole order back.
pub(crate) async fn refund(
    State(site): State<Arc<Site>>,
    id: Id,
    submitted: Submitted,
) -> Result<Response, Failure> {
    let order: uuid::Uuid = submitted.text("order").parse().map_err(|_| Failure::Malformed)?;
    let call = Call::new(Method::POST, format!("/api/orders/{order}/refund"));
    let answer = site.send(&submitted.visit, call).await?;
    if answer.status.is_success() {
        return Ok(Redirect::to(&format!("/tickets/{id}?done=refunded")).into_response());
    }
    Err(Failure::of_answer(&answer, &format!("/tickets/{id}")))
}

fn form_page(
    site: &Site,
    visit: &Visit,
    person: &Person,
    mut form: Form,
    editing: Option<&Id>,
    status: StatusCode,
) -> Response {
    let (heading, action, section) = match editing {
        Some(id) => (
            "Change your ticket",
            format!("/tickets/{id}/edit"),
            Section::Selling,
        ),
        None => ("Sell a ticket", "/tickets/new".to_owned(), Section::Sell),
    };
    form.set("attempt", site.tokens.random_value());
    let mut zones: Vec<String> = ZONES.map(str::to_owned).into();
    if !form.value("zone").is_empty() && !ZONES.contains(&form.value("zone")) {
        zones.insert(0, form.value("zone").to_owned());
    }
    let mut currencies = CURRENCIES.to_vec();
    let current = form.value("currency");
    if editing.is_some() && !CURRENCIES.iter().any(|(code, _)| *code == current) {
        // A currency that only the service knows stays as it is; the form shows it without a name.
        currencies.clear();
    }
    let page = TicketFormPage {
        shell: Shell::new(site, visit, Some(person), section, heading).with_errors(!form.is_clean()),
        editing: editing.map(|id| (id.to_string(), form.value("version").to_owned())),
        form,
        heading,
        action,
        currencies,
        zones,
    };
    view::render(status, &page)
}

/// The draft that was typed; what the service cannot judge (a number that is none, a date without a zone) is
/// refused here. Everything else, an empty field included, is the service's to judge, so that a person hears of
/// all that is wrong at once.
fn draft<'a>(submitted: &'a Submitted, form: &mut Form) -> Option<TicketDraft<'a>> {
    let starts_at = match submitted.optional("startsAt") {
        None => None,
        Some(local) => {
            let moment = format::with_zone(local, submitted.optional("zone").unwrap_or("UTC"));
            if moment.is_none() {
                form.refuse("startsAt", "Enter a date and a time, like 2027-06-12T20:00");
            }
            moment
        }
    };
    let quantity = match submitted.optional("quantity") {
        None => None,
        Some(text) => match text.parse::<u64>() {
            Ok(count) => Some(count),
            Err(_) => {
                form.refuse("quantity", "Enter how many tickets you sell, as a whole number");
                None
            }
        },
    };
    form.is_clean().then(|| TicketDraft {
        title: submitted.text("title"),
        price: submitted.text("price"),
        currency: submitted.optional("currency"),
        quantity,
        description: submitted.optional("description"),
        venue: submitted.optional("venue"),
        starts_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_on_offer_exists() {
        for zone in ZONES {
            assert!(format::with_zone("2027-06-12T20:00", zone).is_some(), "{zone}");
        }
    }
}
