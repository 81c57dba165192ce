//! Rows about what lies in the streams: events that come twice, too late, not at all, or are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use failpoint::Point;
use testkit::Client;
use tokio::task::JoinSet;

use crate::books::{account, checked};
use crate::healed::Healed;
use crate::judge::settle;
use crate::market::{Market, Mix};
use crate::metrics::told_by_all;
use crate::part::Part;
use crate::report::Outcome;
use crate::rows::groups::{deliver_again, ids_read, items, stream, unread};
use crate::rows::pause;
use crate::stage::{Form, Stage};
use crate::system::{Setup, System};

/// An unpaid order's time: short, so that deadlines fall into the fault.
const HOLD_SECONDS: u64 = 6;

/// How many people buy at once.
const PEOPLE: usize = 12;

/// So many strikes at a reader make one miss something, or none ever will.
const STRIKES_MAX: usize = 500;

/// How long a consumer may take for what lies in the streams.
const READ_SECONDS_MAX: u64 = 30;

/// What a service keeps in memory may grow by so much while it is behind, or while it reads poison.
const GROWTH_MIB_MAX: u64 = 96;

/// How many listings a second there are at least in a long run.
const LISTED_A_SECOND_MIN: f64 = 1_000.0;

/// Between two listings of one seller: some two thousand a second in the long form, twice what the row is about. As many as
/// the machine can do (ten thousand) would make a backlog that takes longer to apply than anyone has promised.
const LISTING_PAUSE_MILLIS: u64 = 30;

/// How many of them the slow consumer takes at most: it is held up so long for each batch of 512.
const HEARD_A_SECOND_MAX: f64 = 15.0;

/// How far behind the slow consumer must be for the row to have shown anything.
const LAG_EVENTS_MIN: f64 = 20.0;

/// The metric of entries that a reader let be because something before them was missing.
const MISSED: &str = "bus_gaps_total";

/// The metric of repeats that were dropped.
const REPEATS: &str = "bus_duplicates_total";

/// How often everything is delivered again at rest: with the first time, each event comes five times.
const REPEATS_AT_REST: usize = 4;

/// So many strikes more than it wants a row makes, at most, until one has met what it is about.
const STRIKES_FACTOR_MAX: usize = 20;

/// Readers that a row holds up, and whose events they read.
const READINGS: [(Part, Part); 5] = [
    (Part::Tickets, Part::Orders),
    (Part::Orders, Part::Tickets),
    (Part::Payments, Part::Orders),
    (Part::Orders, Part::Payments),
    (Part::Expiration, Part::Orders),
];

/// Row 11: a reader stands still, its stream is trimmed past it, it goes on.
pub(super) async fn trimmed(stage: Stage) -> Outcome {
    let (wanted, strikes_min) = stage.size((50, 5), (500, 40));
    let system = System::start(&Setup::default().hold(HOLD_SECONDS)).await;
    let market = Market::open(&system, PEOPLE, HOLD_SECONDS, stage.seed).await;
    let purchases = market.purchases(Mix::ALL_WAYS);
    let mut random = stage.random();
    let mut strikes = 0;
    let mut removed = 0;
    let mut missed = 0.0;
    while purchases.finished() < wanted || strikes < strikes_min || missed == 0.0 {
        assert!(
            strikes < STRIKES_MAX,
            "{strikes} strikes have removed {removed} entries, and nobody has missed one"
        );
        let (reader, source) = READINGS[strikes % READINGS.len()];
        system.process(reader).stop();
        pause(random.between(200, 700)).await;
        let trimmed = system.redis_command(&["XTRIM", &stream(source), "MAXLEN", "1"]);
        removed += trimmed.integer().unwrap_or(0);
        system.process(reader).resume();
        pause(random.between(200, 700)).await;
        strikes += 1;
        missed = told_by_all(&system, MISSED).await;
    }
    let healed = Healed::now(&system);
    purchases.finish().await;
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!(
            "{strikes} times; {removed} entries removed; {missed} times a reader saw that something before an entry was missing"
        ),
        kills: 0,
        verdict,
    }
}

