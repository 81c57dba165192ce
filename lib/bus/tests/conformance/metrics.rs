//! What can be seen from outside: lag, depth, retries, resends, snapshots, adoption and dead letters have their numbers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use ::metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use testkit::eventually;

use crate::steps::Steps as _;
use crate::system::{CONVERGED, Mood, STREAM, System};

/// Keeps the numbers of one test, by name.
#[derive(Default)]
struct Numbers(Arc<Mutex<HashMap<String, f64>>>);

struct Number(String, Arc<Mutex<HashMap<String, f64>>>);

impl Numbers {
    fn of(&self, name: &str) -> f64 {
        let numbers = self.0.lock().unwrap();
        *numbers.get(name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    fn number(&self, key: &Key) -> Arc<Number> {
        let name = key.name().to_owned();
        self.0.lock().unwrap().entry(name.clone()).or_default();
        Arc::new(Number(name, Arc::clone(&self.0)))
    }
}

impl Number {
    fn change(&self, change: impl Fn(f64) -> f64) {
        let mut numbers = self.1.lock().unwrap();
        let number = numbers.entry(self.0.clone()).or_default();
        *number = change(*number);
    }
}

impl CounterFn for Number {
    fn increment(&self, value: u64) {
        self.change(|number| number + f64::from(u32::try_from(value).unwrap()));
    }
    fn absolute(&self, value: u64) {
        self.change(|_| f64::from(u32::try_from(value).unwrap()));
    }
}

impl GaugeFn for Number {
    fn increment(&self, value: f64) {
        self.change(|number| number + value);
    }
    fn decrement(&self, value: f64) {
        self.change(|number| number - value);
    }
    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

impl Recorder for Numbers {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.number(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.number(key))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// One thread, so that its recorder sees everything; the store's writer, a thread of its own, counts elsewhere.
#[tokio::test]
async fn what_is_behind_shows_as_a_number() {
    let numbers = Numbers::default();
    let _local = ::metrics::set_default_local_recorder(&numbers);
    let mut system = System::new();
    system.keep_events(20);
    for first in (1..=1_200).step_by(10) {
        system.publish(first..first + 10).await;
    }
    let mut relay = system.relay();
    relay.steps().await;
    assert_eq!(
        numbers.of("bus_snapshots_total"),
        0.0,
        "it is there from the start"
    );
    while relay.steps().await.more {}
    assert_eq!(numbers.of("bus_unpublished_events"), 0.0);
    let mut consumer = system.consumer();
    while consumer.steps().await.applied == 0 {}
    assert_eq!(numbers.of("bus_lag_events"), 688.0);
    while numbers.of("bus_lag_events") > 0.0 {
        consumer.steps().await;
    }

    // A gap that a resend fills, with an event that is applied at the second try only, and one that never is.
    system.mood(1_202, Mood::ImpossibleUntil(2));
    system.publish(1_201..=1_204).await;
    while relay.steps().await.more {}
    system.redis.command(&["XTRIM", STREAM, "MAXLEN", "2"]);
    eventually("the gap is filled", CONVERGED, async || {
        consumer.steps().await;
        relay.steps().await;
        (numbers.of("bus_applied_total") >= 1_204.0).then_some(())
    })
    .await;
    assert_eq!(numbers.of("bus_resends_total"), 1.0);
    assert!(numbers.of("bus_resend_requests_total") >= 1.0);
    assert!(numbers.of("bus_gaps_total") >= 2.0);
    assert!(numbers.of("bus_handler_retries_total") >= 1.0);
    assert_eq!(numbers.of("bus_dead_letters_total"), 0.0);
    system.mood(1_205, Mood::Impossible);
    system.publish([1_205]).await;
    eventually("it is a dead letter", CONVERGED, async || {
        relay.steps().await;
        consumer.steps().await;
        (numbers.of("bus_dead_letters_total") == 1.0).then_some(())
    })
    .await;

    // A reader's disk is lost.
    drop(consumer);
    drop(relay);
    system.lose_orders();
    let mut relay = system.relay();
    while relay.steps().await.more {}
    relay.trim_once().await.unwrap();
    system.redis.command(&["XTRIM", STREAM, "MAXLEN", "2"]);
    let mut consumer = system.consumer();
    eventually("a snapshot is applied", CONVERGED, async || {
        relay.steps().await;
        consumer.steps().await;
        (numbers.of("bus_restated_total") >= 1_204.0).then_some(())
    })
    .await;
    assert_eq!(numbers.of("bus_snapshots_total"), 1.0);
}
