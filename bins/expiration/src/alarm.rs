//! The alarm clock: keeps the scheduled set in step with the store, and announces what is due.
//!
//! The set may be lost at any moment, and may lag behind the store: it only says what to look at. Whether a deadline
//! has passed is decided from the store, in a transaction, and an order is taken out of the set only after
//! `order:expired` is durable. A kill in between leaves it in the set, and the next look finds it announced.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusError, DUE_ORDERS_MAX, ScheduledSet};
use events::{OrderId, Timestamp};
use service::{Clock, Shutdown};
use store::{Context, Store, TransactError};
use tokio::time::sleep;

use crate::consumer::stage;
use crate::domain::{self, Command, Deadline, DeadlineError, DeadlineState, Decision};
use crate::hints::{Hints, Noted};
use crate::store::DeadlineIndexes;

/// The longest sleep: a set that was lost, or a clock that was moved, is noticed this soon.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// How long hints are gathered before they are carried to the set, so that one command serves many orders.
/// Far less than the shortest hold, which is a second.
const GATHER: Duration = Duration::from_millis(20);

/// The wait after something failed.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The name of the set in Redis.
pub const SET_NAME: &str = "deadlines";

/// Why a step failed. The next one makes up for it.
#[derive(Debug, thiserror::Error)]
pub enum AlarmError {
    /// The set can't be reached.
    #[error("the scheduled set: {0}")]
    Set(#[from] BusError),
    /// The store can't be used.
    #[error("the store: {0}")]
    Store(#[from] TransactError<Infallible>),
}

/// The alarm clock of all deadlines.
pub struct Alarm {
    store: Store<DeadlineIndexes>,
    clock: Clock,
    set: ScheduledSet,
    hints: Arc<Hints>,
    /// Which connection the set was last filled over.
    filled_over: Option<u64>,
    /// There were more hints than are kept: only filling the set anew makes up for it.
    hints_lost: bool,
    fills: u64,
    failing: bool,
}

impl Alarm {
    /// The alarm clock of the deadlines in `store`. Nothing else may write the set.
    pub fn new(store: Store<DeadlineIndexes>, bus: &Bus, clock: Clock, hints: Arc<Hints>) -> Self {
        Self {
            store,
            clock,
            set: ScheduledSet::new(bus, SET_NAME),
            hints,
            filled_over: None,
            hints_lost: false,
            fills: 0,
            failing: false,
        }
    }

    /// How often the set was filled from the store: once for each connection and each loss.
    pub fn fills(&self) -> u64 {
        self.fills
    }

    /// Rings until the shutdown begins.
    pub async fn run(mut self, shutdown: Shutdown) {
        let stop = shutdown.wait();
        tokio::pin!(stop);
        loop {
            let hints = Arc::clone(&self.hints);
            let pause = match self.ring_once().await {
                Ok(pause) => {
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("deadlines are watched again");
                    }
                    pause
                }
                Err(error) => {
                    // Logged once for each time that it begins, not for each try.
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(%error, "deadlines can't be watched at the moment");
                    }
                    RETRY_AFTER
                }
            };
            let failing = self.failing;
            tokio::select! {
                () = &mut stop => return,
                () = sleep(pause) => {}
                () = hints.arrived(), if !failing => sleep(GATHER.min(pause)).await,
            }
        }
    }

    /// One step: brings the set up to date, announces what is due, and says how long to sleep.
    ///
    /// # Errors
    /// When Redis or the store does not answer; nothing is lost.
    pub async fn ring_once(&mut self) -> Result<Duration, AlarmError> {
        self.carry_hints().await?;
        self.compare().await?;
        let due = self.set.due(self.clock.now(), DUE_ORDERS_MAX).await?;
        let more = due.len() == DUE_ORDERS_MAX;
        if !due.is_empty() {
            self.announce(due).await?;
        }
        if more {
            return Ok(Duration::ZERO);
        }
        let next = self.set.next_deadline().await?;
        let now = self.clock.now();
        Ok(next.map_or(SLEEP_MAX, |next| {
            next.since(now).clamp(Duration::from_millis(1), SLEEP_MAX)
        }))
    }

