//! Rows in which Redis is there, but can't be reached, is slow to be reached, or takes nothing more.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use testkit::{Client, Direction, Proxy, RedisServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::healed::Healed;
use crate::judge::{settle, settle_within};
use crate::market::{Market, Mix, Ordered};
use crate::metrics::told_by_all;
use crate::part::Part;
use crate::person::Wish;
use crate::report::Outcome;
use crate::rows::pause;
use crate::stage::Stage;
use crate::system::{Setup, System};

/// An unpaid order's time: short, so that deadlines fall into the fault.
const HOLD_SECONDS: u64 = 6;

/// How many people buy at once.
const PEOPLE: usize = 12;

/// How long a read, or a write that needs only the store, may take while Redis hangs.
const ANSWERED_SECONDS_MAX: u64 = 2;

/// How long everything may take to agree once Redis goes on.
const AGREED_SECONDS_MAX: u64 = 10;

/// What a service keeps in memory may grow by so much while Redis is away.
const GROWTH_MIB_MAX: u64 = 64;

/// A listing that is never sold out.
const PIECES: u64 = 100_000;

/// A link that each byte crosses late both ways is late by this at least when it is at its slowest.
const LATE_MILLIS_MIN: u64 = 50;

/// How long Redis may take to answer a PING through a link that is late.
const PONG_SECONDS_MAX: u64 = 60;

/// What Redis says to a PING.
const PONG: &[u8; 7] = b"+PONG\r\n";

/// How far a full Redis lets its memory grow beyond what it holds: room for commands, not for events.
const FULL_ROOM_BYTES: i64 = 4_096;

/// Between two looks how much that is.
const FULL_LOOK_MILLIS: u64 = 50;

/// Row 7: SIGSTOP of Redis; reads and single-store writes go on, and all agrees within 10 s afterwards.
pub(super) async fn stopped(stage: Stage) -> Outcome {
    let seconds = stage.size(5, 60);
    let system = System::start(&Setup::default()).await;
    let market = Market::open(&system, 4, Setup::default().hold_seconds, stage.seed).await;
    market.purchase_all(8, Mix::NO_DEADLINES).await;
    let ticket = known_listing(&market).await;
    let before = system.memory_mib();
    system.redis().stop();
    let round = stores_go_on(&stage, &system, &market, &ticket, Duration::from_secs(seconds)).await;
    system.memory_grew_little(&before, GROWTH_MIB_MAX);
    system.redis().resume();
    let healed = Healed::now(&system);
    let within = stage.promised(Duration::from_secs(AGREED_SECONDS_MAX));
    round.everything_is_given_back(&market).await;
    let verdict = settle_within(&system, &market, healed, within).await;
    assert!(
        verdict.times.converged <= within,
        "it took {:?} to agree",
        verdict.times.converged
    );
    Outcome {
        done: format!("{seconds} s; meanwhile {}", round.in_words()),
        kills: 0,
        verdict,
    }
}

/// Row 10: Redis takes nothing more; what needs only a store is acknowledged all the same, and kept.
pub(super) async fn full(stage: Stage) -> Outcome {
    let seconds = stage.size(4, 30);
    let system = System::start(&Setup::default()).await;
    let market = Market::open(&system, 4, Setup::default().hold_seconds, stage.seed).await;
    market.purchase_all(8, Mix::NO_DEADLINES).await;
    let ticket = known_listing(&market).await;
    let before = system.memory_mib();
    system.redis_command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let refused_before = refused_for_want_of_room(&system);
    let time = Duration::from_secs(seconds);
    let round = tokio::select! {
        round = stores_go_on(&stage, &system, &market, &ticket, time) => round,
        () = keep_full(&system) => unreachable!("it is kept full for as long as it is asked to"),
    };
    let refused = refused_for_want_of_room(&system) - refused_before;
    assert!(refused > 0, "Redis was not full: it has refused nothing");
    system.memory_grew_little(&before, GROWTH_MIB_MAX);
    system.redis_command(&["CONFIG", "SET", "maxmemory", "0"]);
    let healed = Healed::now(&system);
    round.everything_is_given_back(&market).await;
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!(
            "{seconds} s, in which it refused {refused} commands; meanwhile {}",
            round.in_words()
        ),
        kills: 0,
        verdict,
    }
}

