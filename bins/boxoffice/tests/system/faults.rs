//! Redis loses everything, or dies: it was never the truth, so the purchase goes on all the same.

use std::time::Duration;

use testkit::{Reply, eventually};

use crate::harness::{Deployment, Options, Redis, System, in_both_deployments};
use crate::journey::purchase_while;
use crate::load::Load;
use crate::person::Person;
use crate::private_redis::PrivateRedis;

/// How long a dead private redis-server may take to be replaced.
const REPLACED_MAX: Duration = Duration::from_secs(20);

/// How often Redis is flushed under load, and how many orders come in between.
const FLUSHES: usize = 6;
const ORDERS_BETWEEN_FLUSHES: usize = 60;

in_both_deployments!(
    a_purchase_completes_though_redis_is_flushed_after_each_of_its_steps,
    an_order_expires_though_redis_has_forgotten_its_deadline,
    a_purchase_completes_though_redis_is_killed_after_each_of_its_steps,
    orders_placed_while_redis_is_flushed_again_and_again_are_all_served,
);

async fn a_purchase_completes_though_redis_is_flushed_after_each_of_its_steps(deployment: Deployment) {
    let mut system = System::start(deployment, Options::redis_of_the_test()).await;
    purchase_while(&mut system, async |system: &mut System, _| flush(system)).await;
}

async fn an_order_expires_though_redis_has_forgotten_its_deadline(deployment: Deployment) {
    let options = Options {
        redis: Redis::OfTheTest,
        ..Options::short_hold()
    };
    let mut system = System::start(deployment, options).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(1).await;
    let order = buyer.orders(&ticket).await;
    buyer.sees(&order, "awaiting:payment").await;
    flush(&mut system);
    buyer.sees_cancelled(&order, "expired").await;
    buyer.sees_available(&ticket, 1).await;
}

/// The test's redis-server keeps nothing, so that a restart is a loss of everything as well.
async fn a_purchase_completes_though_redis_is_killed_after_each_of_its_steps(deployment: Deployment) {
    let mut system = System::start(deployment, Options::redis_of_the_test()).await;
    purchase_while(&mut system, async |system: &mut System, _| {
        system.redis().kill();
        system.redis().restart();
    })
    .await;
}

async fn orders_placed_while_redis_is_flushed_again_and_again_are_all_served(deployment: Deployment) {
    let mut system = System::start(deployment, Options::redis_of_the_test()).await;
    let load = Load::on(&system).await;
    for _ in 0..FLUSHES {
        load.goes_on_for(ORDERS_BETWEEN_FLUSHES).await;
        flush(&mut system);
    }
    let aftermath = load.ends().await;
    aftermath.nothing_is_lost().await;
    aftermath.nothing_is_unanswered().await;
    aftermath.everyone_is_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_redis_server_that_dies_is_replaced() {
    let mut system = System::start(Deployment::OneProcess, Options::default()).await;
    purchase_while(&mut system, async |system: &mut System, _| {
        let killed = system.private_redis();
        killed.kill();
        eventually("another redis-server runs", REPLACED_MAX, async || {
            let successor = PrivateRedis::if_it_runs(system.data_dir())?;
            (successor != killed).then_some(())
        })
        .await;
    })
    .await;
}

fn flush(system: &mut System) {
    let reply = system.redis().command(&["FLUSHALL"]);
    assert_eq!(reply, Reply::Status("OK".to_owned()));
}
