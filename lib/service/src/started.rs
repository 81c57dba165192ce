//! Starting a service and stopping it: the same for a process of its own and for one among five.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use bus::{Consumer, Inquirer, Relay};
use events::Source;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use crate::access::{self, WithAccess};
use crate::health::{Health, Probe};
use crate::internal::{self, Guard, Inside};
use crate::self_check::SelfCheck;
use crate::{
    Built, Clock, Dependency, Parts, Service, Settings, Shutdown, ShutdownTrigger, StartError, Task,
    description, recollection, transact,
};

/// How often what has run out is cleared away: remembered answers and old revocations.
/// The outbox is the relay's to trim: it knows what is published.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// How long a start waits for the first look at the stream. A store that was set back shows by it, and should not serve
/// before; but a Redis that is not there is no reason not to serve.
pub const FIRST_LOOK_MILLIS_MAX: u64 = 2_000;

/// How long a service's tasks may take to stop, once it is time. With the drain before it, a process is gone
/// within ten seconds, whatever hangs.
const TASKS_STOP_MAX: Duration = Duration::from_millis(1_500);

/// A service that runs.
pub struct Started {
    /// Which.
    pub source: Source,
    /// Its public routes, without [`crate::http::edge`].
    pub api: Router,
    /// Their description.
    pub openapi: utoipa::openapi::OpenApi,
    /// Everything under `/internal/`: for operators, never for the public.
    pub internal: Router,
    /// How it is.
    pub probe: Probe,
    /// Its clock.
    pub clock: Clock,
    trigger: ShutdownTrigger,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
    close: Box<dyn FnOnce() + Send>,
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Opens a service's store, builds it, and starts its relay, its consumers and its own loops; returns when the relay has
/// looked at its stream once, or could not within [`FIRST_LOOK_MILLIS_MAX`]. At `shutdown`
/// its own loops and long polls end; the rest at [`Started::stop`]. Serving the routes is left to the caller.
///
/// # Errors
/// The sentence that says why not.
pub async fn start<S: Service>(
    settings: &Settings,
    options: S::Options,
    shutdown: Shutdown,
) -> Result<Started, StartError> {
    let how = How::of(settings)?;
    let clock = Clock::with_offset_ms(settings.clock_offset_ms);
    let parts = Parts::<S::Indexes>::open(settings, S::SOURCE, clock, shutdown).await?;
    let built = match S::build(parts.clone(), options).await {
        Ok(built) => built,
        Err(error) => {
            close(parts).await;
            return Err(error);
        }
    };
    let stop = parts.shutdown.clone();
    let (started, first_look) = run_parts::<S>(parts, built, how);
    tokio::select! {
        () = first_look => {}
        () = stop.wait() => {}
    }
    Ok(started)
}

/// What the settings say of how a service is looked after.
struct How {
    guard: Guard,
    check_interval: Option<Duration>,
}

impl How {
    fn of(settings: &Settings) -> Result<Self, StartError> {
        let guard = Guard::new(settings.operator_token.as_ref())
            .map_err(|unfit| StartError::Failed(unfit.to_string()))?;
        let seconds = u64::from(settings.check_seconds);
        Ok(Self {
            guard,
            check_interval: (seconds > 0).then(|| Duration::from_secs(seconds)),
        })
    }
}

/// Starts everything that runs. What may write waits for the first look that the relay takes at the stream: a store that
/// was set back must find that out before it writes anything in the place of what it has lost.
fn run_parts<S: Service>(
    parts: Parts<S::Indexes>,
    built: Built<S::Handler>,
    how: How,
) -> (Started, impl Future<Output = ()>) {
    let Built {
        api,
        handler,
        operators,
        tasks: own,
        dependencies,
    } = built;
    let handler = Arc::new(WithAccess {
        service: S::SOURCE,
        own: handler,
        verifier: parts.access.verifier.clone(),
        store: parts.store.clone(),
        heard: Arc::clone(&parts.heard),
    });
    transact::begin_counting(S::SOURCE);
    // Relay and consumers go on while the server drains, so that what is still decided is still published.
    let (trigger, stop) = ShutdownTrigger::new();
    let relay = Relay::new(
        parts.bus.clone(),
        parts.store.clone(),
        S::SOURCE,
        Arc::clone(&handler),
    );
    // Where Redis is not there, the service's own work begins without a look all the same; consumers have none then.
    let first_look = || {
        let compared = relay.compared();
        async move {
            let looked = tokio::time::timeout(Duration::from_millis(FIRST_LOOK_MILLIS_MAX), compared);
            if looked.await.is_err() {
                tracing::warn!(service = %S::SOURCE, "the stream could not be looked at yet: going on without");
            }
        }
    };
    let own: Vec<Task> = own
        .into_iter()
        .map(|task| task.after(first_look(), &parts.shutdown))
        .collect();
    let mut shared = vec![Task::new("sweep", sweep(parts.clone(), stop.clone())).after(first_look(), &stop)];
    for source in reads(S::SOURCE) {
        let (bus, store) = (parts.bus.clone(), parts.store.clone());
        let consumer = Consumer::new(bus, store, source, S::SOURCE, Arc::clone(&handler));
        let run = consumer.run(stop.clone().wait());
        shared.push(Task::new(consumer_name(source), run).after(relay.compared(), &stop));
        let inquirer = Inquirer::new(parts.bus.clone(), source, S::SOURCE, parts.clock.name());
        shared.push(Task::new(
            inquirer_name(source),
            inquirer.run(stop.clone().wait()),
        ));
    }
    let recollection = recollection::mind(
        parts.store.clone(),
        parts.bus.clone(),
        reads(S::SOURCE).collect(),
        stop.clone(),
    );
    shared.push(Task::new("recollection", recollection));
    let serving = first_look();
    shared.push(Task::new("relay", relay.run(stop.clone().wait())));
    let alive = Arc::new(AtomicBool::new(true));
    let probe = probe(&parts, Arc::clone(&alive), dependencies);
    let operators = internal::only_for_operators(operators, how.guard.clone());
    let inside = Inside {
        parts: parts.clone(),
        probe: Arc::clone(&probe),
        fact: S::fact,
        outbox: Arc::default(),
        checking: Arc::default(),
        replay: internal::replaying(&parts, &handler),
        guard: how.guard,
    };
    if let Some(interval) = how.check_interval {
        let checks = SelfCheck::new(inside.clone()).run(interval, stop.clone());
        shared.push(Task::new("self-check", checks));
    }
    let supervised = |task, stop: &Shutdown| supervise(S::SOURCE, task, stop.clone(), Arc::clone(&alive));
    let tasks = own
        .into_iter()
        .map(|task| supervised(task, &parts.shutdown))
        .chain(shared.into_iter().map(|task| supervised(task, &stop)))
        .collect();
    let (api, openapi) = api.split_for_parts();
    let openapi = description::complete(openapi, S::ABOUT, parts.access.cookies);
    let started = Started {
        source: S::SOURCE,
        api,
        openapi,
        internal: internal::router(inside).merge(operators),
        probe,
        clock: parts.clock.clone(),
        trigger,
        tasks,
        close: Box::new(move || parts.store.close()),
    };
    (started, serving)
}

impl Started {
    /// Stops everything that still runs, then closes the store. Begin the shutdown, and drain the server, first.
    pub async fn stop(self) {
        self.trigger.begin();
        let deadline = Instant::now() + TASKS_STOP_MAX;
        for (name, mut task) in self.tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                tracing::warn!(service = %self.source, task = name, "did not stop in time and is cut off");
                task.abort();
            }
        }
        if let Err(error) = tokio::task::spawn_blocking(self.close).await {
            tracing::error!(service = %self.source, %error, "closing the store panicked");
        }
    }
}