/// Leaves Redis no room beyond what it holds, again and again: the buffers of connections that have become idle, and what
/// a relay trims away, would be room otherwise.
async fn keep_full(system: &System) {
    let mut bound = i64::MAX;
    loop {
        let room = used_memory(system) + FULL_ROOM_BYTES;
        if room < bound {
            bound = room;
            system.redis_command(&["CONFIG", "SET", "maxmemory", &bound.to_string()]);
        }
        pause(FULL_LOOK_MILLIS).await;
    }
}

fn used_memory(system: &System) -> i64 {
    info(system, "memory", "used_memory:").expect("redis-server knows its memory")
}

/// How many commands Redis has refused because it was full.
fn refused_for_want_of_room(system: &System) -> i64 {
    info(system, "errorstats", "errorstat_OOM:count=").unwrap_or(0)
}

fn info(system: &System, section: &str, name: &str) -> Option<i64> {
    let info = system.redis_command(&["INFO", section]);
    let lines = info.text().expect("redis-server says how it is");
    let value = lines.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().parse().ok()
}

/// A listing that the orders service has heard of.
async fn known_listing(market: &Market) -> String {
    let ticket = market.list(PIECES).await.expect("a listing is answered 201");
    // The first order waits until the event has come; the next ones need nobody but the orders service.
    let order = market.order(0, &ticket).await.expect_taken();
    market.cancel(0, &order).await;
    ticket
}

/// What went on while nobody could be told of it.
struct Round {
    orders: Vec<(usize, String)>,
    listings: usize,
    slowest: Duration,
}

impl Round {
    fn in_words(&self) -> String {
        format!(
            "{} orders, {} listings and twice as many reads, the slowest {} ms",
            self.orders.len(),
            self.listings,
            self.slowest.as_millis()
        )
    }

    /// Whatever was ordered is cancelled, so that every order has an end.
    async fn everything_is_given_back(&self, market: &Market) {
        for (buyer, order) in &self.orders {
            market.cancel(*buyer, order).await;
        }
    }
}

/// Until the time is over: listings are made, orders placed, both read; every service says that it is ready.
async fn stores_go_on(
    stage: &Stage,
    system: &System,
    market: &Market,
    ticket: &str,
    time: Duration,
) -> Round {
    let mut round = Round {
        orders: Vec::new(),
        listings: 0,
        slowest: Duration::ZERO,
    };
    let limit = stage.promised(Duration::from_secs(ANSWERED_SECONDS_MAX));
    let begun = Instant::now();
    while begun.elapsed() < time {
        let buyer = round.listings % market.buyers().len();
        let timed = Instant::now();
        let listed = market.list(1).await.expect("a listing needs no Redis");
        round.listings += 1;
        let order = match market.order(buyer, ticket).await {
            Ordered::Taken(order) => order,
            other @ (Ordered::Refused | Ordered::Unanswered(_)) => {
                panic!("an order needs no Redis: {other:?}")
            }
        };
        for path in [format!("/api/tickets/{listed}"), format!("/api/orders/{order}")] {
            let answer = market.buyers()[buyer].once(&Wish::get(&path)).await;
            let answer = answer.expect("a read needs no Redis");
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let took = timed.elapsed();
        round.slowest = round.slowest.max(took);
        assert!(
            took < limit,
            "two writes and two reads took {took:?} without Redis"
        );
        round.orders.push((buyer, order));
        for part in Part::SERVICES {
            let ready = Client::new(system.base(part))
                .get("/readyz")
                .within(limit)
                .send()
                .await;
            assert_eq!(ready.status, 200, "{}: {}", part.name(), ready.text());
        }
        pause(100).await;
    }
    round
}

/// A system with a proxy of its own between each service and Redis.
async fn linked(setup: Setup, seed: u64) -> (System, Vec<(Part, Proxy)>) {
    let redis = RedisServer::with(setup.redis.clone());
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, redis.port()));
    let proxies: Vec<(Part, Proxy)> = Part::SERVICES
        .into_iter()
        .zip(seed..)
        .map(|(part, seed)| (part, Proxy::seeded(target, seed)))
        .collect();
    let setup = proxies.iter().fold(setup, |setup, (part, proxy)| {
        setup.env(*part, "REDIS_URL", &format!("redis://{}", proxy.address()))
    });
    (System::start_on(redis, &setup).await, proxies)
}

