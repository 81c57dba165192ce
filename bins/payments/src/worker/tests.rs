//! When payments that Stripe has failed are tried again.

use std::ops::Range;

use events::Source;
use service::Clock;
use store::{Options, Store};
use testkit::{TempDir, temp_dir};

use super::job::WAKE_SECONDS_MAX;
use super::*;
use crate::stripe::{Stripe, StripeAccount, Trouble};

/// After so many failures in a row the pauses do not grow any more.
const FAILURES: usize = 12;

struct World {
    worker: Worker,
    clock: Clock,
    /// No pause has begun before this.
    made: Instant,
    _dir: TempDir,
}

impl World {
    fn new() -> Self {
        let (clock, dir) = (Clock::new(), temp_dir());
        let store = Store::open(Options::new(Source::Payments, dir.path().join("store"))).unwrap();
        // Nothing is called: the steps of these tests only end.
        let account = StripeAccount {
            secret_key: "sk_test_boxoffice".to_owned(),
            api_base: Some("http://127.0.0.1:9".to_owned()),
            stand_in: crate::stripe::StandIn::Allowed,
        };
        let agent = Agent::new(store, Stripe::new(&account).unwrap(), clock.clone());
        let (worker, _) = Worker::new(agent, clock.clone(), Duration::from_secs(60));
        Self {
            worker,
            clock,
            made: Instant::now(),
            _dir: dir,
        }
    }

    /// A step for a payment ends so.
    async fn ends(&mut self, id: PaymentId, tries: Tries, result: Result<Stepped, StepError>) {
        let worker = &mut self.worker;
        let job = worker.jobs.entry(id).or_insert_with(Job::new);
        job.running = true;
        if let Some(due) = job.due.take() {
            worker.queue.remove(&(due, id));
        }
        let handle = worker.running.spawn(async { Ran { tries, result } });
        worker.payment_of.insert(handle.id(), id);
        let ended = worker.running.join_next_with_id().await.unwrap();
        worker.ended(ended);
    }

    async fn fails(&mut self, id: PaymentId) {
        let trouble = Trouble::Unknown("nobody there".to_owned());
        self.ends(id, Tries::default(), Err(trouble.into())).await;
    }

    /// Another payment's step ends well.
    async fn goes_well(&mut self, tries: Tries) {
        let other = self.clock.payment_id();
        self.ends(other, tries, Ok(Stepped::Moved)).await;
        assert!(!self.worker.jobs.contains_key(&other), "nothing more is wanted");
    }

    /// Payments that have failed so often that the pauses are at their longest.
    async fn long_failed(&mut self) -> Vec<PaymentId> {
        let failed: Vec<_> = (0..20).map(|_| self.clock.payment_id()).collect();
        for id in &failed {
            for _ in 0..FAILURES {
                self.fails(*id).await;
            }
        }
        failed
    }

    #[track_caller]
    fn are_due_within(&self, ids: &[PaymentId], seconds: Range<u64>) {
        let now = Instant::now();
        for id in ids {
            let due = self.worker.jobs[id].due.unwrap();
            let pause = due.saturating_duration_since(now);
            assert!(pause < Duration::from_secs(seconds.end), "{pause:?}");
            // Some of the pause is over by now, and more of it on a busy machine.
            let over = Duration::from_secs(2) + self.made.elapsed();
            let least = Duration::from_secs(seconds.start).saturating_sub(over);
            assert!(pause >= least, "{pause:?}");
            assert!(self.worker.queue.contains(&(due, *id)));
        }
    }
}

#[test]
fn no_pause_is_longer_than_the_longest() {
    let longest = Duration::from_secs(RETRY_SECONDS_MAX);
    for _ in 0..100 {
        let mut job = Job::new();
        let pauses: Vec<Duration> = (0..100).map(|_| job.pause()).collect();
        assert!(pauses[0] < Duration::from_secs(1), "{:?}", pauses[0]);
        assert!(pauses.iter().all(|pause| *pause <= longest));
        assert!(pauses[FAILURES..].iter().all(|pause| *pause >= longest / 2));
    }
}

#[tokio::test]
async fn once_stripe_answers_what_it_has_failed_is_tried_soon() {
    let mut world = World::new();
    let failed = world.long_failed().await;
    let long = RETRY_SECONDS_MAX / 2..RETRY_SECONDS_MAX + 1;
    world.are_due_within(&failed, long.clone());

    // A step that ended without Stripe's having done anything says nothing about Stripe.
    world.goes_well(Tries::default()).await;
    world.are_due_within(&failed, long.clone());

    world.goes_well(Tries::that_were_answered()).await;
    world.are_due_within(&failed, 0..WAKE_SECONDS_MAX);
    let mut dues: Vec<_> = failed.iter().map(|id| world.worker.jobs[id].due).collect();
    dues.sort();
    dues.dedup();
    assert!(dues.len() > failed.len() / 2, "not all at once");
}

#[tokio::test]
async fn a_part_of_stripe_that_stays_down_is_not_asked_all_the_time() {
    let mut world = World::new();
    let failed = world.long_failed().await;
    world.goes_well(Tries::that_were_answered()).await;
    world.are_due_within(&failed, 0..WAKE_SECONDS_MAX);
    for id in &failed {
        world.fails(*id).await;
    }
    for _ in 0..10 {
        world.goes_well(Tries::that_were_answered()).await;
    }
    world.are_due_within(&failed, RETRY_SECONDS_MAX / 2..RETRY_SECONDS_MAX + 1);
}
