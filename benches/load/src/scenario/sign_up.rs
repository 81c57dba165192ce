//! Signing up, and signing in: argon2id for each, which is slow by design.

use std::sync::Arc;

use super::{Failed, Scenario};
use crate::http::Request;
use crate::market::{Market, credentials};
use crate::user::User;

/// New people, one after another.
#[derive(Debug)]
pub struct SignUp {
    run: String,
}

impl SignUp {
    /// New people of this market.
    pub fn new(market: &Market) -> Self {
        Self {
            run: market.run().to_owned(),
        }
    }
}

impl Scenario for SignUp {
    async fn operate(&self, user: &mut User, number: u64) -> Result<(), Failed> {
        let body = credentials(&format!("{}-new-{number}@example.org", self.run));
        let request = Request::post("/api/users/signup", body.as_bytes());
        user.call("POST /api/users/signup", &[201], request).await?;
        Ok(())
    }
}

/// Known people, again and again.
#[derive(Debug)]
pub struct SignIn {
    bodies: Arc<Vec<String>>,
}

impl SignIn {
    /// The buyers of this market.
    pub fn new(market: &Market) -> Self {
        let bodies = market.buyers.iter().map(|person| credentials(&person.email));
        Self {
            bodies: Arc::new(bodies.collect()),
        }
    }
}

impl Scenario for SignIn {
    async fn operate(&self, user: &mut User, number: u64) -> Result<(), Failed> {
        let at = usize::try_from(number).unwrap_or(0) % self.bodies.len();
        let request = Request::post("/api/users/signin", self.bodies[at].as_bytes());
        user.call("POST /api/users/signin", &[200], request).await?;
        Ok(())
    }
}
