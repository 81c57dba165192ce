//! What every page shares: the shell around it, and turning a template into an answer.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::Person;
use crate::csrf::TOKEN_FIELD;
use crate::problem::Failure;
use crate::session::Visit;
use crate::{Site, assets};

/// The part of the site that a page belongs to, marked in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// What is on sale.
    Tickets,
    /// Listing a new ticket.
    Sell,
    /// What the person sells.
    Selling,
    /// What the person has ordered.
    Orders,
    /// The person's account.
    Account,
    /// The operators' page.
    Ops,
    /// None of them.
    Elsewhere,
}

/// Who the page is shown to.
#[derive(Clone, Debug)]
pub(crate) enum Viewer {
    /// Not asked: an error page tells the same to everyone.
    Unknown,
    /// Nobody is signed in.
    Anonymous,
    /// Someone who is signed in.
    Person {
        /// Their address.
        email: String,
        /// Whether they may see the operators' page.
        operator: bool,
    },
}

/// The shell around a page.
#[derive(Clone, Debug)]
pub(crate) struct Shell {
    /// The title, with `Error:` before it when a form was refused.
    pub(crate) title: String,
    /// What a search engine shows below the title.
    pub(crate) description: String,
    /// Who sees it.
    pub(crate) viewer: Viewer,
    /// Where it belongs.
    pub(crate) section: Section,
    /// The token for the page's forms; empty where nobody could send one.
    pub(crate) token: String,
    /// The server's time, for the countdown.
    pub(crate) now: String,
    /// After how many seconds a browser without the script loads the page again.
    pub(crate) refresh_seconds: Option<u64>,
    /// A sentence about what has just been done.
    pub(crate) notice: Option<&'static str>,
}

impl Shell {
    /// A shell that does not depend on who asks.
    pub(crate) fn anyone(title: &str) -> Shell {
        Shell {
            title: title.to_owned(),
            description: "Buy and sell tickets. Reserved for you while you pay, and never sold twice."
                .to_owned(),
            viewer: Viewer::Unknown,
            section: Section::Elsewhere,
            token: String::new(),
            now: String::new(),
            refresh_seconds: None,
            notice: None,
        }
    }

    /// A shell for this visit.
    pub(crate) fn new(
        site: &Site,
        visit: &Visit,
        person: Option<&Person>,
        section: Section,
        title: &str,
    ) -> Shell {
        let viewer = match person {
            Some(person) => Viewer::Person {
                email: person.email.clone(),
                operator: site.settings.operators.contains(&person.email.to_lowercase()),
            },
            None => Viewer::Anonymous,
        };
        Shell {
            viewer,
            section,
            token: visit
                .token_subject()
                .map_or_else(String::new, |subject| site.tokens.issue(&subject)),
            now: visit.now.to_string(),
            ..Shell::anyone(title)
        }
    }

    /// A shell for a page that stands also while nobody can say who asks: then it does not pretend to know.
    pub(crate) fn for_whoever(
        site: &Site,
        visit: &Visit,
        person: &Result<Option<Person>, Failure>,
        section: Section,
        title: &str,
    ) -> Shell {
        let known = person.as_ref().ok().and_then(Option::as_ref);
        let shell = Shell::new(site, visit, known, section, title);
        match person {
            Ok(_) => shell,
            Err(_) => Shell {
                viewer: Viewer::Unknown,
                ..shell
            },
        }
    }

    /// Marks the page as one whose form was refused, if it was.
    #[must_use]
    pub(crate) fn with_errors(mut self, any: bool) -> Shell {
        if any {
            self.title = format!("Error: {}", self.title);
        }
        self
    }

    /// The style sheet's URL.
    pub(crate) fn style_url(&self) -> &'static str {
        assets::style_url()
    }

    /// The script's URL.
    pub(crate) fn script_url(&self) -> &'static str {
        assets::script_url()
    }

    /// The icon's URL.
    pub(crate) fn icon_url(&self) -> &'static str {
        assets::icon_url()
    }

    /// The name of the field that carries the token.
    pub(crate) fn token_field(&self) -> &'static str {
        TOKEN_FIELD
    }

    /// `aria-current` for a section's link.
    pub(crate) fn is_in(&self, section: Section) -> bool {
        self.section == section
    }
}

/// A template as an answer. One that cannot be rendered is our mistake, told as such without a template.
pub(crate) fn render(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => (
            status,
            [(
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/html; charset=utf-8"),
            )],
            html,
        )
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something broke on our side. Please try again.",
            )
                .into_response()
        }
    }
}

/// The sentence for a code that a redirect has left in the address.
pub(crate) fn notice(code: Option<&str>) -> Option<&'static str> {
    match code? {
        "listed" => Some("Your ticket is on sale."),
        "saved" => Some("Your changes are saved."),
        "withdrawn" => Some("Your ticket is withdrawn from sale."),
        "refunded" => Some("The refund is on its way to the buyer."),
        "password" => Some("Your password is changed. All your other sessions have ended."),
        "signed-out" => Some("You are signed out."),
        "cancelled" => Some("The order is cancelled. Nothing will be charged."),
        _ => None,
    }
}
