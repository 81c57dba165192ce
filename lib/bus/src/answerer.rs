//! The source's side of an inquiry: says how far its store is.
//!
//! It stands beside the relay and not in it: a question must find an answer while an append takes its time, or fails
//! again and again, because just then a reader has to learn that there is more than it can see. It reads nothing but
//! the store's head, moves nothing, and never makes the relay append.
//!
//! It is silent while the store has not been compared with what others know of it, or is behind that: such a store may
//! have lost what it had acknowledged, and does not know what its head should be.

use std::time::Duration;

use events::{Position, Source};
use store::{Indexes, Store};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::backoff::Health;
use crate::bus::Bus;
use crate::errors::BusError;
use crate::inquiries::{self, Answer};
use crate::link::Link;
use crate::stream::ANSWER_SECONDS_MAX;

/// How long one wait for a question takes.
const INQUIRIES_BLOCK_SECONDS: u64 = 10;

/// After a failure it tries again within this: somebody may be waiting for an answer.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Answers questions about the head of one store.
pub(crate) struct Answerer {
    bus: Bus,
    link: Link,
    source: Source,
    /// The last event that is durable.
    durable: watch::Receiver<Position>,
    /// Whether the store has all that is known of it elsewhere.
    settled: watch::Receiver<bool>,
}

impl Answerer {
    pub(crate) fn new<I: Indexes>(
        bus: &Bus,
        store: &Store<I>,
        source: Source,
        settled: watch::Receiver<bool>,
    ) -> Self {
        let block = Duration::from_secs(INQUIRIES_BLOCK_SECONDS + ANSWER_SECONDS_MAX);
        Self {
            link: Link::new(bus.clone(), block),
            bus: bus.clone(),
            source,
            durable: store.durable(),
            settled,
        }
    }

    /// Answers until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut health = Health::new(format!("answers of {}", self.source));
        // An error means that the relay is gone, which drops this as well.
        while self.settled.wait_for(|settled| *settled).await.is_ok() {
            match self.answer_once().await {
                Ok(()) => health.worked(),
                Err(error) => sleep(health.failed(&error).min(PAUSE_MAX)).await,
            }
        }
    }

    /// Waits for one question and answers it.
    async fn answer_once(&mut self) -> Result<(), BusError> {
        let block = Duration::from_secs(INQUIRIES_BLOCK_SECONDS);
        let key = self.bus.keys().inquiries(self.source);
        let Some(inquiry) = inquiries::next(&mut self.link, &key, block).await? else {
            return Ok(());
        };
        // Looked at only now: whatever was acknowledged before the question was put is durable, and not beyond it.
        let head = *self.durable.borrow();
        if !*self.settled.borrow() {
            return Ok(());
        }
        let answer = Answer {
            number: inquiry.number,
            head,
        };
        let key = self.bus.keys().answers(self.source, &inquiry.asker);
        inquiries::answer(&mut self.link, &key, answer).await
    }
}