/// Row 16: every event is delivered five times: again and again while people buy, and then, at rest, four times more what
/// the streams hold, each repeat of which the readers drop; after that no state has changed.
pub(super) async fn delivered_again(stage: Stage) -> Outcome {
    let (wanted, times) = stage.size((40, 4), (500, 40));
    let system = System::start(&Setup::default().hold(HOLD_SECONDS)).await;
    let market = Market::open(&system, PEOPLE, HOLD_SECONDS, stage.seed).await;
    let purchases = market.purchases(Mix::ALL_WAYS);
    let mut done = 0;
    while purchases.finished() < wanted || done < times {
        pause(400).await;
        deliver_again(&system);
        done += 1;
    }
    let healed = Healed::now(&system);
    purchases.finish().await;
    let verdict = settle(&system, &market, healed).await;
    let before = checked(&system).await;
    let under_load = told_by_all(&system, REPEATS).await;
    let mut repeated = 0;
    for _ in 0..REPEATS_AT_REST {
        let known = told_by_all(&system, REPEATS).await;
        let deliveries = deliver_again(&system);
        assert!(deliveries > 0, "there is nothing to be delivered again");
        let begun = Instant::now();
        let mut dropped = 0.0;
        // Each of them is a repeat: nothing new comes at rest.
        while !unread(&system).is_empty() || dropped < deliveries as f64 {
            let waited = begun.elapsed();
            assert!(
                waited < Duration::from_secs(READ_SECONDS_MAX),
                "of {deliveries} deliveries {dropped} were dropped as repeats within {waited:?}; {:?}",
                unread(&system)
            );
            pause(50).await;
            dropped = told_by_all(&system, REPEATS).await - known;
        }
        repeated += deliveries;
    }
    let changed = invariants::unchanged(&before, &checked(&system).await);
    assert!(
        changed.is_empty(),
        "what was delivered again has changed a store: {changed:?}"
    );
    Outcome {
        done: format!(
            "all of it, {done} times under load ({under_load} repeats) and {REPEATS_AT_REST} times at rest ({repeated} \
             repeats), each dropped; the state hashes stayed"
        ),
        kills: 0,
        verdict,
    }
}

/// Row 15: many listings a second, and an orders service that takes seconds for each batch of their events.
pub(super) async fn slow_consumer(stage: Stage) -> Outcome {
    let (sellers, seconds, millis_a_batch) = stage.size((PEOPLE, 8, 2_500), (64, 60, 52_000));
    let setup = Setup::default();
    let system = System::start(&setup).await;
    let market = Market::open(&system, PEOPLE, setup.hold_seconds, stage.seed).await;
    market.purchase_all(6, Mix::NO_DEADLINES).await;
    let before = system.memory_mib_of(Part::Orders);
    // In its writer, which has a thread of its own: a point that sleeps on one that serves others would hold them up.
    system.arm(
        Part::Orders,
        Point::BeforeBatch,
        &format!("sleep {millis_a_batch}"),
    );
    let enough = Arc::new(AtomicBool::new(false));
    let mut selling = JoinSet::new();
    for _ in 0..sellers {
        let (market, enough) = (market.clone(), Arc::clone(&enough));
        selling.spawn(async move {
            let mut listed = 0;
            while !enough.load(Ordering::Relaxed) && market.list(1).await.is_some() {
                listed += 1;
                pause(LISTING_PAUSE_MILLIS).await;
            }
            listed
        });
    }
    let begun = Instant::now();
    let read_before = read(&system, Part::Orders, Part::Tickets).await;
    let mut lag_max = 0.0_f64;
    while begun.elapsed() < Duration::from_secs(seconds) || lag_max < LAG_EVENTS_MIN {
        assert!(
            begun.elapsed() < Duration::from_secs(seconds + READ_SECONDS_MAX),
            "the metrics never showed a lag, only {lag_max}"
        );
        lag_max = lag_max.max(lag(&system, Part::Orders, Part::Tickets).await);
        pause(100).await;
    }
    let heard = read(&system, Part::Orders, Part::Tickets).await - read_before;
    let heard_a_second = heard as f64 / begun.elapsed().as_secs_f64();
    enough.store(true, Ordering::Relaxed);
    let listed: usize = selling.join_all().await.iter().sum();
    let a_second = listed as f64 / begun.elapsed().as_secs_f64();
    // How much a machine can do that is busy with other things, nobody knows: a short run only tells.
    if stage.form == Form::Long {
        assert!(
            a_second >= LISTED_A_SECOND_MIN && heard_a_second <= HEARD_A_SECOND_MAX,
            "{a_second:.0} listings a second, and the slow consumer took {heard_a_second:.0} of them"
        );
    }
    // Only the one that is behind: the tickets service keeps every listing, and may grow with them.
    let growth = system.memory_mib_of(Part::Orders).saturating_sub(before);
    assert!(
        growth <= GROWTH_MIB_MAX,
        "the slow consumer grew by {growth} MiB (I9)"
    );
    system.disarm(Part::Orders, Point::BeforeBatch);
    // It is slow until the batch at which it sleeps is done.
    let behind = read(&system, Part::Orders, Part::Tickets).await;
    let asleep = Instant::now();
    while read(&system, Part::Orders, Part::Tickets).await == behind {
        let bound = Duration::from_millis(millis_a_batch) + Duration::from_secs(READ_SECONDS_MAX);
        assert!(asleep.elapsed() < bound, "the slow consumer never went on");
        pause(100).await;
    }
    let healed = Healed::now(&system);
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!(
            "{listed} listings, {a_second:.0} a second, of which the consumer took {heard_a_second:.0}; the metrics showed a \
             lag of up to {lag_max} events"
        ),
        kills: 0,
        verdict,
    }
}

