//! What goes wrong, as a person is told: each failure a designed page with the right status and a next step.
//!
//! Refusals that belong to a form's fields are not failures; [`Refusal`] carries them back into the form.

use askama::Template;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::csrf::Forgery;
use crate::format::encode;
use crate::forms::FieldError;
use crate::upstream::Answer;
use crate::view::{self, Shell};

/// What a person is asked to wait where the service did not say.
const RETRY_SECONDS: u64 = 5;

/// Why a page cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The page is for people who are signed in; the text is where to come back to.
    SignInFirst(String),
    /// There is no such thing, or it is someone else's private one.
    NotFound,
    /// Signed in, but not theirs.
    NotYours,
    /// A form that we did not make for this session.
    Forged(Forgery),
    /// A form that no browser sends.
    Malformed,
    /// The page exists, but not for this method.
    MethodNotAllowed,
    /// More was sent than is read.
    TooLarge,
    /// Too often; try again after so many seconds.
    TooMany(u64),
    /// The state of things forbids it, in the service's words.
    Forbidden(String),
    /// A service does not answer, or not in a way that we understand; try again after so many seconds.
    Unavailable(u64),
    /// A mistake of ours.
    Broken,
}

/// What a service said no to, and why, in words that a form can show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The service's status, which the form's page repeats.
    pub(crate) status: StatusCode,
    /// Its reasons; never empty.
    pub(crate) errors: Vec<FieldError>,
    /// How long to wait, if it said so.
    pub(crate) retry_after_seconds: Option<u64>,
}

#[derive(Deserialize)]
struct ProblemBody {
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    errors: Vec<FieldError>,
}

impl Refusal {
    /// Reads an answer that says no. What a form cannot help with is a failure instead.
    ///
    /// # Errors
    /// The answer is about the person, the page or the service, not about what was typed.
    pub(crate) fn read(answer: &Answer, come_back_to: &str) -> Result<Refusal, Failure> {
        match answer.status {
            StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::TOO_MANY_REQUESTS => {}
            _ => return Err(Failure::of_answer(answer, come_back_to)),
        }
        if answer.status == StatusCode::UNPROCESSABLE_ENTITY {
            return Ok(Refusal::of_repeat());
        }
        let body: ProblemBody = answer.json().map_err(|_| Failure::Unavailable(RETRY_SECONDS))?;
        let mut errors = body.errors;
        errors.retain(|error| !error.message.is_empty());
        if errors.is_empty() {
            let message = body
                .detail
                .or(body.title)
                .unwrap_or_else(|| "This was refused".to_owned());
            errors.push(FieldError { field: None, message });
        }
        Ok(Refusal {
            status: answer.status,
            errors,
            retry_after_seconds: retry_after(answer),
        })
    }

    /// The service has seen this form's key with other content: the person went back, changed something, and
    /// sent it again. The service speaks of a header there; a person needs to know what to do.
    fn of_repeat() -> Refusal {
        let message = "This form was sent before, with other content. Look whether that has worked; if you want \
            both, send it once more";
        Refusal {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            errors: vec![FieldError {
                field: None,
                message: message.to_owned(),
            }],
            retry_after_seconds: None,
        }
    }

    /// The first reason.
    pub(crate) fn message(&self) -> &str {
        self.errors
            .first()
            .map_or("This was refused", |error| &error.message)
    }
}

impl Failure {
    /// The failure that an unsuccessful answer means to a page.
    pub(crate) fn of_answer(answer: &Answer, come_back_to: &str) -> Failure {
        match answer.status {
            StatusCode::UNAUTHORIZED => Failure::SignInFirst(come_back_to.to_owned()),
            StatusCode::FORBIDDEN => Failure::NotYours,
            StatusCode::NOT_FOUND => Failure::NotFound,
            StatusCode::PAYLOAD_TOO_LARGE => Failure::TooLarge,
            StatusCode::TOO_MANY_REQUESTS => Failure::TooMany(retry_after(answer).unwrap_or(RETRY_SECONDS)),
            StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::UNPROCESSABLE_ENTITY => match Refusal::read(answer, come_back_to) {
                Ok(refusal) => Failure::Forbidden(refusal.message().to_owned()),
                Err(failure) => failure,
            },
            _ => Failure::Unavailable(retry_after(answer).unwrap_or(RETRY_SECONDS)),
        }
    }

    /// A service that could not be understood.
    pub(crate) fn unavailable() -> Failure {
        Failure::Unavailable(RETRY_SECONDS)
    }

