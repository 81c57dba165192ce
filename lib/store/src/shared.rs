//! What the handles of a store and its writer share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::time::Duration;

use events::{Position, Source};
use tokio::sync::{Notify, watch};

use crate::batch::Slots;
use crate::changed::Watchers;
use crate::engine::Engine;
use crate::errors::panic_message;
use crate::health::Health;
use crate::indexes::Tables;
use crate::instruments::Instruments;
use crate::open::Options;
use crate::queue::Queue;
use crate::state::{Durable, Indexed};
use crate::tees::Tees;

/// How long giving a handle up may take; it writes and syncs what the engine still has in its buffers.
const DROP_SECONDS_MAX: u64 = 5;

/// What the handles of a store and its writer share. Locks are taken in the order of the fields.
pub(crate) struct Shared<I> {
    pub(crate) options: Options,
    /// The kinds of rows that the service has.
    pub(crate) tables: Tables,
    pub(crate) health: Health,
    pub(crate) queue: Queue<I>,
    /// The writer has it while a batch is under way: whoever has it knows that what is in memory is what is durable.
    turn: Mutex<()>,
    /// Readers hold it while they read, so that a handle that is given up is gone when its lock is had.
    pub(crate) engine: RwLock<Option<Box<dyn Engine>>>,
    tees: Mutex<Tees<I>>,
    pub(crate) indexed: RwLock<Indexed<I>>,
    durable: Mutex<Durable>,
    /// The rows of the batch that is being written: until it is durable, readers see what was before.
    pub(crate) hidden: RwLock<Slots>,
    /// Why the last batch was refused before it was written, if it was.
    refusing: Mutex<Option<Arc<str>>>,
    pub(crate) watchers: Arc<Watchers>,
    /// For each source, that somebody has begun to wait for its cursor.
    pub(crate) wanted: [Notify; Source::ALL.len()],
    pub(crate) durable_position: watch::Sender<Position>,
    pub(crate) instruments: Instruments,
}

impl<I> Shared<I> {
    pub(crate) fn new(
        options: Options,
        engine: Box<dyn Engine>,
        indexed: Indexed<I>,
        durable: Durable,
        tables: Tables,
        adopting: Option<Arc<str>>,
    ) -> Self {
        let instruments = Instruments::new(options.source);
        instruments.stands(&durable);
        Self {
            options,
            tables,
            health: Health::opened(adopting),
            queue: Queue::new(),
            turn: Mutex::default(),
            engine: RwLock::new(Some(engine)),
            tees: Mutex::default(),
            indexed: RwLock::new(indexed),
            durable_position: watch::Sender::new(durable.meta.position()),
            durable: Mutex::new(durable),
            hidden: RwLock::default(),
            refusing: Mutex::default(),
            watchers: Arc::default(),
            wanted: std::array::from_fn(|_| Notify::new()),
            instruments,
        }
    }

    pub(crate) fn durable(&self) -> MutexGuard<'_, Durable> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to run a batch, and to be sure that none is under way.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who listens to the writer.
    pub(crate) fn tees(&self) -> MutexGuard<'_, Tees<I>> {
        self.tees.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the last batch was refused before it was written, if it was.
    pub(crate) fn refusing(&self) -> MutexGuard<'_, Option<Arc<str>>> {
        self.refusing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hides a batch's rows from readers before it is applied.
    pub(crate) fn hide(&self, slots: Slots) {
        *self.hidden.write().unwrap_or_else(PoisonError::into_inner) = slots;
    }

    /// Shows a batch's rows to readers, and returns which they were.
    pub(crate) fn reveal(&self) -> Slots {
        std::mem::take(&mut *self.hidden.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives the engine's handle up; what is wrong with it may make even that panic, or hang. Says whether the
    /// handle is gone: one that hangs is left behind with its locks, and no other can be had in this process.
    pub(crate) fn drop_engine(&self) -> bool {
        let engine = self.engine.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(engine) = engine else {
            return true;
        };
        let source = self.options.source;
        let (done, gone) = mpsc::channel();
        let spawned = std::thread::Builder::new()
            .name(format!("{source}-drop"))
            .spawn(move || {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(engine))) {
                    tracing::error!(store = %source, panic = panic_message(&*panic), "closing the engine panicked");
                }
                // Fails only when it has taken so long that no one waits any more.
                done.send(()).ok();
            });
        if let Err(error) = spawned {
            // What it would have run, and the handle with it, is dropped already, on this thread.
            tracing::warn!(store = %source, %error, "the engine was closed without a bound");
            return true;
        }
        gone.recv_timeout(Duration::from_secs(DROP_SECONDS_MAX)).is_ok()
    }
}
