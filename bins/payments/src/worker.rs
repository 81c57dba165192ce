//! Decides when and how often steps are made for which payment: at once where something is new, slower and
//! slower where Stripe does not answer, now and then where only a lost notice could be news.
//!
//! What is to be done is derived from the stored payments, through the store's indexes; what is kept here is
//! when to try again, which a restart may forget.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use events::PaymentId;
use service::{Clock, Shutdown};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

mod calling;
mod job;

use self::calling::Look;
pub use self::calling::{Bell, Looks};
use self::job::{Job, RETRY_SECONDS_MAX, soon, spread};
use crate::agent::{Agent, StepError, Stepped, Tries};
use crate::store::{PaymentIndexes, Urgency};
use crate::sweep::sweep_once;

/// How many steps are made at once, each of which makes one call to Stripe at a time.
pub const STRIPE_CALLS_MAX: usize = 64;
/// How often payments to be looked at now and then are gathered, at least.
const GATHER_SECONDS: u64 = 5;
/// The shortest pause between two looks that someone asks for: a page that is reloaded again and again must
/// not use up what Stripe allows all of us.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// How long a step may still take when it is time to stop.
const DRAIN_SECONDS_MAX: u64 = 5;
const SWEEP_SECONDS: u64 = 600;

/// Makes the steps of all payments.
pub struct Worker {
    agent: Agent,
    clock: Clock,
    looks: mpsc::Receiver<Look>,
    jobs: HashMap<PaymentId, Job>,
    queue: BTreeSet<(Instant, PaymentId)>,
    running: JoinSet<Ran>,
    payment_of: HashMap<Id, PaymentId>,
    /// The pause between two looks at a payment that only waits for its buyer or its order.
    reconcile: Duration,
    gather_at: Instant,
    sweep_at: Instant,
    /// When payments that Stripe has failed may next be tried before their pauses are over.
    wake_at: Instant,
}

struct Ran {
    tries: Tries,
    result: Result<Stepped, StepError>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("jobs", &self.jobs.len())
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker, and a way to ask it for a look. A payment that only waits for its buyer or its order is looked
    /// at every `reconcile`, in case a notice was lost.
    pub fn new(agent: Agent, clock: Clock, reconcile: Duration) -> (Self, Looks) {
        let (handle, looks) = Looks::new();
        let now = Instant::now();
        let worker = Self {
            agent,
            clock,
            looks,
            jobs: HashMap::new(),
            queue: BTreeSet::new(),
            running: JoinSet::new(),
            payment_of: HashMap::new(),
            reconcile,
            gather_at: now,
            sweep_at: now,
            wake_at: now,
        };
        (worker, handle)
    }