/// The sources that a service reads, as the bus knows the topology.
fn reads(service: Source) -> impl Iterator<Item = Source> {
    Source::ALL
        .into_iter()
        .filter(move |source| bus::readers(*source).contains(&service))
}

const fn consumer_name(source: Source) -> &'static str {
    match source {
        Source::Auth => "consumer of auth",
        Source::Tickets => "consumer of tickets",
        Source::Orders => "consumer of orders",
        Source::Expiration => "consumer of expiration",
        Source::Payments => "consumer of payments",
    }
}

const fn inquirer_name(source: Source) -> &'static str {
    match source {
        Source::Auth => "inquirer of auth",
        Source::Tickets => "inquirer of tickets",
        Source::Orders => "inquirer of orders",
        Source::Expiration => "inquirer of expiration",
        Source::Payments => "inquirer of payments",
    }
}

/// Runs a task and sees to it that it does not end unnoticed: a service without its relay, say, is not alive.
fn supervise(
    service: Source,
    task: Task,
    shutdown: Shutdown,
    alive: Arc<AtomicBool>,
) -> (&'static str, JoinHandle<()>) {
    let Task { name, future } = task;
    let supervised = async move {
        // In a set of its own, so that cutting the supervisor off cuts the task off, too.
        let mut running = JoinSet::new();
        running.spawn(future);
        let ended = running.join_next().await;
        if !shutdown.has_begun() {
            alive.store(false, Ordering::SeqCst);
            let error = ended.and_then(Result::err).map(|error| error.to_string());
            tracing::error!(%service, task = name, error, "a task has ended before its time: not alive any more");
        }
    };
    (name, tokio::spawn(supervised))
}

fn probe<I: store::Indexes>(parts: &Parts<I>, alive: Arc<AtomicBool>, leans_on: Vec<Dependency>) -> Probe {
    let parts = parts.clone();
    Arc::new(move || {
        let store = parts.store.status();
        let unwell = leans_on.iter().filter(|dependency| !(dependency.seems_well)());
        Health {
            service: parts.source,
            live: alive.load(Ordering::SeqCst) && !store.writer_died,
            store: internal::state_in_words(&store.state),
            serving: matches!(store.state, store::State::Serving),
            signing_keys: parts.access.verifier.key_count(),
            bus_connected: parts.bus.status().connected,
            unwell: unwell.map(|dependency| dependency.name).collect(),
        }
    })
}

async fn sweep<I: store::Indexes>(parts: Parts<I>, stop: Shutdown) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => sweep_once(&parts).await,
            () = stop.clone().wait() => return,
        }
    }
}

/// Clears away what has run out. What fails now is done a minute later.
async fn sweep_once<I: store::Indexes>(parts: &Parts<I>) {
    let now = parts.clock.now();
    if let Err(error) = parts.store.sweep(now).await {
        tracing::warn!(service = %parts.source, %error, "remembered answers were not cleared away");
    }
    if let Err(error) = access::forget_expired(&parts.access.verifier, &parts.store, now).await {
        tracing::warn!(service = %parts.source, %error, "old revocations were not cleared away");
    }
}

async fn close<I: store::Indexes>(parts: Parts<I>) {
    if let Err(error) = tokio::task::spawn_blocking(move || parts.store.close()).await {
        tracing::error!(%error, "closing the store panicked");
    }
}
