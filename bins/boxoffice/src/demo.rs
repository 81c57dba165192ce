//! Demo data: a few sellers, a buyer who is also an operator, and some twenty believable tickets.
//!
//! It is entered through the public HTTP API like anyone's, and looks before it enters, so that a second start (or
//! one after a kill half-way) completes what is missing and doubles nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use events::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt;

mod catalog;

use catalog::{SELLERS, Show, shows};

/// The account that the start-up message names: a buyer, who may also open `/ops`.
pub(crate) const DEMO_EMAIL: &str = "demo@boxoffice.example";

/// The password of every demo account.
pub(crate) const DEMO_PASSWORD: &str = "seat-with-a-view";

/// The most that is read of an answer.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// How often a step is tried while the system is still waking up.
const TRIES_MAX: u32 = 20;

/// The wait between two tries.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Why the demo data could not be entered.
#[derive(Debug, thiserror::Error)]
#[error("the demo data could not be entered: {step} was answered {status}: {body}")]
pub(crate) struct DemoError {
    step: String,
    status: StatusCode,
    body: String,
}

/// Enters what is missing of the demo data; answers how many tickets were new.
///
/// # Errors
/// When the system refuses a step that should work.
pub(crate) async fn fill(site: Router, now: Timestamp) -> Result<usize, DemoError> {
    let api = Api { site };
    api.account(DEMO_EMAIL).await?;
    let mut added = 0;
    for (seller, email) in SELLERS.iter().enumerate() {
        let token = api.account(email).await?;
        let listed = api.titles_of(&token).await?;
        for show in shows()
            .iter()
            .filter(|show| show.seller == seller && !listed.contains(show.title))
        {
            api.list(&token, show, now).await?;
            added += 1;
        }
    }
    Ok(added)
}

struct Api {
    site: Router,
}

struct Answer {
    status: StatusCode,
    cookie: Option<String>,
    body: String,
}

impl Api {
    /// Signs in, or up where there is no such account yet; answers the session's cookie.
    async fn account(&self, email: &str) -> Result<String, DemoError> {
        let credentials = json!({ "email": email, "password": DEMO_PASSWORD });
        let mut answer = self
            .send(Method::POST, "/api/users/signup", None, Some(credentials.clone()))
            .await?;
        if answer.status == StatusCode::CONFLICT {
            answer = self
                .send(Method::POST, "/api/users/signin", None, Some(credentials))
                .await?;
        }
        let step = || format!("signing in as {email}");
        match (answer.status.is_success(), answer.cookie) {
            (true, Some(cookie)) => Ok(cookie),
            (_, _) => Err(DemoError {
                step: step(),
                status: answer.status,
                body: answer.body,
            }),
        }
    }

    async fn titles_of(&self, cookie: &str) -> Result<BTreeSet<String>, DemoError> {
        let answer = self
            .send(
                Method::GET,
                "/api/tickets?seller=me&limit=100",
                Some(cookie),
                None,
            )
            .await?;
        let tickets: Vec<Value> = serde_json::from_str(&answer.body).map_err(|_| DemoError {
            step: "reading what a demo seller sells".into(),
            status: answer.status,
            body: answer.body.clone(),
        })?;
        Ok(tickets
            .iter()
            .filter_map(|ticket| ticket["title"].as_str().map(str::to_owned))
            .collect())
    }

    async fn list(&self, cookie: &str, show: &Show, now: Timestamp) -> Result<(), DemoError> {
        let ticket = json!({
            "title": show.title,
            "description": show.description,
            "venue": show.venue,
            "startsAt": show.starts_at(now),
            "price": show.price,
            "currency": show.currency,
            "quantity": show.quantity,
        });
        let answer = self
            .send(Method::POST, "/api/tickets", Some(cookie), Some(ticket))
            .await?;
        if answer.status == StatusCode::CREATED {
            return Ok(());
        }
        Err(DemoError {
            step: format!("listing \"{}\"", show.title),
            status: answer.status,
            body: answer.body,
        })
    }

    /// Sends a request, again while the system answers that it is not ready yet.
    async fn send(
        &self,
        method: Method,
        path: &str,
        cookie: Option<&str>,
        body: Option<Value>,
    ) -> Result<Answer, DemoError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let answer = read(self.once(method.clone(), path, cookie, body.as_ref()).await, path).await?;
            let not_yet =
                [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&answer.status);
            if !not_yet || tries == TRIES_MAX {
                return Ok(answer);
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
    }

    async fn once(
        &self,
        method: Method,
        path: &str,
        cookie: Option<&str>,
        body: Option<&Value>,
    ) -> Response<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost");
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let request = request
            .body(body)
            .expect("a fixed path and headers make a request");
        match self.site.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

async fn read(response: Response<Body>, step: &str) -> Result<Answer, DemoError> {
    let (parts, body) = response.into_parts();
    let set_cookie = parts
        .headers
        .get_all(header::SET_COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let cookie = set_cookie
        .filter_map(|value| value.split(';').next())
        .next_back()
        .map(str::to_owned);
    let bytes = axum::body::to_bytes(body, ANSWER_BYTES_MAX)
        .await
        .map_err(|error| DemoError {
            step: step.to_owned(),
            status: parts.status,
            body: error.to_string(),
        })?;
    Ok(Answer {
        status: parts.status,
        cookie,
        body: String::from_utf8_lossy(&bytes).into_owned(),
    })
}