/// How far a service has read another's events.
async fn read(system: &System, reader: Part, source: Part) -> u64 {
    let account = account(system, reader)
        .await
        .expect("a service says how far it has read");
    let reading = account
        .readings
        .iter()
        .find(|reading| Some(reading.source) == source.source());
    reading.map_or(0, |reading| reading.cursor.seq.0)
}

/// What a service's metrics say about how far it is behind.
pub(super) async fn lag(system: &System, reader: Part, source: Part) -> f64 {
    let metrics = Client::new(system.base(reader))
        .get("/metrics")
        .expect(200)
        .await
        .text();
    let source = format!("source=\"{}\"", source.name());
    let of_source = |line: &&str| line.starts_with("bus_lag_events") && line.contains(&source);
    metrics
        .lines()
        .find(of_source)
        .and_then(|line| line.rsplit(' ').next())
        .and_then(|value| value.parse().ok())
        .unwrap_or(0.0)
}

/// Row 19: a consumer is thought dead, another one takes what it was to read, and it comes back.
pub(super) async fn claimed(stage: Stage) -> Outcome {
    let (wanted, strikes_min) = stage.size((50, 5), (500, 40));
    let system = System::start(&Setup::default().hold(HOLD_SECONDS)).await;
    let market = Market::open(&system, PEOPLE, HOLD_SECONDS, stage.seed).await;
    let purchases = market.purchases(Mix::ALL_WAYS);
    let mut random = stage.random();
    let (mut strikes, mut from_it, mut before_it) = (0, 0, 0);
    // Whether it holds anything when it is stopped is chance: without that, nothing was claimed.
    while purchases.finished() < wanted || strikes < strikes_min || from_it == 0 {
        assert!(
            strikes < strikes_min * STRIKES_FACTOR_MAX || from_it > 0,
            "no reader held anything that could be claimed, in {strikes} strikes"
        );
        let (reader, source) = READINGS[strikes % READINGS.len()];
        let stream = stream(source);
        // It is slow between reading and acknowledging, so that there is something to be claimed.
        system.arm(reader, Point::BeforeCommit, "sleep 300");
        pause(random.between(100, 400)).await;
        system.process(reader).stop();
        pause(random.between(100, 300)).await;
        let group = reader.name();
        let claimed =
            system.redis_command(&["XAUTOCLAIM", &stream, group, "another", "0", "0", "COUNT", "1000"]);
        from_it += items(&claimed).get(1).map_or(0, |entries| items(entries).len());
        let read = [
            "XREADGROUP",
            "GROUP",
            group,
            "another",
            "COUNT",
            "1000",
            "STREAMS",
            &stream,
            ">",
        ];
        let ids = ids_read(&system.redis_command(&read));
        before_it += ids.len();
        // Half of them the other one acknowledges as if it had done them.
        for id in ids.iter().step_by(2) {
            system.redis_command(&["XACK", &stream, group, id]);
        }
        system.disarm(reader, Point::BeforeCommit);
        system.process(reader).resume();
        strikes += 1;
    }
    let healed = Healed::now(&system);
    purchases.finish().await;
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!(
            "{strikes} times; {from_it} entries were claimed from it, {before_it} that it had not seen were read by the other"
        ),
        kills: 0,
        verdict,
    }
}
