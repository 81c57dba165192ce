//! The part of Stripe that Boxoffice uses, over HTTP, for laptops and tests: hosted Checkout with test cards,
//! PaymentIntents, refunds, idempotency keys, signed webhooks, and switches for faults.
//!
//! It plays another company. It shares no type with the services, knows nothing of tickets or orders, and
//! what it says must be readable by the very client that talks to the real Stripe. It is not a payment
//! system: no money moves, and no card number but Stripe's published test numbers is ever accepted.
//!
//! Reading order: `model` (what the books hold), `book` (the books), `checkout`, `payment`, `intents` and
//! `refunds` (pure decisions over the books), `render` (Stripe's JSON), `journal` and `journal_file` (the file), `api`, `page`,
//! `dashboard` and `control` (HTTP), `webhooks` (deliveries).

mod api;
mod book;
mod cards;
mod checkout;
mod clock;
mod control;
mod dashboard;
mod decision;
mod error;
mod faults;
mod health;
mod html;
mod idempotency;
mod ids;
mod intents;
mod journal;
mod journal_file;
mod model;
mod money;
mod operation;
mod page;
mod params;
mod payment;
mod refunds;
mod render;
mod webhooks;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::{any, get, post};
use ring::hmac;
use tokio::sync::{Notify, watch};

use crate::book::{Book, EVENTS_PENDING_MAX};
use crate::clock::Seconds;
use crate::decision::Moment;
use crate::faults::Faults;
use crate::ids::Ids;
use crate::journal::{Journal, Synced};
use crate::model::Record;

pub use crate::clock::Clock;
pub use crate::journal_file::OpenError;

/// The secret key unless another is given. It is no secret: it opens this stand-in only.
pub const SECRET_KEY_DEFAULT: &str = "sk_test_boxoffice";
/// The webhook's signing secret unless another is given.
pub const WEBHOOK_SECRET_DEFAULT: &str = "whsec_boxoffice";
/// How long an authorisation stands, as with most cards at Stripe.
const AUTHORIZATION_SECONDS: i64 = 7 * 24 * 60 * 60;
/// How long an answer is remembered for its idempotency key, as at Stripe.
const IDEMPOTENCY_SECONDS: i64 = 24 * 60 * 60;
const WEBHOOK_RETRY: Duration = Duration::from_millis(500);
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How many overdue objects one sweep handles before it lets others at the books.
const SWEEP_MAX: usize = 200;

/// How this Stripe is set up.
#[derive(Clone)]
pub struct Config {
    /// Where the books are kept; in memory only, if nowhere.
    pub data_dir: Option<PathBuf>,
    /// Under which address a person's browser reaches the payment page; no slash at its end.
    pub public_url: String,
    /// The key that API requests must show.
    pub secret_key: String,
    /// Where events are sent; nowhere, if absent. Plain http only.
    pub webhook_url: Option<String>,
    /// What events are signed with.
    pub webhook_secret: String,
    /// Whether `/stripe-fake/faults` can be used, and the ledger read without the secret key.
    pub faults_enabled: bool,
    /// How long an answer is remembered for its idempotency key.
    pub idempotency_seconds: i64,
    /// How long an authorisation stands if it is not captured.
    pub authorization_seconds: i64,
    /// The pause before an event is sent a second time; it doubles from there.
    pub webhook_retry: Duration,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: None,
            public_url: "http://127.0.0.1:8090".to_owned(),
            secret_key: SECRET_KEY_DEFAULT.to_owned(),
            webhook_url: None,
            webhook_secret: WEBHOOK_SECRET_DEFAULT.to_owned(),
            faults_enabled: false,
            idempotency_seconds: IDEMPOTENCY_SECONDS,
            authorization_seconds: AUTHORIZATION_SECONDS,
            webhook_retry: WEBHOOK_RETRY,
            clock: Clock::System,
        }
    }
}

