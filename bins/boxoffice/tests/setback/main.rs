//! Services that are set back to a backup while people buy, over the real stores, handlers and recoveries of all of them;
//! only what carries events, Stripe and the clock are told simply, so that one seed is one history.
//!
//! A service that takes back what it has published must end as if nothing had happened. One whose loss is accepted may
//! have lost orders, and still nobody has paid for nothing and no piece is sold twice.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod place;
mod stripe;
mod world;

use events::Source;
use testkit::Chance;

use self::world::World;

/// How many histories of each kind are tried, unless `SETBACK_HISTORIES` says otherwise. Each is some hundred durable steps.
const HISTORIES: u64 = 6;
const STEPS: usize = 250;

fn seeds(first: u64) -> std::ops::Range<u64> {
    let histories = std::env::var("SETBACK_HISTORIES").ok();
    first..first + histories.map_or(HISTORIES, |histories| histories.parse().unwrap())
}

async fn history(seed: u64, lossy: &[Source]) {
    println!("seed {seed}");
    let mut world = World::new(Chance::new(seed), lossy).await;
    for _ in 0..STEPS {
        world.anything().await;
        world.check();
    }
    world.comes_to_rest().await;
    println!("{}", world.summary());
    world.check_at_rest();
}

#[tokio::test]
async fn whoever_takes_back_what_it_has_published_ends_as_if_nothing_had_happened() {
    for seed in seeds(0) {
        history(seed, &[]).await;
    }
}

#[tokio::test]
async fn orders_that_are_lost_for_good_leave_nothing_behind() {
    for seed in seeds(1_000_000) {
        history(seed, &[Source::Orders]).await;
    }
}

#[tokio::test]
async fn holds_and_deadlines_that_are_lost_for_good_are_found_again_in_the_orders() {
    for seed in seeds(2_000_000) {
        history(seed, &[Source::Tickets, Source::Expiration]).await;
    }
}
