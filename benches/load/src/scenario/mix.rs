//! A realistic mix: for everyone who buys, many look around and some change their minds. For hours, it is the soak.

use std::sync::Arc;

use super::browse::{choose, scattered};
use super::{Failed, Scenario, purchase};
use crate::http::Request;
use crate::market::{Listing, Market, MarketError, PIECES_MAX, ticket_body};
use crate::order;
use crate::user::User;

/// Of a hundred visits, so many do what.
const LANDING: u64 = 30;
const LIST: u64 = 25;
const TICKET: u64 = 25;
const SEARCH: u64 = 8;
const RESERVE_AND_CANCEL: u64 = 4;
const BUY: u64 = 6;

/// Words that people search for.
const WORDS: [&str; 4] = ["season", "balcony", "stage", "farewell"];

/// Visits of all kinds; what is left of a hundred lists a ticket.
#[derive(Debug)]
pub struct Mix {
    market: Market,
    listings: Arc<Vec<Listing>>,
}

impl Mix {
    /// So many listings to look at and to buy.
    ///
    /// # Errors
    /// When they can't be listed.
    pub async fn prepare(market: &Market, listings: usize) -> Result<Self, MarketError> {
        Ok(Self {
            market: market.clone(),
            listings: Arc::new(market.list(listings.max(1), PIECES_MAX).await?),
        })
    }

    /// What is looked at and bought.
    pub fn listings(&self) -> Arc<Vec<Listing>> {
        Arc::clone(&self.listings)
    }

    async fn cancel_again(&self, user: &mut User, listing: &Listing) -> Result<(), Failed> {
        let cookie = &self.market.buyer(user.number).cookie;
        let placed = order::place(user, cookie, listing).await?;
        order::cancel(user, cookie, &placed, listing).await
    }
}

impl Scenario for Mix {
    async fn operate(&self, user: &mut User, number: u64) -> Result<(), Failed> {
        let listing = &self.listings[choose(number, self.listings.len())];
        let cookie = &self.market.buyer(user.number).cookie;
        let mut dice = scattered(number ^ 0x5bd1_e995) % 100;
        let mut comes_up = |share: u64| {
            let is_it = dice < share;
            dice = dice.wrapping_sub(share);
            is_it
        };
        if comes_up(LANDING) {
            let request = Request::get("/").cookie(cookie);
            user.call("GET /", &[200], request).await.map(drop)
        } else if comes_up(LIST) {
            let request = Request::get("/api/tickets?limit=50");
            user.call("GET /api/tickets?limit=50", &[200], request)
                .await
                .map(drop)
        } else if comes_up(TICKET) {
            let path = format!("/tickets/{}", listing.id);
            let request = Request::get(&path).cookie(cookie);
            user.call("GET /tickets/{id}", &[200], request).await.map(drop)
        } else if comes_up(SEARCH) {
            let path = format!("/api/tickets?q={}&limit=20", WORDS[choose(number, WORDS.len())]);
            user.call("GET /api/tickets?q=", &[200], Request::get(&path))
                .await
                .map(drop)
        } else if comes_up(RESERVE_AND_CANCEL) {
            self.cancel_again(user, listing).await
        } else if comes_up(BUY) {
            purchase::buy(user, cookie, listing).await
        } else {
            let body = ticket_body(usize::try_from(number).unwrap_or(0), 2);
            let request = Request::post("/api/tickets", body.as_bytes()).cookie(cookie);
            user.call("POST /api/tickets", &[201], request).await.map(drop)
        }
    }
}
