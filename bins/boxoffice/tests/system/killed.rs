//! kill -9 of everything: what was acknowledged is there again after the next start, and goes on.

use std::time::Duration;

use tokio::time::Instant;

use crate::harness::{Deployment, Options, System, in_both_deployments};
use crate::journey::purchase_while;
use crate::load::Load;
use crate::person::Person;

in_both_deployments!(
    a_purchase_survives_kill_9_after_each_of_its_steps,
    a_hold_that_ends_while_everything_is_down_is_released,
    what_was_acknowledged_under_load_survives_kill_9,
);

/// The system is killed each time so many orders were acknowledged.
const ORDERS_BEFORE: usize = 150;

/// A hold that is short enough to end while everything is down.
const HOLD_SECONDS: u64 = 2;

async fn a_purchase_survives_kill_9_after_each_of_its_steps(deployment: Deployment) {
    let mut system = System::start(deployment, Options::default()).await;
    purchase_while(&mut system, async |system: &mut System, _| {
        kill_and_start_again(deployment, system).await
    })
    .await;
}

async fn a_hold_that_ends_while_everything_is_down_is_released(deployment: Deployment) {
    let options = Options {
        hold_seconds: HOLD_SECONDS,
        ..Options::default()
    };
    let mut system = System::start(deployment, options).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(1).await;
    let order = buyer.orders(&ticket).await;
    let ends = Instant::now() + Duration::from_secs(HOLD_SECONDS);
    kill(deployment, &mut system);
    // The moment itself is what is tested, so here a clock is waited for.
    tokio::time::sleep_until(ends).await;
    system.start_again().await;
    buyer.sees_cancelled(&order, "expired").await;
    buyer.sees_available(&ticket, 1).await;
}

async fn what_was_acknowledged_under_load_survives_kill_9(deployment: Deployment) {
    let mut system = System::start(deployment, Options::default()).await;
    let load = Load::on(&system).await;
    load.goes_on_for(ORDERS_BEFORE).await;
    kill_and_start_again(deployment, &mut system).await;
    let aftermath = load.ends().await;
    aftermath.nothing_is_lost().await;
    // Those that nobody was told of any more are orders all the same: they get their pieces like the others.
    aftermath.everyone_is_served().await;
}

async fn kill_and_start_again(deployment: Deployment, system: &mut System) {
    kill(deployment, system);
    system.start_again().await;
}

/// kill -9 of everything, the private redis-server included.
fn kill(deployment: Deployment, system: &mut System) {
    let redis = (deployment == Deployment::OneProcess).then(|| system.private_redis());
    system.kill();
    if let Some(redis) = redis {
        redis.is_gone_soon();
    }
}