impl fmt::Debug for Config {
    // By hand, so that no log ever shows the two secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("data_dir", &self.data_dir)
            .field("public_url", &self.public_url)
            .field("webhook_url", &self.webhook_url)
            .field("faults_enabled", &self.faults_enabled)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Refuses what can't work, with a sentence.
    fn checked(mut self) -> Result<Self, OpenError> {
        let refuse = |sentence: &str| Err(OpenError::Config(sentence.to_owned()));
        if self.secret_key.is_empty() || self.webhook_secret.is_empty() {
            return refuse("the secret key and the webhook secret must not be empty");
        }
        if self.secret_key.starts_with("sk_live_") || self.secret_key.starts_with("rk_live_") {
            return refuse(
                "this is a stand-in for Stripe: it takes no live key, give it a key that starts with sk_test_",
            );
        }
        if !self.public_url.starts_with("http://") && !self.public_url.starts_with("https://") {
            return refuse("the public URL must start with http:// or https://");
        }
        self.public_url
            .truncate(self.public_url.trim_end_matches('/').len());
        if let Some(url) = &self.webhook_url
            && !(url.starts_with("http://") && url.parse::<http::Uri>().is_ok())
        {
            return refuse("the webhook URL must be a plain http:// address: events are sent without TLS");
        }
        Ok(self)
    }
}

/// A running stand-in. Clones share the same books.
#[derive(Clone)]
pub struct StripeFake {
    inner: Arc<Inner>,
}

impl fmt::Debug for StripeFake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripeFake")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

struct Inner {
    config: Config,
    webhook_key: hmac::Key,
    ids: Ids,
    synced: Synced,
    books: Mutex<Books>,
    faults: Mutex<Faults>,
    deliveries: Notify,
}

/// What one lock guards: the books and what must keep step with them.
struct Books {
    book: Book,
    journal: Journal,
    /// Idempotency keys whose first request still runs.
    in_flight: HashSet<String>,
    /// Events that no delivery knows of yet.
    fresh: VecDeque<String>,
}

impl Books {
    /// The number of the journal's last line.
    fn last(&self) -> u64 {
        self.journal.last()
    }

    fn is_full(&self) -> bool {
        self.journal.is_full()
    }
}

impl StripeFake {
    /// Opens the books, or begins new ones.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let config = config.checked()?;
        let (book, journal) = match &config.data_dir {
            None => (Book::new(config.idempotency_seconds), Journal::in_memory()),
            Some(folder) => Journal::open(folder, config.idempotency_seconds, config.clock.now())?,
        };
        let fresh = book.pending_events().map(str::to_owned).collect();
        let inner = Inner {
            webhook_key: hmac::Key::new(hmac::HMAC_SHA256, config.webhook_secret.as_bytes()),
            ids: Ids::new(),
            synced: journal.synced(),
            books: Mutex::new(Books {
                book,
                journal,
                in_flight: HashSet::new(),
                fresh,
            }),
            faults: Mutex::new(Faults::default()),
            deliveries: Notify::new(),
            config,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// All routes: the API below `/v1`, and payment page, dashboard, ledger and faults below `/stripe-fake`.
    /// There is no fallback, so that it can be merged into a larger router.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/{*path}", any(api::serve))
            .route("/stripe-fake/pay/{session}", get(page::show).post(page::pay))
            .route(
                "/stripe-fake/pay/{session}/confirm",
                get(page::show_confirmation).post(page::confirm),
            )
            .route("/stripe-fake/dashboard", get(dashboard::show))
            .route("/stripe-fake/dashboard/refunds", post(dashboard::refund))
            .route("/stripe-fake/ledger", get(control::ledger))
            .route(
                "/stripe-fake/faults",
                get(control::list_faults)
                    .post(control::set_fault)
                    .delete(control::clear_faults),
            )
            .with_state(self.clone())
    }

