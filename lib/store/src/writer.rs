//! The one writer: runs the transactions that wait, writes what they staged as one batch, syncs, and only then
//! answers. A step like all others: a thread loops over [`Writer::write_once`] in production, a test drives it.
//!
//! After any error of batch, flush or sync the engine's handle is not used again. Whoever waits learns that the
//! outcome is unknown, and the engine is opened anew, with all the checks of a start.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use failpoint::Point;

use crate::batch::{Batch, Finished};
use crate::codec::ROW_BYTES_MAX;
use crate::engine::{Engine, EngineError, Write};
use crate::errors::panic_message;
use crate::head::{HeadFile, Meta};
use crate::health::State;
use crate::indexes::Indexes;
use crate::lock::DirLock;
use crate::open::{self, Opened};
use crate::outbox::OutboxRow;
use crate::queue::{Outcome, Ran};
use crate::record::Record;
use crate::shared::Shared;
use crate::txn::Txn;

/// How many transactions share one sync.
pub const TRANSACTIONS_PER_BATCH_MAX: usize = 1_024;

/// How many rows a batch stages before it takes no further transaction; the one that goes beyond is the last.
const ROWS_PER_BATCH_MAX: usize = 16_384;

/// How long the writer waits before it opens a failed engine again: at first, and at most.
const REOPEN_MILLIS_MIN: u64 = 50;
const REOPEN_MILLIS_MAX: u64 = 5_000;

/// What one step of the writer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// Nothing waited.
    Nothing,
    /// A batch of so many transactions is durable, and they are answered.
    Batch {
        /// How many.
        transactions: usize,
    },
    /// There was not what the batch needs (room, descriptors): nothing of it was written.
    Refused,
    /// Writing failed; the next step opens the engine again.
    Failed,
    /// The engine is open again.
    Reopened,
    /// The engine is not open yet; a later step tries again.
    StillFailed,
}

/// The one that writes. Dropping it closes the store.
pub struct Writer<I: Indexes> {
    shared: Arc<Shared<I>>,
    head: HeadFile,
    // Last, so that the directory is free only after the engine is gone.
    _lock: DirLock,
}

impl<I: Indexes> Writer<I> {
    pub(crate) fn new(shared: Arc<Shared<I>>, head: HeadFile, lock: DirLock) -> Self {
        Self {
            shared,
            head,
            _lock: lock,
        }
    }

    /// Writes whatever waits, or, after a failure, tries to open the engine again. Never waits.
    pub fn write_once(&mut self) -> Wrote {
        match self.shared.health.state() {
            State::Serving => self.write_batch(false),
            State::Adopting { .. } => self.write_batch(true),
            State::Reopening { .. } => self.reopen(),
            State::Old { .. } | State::Closed => {
                self.shared.queue.stop();
                Wrote::Nothing
            }
        }
    }

    /// Writes until the store is closed and nothing waits any more.
    pub(crate) fn run(mut self) {
        let mut pause_millis = REOPEN_MILLIS_MIN;
        let mut pause = None;
        while self.shared.queue.wait(pause) {
            pause = match self.write_once() {
                Wrote::Nothing | Wrote::Batch { .. } | Wrote::Refused | Wrote::Reopened => {
                    pause_millis = REOPEN_MILLIS_MIN;
                    None
                }
                Wrote::Failed | Wrote::StillFailed => {
                    let pause = Duration::from_millis(pause_millis);
                    pause_millis = (pause_millis * 2).min(REOPEN_MILLIS_MAX);
                    Some(pause)
                }
            };
        }
    }

    fn write_batch(&mut self, adopting: bool) -> Wrote {
        let shared = Arc::clone(&self.shared);
        let mut waiting = self.shared.queue.take(TRANSACTIONS_PER_BATCH_MAX);
        // What was handed in just before the store began or ended adopting is turned away: dropped, it says so.
        waiting.retain(|job| job.adopts == adopting);
        if waiting.is_empty() {
            return Wrote::Nothing;
        }
        let _turn = shared.turn();
        let durable = self.shared.durable().meta;
        let mut ran = Vec::with_capacity(waiting.len());
        let written = {
            let engine = self.shared.engine.read().unwrap_or_else(PoisonError::into_inner);
            match engine.as_deref() {
                Some(engine) => catch_unwind(AssertUnwindSafe(|| {
                    let batch = run_all(&shared, engine, durable, waiting, &mut ran);
                    write(&shared, engine, durable, batch?)
                }))
                .unwrap_or_else(|panic| Err(EngineError::new(panic_message(&*panic)))),
                None => Err(EngineError::new("the engine is not open")),
            }
        };
        let transactions = ran.len();
        let refused = ran.iter().filter(|ran| ran.refused).count();
        self.shared.instruments.ran(
            u32::try_from(transactions).unwrap_or(u32::MAX),
            u32::try_from(refused).unwrap_or(u32::MAX),
            self.shared.queue.len(),
        );
        let (outcome, wrote) = match written {
            Ok(Written::Durable(finished)) => {
                self.publish(*finished);
                (Outcome::Durable, Wrote::Batch { transactions })
            }
            Ok(Written::Nothing) => (Outcome::Durable, Wrote::Batch { transactions }),
            Ok(Written::Refused(why)) => {
                self.refuse(&why);
                (Outcome::Refused(why), Wrote::Refused)
            }
            Err(error) => (Outcome::Unknown(self.fail(&error)), Wrote::Failed),
        };
        for ran in ran {
            (ran.answer)(&outcome);
        }
        failpoint::reach(Point::AfterReply);
        wrote
    }

