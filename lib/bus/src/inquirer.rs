//! The reader's side of an inquiry: how far a source is, asked after one wants to know it.
//!
//! What a reader finds in a stream says how far the source *was*, and only as far as its relay has come. Somebody who
//! was told by the source that a thing exists, and asks a reader about it, can be answered "there is no such thing"
//! only by a reader that has applied everything that the source had acknowledged until then. So the source is asked,
//! and only an answer to a question that was put later counts ([`Bus::head`]).
//!
//! However many want to know, a source is asked one question at a time: who comes while one is under way shares the
//! next one. It is never asked more often than once in [`GATHER_MILLIS`].

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use events::{Position, Source};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::backoff::Health;
use crate::bus::Bus;
use crate::errors::BusError;
use crate::inquiries::{self, Answer, Inquiry};
use crate::instruments;
use crate::link::Link;

/// How long those who want to know are gathered before a question is put. Most of what is awaited comes within it,
/// and then nothing needs to be asked.
const GATHER_MILLIS: u64 = 10;
/// How long one question waits for its answer, before another one is put: a question can get lost.
const ANSWER_MILLIS_MAX: u64 = 500;
/// Less of that time is none: Redis takes a wait of zero for one without end.
const ANSWER_MILLIS_MIN: u64 = 1;
/// How long Redis may take for a command of this: nobody waits longer for an answer.
const REDIS_MILLIS_MAX: u64 = 2_000;

/// Puts a service's questions to one source.
pub struct Inquirer {
    bus: Bus,
    link: Link,
    source: Source,
    service: Source,
    /// Its name, of which nobody else has answers.
    asker: String,
}

/// Where those who want to know meet the one who asks.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    demand: watch::Sender<Demand>,
    told: watch::Sender<Told>,
}

#[derive(Debug, Default)]
struct Demand {
    /// The number of the last question that was put.
    begun: u64,
    /// The number of the question that somebody waits for: `begun`, or the next one.
    wanted: u64,
}

#[derive(Debug, Default)]
struct Told {
    /// Of the last question that was answered.
    number: u64,
    head: Position,
}

impl Inquirer {
    /// Asks `source` for `service`, whose bus this is, in the name `asker`: letters, digits and dashes, at most 64, such as
    /// an id. Nobody else may bear it, nor this program at its next start, or an answer could be taken for one to another
    /// question. Connects when there is something to ask.
    pub fn new(bus: Bus, source: Source, service: Source, asker: String) -> Self {
        instruments::inquirer(source, service);
        Self {
            link: Link::new(bus.clone(), Duration::from_millis(REDIS_MILLIS_MAX)),
            bus,
            source,
            service,
            asker,
        }
    }

    /// Asks, whenever somebody wants to know, until `shutdown` resolves.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = pin!(shutdown);
        let bus = self.bus.clone();
        let desk = bus.desk(self.source);
        let mut demand = desk.demand.subscribe();
        let mut health = Health::new(format!("inquirer of {} for {}", self.source, self.service));
        loop {
            let step = async {
                // An error means that the bus is gone, of which this has a clone.
                demand.wait_for(Demand::is_open).await.ok();
                self.inquire_once(desk, &mut health).await;
            };
            tokio::select! {
                biased;
                () = &mut shutdown => return,
                () = step => {}
            }
        }
    }

    /// One question for all who want to know by now, unless all of them have gone.
    async fn inquire_once(&mut self, desk: &Desk, health: &mut Health) {
        sleep(Duration::from_millis(GATHER_MILLIS)).await;
        let Some(number) = desk.begin() else {
            return;
        };
        self.count("bus_inquiries_total");
        match self.ask(number, desk).await {
            Ok(true) => {
                health.worked();
                return;
            }
            Ok(false) => {
                health.worked();
                self.count("bus_inquiries_unanswered_total");
            }
            Err(error) => {
                self.count("bus_inquiries_unanswered_total");
                // Somebody waits: not as long as the other parts of the bus may.
                let pause_max = Duration::from_millis(ANSWER_MILLIS_MAX);
                sleep(health.failed(&error).min(pause_max)).await;
            }
        }
        desk.again();
    }

    /// Puts one question; whether it was answered in time. Answers to earlier ones, which came too late for them, are told
    /// on the way: were only one taken for each question, then once behind, it would never find its own again.
    async fn ask(&mut self, number: u64, desk: &Desk) -> Result<bool, BusError> {
        let key = self.bus.keys().inquiries(self.source);
        let asker = self.asker.clone();
        inquiries::ask(&mut self.link, &key, &Inquiry { asker, number }).await?;
        let key = self.bus.keys().answers(self.source, &self.asker);
        let until = Instant::now() + Duration::from_millis(ANSWER_MILLIS_MAX);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left < Duration::from_millis(ANSWER_MILLIS_MIN) {
                return Ok(false);
            }
            let Some(answer) = inquiries::answered(&mut self.link, &key, left).await? else {
                return Ok(false);
            };
            desk.tell(answer);
            if answer.number >= number {
                return Ok(true);
            }
        }
    }

    fn count(&self, name: &'static str) {
        metrics::counter!(name, "source" => self.source.as_str(), "group" => self.service.as_str())
            .increment(1);
    }
}

