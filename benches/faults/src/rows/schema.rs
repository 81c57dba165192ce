//! Row 18, and the half of row 31 that is about events: one in a schema that a service does not know yet stops it at that
//! event, loudly, and it alone; once it can be read, it goes on by itself.

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::Client;

use crate::healed::Healed;
use crate::judge::settle;
use crate::layout::OPERATOR_TOKEN;
use crate::market::{Market, Mix, Ordered, Plan};
use crate::part::Part;
use crate::person::Wish;
use crate::report::Outcome;
use crate::rows::groups::stream;
use crate::rows::pause;
use crate::stage::Stage;
use crate::system::{Setup, System};

/// Whose program is older than the events that it gets.
const OLDER: Part = Part::Orders;
/// Whose events those are.
const NEWER: Part = Part::Tickets;

/// How long a reader may take to say that it stands still, and to go on (it looks every few seconds).
const SAID_SECONDS_MAX: u64 = 30;

/// How many listings lie behind the event that it can't read.
const BEHIND: usize = 5;

/// Between two looks.
const LOOK_MILLIS: u64 = 50;

/// Gives the last event of a stream another schema, in one step, keeping every entry's id: what a newer program of its
/// producer would have written. Groups are gone with the old stream; a reader begins anew and drops what it has.
const IN_ANOTHER_SCHEMA: &str = "\
local entries = redis.call('XRANGE', KEYS[1], '-', '+') \
redis.call('DEL', KEYS[1]) \
local changed = 0 \
for at, entry in ipairs(entries) do \
  local fields = entry[2] \
  if at == #entries then \
    for field = 1, #fields, 2 do \
      if fields[field] == 'envelope' then fields[field + 1], changed = string.gsub(fields[field + 1], ARGV[1], ARGV[2]) end \
    end \
  end \
  redis.call('XADD', KEYS[1], entry[1], unpack(fields)) \
end \
return changed";

/// A listing is announced in a newer schema than the orders service knows; others are announced after it.
pub(super) async fn newer(stage: Stage) -> Outcome {
    let bought = stage.size(8, 100);
    let system = System::start(&Setup::default()).await;
    let market = Market::open(&system, 4, Setup::default().hold_seconds, stage.seed).await;
    market.purchase_all(bought, Mix::NO_DEADLINES).await;
    let known = market.list(1_000).await.expect("a listing is answered 201");
    let first = market.order(0, &known).await.expect_taken();
    market.cancel(0, &first).await;
    // At rest, so that the next listing stays the last thing in its stream.
    settle(&system, &market, Healed::now(&system)).await;
    // Not merely stopped: Redis would hand a reader that waits the event before that is in the other schema.
    system.kill(OLDER);
    let unreadable = market.list(1).await.expect("a listing is answered 201");
    announced(&system, &unreadable).await;
    let changed = system.redis_command(&[
        "EVAL",
        IN_ANOTHER_SCHEMA,
        "1",
        &stream(NEWER),
        "ticket:created:1",
        "ticket:created:2",
    ]);
    assert_eq!(
        changed.integer(),
        Some(1),
        "one event is in a newer schema: {changed:?}"
    );
    system.spawn(OLDER);
    system.part_ready(OLDER).await;

    let begun = Instant::now();
    let said = stands_still(&system).await;
    let told = begun.elapsed();
    let mut behind = Vec::new();
    for _ in 0..BEHIND {
        behind.push(market.list(1).await.expect("a listing is answered 201"));
    }
    // Orders of what it knows are taken; that they are reserved, it hears behind that event.
    let wanted = market.order(1, &known).await.expect_taken();
    let ready = Client::new(system.base(OLDER)).get("/readyz").expect(200).await;
    assert_eq!(
        ready.status, 200,
        "a reader that stands still still sells what it knows"
    );
    // What is behind it is neither skipped nor denied: nobody may hear that it does not exist.
    let asked = serde_json::json!({ "ticketId": behind[0] });
    let answer = market.buyers()[2]
        .once(&Wish::post("/api/orders", Some(&asked), "behind-it"))
        .await;
    let answer = answer.expect("orders answers, whatever it can't read");
    assert_eq!(
        answer.status,
        503,
        "about what lies behind the event: {}",
        answer.text()
    );
    assert!(
        answer.header("retry-after").is_some(),
        "a 503 says when to come again"
    );
    let still = standing(&system).await;
    assert_eq!(still.cursor, said.cursor, "an event was skipped");
    let log = system.process(OLDER).printed();
    assert!(
        log.contains("stands still"),
        "the log does not say that it stands still:\n{log}"
    );
    assert!(
        lag(&system).await > 0.0,
        "the metrics do not show that it is behind"
    );

    // The upgrade: what follows can be read. Without one in hand, the producer says it again in the schema that is known.
    system.redis_command(&["DEL", &stream(NEWER)]);
    let healed = Healed::now(&system);
    goes_on(&system, said.cursor).await;
    for ticket in behind.iter().chain([&unreadable]) {
        match market.order(3, ticket).await {
            Ordered::Taken(order) => market.go_on(3, &order, Plan::Buy).await,
            other @ (Ordered::Refused | Ordered::Unanswered(_)) => {
                panic!("nobody else wants {ticket}: {other:?}")
            }
        }
    }
    market.go_on(1, &wanted, Plan::Buy).await;
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!(
            "orders stood still within {} ms and said so in its status, log and metrics; what it knew it sold; the rest \
             was 503, and then sold",
            told.as_millis()
        ),
        kills: system.kills(),
        verdict,
    }
}

