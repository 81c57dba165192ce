//! The embedded store of a service: get, scan, and transact, which is compare-and-swap, outbox and cursors in
//! one atomic and durable step.
//!
//! Every write is a *transaction*: a closure that the one [`Writer`] runs. It takes all that wait, runs them one
//! after another, writes what they staged as one batch, syncs the disk once, and only then answers. So decisions
//! never conflict with each other, a thousand writers share one sync, and what was answered survives a kill
//! and a power cut. The events that a transaction emits are part of the same batch: there is no effect without
//! its event, and no event without its effect.
//!
//! - [`Store`] is what a service holds; [`Txn`] is what a closure is given.
//! - [`Record`] is a row of a service, in a frozen stored form; [`Indexes`] is what it keeps in memory about them.
//! - [`OutboxEntry`], [`DeadLetter`], [`IdempotencyKey`] are the store's own rows, which every service needs.
//! - [`Store::backup`] copies a store while it serves and [`restore`] puts the copy in its place; [`Store::adopt`] then
//!   takes back what had been published since. [`Store::check`] compares all that is in memory with the rows.
//! - [`engine`] is the interface to the embedded engine. Nothing outside of it names that engine.
//!
//! It is not a database server and not a cache: one process owns a directory, and rows are read from the engine.
//! It publishes nothing: the relay in `lib/bus` reads the outbox. It has no clock: time comes in a [`Context`].
//!
//! Reads see only what is durable. The indexes may be ahead of that by the batch that is being written.

mod adopting;
mod backup;
mod batch;
mod beneath;
mod blobs;
mod changed;
mod check;
pub mod codec;
mod copied;
mod cursor;
mod dead_letter;
pub mod engine;
mod errors;
#[cfg(test)]
mod golden;
mod head;
mod health;
mod idempotency;
mod indexes;
mod instruments;
mod lock;
mod lock_file;
mod marks;
mod open;
mod outbox;
mod queue;
mod reads;
mod record;
mod shared;
mod state;
mod state_hash;
mod store;
mod tees;
mod txn;
mod upkeep;
mod walk;
mod writer;

pub use backup::{
    BACKUP_BEHIND_BYTES_MAX, BACKUP_SILENCE_SECONDS_MAX, Backup, BackupError, Manifest, RestoreError,
    RestoreOptions, Restored, inspect_backup, restore,
};
pub use changed::Changed;
pub use check::CheckReport;
pub use codec::DecodeError;
pub use dead_letter::{DEAD_LETTER_ENTRY_BYTES_MAX, DeadLetter};
pub use errors::{CursorError, Panicked, StoreError, TransactError, TxnError};
pub use health::State;
pub use idempotency::{IDEMPOTENCY_HOURS, IdempotencyKey, Remembered};
pub use indexes::{Change, Indexes, Tables};
pub use lock_file::{LockFile, LockProblem, LockWait};
pub use open::{OpenError, OpenProblem, Options};
pub use outbox::{OUTBOX_BYTES_MAX, OUTBOX_DAYS, OUTBOX_EVENTS_MAX, OutboxEntry};
pub use queue::TRANSACTIONS_WAITING_MAX;
pub use record::{FixedKey, Record, RecordKey, StoredRow, Table};

pub use state_hash::StateHash;
pub use store::{CLOSE_SECONDS_MAX, Status, Store};
pub use txn::{Context, Txn};
pub use walk::{RowKey, RowKeyError};
pub use writer::{TRANSACTIONS_PER_BATCH_MAX, Writer, Wrote};
