//! What a store tells about itself. The recorder must be installed before the store is opened.

use std::time::Duration;

use events::Source;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::state::Durable;

pub(crate) struct Instruments {
    sync_seconds: Histogram,
    batch_transactions: Histogram,
    transactions: Counter,
    refused: Counter,
    failures: Counter,
    batches_refused: Counter,
    waiting: Gauge,
    outbox_head: Gauge,
    outbox_events: Gauge,
    outbox_bytes: Gauge,
    keys: Gauge,
    dead_letters: Gauge,
}

impl Instruments {
    pub(crate) fn new(source: Source) -> Self {
        let store = source.as_str();
        Self {
            sync_seconds: histogram!("store_sync_seconds", "store" => store),
            batch_transactions: histogram!("store_batch_transactions", "store" => store),
            transactions: counter!("store_transactions_total", "store" => store),
            refused: counter!("store_transactions_refused_total", "store" => store),
            failures: counter!("store_failures_total", "store" => store),
            batches_refused: counter!("store_batches_refused_total", "store" => store),
            waiting: gauge!("store_transactions_waiting", "store" => store),
            outbox_head: gauge!("store_outbox_head", "store" => store),
            outbox_events: gauge!("store_outbox_events", "store" => store),
            outbox_bytes: gauge!("store_outbox_bytes", "store" => store),
            keys: gauge!("store_rows", "store" => store),
            dead_letters: gauge!("store_dead_letters", "store" => store),
        }
    }

    /// A batch has run, with so many transactions, of which so many were refused; so many wait behind it.
    pub(crate) fn ran(&self, transactions: u32, refused: u32, waiting: usize) {
        self.batch_transactions.record(f64::from(transactions));
        self.transactions.increment(u64::from(transactions));
        self.refused.increment(u64::from(refused));
        self.waiting
            .set(f64::from(u32::try_from(waiting).unwrap_or(u32::MAX)));
    }

    /// Flushing and syncing a batch took so long.
    pub(crate) fn synced(&self, took: Duration) {
        self.sync_seconds.record(took.as_secs_f64());
    }

    /// Writing a batch failed.
    pub(crate) fn failed(&self) {
        self.failures.increment(1);
    }

    /// A batch was refused for lack of room or descriptors.
    pub(crate) fn refused_batch(&self) {
        self.batches_refused.increment(1);
    }

    /// This is durable now.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is a float; 2^53 events are far away"
    )]
    pub(crate) fn stands(&self, durable: &Durable) {
        self.outbox_head.set(durable.meta.seq.0 as f64);
        self.outbox_events.set(durable.spans.events() as f64);
        self.outbox_bytes.set(durable.spans.bytes() as f64);
        self.keys.set(durable.meta.keys as f64);
        self.dead_letters.set(durable.dead_letters as f64);
    }
}
