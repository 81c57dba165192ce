//! An event as it travels: to JSON in the transaction that emits it, from JSON in each service that reads it.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use events::{Envelope, Epoch, Event, Position, Seq, Source};
use service::Clock;

use crate::sample;

pub(crate) fn bench(criterion: &mut Criterion) {
    let clock = Clock::new();
    let envelope = Envelope {
        source: Source::Orders,
        position: Position {
            epoch: Epoch(1),
            seq: Seq(123_456),
        },
        time: clock.now(),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        cause: None,
        event: Event::OrderCreated(sample::order(&clock)),
    };
    let json = envelope.to_json();
    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| black_box(&envelope).to_json())
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| Envelope::from_json(black_box(&json)).expect("what was encoded can be decoded"));
    });
    group.finish();
}
