//! Listing tickets.

use super::{Failed, Scenario};
use crate::http::Request;
use crate::market::{Market, ticket_body};
use crate::user::User;

/// Everybody sells.
#[derive(Debug)]
pub struct Create {
    market: Market,
}

impl Create {
    /// The buyers of a market become sellers.
    pub fn new(market: &Market) -> Self {
        Self {
            market: market.clone(),
        }
    }
}

impl Scenario for Create {
    async fn operate(&self, user: &mut User, number: u64) -> Result<(), Failed> {
        let body = ticket_body(usize::try_from(number).unwrap_or(0), 1);
        let cookie = &self.market.buyer(user.number).cookie;
        let request = Request::post("/api/tickets", body.as_bytes()).cookie(cookie);
        user.call("POST /api/tickets", &[201], request).await?;
        Ok(())
    }
}
