//! The reservation's own transaction in the store: batches of one, of 64 and of 512, each synced. The time is that of a
//! whole batch; per transaction it is so much less.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use load::limits::commit;
use testkit::temp_dir;
use tokio::task::JoinSet;

const BATCHES: [usize; 3] = [1, 64, 512];

pub(crate) fn bench(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be started");
    let dir = temp_dir();
    let bench = runtime
        .block_on(commit::Bench::open(dir.path()))
        .expect("a store can be made");
    let bench = Arc::new(bench);
    let mut group = criterion.benchmark_group("store: reservations in one batch");
    group.sample_size(20).measurement_time(Duration::from_secs(4));
    for batch in BATCHES {
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::from_parameter(batch), |bencher| {
            bencher.iter_custom(|times| {
                runtime.block_on(async {
                    let begun = Instant::now();
                    for _ in 0..times {
                        at_once(&bench, batch).await;
                    }
                    begun.elapsed()
                })
            });
        });
    }
    group.finish();
}

/// So many reservations that wait together.
async fn at_once(bench: &Arc<commit::Bench>, batch: usize) {
    let mut waiting = JoinSet::new();
    for _ in 0..batch {
        let bench = Arc::clone(bench);
        waiting.spawn(async move { bench.reserve().await });
    }
    while let Some(reserved) = waiting.join_next().await {
        reserved
            .expect("nothing panics")
            .expect("there are enough pieces");
    }
}
