//! Asking a source how far it is: no answer is older than its question, whatever becomes of Redis meanwhile.

use std::time::Duration;

use bus::Inquirer;
use events::{Position, Source};
use store::State;
use testkit::{RedisOptions, RedisServer, eventually};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::system::{CONVERGED, STREAM, System, at};

const INQUIRIES: &str = "inquiries:expiration";
const ANSWERS: &str = "answers:expiration:a-reader";

/// How long an answer may take on a machine that is busy with other things, when nothing is wrong.
const ANSWERED: Duration = Duration::from_secs(10);

/// For how long the chaos goes on.
const CHAOS: Duration = Duration::from_secs(4);

/// How often Redis is hit while one question is gathered for, put, and answered.
const BLOWS: usize = 20;

/// So many questions must find an answer during the chaos.
const ANSWERED_MIN: usize = 5;

/// How long that may take on a machine that is busy with other things: a Redis that was restarted reads its file first.
const CHAOS_MAX: Duration = Duration::from_secs(120);

/// How long it may take until one question is put at a quiet moment, and so answered in time.
const QUIET: Duration = Duration::from_secs(60);

/// So many want to know at once.
const CROWD: usize = 1_000;

/// Between two questions at least.
const GATHER_MILLIS: u128 = 10;

/// Somebody who asks for the orders service, for as long as this is kept.
pub(crate) fn inquirer(system: &System) -> JoinSet<()> {
    let asker = "a-reader".to_owned();
    let inquirer = Inquirer::new(system.bus.clone(), Source::Expiration, Source::Orders, asker);
    let mut asking = JoinSet::new();
    asking.spawn(inquirer.run(std::future::pending()));
    asking
}

pub(crate) async fn head(system: &System) -> Position {
    let told = timeout(ANSWERED, system.bus.head(Source::Expiration)).await;
    told.expect("the source can be asked")
}

