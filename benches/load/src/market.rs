//! What has to be there before anything can be measured: people with accounts, and tickets on sale.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::Deserialize;
use tokio::task::JoinSet;

use crate::http::{Answer, HttpError, Request};
use crate::place::Place;

/// How many requests prepare the market at once.
const PREPARING_AT_ONCE: usize = 32;

/// How often a request that prepares something is sent again when the system has no room for it.
const TRIES_MAX: u32 = 60;

/// How long it waits in between. Services that were just started need seconds to hear of each other's keys.
const TRY_AGAIN: std::time::Duration = std::time::Duration::from_millis(250);

/// The password of everybody.
pub const PASSWORD: &str = "a long enough secret";

/// How many pieces a listing has at most, by the contract.
pub const PIECES_MAX: u32 = 100_000;

/// What every piece costs, as it is sent and shown.
pub const PRICE: &str = "25.50";

/// Why the market can't be prepared.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// No answer.
    #[error("{doing}: {cause}")]
    Http {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        #[source]
        cause: HttpError,
    },
    /// Another answer than was wanted.
    #[error("{doing}: the system answered {status}: {body}{hint}")]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// What was answered.
        status: u16,
        /// With what.
        body: String,
        /// What to do.
        hint: &'static str,
    },
    /// An answer that can't be read.
    #[error("{doing}: the answer can't be read: {cause}")]
    Misread {
        /// What was tried.
        doing: &'static str,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// A part of this program failed.
    #[error("preparing was broken off: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Somebody with an account.
#[derive(Debug, Clone)]
pub struct Person {
    /// `session=…`.
    pub cookie: String,
    /// Their address.
    pub email: String,
}

/// A ticket on sale, and what is known to have been acknowledged of it.
#[derive(Debug)]
pub struct Listing {
    /// Which.
    pub id: String,
    /// How many pieces it has.
    pub quantity: u32,
    /// The pieces of orders that were answered with 201.
    pub acknowledged: AtomicU64,
    /// Orders of which nobody knows whether there is one: no answer, or a 503 after the fact.
    pub unknown: AtomicU64,
}

/// The market of one run.
#[derive(Debug, Clone)]
pub struct Market {
    /// Where.
    pub place: Place,
    /// Who sells everything.
    pub seller: Arc<Person>,
    /// Who buys.
    pub buyers: Arc<Vec<Person>>,
    run: String,
}

#[derive(Deserialize)]
struct Id<'a> {
    id: &'a str,
}

impl Market {
    /// Signs up a seller and so many buyers. `run` sets them apart from those of other runs on the same system.
    ///
    /// # Errors
    /// [`MarketError`] says what the system answered.
    pub async fn open(place: &Place, run: &str, buyers: usize) -> Result<Self, MarketError> {
        let emails = (0..=buyers).map(|number| format!("{run}-{number}@example.org"));
        let place_of_people = place.clone();
        let mut people = at_once(emails.collect(), move |email| {
            let place = place_of_people.clone();
            async move { sign_up(&place, email).await }
        })
        .await?;
        let seller = people.remove(0);
        Ok(Self {
            place: place.clone(),
            seller: Arc::new(seller),
            buyers: Arc::new(people),
            run: run.to_owned(),
        })
    }

    /// What sets this run's people and tickets apart.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Lists so many tickets of so many pieces each, in the order in which they were listed.
    ///
    /// # Errors
    /// [`MarketError`] says what the system answered.
    pub async fn list(&self, count: usize, quantity: u32) -> Result<Vec<Listing>, MarketError> {
        let market = self.clone();
        let ids = at_once((0..count).collect(), move |number| {
            let market = market.clone();
            async move { market.list_one(number, quantity).await }
        })
        .await?;
        let listing = |id| Listing {
            id,
            quantity,
            acknowledged: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        };
        Ok(ids.into_iter().map(listing).collect())
    }

