//! Row 18: entries that are no events, in every stream. Each reader keeps each of them as a dead letter, once, and moves on.

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::Client;

use crate::healed::Healed;
use crate::judge::settle;
use crate::market::{Market, Mix};
use crate::part::Part;
use crate::report::Outcome;
use crate::rows::groups::stream;
use crate::rows::pause;
use crate::stage::Stage;
use crate::system::{Setup, System};

/// An unpaid order's time: short, so that deadlines fall into the fault.
const HOLD_SECONDS: u64 = 6;

/// How many people buy at once.
const PEOPLE: usize = 12;

/// How long it may take until others have moved on past poison; on a machine that is busy with other things, ten times
/// as long.
const MOVED_ON_MILLIS_MAX: u64 = 1_000;

/// How long it may take until the last of it lies among the dead letters.
const BURIED_SECONDS_MAX: u64 = 30;

/// What a service keeps in memory may grow by so much while it reads poison.
const GROWTH_MIB_MAX: u64 = 96;

/// The largest entry's size.
const HUGE_BYTES: usize = 10 * 1_024 * 1_024;

/// An envelope that says all it should, in a schema that nobody has ever heard of. Its entry claims another place: one that
/// agreed with itself about a place in the future would rightly make its producer's store look old.
const UNKNOWN_SCHEMA: &str = r#"{"id":"orders-1-7","source":"orders","type":"order:created","subject":"nobody",
"time":"2026-01-01T00:00:00Z","dataschema":"urn:somebody:else:7","epoch":1,"seq":7,"entityversion":1,"data":{}}"#;

/// The streams that are poisoned, and who reads each.
const READERS: [(Part, &[Part]); 4] = [
    (Part::Tickets, &[Part::Orders]),
    (Part::Orders, &[Part::Tickets, Part::Expiration, Part::Payments]),
    (Part::Payments, &[Part::Orders]),
    (Part::Expiration, &[Part::Orders]),
];

/// Bad JSON, no JSON, no event, nothing, an unknown schema, ten megabytes, other fields; the others move on within a second.
pub(super) async fn in_every_stream(stage: Stage) -> Outcome {
    let rounds = stage.size(1, 12);
    let within = Duration::from_millis(MOVED_ON_MILLIS_MAX * stage.size(10, 1));
    let system = System::start(&Setup::default().hold(HOLD_SECONDS)).await;
    let market = Market::open(&system, PEOPLE, HOLD_SECONDS, stage.seed).await;
    let purchases = market.purchases(Mix::ALL_WAYS);
    purchases.reach(10).await;
    let before = system.memory_mib();
    let mut slowest = Duration::ZERO;
    let mut poisoned = 0;
    for _ in 0..rounds {
        for (source, _) in READERS {
            poisoned += poison(&system, source);
            slowest = slowest.max(others_move_on(&market, within).await);
        }
    }
    let healed = Healed::now(&system);
    purchases.finish().await;
    let verdict = settle(&system, &market, healed).await;
    system.memory_grew_little(&before, GROWTH_MIB_MAX);
    let a_stream = poisoned / READERS.len() as u64;
    let mut letters = 0;
    for reader in [Part::Orders, Part::Tickets, Part::Expiration, Part::Payments] {
        let streams = READERS.iter().filter(|(_, readers)| readers.contains(&reader));
        letters += all_are_buried(&system, reader, a_stream * streams.count() as u64).await;
    }
    Outcome {
        done: format!(
            "{poisoned} entries; {letters} dead letters, each reader has each entry once; others moved on within {} ms",
            slowest.as_millis()
        ),
        kills: 0,
        verdict,
    }
}

/// One of each kind, into one stream. How many that is.
fn poison(system: &System, source: Part) -> u64 {
    let stream = stream(source);
    let huge = "x".repeat(HUGE_BYTES);
    let envelopes = ["{", "not JSON", "{\"id\":1}", "", UNKNOWN_SCHEMA, huge.as_str()];
    for envelope in envelopes {
        let looks_like_one = [
            "seq",
            "999999999",
            "type",
            "order:created",
            "subject",
            "nobody",
            "envelope",
        ];
        let mut command = vec!["XADD", &stream, "*"];
        command.extend(looks_like_one);
        command.push(envelope);
        system.redis_command(&command);
    }
    system.redis_command(&["XADD", &stream, "*", "hello", "world"]);
    envelopes.len() as u64 + 1
}

/// A new listing is heard of by the orders service, in spite of all.
async fn others_move_on(market: &Market, within: Duration) -> Duration {
    let ticket = market.list(1).await.expect("a listing is answered 201");
    let begun = Instant::now();
    let order = market.order(0, &ticket).await.expect_taken();
    let took = begun.elapsed();
    assert!(took < within, "it took {took:?} until a listing was heard of");
    market.cancel(0, &order).await;
    took
}

/// Waits until a reader has kept so many dead letters; more would be too many.
async fn all_are_buried(system: &System, reader: Part, expected: u64) -> u64 {
    let begun = Instant::now();
    loop {
        let letters = dead_letters(system, reader).await;
        if letters == expected {
            return letters;
        }
        assert!(
            letters < expected && begun.elapsed() < Duration::from_secs(BURIED_SECONDS_MAX),
            "{} has kept {letters} dead letters of {expected} poisonous entries",
            reader.name()
        );
        pause(50).await;
    }
}

async fn dead_letters(system: &System, part: Part) -> u64 {
    let list: Value = Client::new(system.base(part))
        .get("/internal/dead-letters")
        .expect(200)
        .await
        .json();
    list["total"].as_u64().expect("the list says how many there are")
}
