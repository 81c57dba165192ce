//! The bus: 256 events from the outbox into the stream, and from the stream into the orders service's store, with a real
//! redis-server and real stores. Staging them is not counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Bus, BusConfig, Consumer, Relay};
use criterion::{Criterion, Throughput};
use events::{Event, Source, TicketSnapshot, Version};
use orders::consumer::OrdersHandler;
use orders::store::OrderIndexes;
use service::Clock;
use store::{Context, Options, Store, TransactError};
use testkit::{RedisOptions, RedisServer, TempDir, temp_dir};
use tokio::runtime::Runtime;

use crate::sample;

const EVENTS: u64 = 256;

/// How long a step that reads waits for something to come.
const BLOCK: Duration = Duration::from_millis(5);

pub(crate) fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime can be started");
    let mut stage = runtime.block_on(async { Stage::new() });
    let mut group = criterion.benchmark_group("bus: 256 events");
    group.sample_size(20).measurement_time(Duration::from_secs(4));
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("relay: outbox to stream", |bencher| {
        bencher.iter_custom(|times| stage.timed(&runtime, times, Step::Relay));
    });
    group.bench_function("consumer: stream to store", |bencher| {
        bencher.iter_custom(|times| stage.timed(&runtime, times, Step::Consume));
    });
    group.finish();
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Relay,
    Consume,
}

/// A tickets service that says how its tickets are, and an orders service that notes it.
struct Stage {
    clock: Clock,
    tickets: Store<()>,
    relay: Relay<()>,
    consumer: Consumer<OrderIndexes, OrdersHandler>,
    ticket: TicketSnapshot,
    _redis: RedisServer,
    _dirs: (TempDir, TempDir),
}

impl Stage {
    fn new() -> Self {
        let redis = RedisServer::with(RedisOptions {
            append_only: true,
            ..RedisOptions::default()
        });
        let dirs = (temp_dir(), temp_dir());
        let clock = Clock::new();
        let told = clock.clone();
        let bus = Bus::new(BusConfig {
            redis_url: redis.url(),
            prefix: String::new(),
            clock: Arc::new(move || told.now()),
        })
        .expect("the address is one");
        let tickets =
            Store::<()>::open(Options::new(Source::Tickets, dirs.0.path())).expect("a store can be made");
        let orders = Store::<OrderIndexes>::open(Options::new(Source::Orders, dirs.1.path()));
        let orders = orders.expect("a store can be made");
        let relay = Relay::new(bus.clone(), tickets.clone(), Source::Tickets, Arc::new(()));
        let handler = Arc::new(OrdersHandler);
        let consumer = Consumer::new(bus, orders, Source::Tickets, Source::Orders, handler);
        Self {
            ticket: sample::ticket(&clock),
            clock,
            tickets,
            relay,
            consumer: consumer.waiting_at_most(BLOCK),
            _redis: redis,
            _dirs: dirs,
        }
    }

    /// How long a step took, so many times; the other one is done as well, but not counted.
    fn timed(&mut self, runtime: &Runtime, times: u64, step: Step) -> Duration {
        runtime.block_on(async {
            let mut took = Duration::ZERO;
            for _ in 0..times {
                self.publish().await;
                let begun = Instant::now();
                self.relay_all().await;
                let relayed = begun.elapsed();
                let begun = Instant::now();
                self.consume_all().await;
                took += if step == Step::Relay {
                    relayed
                } else {
                    begun.elapsed()
                };
            }
            took
        })
    }

    async fn publish(&mut self) {
        let mut snapshots = Vec::new();
        for _ in 0..EVENTS {
            self.ticket.version = Version(self.ticket.version.0 + 1);
            snapshots.push(self.ticket.clone());
        }
        let published = self.tickets.transact(Context::new(self.clock.now()), move |tx| {
            for snapshot in snapshots {
                tx.emit(Event::TicketUpdated(snapshot));
            }
            Ok::<_, TransactError<()>>(())
        });
        published.await.expect("the store can be written");
    }

    async fn relay_all(&mut self) {
        let mut relayed = 0;
        while relayed < EVENTS {
            let step = self.relay.relay_once().await.expect("Redis is there");
            relayed += step.events as u64;
        }
    }

    async fn consume_all(&mut self) {
        let mut applied = 0;
        while applied < EVENTS {
            let step = self.consumer.consume_once().await.expect("Redis is there");
            applied += step.applied;
        }
    }
}