    fn words(&self) -> Words {
        match self {
            Failure::SignInFirst(_) => Words {
                status: StatusCode::SEE_OTHER,
                heading: "Sign in first",
                text: "This page is for people who are signed in.".to_owned(),
                steps: vec![("/auth/signin", "Sign in")],
            },
            Failure::NotFound => Words {
                status: StatusCode::NOT_FOUND,
                heading: "There is nothing here",
                text: "The page may have moved, the ticket may have been withdrawn, or the address has a typo."
                    .to_owned(),
                steps: vec![("/", "See what is on sale"), ("/orders", "My orders")],
            },
            Failure::NotYours => Words {
                status: StatusCode::FORBIDDEN,
                heading: "This is not yours to change",
                text: "Only the person who listed a ticket can change it. If that is you, sign in with the account that you listed it with.".to_owned(),
                steps: vec![("/selling", "What I sell"), ("/", "See what is on sale")],
            },
            Failure::Forged(_) => Words {
                status: StatusCode::FORBIDDEN,
                heading: "This form is out of date",
                text: "Nothing was changed. You may have signed in or out since the page was opened, or the form came from another site. Go back, load the page again, and send it once more.".to_owned(),
                steps: vec![("/", "See what is on sale"), ("/auth/signin", "Sign in")],
            },
            Failure::Malformed => Words {
                status: StatusCode::BAD_REQUEST,
                heading: "This form could not be read",
                text: "Nothing was changed. Go back and send the form again.".to_owned(),
                steps: vec![("/", "See what is on sale")],
            },
            Failure::MethodNotAllowed => Words {
                status: StatusCode::METHOD_NOT_ALLOWED,
                heading: "This address only takes a form",
                text: "It does its work when a form is sent to it, and has no page of its own.".to_owned(),
                steps: vec![("/", "See what is on sale"), ("/orders", "My orders")],
            },
            Failure::TooLarge => Words {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                heading: "That is too much text",
                text: "A form may hold up to 64 kB. Nothing was changed. Go back, shorten it, and send it again."
                    .to_owned(),
                steps: vec![("/", "See what is on sale")],
            },
            Failure::TooMany(seconds) => Words {
                status: StatusCode::TOO_MANY_REQUESTS,
                heading: "Too many tries",
                text: format!("Please wait {seconds} seconds and try again. Nothing was changed."),
                steps: vec![("/", "See what is on sale")],
            },
            Failure::Forbidden(message) => Words {
                status: StatusCode::CONFLICT,
                heading: "That is not possible now",
                text: format!("{}.", message.trim_end_matches('.')),
                steps: vec![("/", "See what is on sale"), ("/orders", "My orders")],
            },
            Failure::Unavailable(seconds) => Words {
                status: StatusCode::SERVICE_UNAVAILABLE,
                heading: "We cannot do this right now",
                text: format!("A part of Boxoffice is not answering. What you have reserved and paid is safe. Please try again in {seconds} seconds."),
                steps: vec![("/", "See what is on sale")],
            },
            Failure::Broken => Words {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                heading: "Something broke on our side",
                text: "The mistake is ours and it has been written down. What you have reserved and paid is safe. Please try again.".to_owned(),
                steps: vec![("/", "See what is on sale"), ("/orders", "My orders")],
            },
        }
    }
}

struct Words {
    status: StatusCode,
    heading: &'static str,
    text: String,
    steps: Vec<(&'static str, &'static str)>,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    shell: Shell,
    words: Words,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let words = self.words();
        let retry = match &self {
            Failure::SignInFirst(next) => {
                return Redirect::to(&format!("/auth/signin?next={}", encode(next))).into_response();
            }
            Failure::TooMany(seconds) | Failure::Unavailable(seconds) => Some(*seconds),
            Failure::NotFound
            | Failure::NotYours
            | Failure::Forged(_)
            | Failure::Malformed
            | Failure::MethodNotAllowed
            | Failure::TooLarge
            | Failure::Forbidden(_)
            | Failure::Broken => None,
        };
        let page = ProblemPage {
            shell: Shell::anyone(words.heading),
            words,
        };
        let mut response = view::render(page.words.status, &page);
        if let Some(seconds) = retry {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn retry_after(answer: &Answer) -> Option<u64> {
    let name: HeaderName = header::RETRY_AFTER;
    answer.headers.get(name)?.to_str().ok()?.trim().parse().ok()
}