    /// Works until it is time to stop. Requests that are under way then, and need a step, make it themselves:
    /// this service's own tasks end before the server has drained.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            self.work_once().await;
            // Asked for anew each time: a store that was reopened has new indexes with a new bell.
            let bell = self.agent.store().read(PaymentIndexes::bell);
            let next = self.next_due();
            tokio::select! {
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
                Some(look) = self.looks.recv() => self.asked(look),
                () = bell.rung() => {}
                () = tokio::time::sleep_until(next) => {}
                () = shutdown.clone().wait() => break,
            }
        }
        // Nobody is to wait for a look that does not come.
        drop(self.looks);
        drop(self.jobs);
        let drained = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(DRAIN_SECONDS_MAX), drained)
            .await
            .is_err()
        {
            // What a call cut off has done is seen by the look that the next start begins with.
            tracing::warn!(open = self.running.len(), "calls to Stripe were cut off");
        }
    }

    /// One turn: takes note of what has ended and what is new, and starts the steps that are due. It waits for
    /// none of them.
    pub async fn work_once(&mut self) {
        while let Some(ended) = self.running.try_join_next_with_id() {
            self.ended(ended);
        }
        while let Ok(look) = self.looks.try_recv() {
            self.asked(look);
        }
        self.take_urgent();
        let now = Instant::now();
        if now >= self.gather_at {
            self.gather_at = now + self.reconcile.min(Duration::from_secs(GATHER_SECONDS));
            self.take_watched(now);
        }
        if now >= self.sweep_at {
            self.sweep_at = now + Duration::from_secs(SWEEP_SECONDS);
            if let Err(error) = sweep_once(self.agent.store(), &self.clock).await {
                tracing::warn!(%error, "old notices were not cleared away");
            }
        }
        self.start_due(now);
        metrics::gauge!("payments_jobs").set(u32::try_from(self.jobs.len()).unwrap_or(u32::MAX));
        metrics::gauge!("payments_stripe_connected").set(u32::from(self.agent.stripe_seems_well()));
    }

    fn next_due(&self) -> Instant {
        let at_capacity = self.running.len() >= STRIPE_CALLS_MAX;
        let first = self.queue.first().map(|(due, _)| *due).filter(|_| !at_capacity);
        first
            .unwrap_or(self.gather_at)
            .min(self.gather_at)
            .min(self.sweep_at)
    }

    fn take_urgent(&mut self) {
        let urgent = self.agent.store().read(PaymentIndexes::urgent);
        let now = Instant::now();
        for (id, urgency) in urgent {
            if self.jobs.get(&id).is_none_or(|job| job.urgency != urgency) {
                let job = self.jobs.entry(id).or_insert_with(Job::new);
                job.renew(urgency);
                self.schedule(id, now);
            }
        }
    }

    fn take_watched(&mut self, now: Instant) {
        let watched: Vec<PaymentId> = self.agent.store().read(|indexes| indexes.watched().collect());
        for id in watched {
            if let Entry::Vacant(vacant) = self.jobs.entry(id) {
                vacant.insert(Job::new());
                self.schedule(id, now + spread(self.reconcile));
            }
        }
    }

    fn asked(&mut self, look: Look) {
        let job = self.jobs.entry(look.id).or_insert_with(Job::new);
        // Stripe's notices are known by their ids, and are acted upon at once; people may ask again and again.
        let earliest = job
            .ended_at
            .filter(|_| look.done.is_some())
            .map(|ended| ended + LOOK_PAUSE);
        let now = Instant::now();
        job.lookers.extend(look.done);
        self.schedule(look.id, earliest.map_or(now, |earliest| earliest.max(now)));
    }

    /// A step for a payment that has a job, at `due`; once more behind the one that is being made.
    fn schedule(&mut self, id: PaymentId, due: Instant) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match job.due {
            Some(before) => {
                self.queue.remove(&(before, id));
                job.due = Some(due.min(before));
            }
            None if job.running => {
                job.again = true;
                return;
            }
            None => job.due = Some(due),
        }
        if let Some(due) = job.due {
            self.queue.insert((due, id));
        }
    }

    fn start_due(&mut self, now: Instant) {
        while self.running.len() < STRIPE_CALLS_MAX {
            let Some((due, id)) = self.queue.first().copied().filter(|(due, _)| *due <= now) else {
                return;
            };
            self.queue.remove(&(due, id));
            let Some(job) = self.jobs.get_mut(&id) else {
                continue;
            };
            job.due = None;
            job.running = true;
            let mut tries = std::mem::take(&mut job.tries);
            let lookers = std::mem::take(&mut job.lookers);
            let agent = self.agent.clone();
            let step = async move {
                let result = agent.step(id, &mut tries).await;
                for looker in lookers {
                    // Fails only if whoever asked waits no longer.
                    looker.send(()).ok();
                }
                Ran { tries, result }
            };
            let handle = self.running.spawn(step);
            self.payment_of.insert(handle.id(), id);
        }
    }

    fn ended(&mut self, ended: Result<(Id, Ran), JoinError>) {
        let (task, ran) = match ended {
            Ok((task, ran)) => (task, Some(ran)),
            Err(error) => {
                tracing::error!(%error, "a step panicked");
                (error.id(), None)
            }
        };
        let Some(id) = self.payment_of.remove(&task) else {
            return;
        };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let (tries, result) = match ran {
            Some(Ran { tries, result }) => (tries, Some(result)),
            None => (Tries::default(), None),
        };
        job.running = false;
        job.ended_at = Some(Instant::now());
        job.failed = matches!(result, Some(Err(StepError::Stripe(_))));
        let well = matches!(result, Some(Ok(_))) && tries.answered();
        let again = std::mem::take(&mut job.again);
        if !again {
            job.tries = tries;
        }
        let now = Instant::now();
        if let Some(Err(error)) = &result {
            log(id, error);
        }
        let due = match result {
            _ if again => Some(now),
            Some(Ok(stepped)) => self.next(id, stepped == Stepped::Moved, now),
            Some(Err(_)) | None => Some(now + job.pause()),
        };
        match due {
            Some(due) => self.schedule(id, due),
            None => drop(self.jobs.remove(&id)),
        }
        if well {
            self.stripe_is_well(now);
        }
    }

    /// Stripe has answered: what it has failed before is tried soon, however long the pauses have become. Not
    /// more often than those grow anyway, because a part of Stripe can be down for long while the rest answers.
    fn stripe_is_well(&mut self, now: Instant) {
        if now < self.wake_at {
            return;
        }
        let failed = self
            .jobs
            .iter()
            .filter(|(_, job)| job.failed && job.due.is_some());
        let failed: Vec<PaymentId> = failed.map(|(id, _)| *id).collect();
        if failed.is_empty() {
            return;
        }
        self.wake_at = now + Duration::from_secs(RETRY_SECONDS_MAX);
        tracing::info!(
            payments = failed.len(),
            "Stripe answers again: what it has failed is tried soon"
        );
        for id in failed {
            self.schedule(id, now + soon());
        }
    }

    /// When a payment is looked at again after a step that went well, if at all: at once if the step has opened
    /// the way for the next one, after a pause if it is Stripe's turn.
    fn next(&mut self, id: PaymentId, moved: bool, now: Instant) -> Option<Instant> {
        let (urgent, watched) = self.agent.store().read(|indexes| {
            let urgent = indexes.wanted_version(id).is_some() || !indexes.unread(id).is_empty();
            (urgent, indexes.is_watched(id))
        });
        let job = self.jobs.get_mut(&id)?;
        if moved {
            job.renew(job.urgency);
        }
        match (urgent, moved) {
            (true, true) => Some(now),
            (true, false) => Some(now + job.pause()),
            (false, _) => {
                job.renew(Urgency::default());
                watched.then(|| now + spread(self.reconcile))
            }
        }
    }
}

fn log(id: PaymentId, error: &StepError) {
    match error {
        StepError::Stripe(trouble) => {
            tracing::warn!(payment = %id, %trouble, "a step at Stripe came to nothing")
        }
        StepError::Store(error) => tracing::warn!(payment = %id, %error, "a step could not be stored"),
    }
}

#[cfg(test)]
mod tests;
