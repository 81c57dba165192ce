//! Rows in which a store is not what it was: an old backup in its place, or nothing at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use events::{Source, Timestamp};
use store::RestoreOptions;
use testkit::Client;

use crate::books;
use crate::healed::Healed;
use crate::judge::{Verdict, settle};
use crate::layout::OPERATOR_TOKEN;
use crate::market::{Market, Mix, Plan};
use crate::metrics::told;
use crate::part::Part;
use crate::person::Wish;
use crate::report::Outcome;
use crate::rows::pause;
use crate::stage::Stage;
use crate::system::{Setup, System};

/// How many people buy at once.
const PEOPLE: usize = 8;

/// How long a service may take to say that it can't take back what it has lost.
const REFUSED_SECONDS_MAX: u64 = 60;

/// How a service is told that its clock is wrong.
const CLOCK: &str = "BOXOFFICE_CLOCK_OFFSET_MS";

/// Outboxes keep events for seven days; this far forward the clock of the service is put that is to trim its own.
const EIGHT_DAYS_MILLIS: i64 = 8 * 24 * 3_600 * 1_000;

/// How orders is told how long an order may stay unpaid.
const HOLD: &str = "ORDER_HOLD_SECONDS";

/// The time of the order that nobody pays: short, since the row waits for it.
const UNPAID_SECONDS: u64 = 5;

/// How long it may take until that order is reserved, and known to those who read of it.
const RESERVED_SECONDS_MAX: u64 = 60;

/// The metric of snapshots that a service has made, by who got them.
const SNAPSHOTS: &str = "bus_snapshots_total";

/// How long the outboxes may take to be trimmed once everything in them is too old.
const TRIMMED_SECONDS_MAX: u64 = 90;

fn source(part: Part) -> Source {
    part.source().expect("a service is a source of events")
}

fn now() -> Timestamp {
    service::Clock::new().now()
}

/// Puts a backup in the place of a killed service's store.
fn put_back(system: &System, part: Part, backup: &[u8], accept_loss: bool) {
    let options = RestoreOptions {
        accept_loss,
        ..RestoreOptions::new(source(part), now())
    };
    if let Err(error) = store::restore(backup, &system.store_dir(part), &options) {
        panic!("the backup of {} can't be restored: {error}", part.name());
    }
}

/// Row 29: each service's store in turn, and then all of them, are as old as a backup; the streams are still there.
pub(super) async fn with_the_streams(stage: Stage) -> Outcome {
    let (bought, rounds) = stage.size((12, 1), (150, 4));
    let system = System::start(&Setup::default()).await;
    let market = Market::open(&system, PEOPLE, Setup::default().hold_seconds, stage.seed).await;
    let (mut restorations, mut accounts, mut verdict) = (0, 0, Verdict::default());
    for _ in 0..rounds {
        let purchases = market.purchases(Mix::NO_DEADLINES);
        purchases.reach(bought).await;
        let known = market.ledger().copy().users;
        // Taken while people buy, one after another: they are of different moments.
        let mut backups = BTreeMap::new();
        for part in Part::SERVICES {
            backups.insert(part, books::backup(&system, part).await);
        }
        purchases.reach(bought * 2).await;
        purchases.finish().await;
        // What the relay has not published lies on the disk that is given up, and nowhere else.
        settle(&system, &market, Healed::now(&system)).await;
        let alone = Part::SERVICES.map(|part| vec![part]);
        for victims in alone.into_iter().chain([Part::SERVICES.to_vec()]) {
            for part in &victims {
                system.kill(*part);
            }
            for part in &victims {
                put_back(&system, *part, &backups[part], false);
            }
            for part in &victims {
                system.spawn(*part);
            }
            let healed = Healed::now(&system);
            for part in &victims {
                system.part_ready(*part).await;
            }
            // Addresses and passwords never travel: only accounts that are older than its backup are still with auth.
            if victims.contains(&Part::Auth) {
                let gone = market.ledger().given_up_accounts_but(&known);
                are_named(&system, &gone).await;
                accounts += gone.len();
            }
            market.purchase_all(PEOPLE, Mix::NO_DEADLINES).await;
            verdict = settle(&system, &market, healed).await;
            restorations += victims.len();
            let names: Vec<&str> = victims.iter().map(|part| part.name()).collect();
            stage.say(&format!("{} restored", names.join(", ")));
        }
    }
    Outcome {
        done: format!(
            "{restorations} stores, each alone and all at once; all adopted what they had published; {accounts} accounts \
             newer than auth's backup could not come back, which auth said of each"
        ),
        kills: system.kills(),
        verdict,
    }
}

