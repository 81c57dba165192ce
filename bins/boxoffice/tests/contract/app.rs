//! A running Boxoffice, people who use it, and what they do before a test looks at an answer.

use std::ops::Deref;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Client, Process, TempDir, eventually, temp_dir};

/// What everyone's password is.
pub(crate) const PASSWORD: &str = "a long enough secret";

/// Within this time everything that takes several services has happened, on a busy machine too.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// An id of the right form that nobody has been given, so old that nobody waits for it to appear.
pub(crate) const NOBODYS_ID: &str = "0193a4b6-0c00-7000-8000-000000000001";

/// What logs for itself and not for us.
const STRIPE_CLIENT: &str = "stripe_webhook::webhook";

/// One `boxoffice`, all services in one process, on a directory of its own.
///
/// Dropping it fails the test if the program has logged an error: an answer may be right, and its reason still be a
/// defect.
pub(crate) struct App {
    process: Process,
    _dir: TempDir,
}

impl App {
    /// One whose sign-ins are not throttled.
    pub(crate) fn start() -> Self {
        Self::with(&["--throttle", "off"])
    }

    /// One with these flags.
    pub(crate) fn with(flags: &[&str]) -> Self {
        let dir = temp_dir();
        let mut builder = Process::of("boxoffice")
            .arg("--listen")
            .arg("127.0.0.1:0")
            .arg("--data-dir")
            .arg(dir.path());
        for flag in flags {
            builder = builder.arg(flag);
        }
        Self {
            process: builder.start(),
            _dir: dir,
        }
    }

    /// Where it listens: `127.0.0.1:41234`.
    pub(crate) fn address(&self) -> &str {
        self.base().trim_start_matches("http://")
    }

    /// Where it listens: `http://127.0.0.1:41234`.
    pub(crate) fn base(&self) -> &str {
        self.process.base()
    }

    /// Someone who has not signed in.
    pub(crate) fn anyone(&self) -> Client {
        Client::new(self.base())
    }

    /// Someone new, signed in by cookie.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let client = self.anyone();
        let email = format!("{name}@example.org");
        let body = json!({"email": email, "password": PASSWORD});
        let answer = client.post("/api/users/signup", &body).expect(201).await;
        Person {
            client,
            id: answer.field("id"),
            email,
        }
    }

    /// Pays on the stand-in's page, as a browser would.
    pub(crate) async fn pay(&self, url: &str) {
        let path = url.trim_start_matches(self.base());
        let card = [
            ("number", "4242424242424242"),
            ("expiry", "12/34"),
            ("cvc", "123"),
        ];
        self.anyone().form(path, &card).expect(303).await;
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let printed = self.process.printed();
        let faults: Vec<&str> = printed
            .lines()
            .filter(|line| line.contains("ERROR") || line.contains("panicked"))
            // Stripe's client logs by itself, as an error, that a signed notice is of no kind that it knows.
            .filter(|line| !line.contains(STRIPE_CLIENT))
            .collect();
        assert!(faults.is_empty(), "it has logged errors:\n{}", faults.join("\n"));
    }
}

/// Someone with an account, signed in.
pub(crate) struct Person {
    client: Client,
    /// Who.
    pub(crate) id: String,
    /// How they sign in.
    pub(crate) email: String,
}

impl Deref for Person {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Person {
    /// The token of this person's session.
    pub(crate) fn token(&self) -> String {
        self.cookie("session").expect("whoever signed up has a session")
    }

    /// Lists a ticket and gives its body. The orders service knows of it then.
    pub(crate) async fn sells(&self, ticket: &Value) -> Value {
        let listed = self.post("/api/tickets", ticket).expect(201).await.json();
        self.is_heard_to_sell(&text(&listed, "id")).await;
        listed
    }

    /// Waits until the orders service knows of a ticket of this person's: on a busy machine it may need longer than it keeps
    /// an order waiting. That nobody may order their own ticket it can only say of one that it knows, and it leaves nothing.
    pub(crate) async fn is_heard_to_sell(&self, ticket: &str) {
        let own = json!({"ticketId": ticket});
        self.post("/api/orders", &own).patient().expect(409).await;
    }

    /// Lists `quantity` pieces of something and gives its id.
    pub(crate) async fn lists(&self, quantity: u32) -> String {
        let ticket = json!({"title": "A show", "price": 20, "quantity": quantity});
        text(&self.sells(&ticket).await, "id")
    }

    /// Orders pieces of a ticket and gives the order's id.
    pub(crate) async fn orders(&self, ticket: &str, quantity: u32) -> String {
        let body = json!({"ticketId": ticket, "quantity": quantity});
        self.post("/api/orders", &body).expect(201).await.field("id")
    }

    /// Orders pieces of a ticket, and waits until they are reserved.
    pub(crate) async fn reserves(&self, ticket: &str, quantity: u32) -> String {
        let order = self.orders(ticket, quantity).await;
        self.sees(&order, "awaiting:payment").await;
        order
    }

    /// Pays an order on the stand-in's page and waits until it is complete.
    pub(crate) async fn pays(&self, app: &App, order: &str) {
        self.sees(order, "awaiting:payment").await;
        let payment = self.post("/api/payments", &json!({"orderId": order})).patient();
        app.pay(&payment.expect(201).await.field("url")).await;
        self.sees(order, "complete").await;
    }

    /// Waits until an order of this person's has a status, and gives it.
    pub(crate) async fn sees(&self, order: &str, status: &str) -> Value {
        let what = format!("order {order} is {status}");
        eventually(&what, SOON, async || {
            let order = self.get(format!("/api/orders/{order}")).expect(200).await.json();
            (order["status"] == status).then_some(order)
        })
        .await
    }
}

/// A field of a body, as text.
pub(crate) fn text(body: &Value, name: &str) -> String {
    match body.get(name) {
        Some(Value::String(text)) => text.clone(),
        other => panic!("`{name}` is {other:?} in {body}"),
    }
}

/// Waits until a ticket looks as it should: to the tickets service an order's news comes as an event.
pub(crate) async fn ticket_becomes(client: &Client, ticket: &str, what: &str, is: impl Fn(&Value) -> bool) {
    eventually(&format!("ticket {ticket} is {what}"), SOON, async || {
        let ticket = client
            .get(format!("/api/tickets/{ticket}"))
            .expect(200)
            .await
            .json();
        is(&ticket).then_some(())
    })
    .await;
}
