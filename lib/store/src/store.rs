//! The handle that services hold: reads beside the writer, transactions through it.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::ThreadId;
use std::time::Duration;

use events::{Epoch, Position, Seq, Source};
use tokio::sync::{oneshot, watch};

use crate::changed::Changed;
use crate::cursor::Cursor;
use crate::dead_letter::DeadLetter;
use crate::errors::{StoreError, TransactError};
use crate::health::{Reader, State};
use crate::indexes::Indexes;
use crate::lock::DirLock;
use crate::marks::Mark;
use crate::open::{self, OpenError, OpenProblem, Opened, Options};
use crate::outbox::OutboxEntry;
use crate::queue::{Job, Outcome, PushError, Ran};
use crate::record::{self, Record};
use crate::shared::Shared;
use crate::txn::{Context, Txn};
use crate::writer::Writer;

/// How long closing waits for the writer to write what waits.
pub const CLOSE_SECONDS_MAX: u64 = 10;

/// Why a store that was restored does not serve at once.
const RESTORED_WHY: &str =
    "it was restored from a backup, and first takes back from its stream what it has published since";

/// A service's store. Cheap to clone; closed when [`Store::close`] is called or the last clone is gone.
pub struct Store<I: Indexes> {
    pub(crate) shared: Arc<Shared<I>>,
    running: Arc<Running<I>>,
}

impl<I: Indexes> Clone for Store<I> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            running: Arc::clone(&self.running),
        }
    }
}

impl<I: Indexes> std::fmt::Debug for Store<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("source", &self.shared.options.source)
            .field("dir", &self.shared.options.dir)
            .finish_non_exhaustive()
    }
}

/// How a store is.
#[derive(Debug, Clone)]
pub struct Status {
    /// Whose it is.
    pub source: Source,
    /// The epoch that it writes in.
    pub epoch: Epoch,
    /// The last durable event.
    pub head: Seq,
    /// The oldest event that is kept; the one after the head if none is.
    pub oldest: Seq,
    /// How many bytes of events are kept.
    pub outbox_bytes: u64,
    /// How many rows it has.
    pub keys: u64,
    /// How many batches were ever written.
    pub batches: u64,
    /// How many dead letters lie in it.
    pub dead_letters: u64,
    /// How many transactions wait for the writer.
    pub waiting: usize,
    /// Whether it serves.
    pub state: State,
    /// Why the last batch was refused, if it was: no room on the disk, no file descriptor. Reading goes on then, and so
    /// does writing as soon as the cause is gone.
    pub refusing: Option<Arc<str>>,
    /// The writer has ended, or can't ever go on, without [`Store::close`]: the store is closed until the process is started anew,
    /// so that whoever watches over the process should take it for dead.
    pub writer_died: bool,
}

