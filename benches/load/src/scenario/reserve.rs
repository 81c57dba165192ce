//! Reserving: the write that everything else waits for.

use std::sync::Arc;
use std::time::Instant;

use super::{Failed, Scenario};
use crate::market::{Listing, Market, MarketError, PIECES_MAX};
use crate::order;
use crate::user::User;

/// What is reserved, and how far an order is followed.
#[derive(Debug)]
pub struct Reserve {
    market: Market,
    listings: Arc<Vec<Listing>>,
    follows: bool,
}

impl Reserve {
    /// So many listings in turn; with one, everybody wants the same. With `follows`, each order is waited for until
    /// it awaits its payment.
    ///
    /// # Errors
    /// When they can't be listed.
    pub async fn prepare(market: &Market, listings: usize, follows: bool) -> Result<Self, MarketError> {
        Ok(Self {
            market: market.clone(),
            listings: Arc::new(market.list(listings.max(1), PIECES_MAX).await?),
            follows,
        })
    }

    /// What is reserved.
    pub fn listings(&self) -> Arc<Vec<Listing>> {
        Arc::clone(&self.listings)
    }
}

impl Scenario for Reserve {
    async fn operate(&self, user: &mut User, number: u64) -> Result<(), Failed> {
        let cookie = &self.market.buyer(user.number).cookie;
        let at = usize::try_from(number).unwrap_or(0) % self.listings.len();
        let mut placed = order::place(user, cookie, &self.listings[at]).await?;
        if self.follows {
            order::wait_for(user, cookie, &mut placed, "awaiting:payment").await?;
            let due = user.due();
            user.recorder()
                .story("order to awaiting:payment", due, Instant::now());
        }
        Ok(())
    }
}