    async fn list_one(&self, number: usize, quantity: u32) -> Result<String, MarketError> {
        let body = ticket_body(number, quantity);
        let request = Request::post("/api/tickets", body.as_bytes()).cookie(&self.seller.cookie);
        ask(&self.place, "listing a ticket", &request, |answer| {
            answer.json::<Id<'_>>().map(|ticket| ticket.id.to_owned())
        })
        .await
    }

    /// The buyer that a user of this number plays.
    pub fn buyer(&self, number: usize) -> &Person {
        &self.buyers[number % self.buyers.len()]
    }
}

/// A ticket as somebody would list it.
pub fn ticket_body(number: usize, quantity: u32) -> String {
    let titles = [
        "Two seats, row 7",
        "Standing, close to the stage",
        "Balcony, left",
        "Season opening",
        "The farewell tour",
    ];
    let venues = ["Old Town Hall", "Harbour Stage", "The Foundry", "Riverside Arena"];
    let (title, venue) = (titles[number % titles.len()], venues[number % venues.len()]);
    let day = 1 + number % 28;
    format!(
        r#"{{"title":"{title} {number}","price":{PRICE},"quantity":{quantity},"venue":"{venue}","startsAt":"2027-06-{day:02}T20:00:00+02:00"}}"#
    )
}

/// Signs somebody up.
async fn sign_up(place: &Place, email: String) -> Result<Person, MarketError> {
    let body = credentials(&email);
    let request = Request::post("/api/users/signup", body.as_bytes());
    let cookie = ask(place, "signing somebody up", &request, |answer| {
        Ok(answer.cookie().unwrap_or_default().to_owned())
    })
    .await?;
    Ok(Person { cookie, email })
}

/// The body of a sign-up or a sign-in.
pub fn credentials(email: &str) -> String {
    format!(r#"{{"email":"{email}","password":"{PASSWORD}"}}"#)
}

/// One request, sent again while the system says that it has no room.
async fn ask<T>(
    place: &Place,
    doing: &'static str,
    request: &Request<'_>,
    read: impl Fn(&Answer<'_>) -> Result<T, serde_json::Error>,
) -> Result<T, MarketError> {
    let mut connection = place.of(request.path).connection();
    let mut tries = 0;
    loop {
        let answer = connection.send(request).await;
        let answer = answer.map_err(|cause| MarketError::Http { doing, cause })?;
        match answer.status {
            200..=299 => return read(&answer).map_err(|cause| MarketError::Misread { doing, cause }),
            503 if tries < TRIES_MAX => tries += 1,
            status => {
                return Err(MarketError::Refused {
                    doing,
                    status,
                    body: String::from_utf8_lossy(answer.body).into_owned(),
                    hint: if status == 429 {
                        ". Start the system with AUTH_THROTTLE=off: it takes many sign-ups from one address for an attack"
                    } else {
                        ""
                    },
                });
            }
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// Does something for each of `inputs`, some at once, and answers in their order.
async fn at_once<I, T, F>(
    inputs: Vec<I>,
    act: impl Fn(I) -> F + Send + Sync + 'static,
) -> Result<Vec<T>, MarketError>
where
    I: Clone + Send + Sync + 'static,
    T: Send + 'static,
    F: Future<Output = Result<T, MarketError>> + Send,
{
    let (inputs, act, next) = (Arc::new(inputs), Arc::new(act), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..PREPARING_AT_ONCE.min(inputs.len()) {
        let (inputs, act, next) = (Arc::clone(&inputs), Arc::clone(&act), Arc::clone(&next));
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(input) = inputs.get(at) else {
                    return Ok::<_, MarketError>(done);
                };
                done.push((at, act(input.clone()).await?));
            }
        });
    }
    let mut all = Vec::with_capacity(inputs.len());
    while let Some(done) = workers.join_next().await {
        all.extend(done??);
    }
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, output)| output).collect())
}
