//! What a service is made of: its store, the bus, the clock, and who is asking.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRef;
use bus::{Bus, BusConfig, SourceState};
use errors::Problem;
use events::{Source, Timestamp};
use session::{Access, Cookies, Verifier};
use store::{Context, IdempotencyKey, Indexes, Options, Record, Store, TransactError, Txn};

use crate::heard::Heard;
use crate::http::{IfNoneMatch, Prefer};
use crate::transact::{self, Patience};
use crate::waiting::{self, Waiters};
use crate::{Clock, OrProblem as _, Reply, Settings, Shutdown, StartError, access, trace};

/// When a client should try again whose answer depends on events that have not arrived.
const BEHIND_RETRY_SECONDS: u32 = 1;

/// What every service is made of. A clone is the same service.
pub struct Parts<I: Indexes> {
    /// Which service it is.
    pub source: Source,
    /// Its store.
    pub store: Store<I>,
    /// The bus.
    pub bus: Bus,
    /// The clock.
    pub clock: Clock,
    /// Who is asking.
    pub access: Access,
    /// Where people reach the site, without a slash at the end.
    pub public_url: Arc<str>,
    /// When it is time to stop.
    pub shutdown: Shutdown,
    pub(crate) heard: Arc<Heard>,
    waiters: Arc<Waiters>,
}

impl<I: Indexes> Clone for Parts<I> {
    fn clone(&self) -> Self {
        Self {
            source: self.source,
            store: self.store.clone(),
            bus: self.bus.clone(),
            clock: self.clock.clone(),
            access: self.access.clone(),
            public_url: Arc::clone(&self.public_url),
            shutdown: self.shutdown.clone(),
            heard: Arc::clone(&self.heard),
            waiters: Arc::clone(&self.waiters),
        }
    }
}

impl<I: Indexes> FromRef<Parts<I>> for Access {
    fn from_ref(parts: &Parts<I>) -> Self {
        parts.access.clone()
    }
}

impl<I: Indexes> Parts<I> {
    /// Opens the store of `source` and gets the rest ready. The bus need not be there.
    pub(crate) async fn open(
        settings: &Settings,
        source: Source,
        clock: Clock,
        shutdown: Shutdown,
    ) -> Result<Self, StartError> {
        let options = Options::new(source, settings.store_dir(source));
        let store = tokio::task::spawn_blocking(move || Store::open(options))
            .await
            .map_err(|error| StartError::Failed(format!("opening the {source} store panicked: {error}")))?
            .map_err(|error| StartError::Failed(error.to_string()))?;
        let bus_clock = clock.clone();
        let bus = Bus::new(BusConfig {
            redis_url: settings.redis_url.clone(),
            prefix: settings.redis_prefix.clone(),
            clock: Arc::new(move || bus_clock.now()),
        })
        .map_err(|error| StartError::Failed(format!("REDIS_URL: {error}")))?;
        let verifier = Verifier::new();
        access::fill(&verifier, &store).map_err(|error| StartError::Failed(error.to_string()))?;
        let access_clock = clock.clone();
        let cookies = Cookies::for_site(&settings.public_url);
        let access = Access::new(verifier, cookies, move || access_clock.now());
        let access = if source == Source::Auth {
            access.knowing_every_key()
        } else {
            access
        };
        Ok(Self {
            source,
            store,
            bus,
            access,
            clock,
            public_url: settings.public_url.trim_end_matches('/').into(),
            shutdown,
            heard: Arc::default(),
            waiters: Arc::default(),
        })
    }

    /// The time and the trace of the request that is being handled, for a transaction.
    pub fn context(&self) -> Context {
        Context {
            now: self.clock.now(),
            traceparent: trace::current(),
        }
    }

    /// Runs a transaction for the request that is being handled, and waits for it no longer than a client should:
    /// one that can't begin within [`crate::TRANSACTION_WAIT_MAX`] is taken back.
    ///
    /// # Errors
    /// See [`TransactError`].
    pub async fn transact<T, E>(
        &self,
        f: impl FnOnce(&mut Txn<'_, I>) -> Result<T, TransactError<E>> + Send + 'static,
    ) -> Result<T, TransactError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        transact::transact(&self.store, self.context(), Patience::default(), f).await
    }