/// Row 29: the same without the streams: it refuses and says what to do; only then the loss is accepted.
pub(super) async fn without_the_streams(stage: Stage) -> Outcome {
    let bought = stage.size(10, 100);
    let system = System::start(&Setup::default()).await;
    let market = Market::open(&system, PEOPLE, Setup::default().hold_seconds, stage.seed).await;
    market.purchase_all(bought, Mix::NO_DEADLINES).await;
    settle(&system, &market, Healed::now(&system)).await;
    let backup = books::backup(&system, Part::Tickets).await;
    let lost = market.list(1).await.expect("a listing is answered 201");
    let order = market.order(0, &lost).await.expect_taken();
    market.cancel(0, &order).await;
    settle(&system, &market, Healed::now(&system)).await;

    system.kill(Part::Tickets);
    put_back(&system, Part::Tickets, &backup, false);
    system.redis_command(&["FLUSHALL"]);
    system.spawn(Part::Tickets);
    refuses(&system, Part::Tickets).await;

    // The operator gives up what was in it since the backup.
    system.kill(Part::Tickets);
    put_back(&system, Part::Tickets, &backup, true);
    market.ledger().given_up(&lost);
    system.spawn(Part::Tickets);
    let healed = Healed::now(&system);
    system.part_ready(Part::Tickets).await;
    market.purchase_all(bought, Mix::NO_DEADLINES).await;
    let first = settle(&system, &market, healed).await;
    nobody_remembers(&system).await;
    let healed = Healed::now(&system);
    market.purchase_all(bought, Mix::NO_DEADLINES).await;
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: "tickets refused and said what to do; with --accept-loss all agreed on its next epoch; then all of them \
               refused, also when tickets alone had accepted its loss, until each had"
            .to_owned(),
        kills: system.kills(),
        verdict: Verdict {
            times: verdict.times.max(first.times),
            ..verdict
        },
    }
}

/// All stores come out of backups, which lack nothing, and Redis is empty: no store is left that could tell so. That one of
/// them accepts its loss is no word of the others.
async fn nobody_remembers(system: &System) {
    let mut backups = BTreeMap::new();
    for part in Part::SERVICES {
        backups.insert(part, books::backup(system, part).await);
    }
    for part in Part::SERVICES {
        system.kill(part);
        put_back(system, part, &backups[&part], false);
    }
    system.redis_command(&["FLUSHALL"]);
    for part in Part::SERVICES {
        system.spawn(part);
    }
    // No order has run out: the expiration service has nothing that it could have lost.
    let losers = Part::SERVICES
        .into_iter()
        .filter(|part| *part != Part::Expiration);
    for part in losers.clone() {
        refuses(system, part).await;
    }
    let accepts = |part: Part| {
        system.kill(part);
        put_back(system, part, &backups[&part], true);
        system.spawn(part);
    };
    accepts(Part::Tickets);
    system.part_ready(Part::Tickets).await;
    let others = losers.filter(|part| *part != Part::Tickets);
    for part in others.clone() {
        system.kill(part);
        system.spawn(part);
    }
    for part in others.clone() {
        refuses(system, part).await;
    }
    others.for_each(accepts);
    system.ready().await;
}

/// Waits until a service says that it does not serve, and what to do.
async fn refuses(system: &System, part: Part) {
    let client = Client::new(system.base(part));
    let begun = Instant::now();
    let mut last = "it has not answered".to_owned();
    while begun.elapsed() < Duration::from_secs(REFUSED_SECONDS_MAX) {
        if let Ok(answer) = client.get("/readyz").try_send().await {
            assert!(
                answer.status != 200,
                "{} serves, and nobody can tell what it has lost",
                part.name()
            );
            last = answer.text();
            if last.contains("accept-loss") {
                return;
            }
        }
        pause(50).await;
    }
    panic!("{} does not say what to do: {last}", part.name());
}