impl<I: Indexes> Store<I> {
    /// Opens a store, or makes a new one, and starts its writer. Blocks: every row is read and checked.
    ///
    /// # Errors
    /// In one sentence: which store, what is wrong, what to do.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let (store, writer) = Self::open_stepped(options)?;
        let (done, writer_done) = mpsc::channel();
        let spawned = std::thread::Builder::new()
            .name(format!("{}-writer", store.shared.options.source))
            .spawn(move || {
                writer.run();
                // Fails only when no one waits for it any more.
                done.send(()).ok();
            });
        match spawned {
            Ok(thread) => {
                *store.running.lock() = Some(WriterThread {
                    id: thread.thread().id(),
                    done: writer_done,
                });
                Ok(store)
            }
            Err(error) => Err(store.shared.options.error(OpenProblem::Io {
                doing: "starting a thread",
                error,
            })),
        }
    }

    /// Opens a store whose writer takes a step when it is told to, for tests.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_stepped(options: Options) -> Result<(Self, Writer<I>), OpenError> {
        let lock = DirLock::take(&options)?;
        let Opened {
            engine,
            gathered,
            head,
        } = open::open::<I>(&options, None)?;
        let marker = Mark::Restored.is_set(&options.dir).map_err(|error| {
            let doing = "looking for the mark of a restoration";
            options.error(OpenProblem::Io { doing, error })
        })?;
        let meta = gathered.durable.meta;
        tracing::info!(
            store = %options.source,
            dir = %options.dir.display(),
            head = %meta.position(),
            rows = meta.keys,
            "the store is open"
        );
        let adopting = marker.then(|| Arc::from(RESTORED_WHY));
        let shared = Arc::new(Shared::new(
            options,
            engine,
            gathered.indexed,
            gathered.durable,
            I::tables(),
            adopting,
        ));
        let writer = Writer::new(Arc::clone(&shared), head, lock);
        let running = Arc::new(Running {
            shared: Arc::clone(&shared),
            thread: Mutex::new(None),
        });
        Ok((Self { shared, running }, writer))
    }

    /// A row, as it is durable.
    ///
    /// # Errors
    /// When the store does not serve, or the row is damaged.
    pub fn get<R: Record>(&self, key: &R::Key) -> Result<Option<R>, StoreError> {
        self.shared.get(Reader::Requests, key)
    }

    /// Rows in the order of their keys, from behind `after` on; fewer than `limit` only at the end. Each row is
    /// durable; they are not of one moment.
    ///
    /// # Errors
    /// When the store does not serve, or a row is damaged.
    pub fn scan<R: Record>(&self, after: Option<&R::Key>, limit: usize) -> Result<Vec<R>, StoreError> {
        self.shared.scan(after, limit)
    }

    /// The service's indexes. They may be ahead of [`Store::get`] by the batch that is being written: whoever
    /// does not find a row takes it for absent. Writing waits while `f` runs: be quick.
    pub fn read<T>(&self, f: impl FnOnce(&I) -> T) -> T {
        let indexed = self.shared.indexed.read().unwrap_or_else(PoisonError::into_inner);
        f(&indexed.service)
    }

    /// Runs a transaction in the writer, and returns when what it did is durable. The closure is quick and
    /// pure: no I/O, no await, no clock. If it fails or panics, nothing of it is kept.
    ///
    /// # Errors
    /// What the closure answered, or why the store could not do it. Only [`TransactError::Unknown`] leaves
    /// open whether something was changed.
    pub async fn transact<T, E>(
        &self,
        context: Context,
        f: impl FnOnce(&mut Txn<'_, I>) -> Result<T, TransactError<E>> + Send + 'static,
    ) -> Result<T, TransactError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        self.submit(context, f)?
            .await
            // Turned away while it waited: it has not run.
            .unwrap_or_else(|_| Err(self.unavailable().into()))
    }

    /// Hands a transaction to the writer without waiting: for tests that drive the writer by hand.
    ///
    /// # Errors
    /// When too many wait, or the store does not serve.
    pub fn submit<T, E>(
        &self,
        context: Context,
        f: impl FnOnce(&mut Txn<'_, I>) -> Result<T, TransactError<E>> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, TransactError<E>>>, TransactError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        self.shared.health.check(Reader::Requests)?;
        self.hand_in(context, false, f)
    }

    /// Hands a transaction to the writer: an ordinary one, or one that adopts.
    pub(crate) fn hand_in<T, E>(
        &self,
        context: Context,
        adopts: bool,
        f: impl FnOnce(&mut Txn<'_, I>) -> Result<T, TransactError<E>> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, TransactError<E>>>, TransactError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let run = Box::new(move |txn: &mut Txn<'_, I>| {
            let result = txn.run(f);
            Ran {
                refused: result.is_err(),
                answer: Box::new(move |outcome: &Outcome| {
                    let result = match (outcome, result) {
                        (Outcome::Durable, result) => result,
                        (Outcome::Refused(why), _) => Err(TransactError::Unavailable(Arc::clone(why))),
                        (Outcome::Unknown(why), Ok(_)) => Err(TransactError::Unknown(Arc::clone(why))),
                        // A refusal staged nothing, but it may rest on what the failed batch had staged.
                        (Outcome::Unknown(why), Err(_)) => Err(TransactError::Unavailable(Arc::clone(why))),
                    };
                    // Fails only when the caller has gone away.
                    answer.send(result).ok();
                }),
            }
        });
        match self.shared.queue.push(Job { context, adopts, run }) {
            Ok(()) => Ok(answered),
            Err(PushError::Full) => Err(TransactError::Busy),
            Err(PushError::Stopped) => Err(self.unavailable().into()),
        }
    }

    /// Watches a row. Ask for the watch first, then read the row: so no change is missed.
    pub fn changed<R: Record>(&self, key: &R::Key) -> Changed {
        self.shared.watchers.watch(record::raw_key::<R>(key))
    }

    /// Watches a source's cursor, as [`Self::changed`] does a row.
    pub fn cursor_changed(&self, source: Source) -> Changed {
        let changed = self.changed::<Cursor>(&source);
        self.shared.wanted[source as usize].notify_one();
        changed
    }

    /// Resolves when somebody begins to watch a source's cursor, or has begun to since this was last asked: then whoever moves
    /// it should not take its time.
    pub async fn cursor_wanted(&self, source: Source) {
        self.shared.wanted[source as usize].notified().await;
    }

    /// The last durable event, and a wake-up whenever there is a further one.
    pub fn durable(&self) -> watch::Receiver<Position> {
        self.shared.durable_position.subscribe()
    }

    /// Durable events after `after`, in order, of about `bytes_max` bytes at most (one, if there is one, is
    /// always among them). Where older ones were trimmed, it begins at [`Store::oldest_outbox_seq`].
    ///
    /// # Errors
    /// When the store does not serve, or a row is damaged.
    pub fn outbox(&self, after: Seq, bytes_max: usize) -> Result<Vec<OutboxEntry>, StoreError> {
        self.shared.outbox(after, bytes_max)
    }

    /// The oldest event that is kept; the one after the head if none is.
    pub fn oldest_outbox_seq(&self) -> Seq {
        let durable = self.shared.durable();
        durable.spans.first().unwrap_or(durable.meta.seq.next())
    }

    /// How far a source's events are applied, durably; the very beginning if none was.
    pub fn cursor(&self, source: Source) -> Position {
        self.shared.durable().cursor(source)
    }

    /// Dead letters, by source and id, from behind `after` on.
    ///
    /// # Errors
    /// When the store does not serve, or a row is damaged.
    pub fn dead_letters(
        &self,
        after: Option<&(Source, String)>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.scan(after, limit)
    }

    /// How the store is.
    pub fn status(&self) -> Status {
        let state = self.shared.health.state();
        let waiting = self.shared.queue.len();
        let durable = self.shared.durable();
        Status {
            source: self.shared.options.source,
            epoch: durable.meta.epoch,
            head: durable.meta.seq,
            oldest: durable.spans.first().unwrap_or(durable.meta.seq.next()),
            outbox_bytes: durable.spans.bytes(),
            keys: durable.meta.keys,
            batches: durable.meta.batch,
            dead_letters: durable.dead_letters,
            waiting,
            state,
            refusing: self.shared.refusing().clone(),
            writer_died: self.shared.health.writer_died(),
        }
    }

    /// Stops serving, because the store is behind what it has published. Only a new start begins again.
    pub fn mark_old(&self, why: impl Into<Arc<str>>) {
        let why = why.into();
        tracing::error!(store = %self.shared.options.source, %why, "the store is old and does not serve");
        self.shared.health.set(State::Old { why });
        self.shared.queue.stop();
        self.shared.watchers.wake_all();
    }

    /// Writes what waits, and closes. Blocks, for [`CLOSE_SECONDS_MAX`] at most; other clones are unavailable
    /// from then on.
    pub fn close(self) {
        self.running.stop();
    }

    pub(crate) fn unavailable(&self) -> StoreError {
        match self.shared.health.check(Reader::Requests) {
            Err(error) => error,
            Ok(()) => StoreError::Unavailable("it is being closed or was just reopened".into()),
        }
    }
}

/// The running writer; stops it when the last handle is gone.
struct Running<I: Indexes> {
    shared: Arc<Shared<I>>,
    thread: Mutex<Option<WriterThread>>,
}

struct WriterThread {
    id: ThreadId,
    done: mpsc::Receiver<()>,
}

impl<I: Indexes> Running<I> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<WriterThread>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.shared.queue.close();
        let thread = self.lock().take();
        if let Some(thread) = thread
            // The last handle may have been a transaction's own, dropped on the writer's thread.
            && thread.id != std::thread::current().id()
            && thread.done.recv_timeout(Duration::from_secs(CLOSE_SECONDS_MAX)) == Err(mpsc::RecvTimeoutError::Timeout)
        {
            tracing::error!(
                store = %self.shared.options.source,
                "the writer did not end within {CLOSE_SECONDS_MAX} s; what it had acknowledged is on the disk"
            );
        }
    }
}

impl<I: Indexes> Drop for Running<I> {
    fn drop(&mut self) {
        self.stop();
    }
}
