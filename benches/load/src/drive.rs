//! Letting many users act: in a closed loop, where each waits for its answer before it asks again, or at a fixed rate,
//! where what is due is due, whether or not the system keeps up.
//!
//! At a fixed rate an operation counts from the moment in which it was due. A system that stands still for a second
//! is not asked less because of it: everything that was due in that second is late by as much, and is counted so.

mod pacer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use crate::number::{float, whole};
use crate::place::Place;
use crate::record::{Kept, Recorder, Second, Window};
use crate::scenario::Scenario;
use crate::user::User;
use pacer::Pacer;

/// How long what is under way at the end may usually take to end.
pub const DRAIN_SECONDS_MAX: u64 = 15;

/// How the load is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Each connection asks again as soon as it has its answer.
    Closed,
    /// So many operations a second, whatever happens; connections are the most that may be under way.
    Open {
        /// Operations a second.
        per_second: f64,
    },
}

/// How long and with how many.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many users, each with a connection of its own.
    pub connections: usize,
    /// How the load is made.
    pub pace: Pace,
    /// What is not measured at the beginning.
    pub warm_up: Duration,
    /// What is measured.
    pub measured: Duration,
    /// How long what is under way at the end may take to end.
    pub drain: Duration,
}

/// What a run is told of while it goes on.
pub trait Watcher: Send {
    /// The warm-up is over: what is measured begins.
    fn begins(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
    /// A measured second has gone by.
    fn second(&mut self, number: u64, second: &Second);
    /// The window is over: what is measured ends.
    fn ends(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Nobody watches.
impl Watcher for () {
    fn second(&mut self, _: u64, _: &Second) {}
}

/// What came of a run.
#[derive(Debug)]
pub struct Driven {
    /// All that was recorded.
    pub kept: Kept,
    /// How long was measured.
    pub seconds: f64,
}

/// Lets users act until the plan's time is over.
pub async fn drive<S: Scenario, W: Watcher>(
    scenario: &Arc<S>,
    place: &Place,
    plan: &Plan,
    watcher: &mut W,
) -> Driven {
    let start = Instant::now();
    let begin = start + plan.warm_up;
    let window = Window {
        begin,
        end: begin + plan.measured,
        by_due: plan.pace != Pace::Closed,
    };
    let recorder = Arc::new(Recorder::new(window));
    let over = Arc::new(AtomicBool::new(false));
    let turns = Arc::new(Turns::new(plan.pace, start, window.end));
    let mut users = JoinSet::new();
    for number in 0..plan.connections {
        let user = User::new(number, place.clone(), Arc::clone(&recorder));
        let (scenario, turns, over) = (Arc::clone(scenario), Arc::clone(&turns), Arc::clone(&over));
        users.spawn(act(user, scenario, turns, over));
    }
    sleep_until(begin.into()).await;
    watcher.begins().await;
    let seconds = whole(plan.measured.as_secs_f64()).max(1);
    for number in 1..=seconds {
        let until = begin + plan.measured.mul_f64(float(number) / float(seconds));
        sleep_until(until.into()).await;
        watcher.second(number, &recorder.tick());
    }
    watcher.ends().await;
    if plan.pace == Pace::Closed {
        over.store(true, Ordering::Relaxed);
    }
    let drained = timeout(plan.drain, async { while users.join_next().await.is_some() {} });
    if drained.await.is_err() {
        over.store(true, Ordering::Relaxed);
        let hanging = u64::try_from(users.len()).unwrap_or(u64::MAX);
        users.shutdown().await;
        recorder.given_up("begun, and not over at the end", hanging);
    }
    recorder.given_up(
        "due, and never begun: all connections were busy until the end",
        turns.left(),
    );
    Driven {
        kept: recorder.kept(),
        seconds: window.length().as_secs_f64(),
    }
}

/// One user's life.
async fn act<S: Scenario>(mut user: User, scenario: Arc<S>, turns: Arc<Turns>, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        let Some((number, due)) = turns.take().await else {
            return;
        };
        user.begins(due);
        let done = scenario.operate(&mut user, number).await;
        user.recorder().operation(done.is_ok(), due, Instant::now());
        if done.is_err() {
            // Whoever is refused does not ask again at once; else a full system would be measured by its refusals.
            tokio::task::yield_now().await;
        }
    }
}

/// Whose turn it is, and when it was due.
#[derive(Debug)]
struct Turns {
    taken: AtomicU64,
    pacer: Option<Pacer>,
}

impl Turns {
    fn new(pace: Pace, start: Instant, end: Instant) -> Self {
        let pacer = match pace {
            Pace::Closed => None,
            Pace::Open { per_second } => Some(Pacer::start(per_second, start, end)),
        };
        Self {
            taken: AtomicU64::new(0),
            pacer,
        }
    }

    /// The next turn, once it is due; nothing when there will be none any more.
    async fn take(&self) -> Option<(u64, Instant)> {
        match &self.pacer {
            None => Some((self.taken.fetch_add(1, Ordering::Relaxed), Instant::now())),
            Some(pacer) => {
                pacer.due().await;
                let number = self.taken.fetch_add(1, Ordering::Relaxed);
                (number < pacer.last()).then(|| (number, pacer.when(number)))
            }
        }
    }

    /// How many were due and are not taken.
    fn left(&self) -> u64 {
        let taken = self.taken.load(Ordering::Relaxed);
        self.pacer
            .as_ref()
            .map_or(0, |pacer| pacer.last().saturating_sub(taken))
    }
}
