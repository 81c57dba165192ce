//! Somebody with an account, who does not give up: every request is sent again until it is answered, or it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use testkit::{Answer, Client};
use tokio::task::JoinSet;

use crate::ledger::Ledger;
use crate::part::Part;
use crate::system::System;

/// How long one request is tried again: longer than any fault lasts.
const INSIST_SECONDS_MAX: u64 = 150;

/// No answer may take longer than this (I8), with time to spare for a busy machine.
const ANSWER_SECONDS_MAX: u64 = 20;

/// The first pause after a failure; each next one is twice as long.
const PAUSE_MILLIS_MIN: u64 = 25;
/// The longest pause.
const PAUSE_MILLIS_MAX: u64 = 400;

/// A password costs a core a moment: more at once would only wait.
const SIGN_UPS_AT_ONCE: usize = 4;

/// Signing up and in ignores the key; every POST of the bench carries one.
const ACCOUNT_KEY: &str = "account";

/// The cookie that says who one is.
const SESSION: &str = "session";

const PASSWORD: &str = "a long enough secret";

/// What somebody chooses who does not want theirs any more.
const NEW_PASSWORD: &str = "another secret, as long";

/// Somebody with an account, signed in.
#[derive(Clone)]
pub struct Person {
    email: String,
    auth: Client,
    tickets: Client,
    orders: Client,
    payments: Client,
    ledger: Arc<Ledger>,
}

/// A request of a person.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    method: Method,
    path: &'a str,
    body: Option<&'a Value>,
    headers: Vec<(&'static str, String)>,
    patience: Duration,
}

impl<'a> Wish<'a> {
    /// A GET.
    pub fn get(path: &'a str) -> Self {
        Self::new(Method::GET, path, None)
    }

    /// A POST that counts once, however often it is sent.
    pub fn post(path: &'a str, body: Option<&'a Value>, idempotency_key: &str) -> Self {
        Self::new(Method::POST, path, body).header("Idempotency-Key", idempotency_key)
    }

    /// A PUT.
    pub fn put(path: &'a str, body: &'a Value) -> Self {
        Self::new(Method::PUT, path, Some(body))
    }

    /// A DELETE.
    pub fn delete(path: &'a str) -> Self {
        Self::new(Method::DELETE, path, None)
    }

