//! The steps of a purchase over HTTP, each as one user takes it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::http::Request;
use crate::market::{Listing, PRICE};
use crate::scenario::Failed;
use crate::user::User;

/// How long an order may take to its next state.
const STATE_SECONDS_MAX: u64 = 30;

/// An order, as far as a load generator follows it.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Which.
    pub id: String,
    /// The version that was last seen.
    pub version: u64,
    /// Where it stands.
    pub status: String,
    /// When it runs out, as the system wrote it.
    pub expires_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderAnswer<'a> {
    id: &'a str,
    status: &'a str,
    version: u64,
    expires_at: &'a str,
}

#[derive(Deserialize)]
struct PaymentAnswer<'a> {
    url: &'a str,
}

impl Placed {
    fn read(answer: &OrderAnswer<'_>) -> Self {
        Self {
            id: answer.id.to_owned(),
            version: answer.version,
            status: answer.status.to_owned(),
            expires_at: answer.expires_at.to_owned(),
        }
    }
}

/// Orders one piece.
///
/// # Errors
/// [`Failed`], with what went wrong recorded.
pub async fn place(user: &mut User, cookie: &str, listing: &Listing) -> Result<Placed, Failed> {
    const ROUTE: &str = "POST /api/orders";
    let body = format!(r#"{{"ticketId":"{}","quantity":1,"price":{PRICE}}}"#, listing.id);
    let request = Request::post("/api/orders", body.as_bytes()).cookie(cookie);
    // Counted before it is known, and taken back when it is: what is broken off in between stays unknown.
    listing.unknown.fetch_add(1, Ordering::Relaxed);
    let answer = match user.call(ROUTE, &[201], request).await {
        Ok(answer) => answer,
        Err(failed) => return Err(failed),
    };
    listing.unknown.fetch_sub(1, Ordering::Relaxed);
    listing.acknowledged.fetch_add(1, Ordering::Relaxed);
    match answer.json::<OrderAnswer<'_>>() {
        Ok(order) => Ok(Placed::read(&order)),
        Err(error) => Err(user.misread(ROUTE, &error)),
    }
}

/// Waits by long polls until an order has come to a state.
///
/// # Errors
/// [`Failed`], with what went wrong recorded; also when it ends elsewhere, or does not come there in time.
pub async fn wait_for(user: &mut User, cookie: &str, order: &mut Placed, status: &str) -> Result<(), Failed> {
    const ROUTE: &str = "GET /api/orders/{id} (waiting)";
    let deadline = Instant::now() + Duration::from_secs(STATE_SECONDS_MAX);
    let path = format!("/api/orders/{}", order.id);
    while order.status != status {
        if order.status == "cancelled" {
            return Err(user.wrong(&format!("an order was cancelled instead of becoming {status}")));
        }
        if Instant::now() > deadline {
            return Err(user.wrong(&format!(
                "an order did not become {status} within {STATE_SECONDS_MAX} s"
            )));
        }
        let known = format!("\"{}\"", order.version);
        let headers = [("prefer", "wait=10"), ("if-none-match", known.as_str())];
        let request = Request::get(&path).cookie(cookie).headers(&headers);
        let answer = user.call(ROUTE, &[200, 304], request).await?;
        if answer.status == 200 {
            *order = match answer.json::<OrderAnswer<'_>>() {
                Ok(order) => Placed::read(&order),
                Err(error) => return Err(user.misread(ROUTE, &error)),
            };
        }
    }
    Ok(())
}

/// Opens the payment and pays on the stand-in's page with the card that always works.
///
/// # Errors
/// [`Failed`], with what went wrong recorded.
pub async fn pay(user: &mut User, cookie: &str, order: &Placed) -> Result<(), Failed> {
    const ROUTE: &str = "POST /api/payments";
    const CARD: &[u8] = b"number=4242424242424242&expiry=12%2F34&cvc=123";
    let body = format!(r#"{{"orderId":"{}"}}"#, order.id);
    let request = Request::post("/api/payments", body.as_bytes()).cookie(cookie);
    let answer = user.call(ROUTE, &[201], request).await?;
    let page = match answer.json::<PaymentAnswer<'_>>() {
        Ok(payment) => payment
            .url
            .find("/stripe-fake/")
            .map(|at| payment.url[at..].to_owned()),
        Err(error) => return Err(user.misread(ROUTE, &error)),
    };
    let Some(page) = page else {
        return Err(user.wrong("the payment page is not the stand-in's: a load generator pays nowhere else"));
    };
    let request = Request::form(&page, CARD);
    user.call("POST the payment page", &[303], request).await?;
    Ok(())
}

/// Gives an order up.
///
/// # Errors
/// [`Failed`], with what went wrong recorded.
pub async fn cancel(user: &mut User, cookie: &str, order: &Placed, listing: &Listing) -> Result<(), Failed> {
    let path = format!("/api/orders/{}", order.id);
    let request = Request::delete(&path).cookie(cookie);
    // Taken back before it is known: what is broken off in between stays unknown.
    listing.acknowledged.fetch_sub(1, Ordering::Relaxed);
    listing.unknown.fetch_add(1, Ordering::Relaxed);
    let answered = user.call("DELETE /api/orders/{id}", &[204], request).await;
    answered.map(drop)?;
    listing.unknown.fetch_sub(1, Ordering::Relaxed);
    Ok(())
}
