//! The hosted payment page: plain HTML and forms, marked TEST MODE on every screen.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;

use crate::StripeFake;
use crate::book::Book;
use crate::cards::{self, FieldErrors, TEST_CARDS, Typed};
use crate::decision::Moment;
use crate::html;
use crate::model::{Record, Session};
use crate::money;
use crate::params::Params;
use crate::payment::{self, Attempt, NotPayable};
use crate::render;

/// `GET /stripe-fake/pay/{session}`
pub(crate) async fn show(State(fake): State<StripeFake>, Path(id): Path<String>) -> Response {
    let (page, number) = {
        let books = fake.books();
        let moment = fake.moment(None, None);
        let page = match payment::payable(&books.book, &id, &moment) {
            Ok(session) => form(
                &fake,
                session,
                StatusCode::OK,
                cards::prefilled(moment.now),
                Notice::default(),
            ),
            Err(reason) => closed(&fake, books.book.session(&id), reason),
        };
        (page, books.last())
    };
    when_synced(&fake, page, number).await
}

/// `POST /stripe-fake/pay/{session}`
pub(crate) async fn pay(State(fake): State<StripeFake>, Path(id): Path<String>, body: Bytes) -> Response {
    let typed = match Params::parse(&body) {
        Ok(params) => {
            let field = |name| params.get(name).unwrap_or_default().to_owned();
            Typed {
                number: field("number"),
                expiry: field("expiry"),
                cvc: field("cvc"),
            }
        }
        Err(_) => Typed::default(),
    };
    let presented = match cards::presented(&typed, fake.now()) {
        Ok(presented) => presented,
        Err(errors) => {
            let books = fake.books();
            return match payment::payable(&books.book, &id, &fake.moment(None, None)) {
                Ok(session) => {
                    let notice = Notice { errors, alert: None };
                    form(&fake, session, StatusCode::BAD_REQUEST, typed, notice)
                }
                Err(reason) => closed_after_post(&fake, books.book.session(&id), reason),
            };
        }
    };
    attempt(&fake, &id, |book, moment| {
        payment::attempt(book, &id, &presented, moment)
    })
    .await
}

/// `GET /stripe-fake/pay/{session}/confirm`
pub(crate) async fn show_confirmation(State(fake): State<StripeFake>, Path(id): Path<String>) -> Response {
    let (page, number) = {
        let books = fake.books();
        let page = match payment::payable(&books.book, &id, &fake.moment(None, None)) {
            Ok(session) => match payment::waiting_card(&books.book, session) {
                Some(card) => {
                    let nonce = fake.ids().object("");
                    let page = ConfirmPage {
                        nonce: &nonce,
                        amount: money::displayed(session.amount_total, &session.currency),
                        brand: &card.brand,
                        last4: &card.last4,
                        action: confirm_path(&id),
                    };
                    html::page(StatusCode::OK, &page, &nonce, &[&session.success_url])
                }
                None => html::see_other(&pay_path(&id)),
            },
            Err(reason) => closed(&fake, books.book.session(&id), reason),
        };
        (page, books.last())
    };
    when_synced(&fake, page, number).await
}

/// `POST /stripe-fake/pay/{session}/confirm`
pub(crate) async fn confirm(State(fake): State<StripeFake>, Path(id): Path<String>, body: Bytes) -> Response {
    let confirmed = Params::parse(&body).is_ok_and(|params| params.get("answer") == Some("confirm"));
    attempt(&fake, &id, |book, moment| {
        payment::confirm(book, &id, confirmed, moment)
    })
    .await
}

/// Makes an attempt, keeps what came of it, and only then tells the person.
async fn attempt(
    fake: &StripeFake,
    id: &str,
    decide: impl FnOnce(&Book, &Moment<'_>) -> Result<(Vec<Record>, Attempt), NotPayable>,
) -> Response {
    let (page, number) = {
        let mut books = fake.books();
        if books.is_full() {
            return unavailable(fake);
        }
        let moment = fake.moment(None, None);
        match decide(&books.book, &moment) {
            Err(reason) => (
                closed_after_post(fake, books.book.session(id), reason),
                books.last(),
            ),
            Ok((records, attempt)) => {
                let number = fake.commit(&mut books, records);
                (after(fake, books.book.session(id), attempt, moment.now), number)
            }
        }
    };
    when_synced(fake, page, number).await
}

fn after(fake: &StripeFake, session: Option<&Session>, attempt: Attempt, now: i64) -> Response {
    let Some(session) = session else {
        return closed(fake, None, NotPayable::Missing);
    };
    match attempt {
        Attempt::Approved => html::see_other(&success_url(session)),
        Attempt::NeedsConfirmation => html::see_other(&confirm_path(&session.id)),
        Attempt::Declined(failure) => {
            let notice = Notice {
                errors: FieldErrors::default(),
                alert: Some(failure.message),
            };
            form(
                fake,
                session,
                StatusCode::PAYMENT_REQUIRED,
                cards::prefilled(now),
                notice,
            )
        }
    }
}

async fn when_synced(fake: &StripeFake, page: Response, number: u64) -> Response {
    match fake.synced().wait(number).await {
        Ok(()) => page,
        Err(_) => unavailable(fake),
    }
}

/// What the page says beside its form.
#[derive(Default)]
struct Notice {
    errors: FieldErrors,
    alert: Option<String>,
}

#[derive(Template)]
#[template(path = "pay.html")]
struct PayPage<'a> {
    nonce: &'a str,
    amount: String,
    lines: Vec<Line<'a>>,
    email: Option<&'a str>,
    action: String,
    typed: Typed,
    errors: FieldErrors,
    alert: Option<String>,
    cancel_url: Option<&'a str>,
    cards: Vec<CardRow>,
}