fn durable(system: &System) -> Position {
    *system.expiration.durable().borrow()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_says_how_far_it_is() {
    let system = System::new();
    let _asking = inquirer(&system);
    let running = system.run();
    assert_eq!(head(&system).await, at(1, 0));
    for last in 1..=20 {
        system.publish([last]).await;
        assert_eq!(head(&system).await, durable(&system));
    }
    system.converges_to(20).await;
    running.stop().await;
}

/// Its relay is at work, and finds no way to publish.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_published_yet_is_told_all_the_same() {
    let system = System::new();
    let _asking = inquirer(&system);
    let running = system.run();
    system.publish(1..=5).await;
    system.converges_to(5).await;
    system.redis.command(&["SET", STREAM, "no stream"]);
    system.publish(6..=9).await;
    assert_eq!(head(&system).await, at(1, 9));
    assert_eq!(system.orders.cursor(Source::Expiration), at(1, 5));
    system.redis.command(&["DEL", STREAM]);
    system.converges_to(9).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_older_than_its_question() {
    let options = RedisOptions {
        append_only: true,
        memory_bytes_max: None,
    };
    let mut system = System::on(RedisServer::with(options));
    let _asking = inquirer(&system);
    let running = system.run();
    let begun = Instant::now();
    let (mut last, mut answered, mut round) = (0, 0, 0);
    while begun.elapsed() < CHAOS || answered < ANSWERED_MIN {
        assert!(
            begun.elapsed() < CHAOS_MAX,
            "only {answered} answers in {round} rounds"
        );
        last += 1;
        system.publish([last]).await;
        let acknowledged = durable(&system);
        let bus = system.bus.clone();
        let mut told = tokio::spawn(async move { bus.head(Source::Expiration).await });
        for _ in 0..BLOWS {
            match round % 6 {
                0 => drop(system.redis.command(&["FLUSHALL"])),
                1 => drop(system.redis.command(&["DEL", INQUIRIES])),
                2 => drop(system.redis.command(&["CLIENT", "KILL", "TYPE", "normal"])),
                _ => break,
            }
        }
        if round % 60 == 3 {
            system.redis.restart();
        }
        match timeout(Duration::from_secs(2), &mut told).await {
            Ok(told) => {
                let told = told.unwrap();
                assert!(told >= acknowledged, "round {round}: {told} < {acknowledged}");
                answered += 1;
            }
            Err(_) => told.abort(),
        }
        round += 1;
    }
    system.converges_to(last).await;
    running.stop().await;
}

/// It waits to hear from its readers, since somebody may have applied what it has lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_set_back_says_nothing_until_it_knows() {
    let mut system = System::new();
    let running = system.run();
    system.publish(1..=10).await;
    let backup = system.backup().await;
    system.publish(11..=20).await;
    system.converges_to(20).await;
    running.stop().await;
    system.redis.command(&["DEL", STREAM]);
    system.restore(&backup, false);

    let relay = tokio::spawn(system.relay().run(std::future::pending()));
    eventually("it waits for its reader", CONVERGED, async || {
        matches!(system.expiration.status().state, State::Adopting { .. }).then_some(())
    })
    .await;
    let _asking = inquirer(&system);
    let asked = system.bus.clone();
    let told = tokio::spawn(async move { asked.head(Source::Expiration).await });
    eventually("it is asked", CONVERGED, async || {
        let waiting = system.redis.command(&["LLEN", INQUIRIES]).integer();
        waiting.is_some_and(|questions| questions > 1).then_some(())
    })
    .await;
    assert!(!told.is_finished(), "more than one question, and no answer");

    // Its reader speaks, and what it has applied stands in no stream any more.
    let mut reader = system.consumer();
    eventually("it refuses", CONVERGED, async || {
        reader.consume_once().await.ok();
        matches!(system.expiration.status().state, State::Old { .. }).then_some(())
    })
    .await;
    assert!(!told.is_finished());
    told.abort();
    relay.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_shares_a_few_questions() {
    let system = System::new();
    let _asking = inquirer(&system);
    let running = system.run();
    head(&system).await;
    let begun = Instant::now();
    // What that one took is none of the crowd's.
    system.redis.command(&["CONFIG", "RESETSTAT"]);
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let bus = system.bus.clone();
        crowd.spawn(async move {
            // One after the other, as somebody does who makes ids up.
            for _ in 0..3 {
                bus.head(Source::Expiration).await;
            }
        });
    }
    timeout(ANSWERED, crowd.join_all()).await.expect("all are told");
    let questions_max = begun.elapsed().as_millis() / GATHER_MILLIS + 2;
    // A question is one of these, and so is its answer.
    let pushes = pushes(&system);
    assert!(pushes <= 2 * questions_max, "{pushes} for {CROWD}");
    running.stop().await;
}

/// Answers that came too late for their questions wait for the next one, which must get past all of them.
#[tokio::test(flavor = "multi_thread")]
async fn late_answers_are_caught_up_with() {
    let system = System::new();
    let _asking = inquirer(&system);
    let running = system.run();
    system.publish([1]).await;
    head(&system).await;
    eventually("one question is enough", QUIET, async || {
        for _ in 0..3 {
            system.redis.command(&["RPUSH", ANSWERS, "0 1 0"]);
        }
        system.redis.command(&["CONFIG", "RESETSTAT"]);
        assert_eq!(head(&system).await, at(1, 1));
        // One that is put on a busy machine may be too late by itself.
        (pushes(&system) == 2).then_some(())
    })
    .await;
    running.stop().await;
}

/// How many questions were put, and answers given, since the statistics were reset.
fn pushes(system: &System) -> u128 {
    let stats = system.redis.command(&["INFO", "commandstats"]);
    let stats = stats.text().unwrap();
    let calls = stats.split("cmdstat_rpush:calls=").nth(1).unwrap();
    calls.split(',').next().unwrap().parse().unwrap()
}