    async fn carry_hints(&mut self) -> Result<(), AlarmError> {
        let Noted { orders, too_many } = self.hints.take();
        self.hints_lost |= too_many;
        if orders.is_empty() {
            return Ok(());
        }
        let result = self.carry(orders.iter().copied().collect()).await;
        if result.is_err() {
            self.hints.give_back(orders);
        }
        result
    }

    /// Puts into the set what the store says of these orders. It is read inside the writer: the answer comes after
    /// everything before it, the change that the hint is about included, is durable.
    async fn carry(&mut self, orders: Vec<OrderId>) -> Result<(), AlarmError> {
        let read = self.store.transact(self.context(), move |tx| {
            let mut waiting = HashMap::with_capacity(orders.len());
            for order in orders {
                let deadline = tx.get::<Deadline>(&order)?;
                let due = deadline
                    .filter(|deadline| deadline.state == DeadlineState::Waiting)
                    .map(|it| it.due);
                waiting.insert(order, due);
            }
            Ok::<_, TransactError<Infallible>>(waiting)
        });
        let mut schedule = Vec::new();
        let mut remove = Vec::new();
        for (order, due) in read.await? {
            match due {
                Some(due) => schedule.push((order, due)),
                None => remove.push(order),
            }
        }
        self.set.schedule(&schedule).await?;
        self.set.remove(&remove).await?;
        Ok(())
    }

    /// Fills the set again after every (re)connect, and when its size is not what it must be. What the set has not been
    /// told yet is no reason: only a difference that the hints which wait can't explain is.
    async fn compare(&mut self) -> Result<(), AlarmError> {
        let size = self.set.len().await?;
        let connection = self.set.opened().await;
        // The writer runs one thing at a time: in a transaction, the count and the hints are of the same moment.
        let hints = Arc::clone(&self.hints);
        let counted = self.store.transact(self.context(), move |tx| {
            let waiting = tx.indexes().waiting_count();
            Ok::<_, TransactError<Infallible>>((waiting, hints.pending()))
        });
        let (waiting, pending) = counted.await?;
        let astray = self.hints_lost || size.abs_diff(waiting) > pending;
        if self.filled_over == Some(connection) && !astray {
            return Ok(());
        }
        let waiting: Vec<(OrderId, Timestamp)> = self.store.read(|indexes| indexes.waiting().collect());
        if self.hints_lost || size > waiting.len() {
            // Something is in it that is not waited for; it would ring once for nothing, but count until then.
            self.set.clear().await?;
        }
        self.set.schedule(&waiting).await?;
        tracing::info!(
            orders = waiting.len(),
            "the scheduled set was filled from the store"
        );
        self.filled_over = Some(connection);
        self.hints_lost = false;
        self.fills += 1;
        Ok(())
    }

    /// Commits `order:expired` for those whose time has come, and then takes them out of the set.
    async fn announce(&mut self, due: Vec<OrderId>) -> Result<(), AlarmError> {
        let announced = self.store.transact(self.context(), move |tx| {
            let mut over = Vec::with_capacity(due.len());
            let mut later = Vec::new();
            for order in due {
                let deadline = tx.get::<Deadline>(&order)?;
                match domain::decide(deadline.as_ref(), Command::Fire, tx.now()) {
                    Ok(decision @ (Decision::Fired(..) | Decision::Watch(_) | Decision::Forget)) => {
                        stage(tx, order, decision)?;
                        over.push(order);
                    }
                    Err(DeadlineError::Stale(_)) => over.push(order),
                    Err(DeadlineError::NotDue) => {
                        later.extend(deadline.map(|deadline| (order, deadline.due)))
                    }
                }
            }
            Ok::<_, TransactError<Infallible>>((over, later))
        });
        let (over, later) = announced.await?;
        self.set.remove(&over).await?;
        self.set.schedule(&later).await?;
        Ok(())
    }

    fn context(&self) -> Context {
        Context::new(self.clock.now())
    }
}