    /// What happens without a request: sessions expire, authorisations lapse, events are delivered. Ends
    /// soon after `shutdown` does.
    pub async fn run_background(&self, shutdown: impl Future<Output = ()> + Send) {
        let (stop, mut stopped) = watch::channel(false);
        let sweeping = async {
            let mut interval = tokio::time::interval(SWEEP_INTERVAL);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = interval.tick() => while self.sweep_once() == SWEEP_MAX {
                        tokio::task::yield_now().await;
                    },
                    () = async { drop(stopped.wait_for(|stop| *stop).await) } => break,
                }
            }
        };
        let mut told = stop.subscribe();
        let delivering = webhooks::run(self, async move {
            // An error means that the sender is gone, which is a reason to stop, too.
            drop(told.wait_for(|stop| *stop).await);
        });
        let stopping = async {
            shutdown.await;
            stop.send_replace(true);
        };
        tokio::join!(sweeping, delivering, stopping);
    }

    /// Expires sessions and lets authorisations lapse whose time is over; says how many it handled, of
    /// which there may be more when it was 200.
    pub fn sweep_once(&self) -> usize {
        let mut books = self.books();
        if books.is_full() {
            return 0;
        }
        let moment = self.moment(None, None);
        let sessions = books.book.overdue_sessions(moment.now, SWEEP_MAX);
        let until = moment.now - self.inner.config.authorization_seconds;
        let intents = books.book.authorized_until(until, SWEEP_MAX - sessions.len());
        for id in &sessions {
            let records = checkout::expire_overdue(&books.book, id, &moment);
            self.commit(&mut books, records);
        }
        for id in &intents {
            let records = intents::lapse(&books.book, id, &moment);
            self.commit(&mut books, records);
        }
        sessions.len() + intents.len()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn ids(&self) -> &Ids {
        &self.inner.ids
    }

    pub(crate) fn webhook_key(&self) -> &hmac::Key {
        &self.inner.webhook_key
    }

    pub(crate) fn now(&self) -> Seconds {
        self.inner.config.clock.now()
    }

    pub(crate) fn synced(&self) -> &Synced {
        &self.inner.synced
    }

    pub(crate) fn moment<'a>(
        &'a self,
        request: Option<&'a str>,
        idempotency_key: Option<&'a str>,
    ) -> Moment<'a> {
        Moment {
            now: self.now(),
            ids: &self.inner.ids,
            public_url: &self.inner.config.public_url,
            webhook: self.inner.config.webhook_url.is_some(),
            request,
            idempotency_key,
        }
    }

    // Both locks: whoever panics while holding one has changed nothing yet, because decisions are made
    // before the books change. So a poisoned lock guards whole books.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.inner.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.inner.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts records into the journal and the books; returns the number to wait for.
    fn commit(&self, books: &mut Books, records: Vec<Record>) -> u64 {
        if records.is_empty() {
            return books.last();
        }
        let number = books.journal.append(&records);
        let mut has_events = false;
        for record in records {
            if let Record::Event(event) = &record
                && event.pending
            {
                books.fresh.push_back(event.id.clone());
                // Of more than this the books themselves have given up the oldest.
                if books.fresh.len() > EVENTS_PENDING_MAX {
                    books.fresh.pop_front();
                }
                has_events = true;
            }
            books.book.apply(record);
        }
        if has_events {
            self.inner.deliveries.notify_one();
        }
        number
    }

    pub(crate) async fn deliveries_changed(&self) {
        self.inner.deliveries.notified().await;
    }

    pub(crate) fn wake_deliveries(&self) {
        self.inner.deliveries.notify_one();
    }

    /// Events that have come since the last call, each with its type.
    pub(crate) fn take_fresh_events(&self) -> Vec<(String, String)> {
        let mut books = self.books();
        let fresh = std::mem::take(&mut books.fresh);
        let kind = |id: &String| books.book.event(id).map(|event| event.kind.clone());
        fresh
            .into_iter()
            .filter_map(|id| Some((kind(&id)?, id)))
            .map(|(kind, id)| (id, kind))
            .collect()
    }

    /// When an event was made, its text, and the journal's number to wait for; nothing when it is settled.
    pub(crate) fn event_to_send(&self, id: &str) -> Option<(Seconds, String, u64)> {
        let books = self.books();
        let event = books.book.event(id).filter(|event| event.pending)?;
        Some((event.created, event.body.clone(), books.last()))
    }

    /// Marks that an event needs no further delivery. Nobody waits for the disk here: at worst the event is
    /// delivered once more.
    pub(crate) fn settle(&self, event: String) {
        let mut books = self.books();
        self.commit(&mut books, webhooks::settled(event));
    }
}
