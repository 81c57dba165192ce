//! What a service is, seen from its main: a source, a store's indexes, options, and one function that builds
//! its routes, its handler of others' events, and its own loops.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use bus::Recovery;
use events::Source;
use invariants::Fact;
use store::{Indexes, StoredRow};
use utoipa_axum::router::OpenApiRouter;

use crate::{Parts, Shutdown};

/// One service. Its crate's `App` implements it; [`crate::run`] and the one-process `boxoffice` start it.
pub trait Service: Send + 'static {
    /// Which.
    const SOURCE: Source;
    /// What it does, in a sentence or two, for `--help`.
    const ABOUT: &'static str;
    /// The indexes of its store. Their `tables` begin with [`crate::tables`].
    type Indexes: Indexes;
    /// Its own flags, beside [`crate::Settings`]. No two services may share the name of one.
    type Options: clap::Args + Clone + fmt::Debug + Send + Sync + 'static;
    /// What it makes of the events that it reads, and how it recovers. Keys and revocations are taken care of.
    type Handler: Recovery<Self::Indexes>;

    /// What a row of its store says to the invariants, if one is about it.
    fn fact(row: &StoredRow) -> Option<Fact>;

    /// Builds the service around its parts.
    fn build(
        parts: Parts<Self::Indexes>,
        options: Self::Options,
    ) -> impl Future<Output = Result<Built<Self::Handler>, StartError>> + Send;
}

/// A service that is built and can be started.
pub struct Built<H> {
    /// Its public routes, state applied.
    pub api: OpenApiRouter,
    /// What it makes of others' events.
    pub handler: H,
    /// What it does for operators alone, under `/internal/`, state applied.
    pub operators: Router,
    /// Its own loops. Each ends when the parts' shutdown begins, and not before.
    pub tasks: Vec<Task>,
    /// Others beside the bus that it can't do all of its work without.
    pub dependencies: Vec<Dependency>,
}

/// Somebody else whose absence is shown, and is no reason not to be ready.
#[derive(Clone)]
pub struct Dependency {
    pub(crate) name: &'static str,
    pub(crate) seems_well: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl<H> Built<H> {
    /// A service without loops of its own.
    pub fn new(api: OpenApiRouter, handler: H) -> Self {
        Self {
            api,
            handler,
            operators: Router::new(),
            tasks: Vec::new(),
            dependencies: Vec::new(),
        }
    }

    /// Names somebody whom this service needs for a part of its work: while they do not seem well it is degraded, and
    /// ready all the same.
    #[must_use]
    pub fn leans_on(
        mut self,
        name: &'static str,
        seems_well: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let seems_well = Arc::new(seems_well);
        self.dependencies.push(Dependency { name, seems_well });
        self
    }

    /// Adds routes under `/internal/` that let nobody in but operators.
    #[must_use]
    pub fn for_operators(mut self, routes: Router) -> Self {
        self.operators = self.operators.merge(routes);
        self
    }

    /// Adds a loop.
    #[must_use]
    pub fn task(mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Self {
        self.tasks.push(Task::new(name, task));
        self
    }
}

impl<H> fmt::Debug for Built<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Built")
            .field("tasks", &self.tasks)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Something that runs as long as the service does.
pub struct Task {
    pub(crate) name: &'static str,
    pub(crate) future: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Task {
    /// A task with a name for the log.
    pub fn new(name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            name,
            future: Box::pin(future),
        }
    }

    /// The same task, begun after `before` is over, or not at all if it is time to stop by then.
    pub(crate) fn after(self, before: impl Future<Output = ()> + Send + 'static, stop: &Shutdown) -> Self {
        let Self { name, future } = self;
        let stop = stop.clone();
        Self::new(name, async move {
            tokio::select! {
                () = before => future.await,
                () = stop.wait() => {}
            }
        })
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Why a service does not start, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not to be had.
    #[error("{variable}: {address} can't be listened on: {error}")]
    Listen {
        /// The variable that names the address.
        variable: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}
