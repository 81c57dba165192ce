//! Whole purchases: ordered, confirmed, paid on the stand-in's page, captured, complete.

use std::sync::Arc;
use std::time::Instant;

use super::{Failed, Scenario};
use crate::market::{Listing, Market, MarketError, PIECES_MAX};
use crate::order;
use crate::user::User;

/// Buys, from the wish to the ticket.
#[derive(Debug)]
pub struct Purchase {
    market: Market,
    listings: Arc<Vec<Listing>>,
}

impl Purchase {
    /// So many listings in turn.
    ///
    /// # Errors
    /// When they can't be listed.
    pub async fn prepare(market: &Market, listings: usize) -> Result<Self, MarketError> {
        Ok(Self {
            market: market.clone(),
            listings: Arc::new(market.list(listings.max(1), PIECES_MAX).await?),
        })
    }

    /// What is bought.
    pub fn listings(&self) -> Arc<Vec<Listing>> {
        Arc::clone(&self.listings)
    }
}

impl Scenario for Purchase {
    async fn operate(&self, user: &mut User, number: u64) -> Result<(), Failed> {
        let cookie = &self.market.buyer(user.number).cookie;
        let at = usize::try_from(number).unwrap_or(0) % self.listings.len();
        buy(user, cookie, &self.listings[at]).await
    }
}

/// One purchase, with its two stories.
pub(super) async fn buy(user: &mut User, cookie: &str, listing: &Listing) -> Result<(), Failed> {
    let due = user.due();
    let mut placed = order::place(user, cookie, listing).await?;
    order::wait_for(user, cookie, &mut placed, "awaiting:payment").await?;
    user.recorder()
        .story("order to awaiting:payment", due, Instant::now());
    order::pay(user, cookie, &placed).await?;
    let paid = Instant::now();
    order::wait_for(user, cookie, &mut placed, "complete").await?;
    let now = Instant::now();
    let took = now.saturating_duration_since(paid);
    user.recorder().story_took("paid to complete", due, now, took);
    user.recorder().story("order to complete", due, now);
    Ok(())
}
