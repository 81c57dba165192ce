//! Any damage in any order, from a seed: what was published is applied, in order and once.

use std::time::Duration;

use testkit::{Chance, RedisOptions, RedisServer, Reply};

use crate::system::{REQUESTS, STREAM, System};

/// How much happens in one run.
const STEPS: u64 = 25;

#[tokio::test(flavor = "multi_thread")]
async fn seed_1() {
    run(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_2() {
    run(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_3() {
    run(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_4() {
    run(4).await;
}

/// Runs one seed; another one for a longer search comes from `BUS_CHAOS_SEED`.
#[tokio::test(flavor = "multi_thread")]
async fn seed_of_the_environment() {
    let seed = std::env::var("BUS_CHAOS_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    run(seed.unwrap_or(5)).await;
}

async fn run(seed: u64) {
    let mut chance = Chance::new(seed);
    let options = RedisOptions {
        append_only: chance.below(2) == 0,
        memory_bytes_max: None,
    };
    let mut system = System::on(RedisServer::with(options));
    let mut running = system.run();
    let mut last = 0;
    for step in 0..STEPS {
        let many = i64::try_from(chance.below(60)).unwrap() + 1;
        system.publish(last + 1..=last + many).await;
        last += many;
        let damage = chance.below(12);
        match damage {
            0 => drop(system.redis.command(&["FLUSHALL"])),
            1 => drop(system.redis.command(&["DEL", STREAM])),
            2 => drop(system.redis.command(&["DEL", REQUESTS])),
            3 => drop(system.redis.command(&["XGROUP", "DESTROY", STREAM, "orders"])),
            4 => drop(system.redis.command(&["XGROUP", "SETID", STREAM, "orders", "$"])),
            5 => drop(system.redis.command(&["XGROUP", "SETID", STREAM, "orders", "0"])),
            6 => drop(
                system
                    .redis
                    .command(&["XTRIM", STREAM, "MAXLEN", &chance.below(20).to_string()]),
            ),
            7 => delete_some(&system, &mut chance),
            8 => drop(system.inject(&[
                "seq",
                &(last + 1).to_string(),
                "type",
                "order:expired",
                "envelope",
                "{",
            ])),
            9 => system.redis.restart(),
            10 => {
                running.stop().await;
                if chance.below(2) == 0 {
                    system.reopen_expiration();
                }
                running = system.run();
            }
            _ => {
                system.redis.stop();
                let many = i64::try_from(chance.below(60)).unwrap() + 1;
                system.publish(last + 1..=last + many).await;
                last += many;
                system.redis.resume();
            }
        }
        // Some damage falls into quiet, some into the middle of the repair of what came before.
        if chance.below(3) == 0 {
            let until = last - i64::try_from(chance.below(30)).unwrap();
            testkit::eventually(
                &format!("seed {seed} goes on after step {step}, damage {damage}"),
                PATIENCE,
                || async { (system.applied().last().copied().unwrap_or(0) >= until).then_some(()) },
            )
            .await;
        }
    }
    system.converges_to(last).await;
    running.stop().await;
}

/// Repairs may queue up here; what is promised counts from the last damage.
const PATIENCE: Duration = Duration::from_secs(60);

fn delete_some(system: &System, chance: &mut Chance) {
    let Reply::Array(entries) = system.redis.command(&["XRANGE", STREAM, "-", "+"]) else {
        return;
    };
    for entry in entries {
        let Reply::Array(parts) = entry else {
            panic!("not an entry")
        };
        if chance.below(4) == 0 {
            system.redis.command(&["XDEL", STREAM, parts[0].text().unwrap()]);
        }
    }
}
