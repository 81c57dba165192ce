//! A write that a service has accepted and whose body it still waits for: what a stop must not break off.
//!
//! That it was accepted the service says itself: to a client that asks (`Expect: 100-continue`) it says so when it begins
//! to read the body. The client is made by hand here, because others send a request as a whole.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ledger::{KnownOrder, KnownTicket};
use crate::market::{Market, PRICE, read_order};
use crate::part::Part;
use crate::system::System;

/// What a service says when it begins to read a body.
const CONTINUE: &[u8; 25] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How long a service may take to begin, and to answer.
const ANSWER_SECONDS_MAX: u64 = 60;

/// Who writes.
const SELLER: usize = 0;
const BUYER: usize = 0;

/// A write of which a service has everything but the body.
pub(super) struct Accepted {
    stream: TcpStream,
    kind: Kind,
    body: Value,
}

/// What it will have made.
enum Kind {
    Account,
    Listing,
    Order { ticket: String },
    Payment,
}

impl Kind {
    const fn path(&self) -> &'static str {
        match self {
            Self::Account => "/api/users/signup",
            Self::Listing => "/api/tickets",
            Self::Order { .. } => "/api/orders",
            Self::Payment => "/api/payments",
        }
    }
}

impl Accepted {
    /// The write of its own that a service has accepted; none by one that nobody outside writes to. `key` is one that no
    /// other write has.
    ///
    /// # Panics
    /// When it does not accept it.
    pub(super) async fn by(
        part: Part,
        system: &System,
        market: &Market,
        ticket: &str,
        key: &str,
    ) -> Option<Self> {
        let (kind, body) = match part {
            Part::Auth => {
                let account =
                    json!({ "email": format!("{key}@example.org"), "password": "a long enough secret" });
                (Kind::Account, account)
            }
            Part::Tickets => {
                let listing = json!({ "title": key, "price": PRICE, "quantity": 1 });
                (Kind::Listing, listing)
            }
            Part::Orders => {
                let ticket = ticket.to_owned();
                let order = json!({ "ticketId": ticket, "price": PRICE });
                (Kind::Order { ticket }, order)
            }
            Part::Payments => {
                let order = market.order(BUYER, ticket).await.expect_taken();
                // The page is open already, so that nothing is left to do but what the service does by itself.
                market.open_payment(BUYER, &order).await;
                (Kind::Payment, json!({ "orderId": order }))
            }
            Part::Expiration | Part::Stripe => return None,
        };
        let person = match part {
            Part::Tickets => &market.sellers()[SELLER],
            Part::Auth | Part::Orders | Part::Expiration | Part::Payments | Part::Stripe => {
                &market.buyers()[BUYER]
            }
        };
        let session = person.client(kind.path()).cookie("session");
        let session = session.expect("whoever buys or sells is signed in");
        let stream = head(&system.base(part), kind.path(), &session, key, &body).await;
        Some(Self { stream, kind, body })
    }

    /// Sends the body, reads the answer, and notes what was made.
    ///
    /// # Panics
    /// When the answer is anything but a 201.
    pub(super) async fn completed(mut self, market: &Market) {
        let path = self.kind.path();
        let exchange = async {
            self.stream.write_all(self.body.to_string().as_bytes()).await?;
            let mut answer = String::new();
            self.stream.read_to_string(&mut answer).await?;
            Ok::<String, std::io::Error>(answer)
        };
        let answer = timeout(Duration::from_secs(ANSWER_SECONDS_MAX), exchange)
            .await
            .unwrap_or_else(|_| {
                panic!("POST {path}, accepted, is not answered within {ANSWER_SECONDS_MAX} s")
            })
            .unwrap_or_else(|error| panic!("POST {path}, accepted, is broken off: {error}"));
        let (head, made) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        assert!(
            head.starts_with("HTTP/1.1 201 "),
            "POST {path}, accepted, is answered {answer:?}"
        );
        let made = serde_json::from_str(made)
            .unwrap_or_else(|error| panic!("POST {path} is answered by no JSON ({error}): {answer}"));
        note(market, self.kind, &made);
    }
}

/// Sends the head of a POST, and waits until the service has accepted it.
async fn head(base: &str, path: &str, session: &str, key: &str, body: &Value) -> TcpStream {
    let address = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address)
        .await
        .expect("a service that is ready takes connections");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Cookie: session={session}\r\nIdempotency-Key: {key}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        body.to_string().len()
    );
    stream
        .write_all(head.as_bytes())
        .await
        .expect("a connection takes a head");
    let mut said = [0; CONTINUE.len()];
    timeout(
        Duration::from_secs(ANSWER_SECONDS_MAX),
        stream.read_exact(&mut said),
    )
    .await
    .unwrap_or_else(|_| panic!("POST {path} is not accepted within {ANSWER_SECONDS_MAX} s"))
    .unwrap_or_else(|error| panic!("POST {path} is not accepted: {error}"));
    let words = String::from_utf8_lossy(&said);
    assert!(said == *CONTINUE, "POST {path} is not accepted: {words}");
    stream
}

fn note(market: &Market, kind: Kind, made: &Value) {
    let id = made["id"].as_str().expect("what was made has an id");
    match kind {
        Kind::Account => market.ledger().signed_up(id),
        Kind::Listing => {
            let known = KnownTicket {
                seller: SELLER,
                quantity: 1,
            };
            market.ledger().listed(id, known);
        }
        Kind::Order { ticket } => {
            let (_, version, status) = read_order(made).expect("an order is answered as one");
            let known = KnownOrder {
                buyer: BUYER,
                ticket,
                placed: Instant::now(),
                version,
                status,
                paid: false,
                cancelled: false,
                refund: false,
            };
            market.ledger().ordered(id, known);
        }
        Kind::Payment => market.ledger().payment_opened(id),
    }
}
