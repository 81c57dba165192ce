//! Holds that end unpaid: how late each order is cancelled, when they end over a time and when they all end at once.
//!
//! Lateness is what a buyer sees: they wait by a long poll, and the answer comes so long after the deadline that the order
//! itself names. Both clocks are this machine's. Only some of the orders are waited for, spread evenly; all of them are
//! counted by the pieces that come back on sale.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use events::Timestamp;
use serde::Deserialize;
use service::Clock;
use tokio::task::JoinSet;

use super::{Failed, Scenario};
use crate::http::Request;
use crate::market::{Listing, Market, MarketError, PIECES_MAX};
use crate::number::micros;
use crate::order::{self, Placed};
use crate::place::Place;
use crate::record::Line;
use crate::user::User;

/// One of so many orders is waited for.
const FOLLOWED_ONE_OF: u64 = 25;

/// The wait for an order begins so long before its deadline.
const FOLLOW_BEFORE: Duration = Duration::from_millis(1_500);

/// How long after its deadline an order is still waited for.
const FOLLOW_SECONDS_MAX: u64 = 60;

/// Reserves and lets it be.
#[derive(Debug)]
pub struct Holds {
    market: Market,
    listings: Arc<Vec<Listing>>,
    clock: Clock,
    followed: Mutex<Followed>,
}

/// Those who wait for an order's end, and the deadlines that they wait for.
#[derive(Debug, Default)]
struct Followed {
    waiting: JoinSet<Result<Duration, String>>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Available {
    available: u32,
}

#[derive(Deserialize)]
struct Status<'a> {
    status: &'a str,
    version: u64,
}

impl Holds {
    /// So many listings in turn.
    ///
    /// # Errors
    /// When they can't be listed.
    pub async fn prepare(market: &Market, listings: usize, clock: &Clock) -> Result<Self, MarketError> {
        Ok(Self {
            market: market.clone(),
            listings: Arc::new(market.list(listings.max(1), PIECES_MAX).await?),
            clock: clock.clone(),
            followed: Mutex::default(),
        })
    }

    /// What is held.
    pub fn listings(&self) -> Arc<Vec<Listing>> {
        Arc::clone(&self.listings)
    }

    /// The first and the last deadline of those that are waited for.
    pub fn deadlines(&self) -> Option<(Timestamp, Timestamp)> {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        Some((followed.first?, followed.last?))
    }

    /// Waits for the end of each followed order. Answers how late they were, and what went wrong with how many.
    pub async fn lateness(&self) -> (Line, Vec<String>) {
        let followed = std::mem::take(&mut *self.followed.lock().unwrap_or_else(PoisonError::into_inner));
        let mut following = followed.waiting;
        let (mut late, mut wrong) = (Line::new("late"), Vec::new());
        while let Some(ended) = following.join_next().await {
            match ended {
                Ok(Ok(lateness)) => late.record(micros(lateness)),
                Ok(Err(why)) => wrong.push(why),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        (late, wrong)
    }

    /// Waits until every piece is on sale again; nothing if that takes longer than `within`.
    pub async fn all_back(&self, within: Duration) -> Option<Duration> {
        let begun = Instant::now();
        let mut connection = self.market.place.of("/api/tickets").connection();
        for listing in self.listings.iter() {
            let path = format!("/api/tickets/{}", listing.id);
            loop {
                let answer = connection.send(&Request::get(&path)).await;
                let ticket = answer.ok().and_then(|answer| answer.json::<Available>().ok());
                if ticket.is_some_and(|ticket| ticket.available == listing.quantity) {
                    break;
                }
                if begun.elapsed() > within {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        // What ends is no longer claimed: that is how it must add up from now on.
        for listing in self.listings.iter() {
            listing
                .acknowledged
                .store(0, std::sync::atomic::Ordering::Relaxed);
        }
        Some(begun.elapsed())
    }
}

impl Scenario for Holds {
    async fn operate(&self, user: &mut User, number: u64) -> Result<(), Failed> {
        let cookie = &self.market.buyer(user.number).cookie;
        let at = usize::try_from(number).unwrap_or(0) % self.listings.len();
        let placed = order::place(user, cookie, &self.listings[at]).await?;
        if number.is_multiple_of(FOLLOWED_ONE_OF) {
            let Ok(deadline) = placed.expires_at.parse::<Timestamp>() else {
                return Err(user.wrong("an order's expiresAt is no time"));
            };
            let wait = follow(
                self.market.place.clone(),
                self.clock.clone(),
                placed,
                cookie.clone(),
            );
            let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
            followed.first = followed.first.min(Some(deadline)).or(Some(deadline));
            followed.last = followed.last.max(Some(deadline));
            followed.waiting.spawn(wait);
        }
        Ok(())
    }
}

/// Waits for one order's end, and answers by how much it came after its deadline.
async fn follow(place: Place, clock: Clock, order: Placed, cookie: String) -> Result<Duration, String> {
    let deadline: Timestamp = order
        .expires_at
        .parse()
        .map_err(|_| format!("an order ends at {}, which is no time", order.expires_at))?;
    tokio::time::sleep(deadline.minus(FOLLOW_BEFORE).since(clock.now())).await;
    let path = format!("/api/orders/{}", order.id);
    let mut connection = place.of(&path).connection();
    let mut version = order.version;
    loop {
        let known = format!("\"{version}\"");
        let headers = [("prefer", "wait=20"), ("if-none-match", known.as_str())];
        let request = Request::get(&path).cookie(&cookie).headers(&headers);
        let answer = connection
            .send(&request)
            .await
            .map_err(|error| error.to_string())?;
        let now = clock.now();
        match answer.status {
            200 => {
                let seen: Status<'_> = answer.json().map_err(|error| error.to_string())?;
                version = seen.version;
                if seen.status == "cancelled" {
                    return if now < deadline {
                        Err("an order was cancelled before its deadline".to_owned())
                    } else {
                        Ok(now.since(deadline))
                    };
                }
            }
            304 => {}
            status => return Err(format!("{status} to a look at an order")),
        }
        if now > deadline.plus(Duration::from_secs(FOLLOW_SECONDS_MAX)) {
            return Err(format!(
                "an order was open {FOLLOW_SECONDS_MAX} s after its deadline"
            ));
        }
    }
}