/// Auth names each account that did not come back, as long as they are few enough to be listed.
async fn are_named(system: &System, gone: &BTreeSet<String>) {
    let client = Client::new(system.base(Part::Auth)).with_bearer(OPERATOR_TOKEN);
    let taken = client.get("/internal/status").expect(200).await.json()["bus"]["takenBack"].clone();
    let count = taken["withoutCount"].as_u64().unwrap_or_default();
    let listed: Vec<&str> = taken["without"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|sentence| sentence.as_str())
        .collect();
    let wanted = u64::try_from(gone.len()).expect("a count of accounts");
    assert!(
        count >= wanted,
        "{wanted} accounts are gone, and auth says so of {count}: {taken}"
    );
    let is_whole = u64::try_from(listed.len()).is_ok_and(|listed| listed == count);
    let unnamed = gone
        .iter()
        .find(|user| !listed.iter().any(|sentence| sentence.contains(*user)));
    assert!(
        !is_whole || unnamed.is_none(),
        "auth does not name {unnamed:?}: {taken}"
    );
}

/// Row 34: a service begins with an empty store when the outboxes that it reads keep nothing any more; all it can know it
/// is told in a snapshot: that an order is there which nobody pays, and whose time is over.
///
/// Once since eight days have passed, after which an outbox is trimmed; and once since its owner has accepted a loss (of
/// nothing, as the backup was taken at rest), with which an outbox begins anew. Each on a system of its own: once it has
/// published that an order's time is over, expiration has something to lose.
pub(super) async fn too_late_for_the_outboxes(stage: Stage) -> Outcome {
    let first = after_eight_days(&stage).await;
    let second = after_the_next_epoch(&stage).await;
    Outcome {
        done: format!(
            "expiration came with nothing when {}, and when {}; it was given a snapshot, and ended the order that nobody paid",
            first.done, second.done
        ),
        kills: first.kills + second.kills,
        verdict: Verdict {
            times: first.verdict.times.max(second.verdict.times),
            acknowledged: first.verdict.acknowledged + second.verdict.acknowledged,
            lost: first.verdict.lost + second.verdict.lost,
            doubled: first.verdict.doubled + second.verdict.doubled,
            purchases: first.verdict.purchases + second.verdict.purchases,
            complete: first.verdict.complete + second.verdict.complete,
        },
    }
}

async fn after_eight_days(stage: &Stage) -> Outcome {
    let (system, market, unpaid) = without_expiration(stage).await;
    system.kill(Part::Orders);
    system.spawn_with(Part::Orders, CLOCK, &EIGHT_DAYS_MILLIS.to_string());
    system.part_ready(Part::Orders).await;
    let removed = trimmed(&system, Part::Orders).await;
    system.kill(Part::Orders);
    // What the stream still holds of it goes, too; it is today again.
    system.redis_command(&["FLUSHALL"]);
    system.spawn_with(Part::Orders, CLOCK, "0");
    system.part_ready(Part::Orders).await;
    // The others had read all that is gone.
    let unaware = ["tickets", "payments"];
    let verdict = given_a_snapshot(stage, &system, &market, &unpaid, &unaware).await;
    Outcome {
        done: format!("the first {removed} events of orders had been trimmed away"),
        kills: system.kills(),
        verdict,
    }
}

async fn after_the_next_epoch(stage: &Stage) -> Outcome {
    let (system, market, unpaid) = without_expiration(stage).await;
    let backup = books::backup(&system, Part::Orders).await;
    system.kill(Part::Orders);
    put_back(&system, Part::Orders, &backup, true);
    system.redis_command(&["FLUSHALL"]);
    system.spawn(Part::Orders);
    system.part_ready(Part::Orders).await;
    // An epoch is news to everybody.
    let verdict = given_a_snapshot(stage, &system, &market, &unpaid, &[]).await;
    Outcome {
        done: "orders had begun an epoch without any event".to_owned(),
        kills: system.kills(),
        verdict,
    }
}