/// How the reader stands with these events.
struct Standing {
    cursor: u64,
    state: String,
}

async fn standing(system: &System) -> Standing {
    let status = status(system, OLDER).await;
    let sources = status["bus"]["sources"].as_array().cloned().unwrap_or_default();
    let source = sources
        .iter()
        .find(|source| source["source"] == NEWER.name())
        .unwrap_or_else(|| {
            panic!(
                "{} does not say how far it has read {}",
                OLDER.name(),
                NEWER.name()
            )
        });
    Standing {
        cursor: source["cursor"].as_u64().expect("a cursor is a number"),
        state: source["state"]
            .as_str()
            .expect("a state is said in words")
            .to_owned(),
    }
}

async fn status(system: &System, part: Part) -> Value {
    let client = Client::new(system.base(part)).with_bearer(OPERATOR_TOKEN);
    client.get("/internal/status").expect(200).await.json()
}

/// Waits until a listing is the last thing in its stream.
async fn announced(system: &System, ticket: &str) {
    let begun = Instant::now();
    loop {
        let last = system.redis_command(&["XREVRANGE", &stream(NEWER), "+", "-", "COUNT", "1"]);
        if format!("{last:?}").contains(ticket) {
            return;
        }
        in_time(begun, "a listing is not announced");
        pause(LOOK_MILLIS).await;
    }
}

async fn stands_still(system: &System) -> Standing {
    let begun = Instant::now();
    loop {
        let standing = standing(system).await;
        if standing.state.starts_with("stopped") {
            assert!(
                standing.state.contains("upgrade"),
                "it does not say what to do: {}",
                standing.state
            );
            return standing;
        }
        in_time(
            begun,
            &format!("it does not stand still, but is {}", standing.state),
        );
        pause(LOOK_MILLIS).await;
    }
}

async fn goes_on(system: &System, from: u64) {
    let begun = Instant::now();
    loop {
        let standing = standing(system).await;
        if standing.cursor > from {
            return;
        }
        in_time(begun, &format!("it does not go on, but is {}", standing.state));
        pause(LOOK_MILLIS).await;
    }
}

fn in_time(begun: Instant, trouble: &str) {
    let waited = begun.elapsed();
    assert!(
        waited < Duration::from_secs(SAID_SECONDS_MAX),
        "{trouble}, after {waited:?}"
    );
}

/// What the reader's metrics say about how far it is behind.
async fn lag(system: &System) -> f64 {
    super::stream::lag(system, OLDER, NEWER).await
}