    fn new(method: Method, path: &'a str, body: Option<&'a Value>) -> Self {
        Self {
            method,
            path,
            body,
            headers: Vec::new(),
            patience: Duration::from_secs(INSIST_SECONDS_MAX),
        }
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

impl Person {
    /// So many new people.
    pub async fn sign_up_many(system: &System, ledger: &Arc<Ledger>, count: usize) -> Vec<Self> {
        let mut people = Vec::with_capacity(count);
        while people.len() < count {
            let mut some = JoinSet::new();
            for _ in 0..SIGN_UPS_AT_ONCE.min(count - people.len()) {
                some.spawn(Self::arriving(system, ledger).with_an_account());
            }
            people.extend(some.join_all().await);
        }
        people
    }

    /// Somebody new, with an account, whatever happens to the service meanwhile.
    ///
    /// # Panics
    /// When the account is not made in the end.
    async fn with_an_account(self) -> Self {
        let account = self.account();
        let answer = self.insist(Wish::post("/api/users/signup", Some(&account), ACCOUNT_KEY));
        let Some(answer) = answer.await else {
            panic!(
                "a sign-up is not answered: {}",
                self.ledger.copy().unexpected.join("\n")
            );
        };
        // The account was made, and the answer lost: the person, told that they have one, signs in.
        if answer.status == 409 {
            return self.signed_in_again().await;
        }
        assert_eq!(answer.status, 201, "{}: {}", answer.request, answer.text());
        self.ledger.signed_up(&answer.field("id"));
        self
    }

    /// The same person with a new session: their account is there, and their password opens it.
    ///
    /// # Panics
    /// When they are not let in.
    pub async fn signed_in_again(self) -> Self {
        let account = self.account();
        let answer = self.insist(Wish::post("/api/users/signin", Some(&account), ACCOUNT_KEY));
        let answer = answer.await.expect("a sign-in is answered");
        assert_eq!(answer.status, 200, "{}: {}", answer.request, answer.text());
        self.ledger.known(&answer.field("id"));
        self
    }

    /// One more session of theirs, in a browser of its own: its token.
    ///
    /// # Panics
    /// When they are not let in.
    pub async fn another_session(&self) -> String {
        let browser = self.on_a_new_connection().signed_in_again().await;
        let session = browser.auth.cookie(SESSION);
        session.expect("whoever signs in has a session")
    }

    /// Changes their password.
    ///
    /// # Panics
    /// When that is not answered 200.
    pub async fn changes_password(&self) {
        let change = json!({ "current": PASSWORD, "new": NEW_PASSWORD });
        let answer = self.insist(Wish::put("/api/users/password", &change)).await;
        let answer = answer.expect("a change of a password is answered");
        assert_eq!(answer.status, 200, "{}: {}", answer.request, answer.text());
        self.ledger.changed_something();
    }

    /// The password that they have changed to opens their account, and the old one does not.
    ///
    /// # Panics
    /// When it is otherwise.
    pub async fn has_the_new_password(&self) {
        for (password, status) in [(NEW_PASSWORD, 200), (PASSWORD, 400)] {
            let account = json!({ "email": self.email, "password": password });
            let answer = self.insist(Wish::post("/api/users/signin", Some(&account), ACCOUNT_KEY));
            let answer = answer.await.expect("a sign-in is answered");
            assert_eq!(answer.status, status, "{}: {}", answer.request, answer.text());
        }
    }

    fn account(&self) -> Value {
        json!({ "email": self.email, "password": PASSWORD })
    }

    fn arriving(system: &System, ledger: &Arc<Ledger>) -> Self {
        /// No two people of a process have the same address.
        static PEOPLE: AtomicU32 = AtomicU32::new(0);
        let auth = Client::new(system.base(Part::Auth));
        Self {
            email: format!("person{}@example.org", PEOPLE.fetch_add(1, Ordering::Relaxed)),
            tickets: auth.at(system.base(Part::Tickets)),
            orders: auth.at(system.base(Part::Orders)),
            payments: auth.at(system.base(Part::Payments)),
            auth,
            ledger: Arc::clone(ledger),
        }
    }

    /// Sends it until there is an answer that is one: neither "come again later" nor a broken connection.
    ///
    /// None once patience is at its end; that is noted as unexpected.
    pub async fn insist(&self, wish: Wish<'_>) -> Option<Answer> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(PAUSE_MILLIS_MIN);
        let mut last = String::new();
        while begun.elapsed() < wish.patience {
            match self.once(&wish).await {
                Ok(answer) => match answer.status.as_u16() {
                    429 | 502..=504 => last = format!("{}: {}", answer.status, answer.text()),
                    _ => return Some(answer),
                },
                Err(error) => last = error,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(PAUSE_MILLIS_MAX));
        }
        self.ledger.unexpected(format!(
            "{} {} was not answered within {:?}; at last: {last}",
            wish.method, wish.path, wish.patience
        ));
        None
    }

    /// Sends it once.
    ///
    /// # Errors
    /// When no whole answer comes.
    pub async fn once(&self, wish: &Wish<'_>) -> Result<Answer, String> {
        let begun = Instant::now();
        let mut request = self
            .client(wish.path)
            .request(wish.method.clone(), wish.path)
            .within(Duration::from_secs(ANSWER_SECONDS_MAX));
        for (name, value) in &wish.headers {
            request = request.header(name, value);
        }
        if let Some(body) = wish.body {
            request = request.json(body);
        }
        let answer = request.try_send().await;
        self.ledger.took(begun.elapsed());
        answer.map_err(|error| error.to_string())
    }

    /// The same person, who shares no connection with others of their requests.
    #[must_use]
    pub fn on_a_new_connection(&self) -> Self {
        let fresh = |client: &Client| {
            let fresh = Client::new(client.base());
            if let Some(session) = self.auth.cookie(SESSION) {
                fresh.set_cookie(SESSION, &session);
            }
            fresh
        };
        Self {
            email: self.email.clone(),
            auth: fresh(&self.auth),
            tickets: fresh(&self.tickets),
            orders: fresh(&self.orders),
            payments: fresh(&self.payments),
            ledger: Arc::clone(&self.ledger),
        }
    }

    /// Notes an answer that is not among those that the contract promises here.
    pub fn did_not_expect(&self, answer: &Answer) {
        let sentence = format!("{} answered {}: {}", answer.request, answer.status, answer.text());
        self.ledger.unexpected(sentence);
    }

    /// The client that an ingress would pick for a path.
    pub fn client(&self, path: &str) -> &Client {
        match path.split(['/', '?']).nth(2) {
            Some("tickets") => &self.tickets,
            Some("orders") => &self.orders,
            Some("payments") => &self.payments,
            _ => &self.auth,
        }
    }
}
