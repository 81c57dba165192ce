//! `/account`: a person's password and sessions.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use crate::Site;
use crate::api::{PasswordChange, Person};
use crate::forms::{Form, Submitted};
use crate::pages::auth;
use crate::pages::ticket::Done;
use crate::problem::{Failure, Refusal};
use crate::session::Visit;
use crate::upstream::Call;
use crate::view::{self, Section, Shell};

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    shell: Shell,
    form: Form,
    email: String,
}

/// `GET /account`
pub(crate) async fn show(
    State(site): State<Arc<Site>>,
    visit: Visit,
    Query(done): Query<Done>,
) -> Result<Response, Failure> {
    let person = visit.signed_in(&site).await?;
    let notice = view::notice(done.done.as_deref());
    Ok(page(
        &site,
        &visit,
        person,
        Form::default(),
        notice,
        StatusCode::OK,
    ))
}

/// `POST /account`: changes the password.
pub(crate) async fn change_password(
    State(site): State<Arc<Site>>,
    submitted: Submitted,
) -> Result<Response, Failure> {
    let visit = &submitted.visit;
    let mut form = submitted.keep();
    for (field, message) in [
        ("current", "Enter the password that you use now"),
        ("new", "Enter the password that you want"),
    ] {
        if submitted.verbatim(field).is_empty() {
            form.refuse(field, message);
        }
    }
    let mut status = StatusCode::BAD_REQUEST;
    let mut retry_after = None;
    if form.is_clean() {
        let change = PasswordChange {
            current: submitted.verbatim("current"),
            new: submitted.verbatim("new"),
        };
        let answer = site
            .send(visit, Call::json(Method::PUT, "/api/users/password", &change))
            .await?;
        if answer.status.is_success() {
            let mut response = Redirect::to("/account?done=password").into_response();
            auth::hand_on_cookies(&answer, &mut response);
            return Ok(response);
        }
        let refusal = Refusal::read(&answer, "/account")?;
        status = refusal.status;
        retry_after = refusal.retry_after_seconds;
        for error in refusal.errors {
            let field = error.field.unwrap_or_else(|| "current".to_owned());
            form.refuse(&field, error.message);
        }
    }
    let person = visit.signed_in(&site).await?;
    let mut response = page(&site, visit, person, form, None, status);
    if let Some(seconds) = retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(response)
}

/// `POST /account/sessions`: signs out everywhere, here included.
pub(crate) async fn end_sessions(
    State(site): State<Arc<Site>>,
    submitted: Submitted,
) -> Result<Response, Failure> {
    auth::end(&site, &submitted, true).await
}

fn page(
    site: &Site,
    visit: &Visit,
    person: Person,
    form: Form,
    notice: Option<&'static str>,
    status: StatusCode,
) -> Response {
    let mut shell = Shell::new(site, visit, Some(&person), Section::Account, "Your account")
        .with_errors(!form.is_clean());
    shell.notice = notice;
    view::render(
        status,
        &AccountPage {
            shell,
            form,
            email: person.email,
        },
    )
}