/// Row 9: now this, now that service's link to Redis is cut, in one of six ways, and comes back.
pub(super) async fn cut(stage: Stage) -> Outcome {
    let (wanted, strikes_min) = stage.size((50, 6), (600, 60));
    let (system, proxies) = linked(Setup::default().hold(HOLD_SECONDS), stage.seed).await;
    let market = Market::open(&system, PEOPLE, HOLD_SECONDS, stage.seed).await;
    let purchases = market.purchases(Mix::ALL_WAYS);
    let mut random = stage.random();
    let (mut strikes, mut disturbed) = (0_u64, 0);
    while purchases.finished() < wanted || strikes < strikes_min {
        let (part, link) = random.pick(&proxies).expect("there are links");
        // Each way in its turn, so that the short form has all of them, too.
        match strikes % 6 {
            0 => link.cut(),
            1 => link.hold(Direction::ToTarget),
            2 => link.hold(Direction::FromTarget),
            3 => link.swallow(Direction::ToTarget),
            4 => link.swallow(Direction::FromTarget),
            _ => link.flap(Duration::from_millis(200), Duration::from_millis(100)),
        }
        pause(random.between(300, 1_500)).await;
        if system.bus_is_degraded(*part).await {
            disturbed += 1;
        }
        link.heal();
        link.reset();
        strikes += 1;
        if strikes.is_multiple_of(20) {
            stage.say(&format!(
                "{strikes} cuts, {} purchases are over",
                purchases.finished()
            ));
        }
    }
    let healed = Healed::now(&system);
    purchases.finish().await;
    assert!(
        disturbed > 0,
        "no service has noticed any of {strikes} cuts of its link"
    );
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!(
            "{strikes} times: cut, held or swallowed, one way or both, flapping, reset; {disturbed} times the service \
             said at the end of it that it can't reach Redis"
        ),
        kills: 0,
        verdict,
    }
}

/// Row 17: each service hears of everything late, each by another time, so that causes come after their effects.
pub(super) async fn delayed(stage: Stage) -> Outcome {
    let wanted = stage.size(40, 400);
    let (system, proxies) = linked(Setup::default().hold(HOLD_SECONDS), stage.seed).await;
    let market = Market::open(&system, PEOPLE, HOLD_SECONDS, stage.seed).await;
    let purchases = market.purchases(Mix::ALL_WAYS);
    let mut random = stage.random();
    let mut latest = Duration::ZERO;
    while purchases.finished() < wanted {
        for (_, link) in &proxies {
            link.delay(
                Direction::FromTarget,
                Duration::from_millis(random.between(0, 120)),
            );
            link.jitter(
                Direction::FromTarget,
                Duration::from_millis(random.between(0, 120)),
            );
            link.delay(Direction::ToTarget, Duration::from_millis(random.between(0, 60)));
        }
        pause(random.between(300, 900)).await;
        for (_, link) in &proxies {
            latest = latest.max(round_trip(link).await);
        }
    }
    assert!(
        latest >= Duration::from_millis(LATE_MILLIS_MIN),
        "the slowest link answered within {latest:?}: nothing was delayed"
    );
    // An order of something that its service has not heard of, though another has published it: it asks, and waits.
    let overtaken = told_by_all(&system, "bus_inquiries_total").await;
    assert!(overtaken > 0.0, "nothing came before what it follows from");
    let stale = told_by_all(&system, "bus_stale_total").await;
    for (_, link) in &proxies {
        link.heal();
    }
    let healed = Healed::now(&system);
    purchases.finish().await;
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!(
            "each link up to 300 ms late, changing all the time; the slowest PING took {} ms; {overtaken} times a request \
             came before the event that it follows from, {stale} events came too late to change anything",
            latest.as_millis()
        ),
        kills: 0,
        verdict,
    }
}

/// How long Redis takes to answer through a link, as the service at its end sees it.
async fn round_trip(link: &Proxy) -> Duration {
    let mut stream = TcpStream::connect(link.address())
        .await
        .expect("the proxy takes connections");
    let begun = Instant::now();
    stream
        .write_all(b"PING\r\n")
        .await
        .expect("a link that is up takes bytes");
    let mut reply = [0; PONG.len()];
    tokio::time::timeout(
        Duration::from_secs(PONG_SECONDS_MAX),
        stream.read_exact(&mut reply),
    )
    .await
    .expect("a late link answers in the end")
    .expect("Redis answers through a link that is up");
    assert_eq!(&reply, PONG, "Redis answers a PING");
    begun.elapsed()
}
