//! Looking around: the list as JSON, the landing page, and a ticket's page.

use super::{Failed, Scenario};
use crate::http::Request;
use crate::market::{Market, MarketError};
use crate::user::User;

/// How many tickets there are to look at.
const TICKETS: usize = 200;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// `GET /api/tickets?limit=50`.
    List,
    /// `GET /`.
    Landing,
    /// `GET /tickets/{id}`.
    Ticket,
}

/// Looks at the same thing again and again.
#[derive(Debug)]
pub struct Browse {
    look: Look,
    tickets: Vec<String>,
}

impl Browse {
    /// Lists some tickets to look at.
    ///
    /// # Errors
    /// When they can't be listed.
    pub async fn prepare(market: &Market, look: Look) -> Result<Self, MarketError> {
        let listed = market.list(TICKETS, 10).await?;
        Ok(Self {
            look,
            tickets: listed
                .into_iter()
                .map(|listing| format!("/tickets/{}", listing.id))
                .collect(),
        })
    }
}

impl Scenario for Browse {
    async fn operate(&self, user: &mut User, number: u64) -> Result<(), Failed> {
        let (route, path) = match self.look {
            Look::List => ("GET /api/tickets?limit=50", "/api/tickets?limit=50"),
            Look::Landing => ("GET /", "/"),
            Look::Ticket => {
                let at = usize::try_from(number).unwrap_or(0) % self.tickets.len();
                ("GET /tickets/{id}", self.tickets[at].as_str())
            }
        };
        let answer = user.call(route, &[200], Request::get(path)).await?;
        // A short answer would be a fast one: that all of it is there belongs to the measurement.
        let is_whole = match self.look {
            Look::List => answer.body.starts_with(b"[{") && answer.body.ends_with(b"}]"),
            Look::Landing | Look::Ticket => answer.body.trim_ascii_end().ends_with(b"</html>"),
        };
        if is_whole {
            Ok(())
        } else {
            Err(user.wrong("an answer is not whole"))
        }
    }
}

/// A number from a number: the same every time, and spread evenly. Enough to choose among things.
pub(super) fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// One of `count` things, chosen by a number.
pub(super) fn choose(number: u64, count: usize) -> usize {
    let count = u64::try_from(count.max(1)).unwrap_or(1);
    usize::try_from(scattered(number) % count).unwrap_or(0)
}
