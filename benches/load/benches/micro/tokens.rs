//! A session's token: verified for the first time, and again as on every further request.

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use service::Clock;
use session::{Claims, SigningKey, Verifier};

pub(crate) fn bench(criterion: &mut Criterion) {
    let clock = Clock::new();
    let key = SigningKey::from_seed(&[7; 32]);
    let claims = Claims::new(
        clock.user_id(),
        "ann@example.org",
        clock.session_id(),
        clock.now(),
    );
    let token = key.sign(&claims);
    let verifier = || {
        let verifier = Verifier::new();
        let published = verifier.publish_key(key.kid(), key.public_key());
        published.expect("a key that was just made is one");
        verifier
    };
    let mut group = criterion.benchmark_group("token");
    group.bench_function("first time", |bencher| {
        let verify = |verifier: Verifier| {
            verifier
                .verify(black_box(&token), clock.now())
                .expect("it is good")
        };
        bencher.iter_batched(verifier, verify, BatchSize::SmallInput);
    });
    let known = verifier();
    group.bench_function("again", |bencher| {
        bencher.iter(|| known.verify(black_box(&token), clock.now()).expect("it is good"));
    });
    group.finish();
}