struct Line<'a> {
    name: &'a str,
    description: Option<&'a str>,
    quantity: i64,
    amount: String,
}

struct CardRow {
    number: String,
    effect: &'static str,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage<'a> {
    nonce: &'a str,
    amount: String,
    brand: &'a str,
    last4: &'a str,
    action: String,
}

#[derive(Template)]
#[template(path = "closed.html")]
struct ClosedPage<'a> {
    nonce: &'a str,
    title: &'a str,
    text: &'a str,
    next: Option<(&'a str, String)>,
}

fn form(fake: &StripeFake, session: &Session, status: StatusCode, typed: Typed, notice: Notice) -> Response {
    let nonce = fake.ids().object("");
    let lines = session.line_items.iter().map(|item| Line {
        name: &item.name,
        description: item.description.as_deref(),
        quantity: item.quantity,
        amount: money::displayed(item.unit_amount.saturating_mul(item.quantity), &session.currency),
    });
    let page = PayPage {
        nonce: &nonce,
        amount: money::displayed(session.amount_total, &session.currency),
        lines: lines.collect(),
        email: session.customer_email.as_deref(),
        action: pay_path(&session.id),
        typed,
        errors: notice.errors,
        alert: notice.alert,
        cancel_url: session.cancel_url.as_deref(),
        cards: TEST_CARDS
            .iter()
            .map(|card| CardRow {
                number: cards::spaced(card.number),
                effect: card.effect,
            })
            .collect(),
    };
    html::page(status, &page, &nonce, &[&session.success_url])
}

/// A second click on "Pay" must end where the first one did.
fn closed_after_post(fake: &StripeFake, session: Option<&Session>, reason: NotPayable) -> Response {
    match (reason, session) {
        (NotPayable::Complete, Some(session)) => html::see_other(&success_url(session)),
        (NotPayable::NothingToConfirm, Some(session)) => html::see_other(&pay_path(&session.id)),
        (_, session) => closed(fake, session, reason),
    }
}

fn closed(fake: &StripeFake, session: Option<&Session>, reason: NotPayable) -> Response {
    let nonce = fake.ids().object("");
    let (status, title, text) = match reason {
        NotPayable::Missing => (
            StatusCode::NOT_FOUND,
            "There is no such payment",
            "The address is incomplete or belongs to another system. Go back to the shop and start the payment again.",
        ),
        NotPayable::Complete => (
            StatusCode::OK,
            "This payment is complete",
            "Nothing more is to be done here, and nothing will be charged a second time.",
        ),
        NotPayable::Expired => (
            StatusCode::GONE,
            "This payment page has expired",
            "Nothing was charged. Go back to the shop to see whether you can still order.",
        ),
        NotPayable::NothingToConfirm => (
            StatusCode::CONFLICT,
            "There is nothing to confirm",
            "Go back to the payment and choose a card.",
        ),
    };
    let next = session.and_then(|session| match reason {
        NotPayable::Complete => Some(("See your order", success_url(session))),
        NotPayable::Expired => session.cancel_url.clone().map(|url| ("Back to the shop", url)),
        NotPayable::NothingToConfirm => Some(("Back to the payment", pay_path(&session.id))),
        NotPayable::Missing => None,
    });
    html::page(
        status,
        &ClosedPage {
            nonce: &nonce,
            title,
            text,
            next,
        },
        &nonce,
        &[],
    )
}

fn unavailable(fake: &StripeFake) -> Response {
    let nonce = fake.ids().object("");
    let page = ClosedPage {
        nonce: &nonce,
        title: "The payment can't be taken right now",
        text: "The outcome is not known yet. Reload this page in a moment: nothing is ever charged twice.",
        next: None,
    };
    html::page(StatusCode::SERVICE_UNAVAILABLE, &page, &nonce, &[])
}

fn success_url(session: &Session) -> String {
    session.success_url.replace("{CHECKOUT_SESSION_ID}", &session.id)
}

/// Relative, so that it works behind whatever name the page was reached by.
fn pay_path(id: &str) -> String {
    render::page_url("", id)
}

fn confirm_path(id: &str) -> String {
    format!("{}/confirm", pay_path(id))
}
