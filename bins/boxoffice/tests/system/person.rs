//! A person who uses the system over HTTP: signs up, sells, orders, pays, waits.
//!
//! Every step expects the answer that the contract promises. Where a test wants another one, it sends the request
//! itself, with [`Person::get`] and its like.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use testkit::{Answer, Client, Request, eventually};
use tokio::task::JoinSet;

use crate::harness::System;
use crate::stripe;

/// How long an order may take to the next state of its story when nothing is in the way, or once it is out of it: the short
/// hold, and with it thirty seconds.
const NEXT_STATE_MAX: Duration = Duration::from_secs(45);

/// What every ticket of these tests costs, as it is shown and as Stripe counts it.
pub(crate) const PRICE: f64 = 25.5;
pub(crate) const PRICE_CENTS: i64 = 2_550;

const PASSWORD: &str = "a long enough secret";

/// A password costs a core a moment: more at once would only wait, and be turned away in the end.
const SIGN_UPS_AT_ONCE: usize = 4;

/// So that no two people of a test have the same address.
static PEOPLE: AtomicU32 = AtomicU32::new(0);

/// Somebody with an account, signed in.
#[derive(Clone)]
pub(crate) struct Person {
    email: String,
    auth: Client,
    tickets: Client,
    orders: Client,
    payments: Client,
    site: Client,
}

/// A payment that was opened.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) id: String,
    /// Stripe's page.
    pub(crate) page: String,
}

impl Person {
    /// Somebody new, with an account.
    pub(crate) async fn sign_up(system: &System) -> Self {
        Self::arriving(system).with_an_account().await
    }

    fn arriving(system: &System) -> Self {
        let number = PEOPLE.fetch_add(1, Ordering::Relaxed);
        let ingress = &system.ingress;
        let auth = Client::new(&ingress.auth);
        Self {
            email: format!("person{number}@example.org"),
            tickets: auth.at(&ingress.tickets),
            orders: auth.at(&ingress.orders),
            payments: auth.at(&ingress.payments),
            site: auth.at(&ingress.site),
            auth,
        }
    }

    async fn with_an_account(self) -> Self {
        self.post("/api/users/signup", &self.credentials())
            .expect(201)
            .await;
        self
    }

    /// So many new people.
    pub(crate) async fn sign_up_many(system: &System, count: usize) -> Vec<Self> {
        let mut people = Vec::with_capacity(count);
        while people.len() < count {
            let some = (people.len()..count).take(SIGN_UPS_AT_ONCE);
            let some = some.map(|_| Self::arriving(system)).map(Self::with_an_account);
            people.extend(some.collect::<JoinSet<Self>>().join_all().await);
        }
        people
    }

    /// Signs in with the password, as after losing the cookie.
    pub(crate) async fn sign_in(&self) {
        self.auth.clear_cookies();
        self.post("/api/users/signin", &self.credentials())
            .expect(200)
            .await;
    }

    /// The session that they hold is good.
    pub(crate) async fn is_signed_in(&self) {
        let me = self.get("/api/users/currentuser").expect(200).await.json();
        assert_eq!(me["currentUser"]["email"], self.email, "{me}");
    }

    /// What they type to sign in.
    pub(crate) fn email_and_password(&self) -> (String, String) {
        (self.email.clone(), PASSWORD.to_owned())
    }

    fn credentials(&self) -> Value {
        json!({ "email": self.email, "password": PASSWORD })
    }

