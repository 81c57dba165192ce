//! Signing up, in and out. The auth service sets and clears the session cookie; the site hands its words on.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use crate::Site;
use crate::api::{Credentials, SignOut};
use crate::format::encode;
use crate::forms::{Form, Submitted};
use crate::problem::{Failure, Refusal};
use crate::session::{Visit, safe_next, visitor_cookie, visitor_subject};
use crate::upstream::{Answer, Call};
use crate::view::{self, Section, Shell};

/// Which of the two forms.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    SignUp,
    SignIn,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Kind::SignUp => "/api/users/signup",
            Kind::SignIn => "/api/users/signin",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Kind::SignUp => "Create an account",
            Kind::SignIn => "Sign in",
        }
    }
}

#[derive(Template)]
#[template(path = "auth.html")]
struct AuthPage {
    shell: Shell,
    form: Form,
    heading: &'static str,
    signing_up: bool,
    next: String,
    encoded_next: String,
}

/// `GET /auth/signup`
pub(crate) async fn sign_up_form(
    State(site): State<Arc<Site>>,
    visit: Visit,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Response, Failure> {
    show(&site, &visit, Kind::SignUp, &query).await
}

/// `GET /auth/signin`
pub(crate) async fn sign_in_form(
    State(site): State<Arc<Site>>,
    visit: Visit,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Response, Failure> {
    show(&site, &visit, Kind::SignIn, &query).await
}

/// `POST /auth/signup`
pub(crate) async fn sign_up(
    State(site): State<Arc<Site>>,
    submitted: Submitted,
) -> Result<Response, Failure> {
    enter(&site, &submitted, Kind::SignUp).await
}

/// `POST /auth/signin`
pub(crate) async fn sign_in(
    State(site): State<Arc<Site>>,
    submitted: Submitted,
) -> Result<Response, Failure> {
    enter(&site, &submitted, Kind::SignIn).await
}

/// `POST /auth/signout`
pub(crate) async fn sign_out(
    State(site): State<Arc<Site>>,
    submitted: Submitted,
) -> Result<Response, Failure> {
    end(&site, &submitted, false).await
}

/// Ends this session, or all of the person's, and says so on the front page.
pub(crate) async fn end(site: &Site, submitted: &Submitted, everywhere: bool) -> Result<Response, Failure> {
    let call = Call::json(Method::POST, "/api/users/signout", &SignOut { everywhere });
    let answer = site.send(&submitted.visit, call).await?;
    if !answer.status.is_success() {
        return Err(Failure::of_answer(&answer, "/"));
    }
    let mut response = Redirect::to("/?done=signed-out").into_response();
    hand_on_cookies(&answer, &mut response);
    Ok(response)
}

/// Gives the browser the cookies that the auth service has set.
pub(crate) fn hand_on_cookies(answer: &Answer, response: &mut Response) {
    for cookie in answer.headers.get_all(header::SET_COOKIE) {
        response.headers_mut().append(header::SET_COOKIE, cookie.clone());
    }
}

async fn show(
    site: &Site,
    visit: &Visit,
    kind: Kind,
    query: &BTreeMap<String, String>,
) -> Result<Response, Failure> {
    let next = safe_next(query.get("next").map_or("/", String::as_str));
    if visit.person(site).await?.is_some() {
        return Ok(Redirect::to(next).into_response());
    }
    Ok(page(site, visit, kind, next, Form::default(), StatusCode::OK))
}

async fn enter(site: &Site, submitted: &Submitted, kind: Kind) -> Result<Response, Failure> {
    let next = safe_next(submitted.verbatim("next"));
    let mut form = submitted.keep();
    if submitted.text("email").is_empty() {
        form.refuse("email", "Enter your e-mail address");
    }
    if submitted.verbatim("password").is_empty() {
        form.refuse("password", "Enter your password");
    }
    let mut status = StatusCode::BAD_REQUEST;
    let mut retry_after = None;
    if form.is_clean() {
        let credentials = Credentials {
            email: submitted.text("email"),
            password: submitted.verbatim("password"),
        };
        let answer = site
            .send(
                &submitted.visit,
                Call::json(Method::POST, kind.path(), &credentials),
            )
            .await?;
        if answer.status.is_success() {
            let mut response = Redirect::to(next).into_response();
            hand_on_cookies(&answer, &mut response);
            return Ok(response);
        }
        let refusal = Refusal::read(&answer, "/")?;
        status = refusal.status;
        retry_after = refusal.retry_after_seconds;
        for error in &refusal.errors {
            match (error.field.as_deref(), error.message.as_str()) {
                (None, "Email in use") => {
                    form.refuse(
                        "email",
                        "There is an account with this address already. Sign in instead",
                    );
                }
                (None, "Invalid credentials") => {
                    form.refuse("email", "The address or the password is not right");
                }
                (Some(field), message) => form.refuse(field, message),
                (None, message) => form.refuse("email", message),
            }
        }
    }
    let mut response = page(site, &submitted.visit, kind, next, form, status);
    if let Some(seconds) = retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(response)
}

/// The form. A visitor without a cookie gets one here, to bind the form's token to.
fn page(site: &Site, visit: &Visit, kind: Kind, next: &str, form: Form, status: StatusCode) -> Response {
    let mut shell =
        Shell::new(site, visit, None, Section::Account, kind.title()).with_errors(!form.is_clean());
    let mut cookie = None;
    if visit.token_subject().is_none() {
        let value = site.tokens.random_value();
        shell.token = site.tokens.issue(&visitor_subject(&value));
        cookie = Some(visitor_cookie(&value, site.settings.public_url.is_https()));
    }
    let page = AuthPage {
        shell,
        form,
        heading: kind.title(),
        signing_up: kind == Kind::SignUp,
        encoded_next: encode(next),
        next: next.to_owned(),
    };
    let mut response = view::render(status, &page);
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
