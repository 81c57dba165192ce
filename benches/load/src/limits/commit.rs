//! How often the store commits a reservation when nothing else is done: the order service's own transaction, with its own
//! rows, event and indexes, on a store of its own, by 64 writers who wait for the disk. No HTTP, no Redis, no other
//! service.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use events::{Currency, Money, Source, Version};
use orders::consumer::stage;
use orders::domain::{self, Order, OrderError, PlaceOrder, TicketView};
use orders::store::OrderIndexes;
use service::Clock;
use store::{Context, Options, Store, TransactError};

use super::{GROUP_COMMIT, LimitError};
use crate::number::{float, per, rounded};
use crate::results::Limit;

/// How many writers wait at once: as many as there are connections when reservations are measured.
const WRITERS: usize = 64;

/// How many tickets there are to reserve, in turn.
const TICKETS: usize = 2_000;

/// How many pieces each has.
const PIECES: u32 = 100_000;

/// How long an order holds its pieces.
const HOLD: Duration = Duration::from_secs(900);

/// A store with tickets in it, and what a reservation needs beside.
#[derive(Debug)]
pub struct Bench {
    store: Store<OrderIndexes>,
    clock: Clock,
    tickets: Vec<TicketView>,
    next: AtomicU64,
}

impl Bench {
    /// Makes a store in a new directory and fills it.
    ///
    /// # Errors
    /// When the store can't be made.
    pub async fn open(dir: &Path) -> Result<Self, LimitError> {
        let failed = |error: &dyn std::fmt::Display| LimitError::new(GROUP_COMMIT, &error);
        let store =
            Store::<OrderIndexes>::open(Options::new(Source::Orders, dir)).map_err(|error| failed(&error))?;
        let clock = Clock::new();
        let price = Money::from_minor(2_550, Currency::Usd).map_err(|error| failed(&error))?;
        let ticket = |number: usize| TicketView {
            id: clock.ticket_id(),
            version: Version::FIRST,
            seller_id: clock.user_id(),
            title: format!("Two seats, row {number}"),
            venue: Some("Old Town Hall".to_owned()),
            starts_at: None,
            price,
            quantity: PIECES,
            deleted: false,
        };
        let tickets: Vec<TicketView> = (0..TICKETS).map(ticket).collect();
        let views = tickets.clone();
        let filled = store.transact(Context::new(clock.now()), move |tx| {
            for view in views {
                tx.put_any(view)?;
            }
            Ok::<_, TransactError<OrderError>>(())
        });
        filled.await.map_err(|error| failed(&error))?;
        Ok(Self {
            store,
            clock,
            tickets,
            next: AtomicU64::new(0),
        })
    }

    /// One reservation, as the order service makes it.
    ///
    /// # Errors
    /// What the store or the domain answers.
    pub async fn reserve(&self) -> Result<(), LimitError> {
        let number = usize::try_from(self.next.fetch_add(1, Ordering::Relaxed)).unwrap_or(0);
        let ticket_id = self.tickets[number % self.tickets.len()].id;
        let wish = PlaceOrder {
            id: self.clock.order_id(),
            user_id: self.clock.user_id(),
            quantity: 1,
            seen_price: None,
            hold: HOLD,
        };
        let reserved = self.store.transact(Context::new(self.clock.now()), move |tx| {
            let ticket = tx.get::<TicketView>(&ticket_id)?;
            let ticket = ticket.ok_or(TransactError::Refused(OrderError::TicketNotFound))?;
            let claimed = tx.indexes().claimed(ticket_id);
            let decision =
                domain::place(&ticket, claimed, &wish, tx.now()).map_err(TransactError::Refused)?;
            stage(tx, None::<&Order>, decision)
        });
        reserved
            .await
            .map_err(|error| LimitError::new(GROUP_COMMIT, &error))
    }
}

/// Measures it, on a runtime of its own.
pub(super) fn measure(below: &Path, each: Duration) -> Result<Vec<Limit>, LimitError> {
    let failed = |error: std::io::Error| LimitError::new(GROUP_COMMIT, &error);
    std::fs::create_dir_all(below).map_err(failed)?;
    let dir = tempfile::tempdir_in(below).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let (count, seconds) = runtime.block_on(async {
        let bench = Arc::new(Bench::open(dir.path()).await?);
        // The first writes find a store that is still small: they are not counted.
        commits(&bench, each / 4).await?;
        commits(&bench, each).await
    })?;
    Ok(vec![Limit {
        name: GROUP_COMMIT.to_owned(),
        value: rounded(per(float(count), seconds), 1),
        unit: "/s".to_owned(),
        how: format!("the reservation's own transaction, {WRITERS} writers, each waits for the disk"),
    }])
}

async fn commits(bench: &Arc<Bench>, each: Duration) -> Result<(u64, f64), LimitError> {
    let over = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (bench, over) = (Arc::clone(bench), Arc::clone(&over));
        writers.spawn(async move {
            let mut count = 0_u64;
            while !over.load(Ordering::Relaxed) {
                bench.reserve().await?;
                count += 1;
            }
            Ok::<_, LimitError>(count)
        });
    }
    tokio::time::sleep(each).await;
    over.store(true, Ordering::Relaxed);
    let mut count = 0;
    while let Some(written) = writers.join_next().await {
        count += written.map_err(|error| LimitError::new(GROUP_COMMIT, &error))??;
    }
    Ok((count, begun.elapsed().as_secs_f64()))
}