/// A system in which people have bought, whose expiration service is gone with its store, and in which an order then was
/// placed that is never paid, and has but a short time.
async fn without_expiration(stage: &Stage) -> (System, Market, String) {
    let system = System::start(&Setup::default()).await;
    let market = Market::open(&system, PEOPLE, Setup::default().hold_seconds, stage.seed).await;
    // Nothing runs out: the expiration service has published nothing, so that it may begin anew.
    market.purchase_all(stage.size(10, 200), Mix::NO_DEADLINES).await;
    settle(&system, &market, Healed::now(&system)).await;
    system.kill(Part::Expiration);
    fs::remove_dir_all(system.store_dir(Part::Expiration)).expect("a temporary directory can be changed");
    system.kill(Part::Orders);
    system.spawn_with(Part::Orders, HOLD, &UNPAID_SECONDS.to_string());
    system.part_ready(Part::Orders).await;
    let ticket = market.list(1).await.expect("a listing is answered 201");
    let unpaid = market.order(0, &ticket).await.expect_taken();
    reserved(&system, &market, &unpaid).await;
    (system, market, unpaid)
}

/// Waits until an order is reserved, and those who are to notice nothing have heard of it.
async fn reserved(system: &System, market: &Market, order: &str) {
    let path = format!("/api/orders/{order}");
    let begun = Instant::now();
    loop {
        let answer = market.buyers()[0].insist(Wish::get(&path)).await;
        let status = answer.map(|answer| answer.field("status"));
        let head = books::account(system, Part::Orders)
            .await
            .map(|account| account.head);
        let mut have_read = status.as_deref() == Some("awaiting:payment");
        for part in [Part::Tickets, Part::Payments] {
            let account = books::account(system, part).await;
            let readings = account.map(|account| account.readings).unwrap_or_default();
            let orders = readings.iter().find(|reading| reading.source == Source::Orders);
            have_read &= head.is_some() && orders.map(|reading| reading.cursor) == head;
        }
        if have_read {
            return;
        }
        let waited = begun.elapsed();
        assert!(
            waited < Duration::from_secs(RESERVED_SECONDS_MAX),
            "after {waited:?} the order is {status:?}, and others may not have heard of it"
        );
        pause(50).await;
    }
}

/// Started with nothing, the expiration service is told what there is, and those who are unaware are not; the order that nobody has paid
/// comes to its end, and then all goes on as always.
async fn given_a_snapshot(
    stage: &Stage,
    system: &System,
    market: &Market,
    unpaid: &str,
    unaware: &[&'static str],
) -> Verdict {
    system.spawn(Part::Expiration);
    let healed = Healed::now(system);
    system.part_ready(Part::Expiration).await;
    // Its end is known to nobody but the expiration service, whose store was empty.
    market.go_on(0, unpaid, Plan::LetExpire).await;
    market
        .ledger()
        .ran_out(unpaid, Duration::from_secs(UNPAID_SECONDS));
    let path = format!("/api/orders/{unpaid}");
    let over = market.buyers()[0].insist(Wish::get(&path)).await;
    let reason = over.expect("an order that is over is shown").field("reason");
    assert_eq!(reason, "expired", "why the order that nobody paid is over");
    let snapshots = |group: &'static str| told(system, Part::Orders, SNAPSHOTS, Some(("group", group)));
    assert!(snapshots("expiration").await > 0.0, "expiration got no snapshot");
    for group in unaware {
        assert_eq!(
            snapshots(group).await,
            0.0,
            "{group} has noticed, and got a snapshot"
        );
    }
    system.kill(Part::Orders);
    let hold = Setup::default().hold_seconds.to_string();
    system.spawn_with(Part::Orders, HOLD, &hold);
    system.part_ready(Part::Orders).await;
    market.purchase_all(stage.size(10, 200), Mix::NO_DEADLINES).await;
    settle(system, market, healed).await
}

/// Waits until a service's outbox has forgotten its beginning; how many events are gone.
async fn trimmed(system: &System, part: Part) -> u64 {
    let begun = Instant::now();
    loop {
        let account = books::account(system, part).await;
        if let Some(account) = account.filter(|account| account.oldest > 1) {
            return account.oldest - 1;
        }
        let waited = begun.elapsed();
        assert!(
            waited < Duration::from_secs(TRIMMED_SECONDS_MAX),
            "the outbox of {} still keeps everything after {waited:?}",
            part.name()
        );
        pause(100).await;
    }
}