    /// Runs the transaction of a request that may come again: with a key, its answer is stored with its effect,
    /// and repeated. Only what went well is stored.
    ///
    /// # Errors
    /// The problem to answer with; 422 when the key came before with another request.
    pub async fn once<E>(
        &self,
        key: Option<IdempotencyKey>,
        f: impl FnOnce(&mut Txn<'_, I>) -> Result<Reply, TransactError<E>> + Send + 'static,
    ) -> Result<Reply, Problem>
    where
        E: Into<Problem> + Send + 'static,
    {
        self.transact(move |tx| {
            let Some(key) = key else {
                return f(tx);
            };
            if let Some(answer) = tx.remembered(&key)? {
                return Ok(Reply::from(answer));
            }
            let reply = f(tx)?;
            tx.remember(key, reply.remembered().clone())?;
            Ok(reply)
        })
        .await
        .or_problem()
    }

    /// The answer that was given to the same request before, if it was: for a handler that has work to do
    /// before its transaction.
    ///
    /// # Errors
    /// As [`Self::once`].
    pub async fn answered(&self, key: &IdempotencyKey) -> Result<Option<Reply>, Problem> {
        let key = key.clone();
        self.transact(move |tx| Ok(tx.remembered(&key)?.map(Reply::from)))
            .await
            .map_err(|error: TransactError<Infallible>| {
                error.map_refused(|never| -> Problem { match never {} })
            })
            .or_problem()
    }

    /// Reads what another service may just have acknowledged. If its id (made at `made_at`) is young, it is waited for
    /// until it comes, or until this service has applied everything that `from` had acknowledged before it was asked.
    /// `Ok(None)` means that it does not exist.
    ///
    /// # Errors
    /// A 503 when neither comes about within [`crate::READ_WAIT_MAX`], so that it can't be said, or when too many wait already.
    pub async fn appears<R: Record>(
        &self,
        key: &R::Key,
        made_at: Timestamp,
        from: Source,
    ) -> Result<Option<R>, Problem> {
        if let Some(row) = self.store.get::<R>(key).or_problem()? {
            return Ok(Some(row));
        }
        let heard = self.heard.newest(from, self.store.cursor(from));
        if !waiting::worth_waiting(made_at, heard, self.clock.now()) {
            // It would have been heard of long ago: what is on its way now does not tell of it.
            let row = self.store.get::<R>(key).or_problem()?;
            return if row.is_none() && self.is_behind(from) {
                Err(not_known_yet(from))
            } else {
                Ok(row)
            };
        }
        tokio::select! {
            biased;
            row = waiting::until(&self.store, &self.waiters, key, |_| true) => {
                row?.map(Some).ok_or_else(|| not_known_yet(from))
            }
            // Read after that: what has come last may be just this.
            () = waiting::caught_up(&self.store, &self.bus, from) => self.store.get::<R>(key).or_problem(),
        }
    }

    /// Reads a row that is about to change, such as an order that is not yet confirmed: waits for up to
    /// [`crate::READ_WAIT_MAX`] until it is what `wanted` asks for, then takes it as it is.
    ///
    /// # Errors
    /// A 503 when too many wait already or the store does not serve.
    pub async fn until<R: Record>(
        &self,
        key: &R::Key,
        wanted: impl Fn(&R) -> bool,
    ) -> Result<Option<R>, Problem> {
        waiting::until(&self.store, &self.waiters, key, wanted).await
    }

    /// Answers `Prefer: wait` with `If-None-Match`: the row as soon as it is another version than the client
    /// has, or as it is when the time is over. Check before whether the client may see it.
    ///
    /// # Errors
    /// A 503 when the store does not serve.
    pub async fn poll<R: Record>(
        &self,
        key: &R::Key,
        known: &IfNoneMatch,
        prefer: Prefer,
    ) -> Result<Option<R>, Problem> {
        waiting::poll(&self.store, &self.waiters, &self.shutdown, key, known, prefer).await
    }

    /// Waits, for at most [`crate::READ_WAIT_MAX`], until this service has applied everything that `from` had acknowledged
    /// before; whether it has.
    pub async fn catches_up(&self, from: Source) -> bool {
        let caught_up = waiting::caught_up(&self.store, &self.bus, from);
        tokio::time::timeout(waiting::READ_WAIT_MAX, caught_up)
            .await
            .is_ok()
    }

    /// Whether this service knows that it has not applied all of a source's events. Where it does not, it may be behind
    /// all the same: only the source can tell ([`Bus::head`]).
    pub fn is_behind(&self, from: Source) -> bool {
        let sources = self.bus.status().sources;
        let status = sources.iter().find(|status| status.source == from);
        status.is_none_or(|status| status.state != SourceState::Reading || status.lag() > 0)
    }
}

fn not_known_yet(from: Source) -> Problem {
    Problem::unavailable("This is not known here yet, try again soon", BEHIND_RETRY_SECONDS)
        .because(format!("events of {from} have not all arrived"))
}