    /// A GET, at the service whose path it is.
    pub(crate) fn get(&self, path: &str) -> Request<'_> {
        self.at(path).get(path)
    }

    /// A POST, at the service whose path it is.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Request<'_> {
        self.at(path).post(path, body)
    }

    /// A POST without a body, at the service whose path it is.
    pub(crate) fn post_nothing(&self, path: &str) -> Request<'_> {
        self.at(path).request(Method::POST, path)
    }

    /// A PUT, at the service whose path it is.
    pub(crate) fn put(&self, path: &str, body: &Value) -> Request<'_> {
        self.at(path).put(path, body)
    }

    /// A DELETE, at the service whose path it is.
    pub(crate) fn delete(&self, path: &str) -> Request<'_> {
        self.at(path).delete(path)
    }

    /// The client that an ingress would pick for a path.
    pub(crate) fn at(&self, path: &str) -> &Client {
        match path.split(['/', '?']).nth(2) {
            Some("users") => &self.auth,
            Some("tickets") => &self.tickets,
            Some("orders") => &self.orders,
            Some("payments") => &self.payments,
            _ => &self.site,
        }
    }

    /// Puts a ticket of so many pieces up for sale.
    pub(crate) async fn lists(&self, quantity: u32) -> String {
        let ticket = listing(quantity);
        self.post("/api/tickets", &ticket).expect(201).await.field("id")
    }

    /// As [`Self::lists`], and waits until the orders service knows of it: on a busy machine it may need longer than it keeps
    /// an order waiting. That nobody may order their own ticket it can only say of one that it knows, and it leaves nothing.
    pub(crate) async fn lists_and_is_heard(&self, quantity: u32) -> String {
        let ticket = self.lists(quantity).await;
        let own = json!({ "ticketId": ticket });
        self.post("/api/orders", &own).patient().expect(409).await;
        ticket
    }

    /// A ticket, as anyone sees it.
    pub(crate) async fn ticket(&self, ticket: &str) -> Value {
        self.get(&format!("/api/tickets/{ticket}"))
            .expect(200)
            .await
            .json()
    }

    /// Waits until so many pieces of a ticket are left.
    pub(crate) async fn sees_available(&self, ticket: &str, available: u32) {
        let what = format!("{available} of ticket {ticket} are left");
        eventually(&what, NEXT_STATE_MAX, async || {
            (self.ticket(ticket).await["available"] == available).then_some(())
        })
        .await;
    }

    /// Whether a ticket is among those on sale.
    pub(crate) async fn finds_on_sale(&self, ticket: &str) -> bool {
        let listed = self.get("/api/tickets?limit=100").expect(200).await.json();
        let listed = listed.as_array().expect("a list of tickets");
        listed.iter().any(|listed| listed["id"] == ticket)
    }

    /// The states of a ticket's orders, as its seller sees them.
    pub(crate) async fn sees_orders(&self, ticket: &str) -> Vec<String> {
        let path = format!("/api/tickets/{ticket}/orders?limit=100");
        let orders = self.get(&path).expect(200).await.json();
        let orders = orders.as_array().expect("a list of orders").iter();
        orders
            .map(|order| order["status"].as_str().expect("an order has a state").to_owned())
            .collect()
    }

    /// Makes something of what another service has said. While Redis is away that may not have arrived: then they are
    /// told to come back, and do.
    async fn makes(&self, path: &str, body: &Value) -> Answer {
        self.post(path, body).patient().expect(201).await
    }

    /// Orders one piece of a ticket.
    pub(crate) async fn orders(&self, ticket: &str) -> String {
        let wish = json!({ "ticketId": ticket, "quantity": 1, "price": PRICE });
        self.makes("/api/orders", &wish).await.field("id")
    }

    /// One's own order.
    pub(crate) async fn order(&self, order: &str) -> Value {
        self.get(&format!("/api/orders/{order}")).expect(200).await.json()
    }

    /// Waits, by long polls, until an order has come to a state, and answers the order.
    pub(crate) async fn sees(&self, order: &str, status: &str) -> Value {
        let path = format!("/api/orders/{order}");
        let what = format!("order {order} is {status}");
        let mut seen = self.order(order).await;
        eventually(&what, NEXT_STATE_MAX, async || {
            let now = seen["status"].as_str().expect("an order has a state");
            if now == status {
                return Some(());
            }
            assert_ne!(now, "cancelled", "{what}, but it is over: {seen}");
            let known = format!("\"{}\"", seen["version"]);
            let poll = self
                .get(&path)
                .header("If-None-Match", known)
                .header("Prefer", "wait=5");
            let answer = poll.send().await;
            match answer.status.as_u16() {
                200 => seen = answer.json(),
                304 => {}
                _ => panic!("{what}, but {}: {}", answer.status, answer.text()),
            }
            (seen["status"] == status).then_some(())
        })
        .await;
        seen
    }

    /// Waits until an order is cancelled, for this reason.
    pub(crate) async fn sees_cancelled(&self, order: &str, reason: &str) {
        let cancelled = self.sees(order, "cancelled").await;
        assert_eq!(cancelled["reason"], reason, "{cancelled}");
    }

    /// A page of the site, as their browser shows it.
    pub(crate) async fn page(&self, path: &str) -> String {
        self.site.get(path).expect(200).await.text()
    }

    /// Opens Stripe's page for an order.
    pub(crate) async fn opens_payment(&self, order: &str) -> Opened {
        let request = json!({ "orderId": order });
        let opened = self.makes("/api/payments", &request).await;
        Opened {
            id: opened.field("id"),
            page: opened.field("url"),
        }
    }

    /// Orders, pays, and waits until the ticket is theirs.
    pub(crate) async fn buys(&self, ticket: &str) -> String {
        let order = self.orders(ticket).await;
        self.sees(&order, "awaiting:payment").await;
        self.pays(&order).await;
        self.sees(&order, "complete").await;
        order
    }

    /// Pays an order that awaits it, on Stripe's page.
    pub(crate) async fn pays(&self, order: &str) -> Opened {
        let opened = self.opens_payment(order).await;
        let answer = stripe::pay(&opened.page).await;
        assert_eq!(
            answer.status,
            303,
            "Stripe leads back to the shop: {}",
            answer.text()
        );
        opened
    }
}

/// A ticket as one would list it.
pub(crate) fn listing(quantity: u32) -> Value {
    json!({ "title": "Two seats, row 7", "price": PRICE, "quantity": quantity, "venue": "Old Town Hall" })
}