    /// Makes known what has just become durable: to readers, to those who wait for a row, to the relay.
    fn publish(&self, finished: Finished) {
        if self.shared.refusing().take().is_some() {
            tracing::info!(store = %self.shared.options.source, "the store can be written again");
        }
        let Finished { spans, meta, .. } = finished;
        if let Err(error) = self.head.write(meta) {
            // The store is ahead of its head file then, which is as after a kill: nothing is lost by it.
            tracing::warn!(store = %self.shared.options.source, %error, "the head file could not be written");
        }
        let emitted = !spans.is_empty();
        let slots = self.shared.reveal();
        {
            let (cursors, dead_letters) = {
                let indexed = self.shared.indexed.read().unwrap_or_else(PoisonError::into_inner);
                (indexed.cursors, indexed.dead_letters)
            };
            let mut durable = self.shared.durable();
            durable.meta = meta;
            durable.cursors = cursors;
            durable.dead_letters = dead_letters;
            for (key, slot) in &slots {
                if let ([byte, first @ ..], None) = (&**key, &slot.now)
                    && *byte == OutboxRow::TABLE.0
                    && let Ok(first) = first.try_into()
                {
                    durable.spans.remove(events::Seq(u64::from_be_bytes(first)));
                }
            }
            for span in spans {
                if let Err(error) = durable.spans.push(span) {
                    tracing::error!(store = %self.shared.options.source, %error, "the outbox has a hole");
                }
            }
            self.shared.instruments.stands(&durable);
            if emitted {
                // Under the same lock as the spans: whoever finds an event in the outbox must find the head at
                // it or beyond. A relay that saw it otherwise would take the store for one that was set back.
                self.shared.durable_position.send_replace(meta.position());
            }
        }
        self.shared.watchers.wake(slots.keys());
    }

    /// There is not what the batch needs. Said once, not with every batch that comes until there is.
    fn refuse(&self, why: &Arc<str>) {
        self.shared.instruments.refused_batch();
        let before = self.shared.refusing().replace(Arc::clone(why));
        if before.is_none() {
            tracing::error!(store = %self.shared.options.source, %why, "the store can't be written; reading goes on");
        }
    }

    /// Gives the engine's handle up.
    fn fail(&self, error: &EngineError) -> Arc<str> {
        let why: Arc<str> = error.to_string().into();
        tracing::error!(store = %self.shared.options.source, error = %why, "writing failed; the store is opened again");
        self.shared.instruments.failed();
        self.shared.health.set(State::Reopening {
            since: Instant::now(),
            error: Arc::clone(&why),
        });
        self.shared.queue.stop();
        self.shared.tees().fail(&why);
        if !self.shared.drop_engine() {
            tracing::error!(store = %self.shared.options.source, "the engine does not close; only a new start of the process helps");
            self.shared.health.writer_ended(false);
            self.shared.watchers.wake_all();
        }
        why
    }