impl Demand {
    fn is_open(&self) -> bool {
        self.wanted > self.begun
    }
}

impl Desk {
    /// The source's head, as it says it to a question that is put after this was called.
    pub(crate) async fn head(&self) -> Position {
        // Before the demand, so that whoever serves it sees that somebody waits.
        let mut told = self.told.subscribe();
        let mut number = 0;
        self.demand.send_if_modified(|demand| {
            number = demand.begun + 1;
            let was_open = demand.is_open();
            demand.wanted = number;
            !was_open
        });
        let told = told.wait_for(|told| told.number >= number).await;
        let head = told.ok().map(|told| told.head);
        match head {
            Some(head) => head,
            // The sender is in `self`: it can't be gone.
            None => std::future::pending().await,
        }
    }

    /// The number of the next question, unless nobody waits any more.
    fn begin(&self) -> Option<u64> {
        let mut begun = None;
        self.demand.send_if_modified(|demand| {
            if self.told.receiver_count() == 0 {
                demand.wanted = demand.begun;
            } else {
                demand.begun += 1;
                begun = Some(demand.begun);
            }
            false
        });
        begun
    }

    /// What was asked last has found no answer: asks once more if somebody still waits.
    fn again(&self) {
        self.demand.send_if_modified(|demand| {
            demand.wanted = demand.begun + 1;
            true
        });
    }

    fn tell(&self, answer: Answer) {
        let Answer { number, head } = answer;
        self.told.send_if_modified(|told| {
            let is_news = number > told.number;
            if is_news {
                *told = Told { number, head };
            }
            is_news
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use events::{Epoch, Seq};

    use super::*;

    fn at(seq: u64) -> Position {
        Position {
            epoch: Epoch(1),
            seq: Seq(seq),
        }
    }

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_comes_while_a_question_is_under_way_gets_the_answer_to_the_next_one() {
        let desk = Desk::default();
        let mut first = Box::pin(desk.head());
        let mut second = Box::pin(desk.head());
        assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
        assert_eq!(desk.begin(), Some(1), "one question for both");
        let mut late = Box::pin(desk.head());
        assert!(poll(&mut late).is_pending());
        let answer = |number, seq| Answer {
            number,
            head: at(seq),
        };
        desk.tell(answer(1, 10));
        assert_eq!(poll(&mut first), Poll::Ready(at(10)));
        assert_eq!(poll(&mut second), Poll::Ready(at(10)));
        assert!(poll(&mut late).is_pending(), "that was asked before it came");
        assert!(desk.demand.borrow().is_open());
        assert_eq!(desk.begin(), Some(2));
        // What was answered before comes again, or late, and is no news.
        desk.tell(answer(1, 5));
        assert!(poll(&mut late).is_pending());
        desk.tell(answer(2, 11));
        assert_eq!(poll(&mut late), Poll::Ready(at(11)));
        assert!(!desk.demand.borrow().is_open(), "nobody wants to know any more");
    }

    #[test]
    fn nothing_is_asked_for_those_who_have_gone() {
        let desk = Desk::default();
        let mut gone = Box::pin(desk.head());
        assert!(poll(&mut gone).is_pending());
        drop(gone);
        assert_eq!(desk.begin(), None);
        assert!(!desk.demand.borrow().is_open());
        let mut waiting = Box::pin(desk.head());
        assert!(poll(&mut waiting).is_pending());
        assert_eq!(desk.begin(), Some(1));
        desk.again();
        assert!(desk.demand.borrow().is_open(), "it was not answered");
        assert_eq!(desk.begin(), Some(2));
        desk.tell(Answer {
            number: 2,
            head: at(3),
        });
        assert_eq!(poll(&mut waiting), Poll::Ready(at(3)));
    }
}