    fn reopen(&self) -> Wrote {
        let shared = &self.shared;
        let reached = shared.durable().meta;
        let opened = catch_unwind(AssertUnwindSafe(|| {
            open::open::<I>(&shared.options, Some(reached))
        }));
        let why = match opened {
            Ok(Ok(opened)) => {
                self.resume(opened);
                return Wrote::Reopened;
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic_message(&*panic),
        };
        if let State::Reopening { since, error } = shared.health.state()
            && *error != *why
        {
            tracing::error!(store = %shared.options.source, error = %why, "the store can't be opened again yet");
            shared.health.set(State::Reopening {
                since,
                error: why.into(),
            });
        }
        Wrote::StillFailed
    }

    fn resume(&self, opened: Opened<I>) {
        let shared = &self.shared;
        let Opened { engine, gathered, .. } = opened;
        let _turn = shared.turn();
        let meta = gathered.durable.meta;
        *shared.indexed.write().unwrap_or_else(PoisonError::into_inner) = gathered.indexed;
        shared.indexed.clear_poison();
        {
            let mut durable = shared.durable();
            *durable = gathered.durable;
            shared.instruments.stands(&durable);
            shared.durable_position.send_replace(meta.position());
        }
        drop(shared.reveal());
        *shared.engine.write().unwrap_or_else(PoisonError::into_inner) = Some(engine);
        shared.health.set(State::Serving);
        shared.queue.start();
        tracing::info!(store = %shared.options.source, head = %meta.position(), rows = meta.keys, "the store is open again");
        shared.watchers.wake_all();
        // Said once more: who was woken while the store did not serve yet has gone back to sleep.
        shared.durable_position.send_replace(meta.position());
    }
}

impl<I: Indexes> Drop for Writer<I> {
    fn drop(&mut self) {
        let asked = self.shared.queue.is_closing();
        if !asked {
            tracing::error!(store = %self.shared.options.source, "the store's writer has ended unasked; nothing can be written any more");
        }
        self.shared.health.writer_ended(asked);
        self.shared.queue.close();
        self.shared.queue.stop();
        if !self.shared.drop_engine() {
            tracing::error!(store = %self.shared.options.source, "the engine does not close and is left behind; what was acknowledged is on the disk");
        }
        self.shared.watchers.wake_all();
        if let Err(error) = self.head.sync() {
            tracing::warn!(store = %self.shared.options.source, %error, "the head file could not be synced");
        }
    }
}

/// Runs the transactions, in order, until all have run or the batch is large enough.
fn run_all<I: Indexes>(
    shared: &Shared<I>,
    engine: &dyn Engine,
    durable: Meta,
    mut waiting: std::collections::VecDeque<crate::queue::Job<I>>,
    ran: &mut Vec<Ran>,
) -> Result<Batch, EngineError> {
    let mut batch = Batch::new(durable);
    while batch.staged() < ROWS_PER_BATCH_MAX
        && let Some(job) = waiting.pop_front()
    {
        let mut txn = Txn::new(
            &mut batch,
            engine,
            &shared.indexed,
            shared.options.source,
            job.context,
        );
        ran.push((job.run)(&mut txn));
        if shared.indexed.is_poisoned() {
            return Err(EngineError::new("an index panicked; all indexes are rebuilt"));
        }
    }
    if !waiting.is_empty() {
        shared.queue.put_back(waiting);
    }
    Ok(batch)
}

/// What became of a batch.
enum Written {
    /// It changes nothing.
    Nothing,
    /// It is on the disk.
    Durable(Box<Finished>),
    /// There is not what it needs; nothing was done.
    Refused(Arc<str>),
}

/// Writes a batch, and returns when it is on the disk. Readers see what was before until it is published.
fn write<I: Indexes>(
    shared: &Shared<I>,
    engine: &dyn Engine,
    durable: Meta,
    batch: Batch,
) -> Result<Written, EngineError> {
    let Some(mut finished) = batch.finish(durable) else {
        return Ok(Written::Nothing);
    };
    if let Some(why) =
        too_long(&finished.writes).or_else(|| Some(engine.prepare(&finished.writes).err()?.to_string()))
    {
        finished.take_back(&shared.indexed);
        return Ok(Written::Refused(why.into()));
    }
    failpoint::reach(Point::BeforeBatch);
    let writes = std::mem::take(&mut finished.writes);
    {
        let mut tees = shared.tees();
        tees.batch(shared, &writes, &finished);
        shared.hide(std::mem::take(&mut finished.slots));
        engine.apply(writes)?;
    }
    failpoint::reach(Point::AfterBatch);
    let started = Instant::now();
    failpoint::reach(Point::BeforeFlush);
    engine.flush()?;
    failpoint::reach(Point::AfterFlush);
    failpoint::reach(Point::BeforeSync);
    engine.sync()?;
    failpoint::reach(Point::AfterSync);
    shared.instruments.synced(started.elapsed());
    Ok(Written::Durable(Box::new(finished)))
}

/// A row that could not be read again.
fn too_long(writes: &[Write]) -> Option<String> {
    let (key, _) = writes
        .iter()
        .find(|(_, value)| value.as_ref().is_some_and(|value| value.len() > ROW_BYTES_MAX))?;
    let table = char::from(*key.first().unwrap_or(&b'?'));
    Some(format!(
        "a row of table {table:?} has grown beyond {ROW_BYTES_MAX} bytes"
    ))
}
