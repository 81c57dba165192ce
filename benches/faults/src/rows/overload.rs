//! Row 13, the half that is about I9: the disk below one store is held up, and far more people come than it may let in.
//! Whoever finds no place is told so at once, and what the process holds in memory stays what it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use service::http::REQUESTS_IN_FLIGHT_MAX;
use testkit::{Answer, Client, Disk};
use tokio::task::JoinSet;

use crate::healed::Healed;
use crate::judge::settle;
use crate::ledger::KnownTicket;
use crate::market::{Market, Mix, PRICE};
use crate::part::Part;
use crate::person::{Person, Wish};
use crate::report::Outcome;
use crate::rows::pause;
use crate::stage::{Form, Stage};
use crate::system::{Setup, System};

/// Whose disk is held up.
const HELD_UP: Part = Part::Tickets;

/// How long a sync of that disk takes meanwhile: longer than anyone waits for one.
const SYNC_SECONDS: u64 = 12;

/// So many more come than there are places.
const TOO_MANY: usize = 200;

/// So many look all the time whether there is a place.
const PROBES: usize = 4;
/// Between two looks of one of them.
const LOOK_MILLIS: u64 = 25;

/// How long one of the crowd waits who has found no place, as its answer says.
const RETRY_MILLIS: u64 = 1_000;

/// How long it may take until all places are taken.
const FULL_SECONDS_MAX: u64 = 90;
/// The same where other things keep the machine busy: then it goes on without.
const FULL_SECONDS_MAX_BUSY: u64 = 30;

/// How soon whoever finds no place is told so.
const REFUSED_MILLIS_MAX: u64 = 100;
/// The same where other things keep the machine busy: beyond this it is a hang.
const REFUSED_MILLIS_MAX_BUSY: u64 = 10_000;

/// What the process may hold for everyone who is let in.
const FULL_MIB_MAX: u64 = 256;
/// What it may hold more after it has refused for a while.
const GROWTH_MIB_MAX: u64 = 32;

/// What the crowd is told, and tells.
#[derive(Default)]
struct Signs {
    over: AtomicBool,
    refused: AtomicUsize,
}

/// What refused ones were told, and how late.
#[derive(Default)]
struct Refused {
    count: usize,
    slowest: Duration,
}

impl Refused {
    fn and(&self, more: &Self) -> Self {
        Self {
            count: self.count + more.count,
            slowest: self.slowest.max(more.slowest),
        }
    }
}

/// More requests at once than there are places, on a disk that is held up.
pub(super) async fn too_many_at_once(stage: Stage) -> Outcome {
    let (seconds, within) = stage.size((6, REFUSED_MILLIS_MAX_BUSY), (60, REFUSED_MILLIS_MAX));
    let dir = testkit::temp_dir();
    let disk = Disk::under(dir.path());
    let data = Setup::default().env(HELD_UP, "BOXOFFICE_DATA_DIR", &disk.dir().display());
    let setup = disk.env().into_iter().fold(data, |setup, (name, value)| {
        setup.env(HELD_UP, name, &value.display())
    });
    let system = System::start(&setup).await;
    let market = Market::open(&system, 4, setup.hold_seconds, stage.seed).await;
    market.purchase_all(6, Mix::NO_DEADLINES).await;
    let before = system.memory_mib_of(HELD_UP);

    disk.slow_syncs(Duration::from_secs(SYNC_SECONDS));
    let signs = Arc::new(Signs::default());
    let crowd = crowd(&market, &signs);
    let begun = Instant::now();
    let patience = Duration::from_secs(stage.size(FULL_SECONDS_MAX_BUSY, FULL_SECONDS_MAX));
    while signs.refused.load(Ordering::Relaxed) == 0 && begun.elapsed() < patience {
        pause(LOOK_MILLIS).await;
    }
    let waited = begun.elapsed().as_secs_f64();
    let were_taken = signs.refused.load(Ordering::Relaxed) > 0;
    // Those who waited in vain leave after five seconds: a machine that can't let in as many meanwhile is never full.
    assert!(
        were_taken || stage.form == Form::Short,
        "{REQUESTS_IN_FLIGHT_MAX} places are not taken after {waited:.1} s"
    );
    stage.say(&format!("all places taken: {were_taken}, after {waited:.1} s"));
    // What was given up waits in the store's queue until the disk answers: it is full only after a few of its syncs.
    let first = probe(&market, Duration::from_secs(seconds / 2)).await;
    let full = system.memory_mib_of(HELD_UP);
    let second = probe(&market, Duration::from_secs(seconds / 2)).await;
    let at_last = system.memory_mib_of(HELD_UP);
    let refused = first.and(&second);
    // Probes of the platform are no requests like others: a pod that is busy is not dead.
    let live = Client::new(system.base(HELD_UP));
    live.get("/healthz").expect(200).await;
    live.get("/readyz").expect(200).await;

    signs.over.store(true, Ordering::Relaxed);
    disk.slow_syncs(Duration::ZERO);
    crowd.join_all().await;
    // A sync that has begun takes its time; the disk is well again when another one has ended.
    market.list(1).await.expect("a listing is answered 201");
    let healed = Healed::now(&system);
    market.purchase_all(6, Mix::NO_DEADLINES).await;
    let verdict = settle(&system, &market, healed).await;

    assert!(
        refused.count > 0 || stage.form == Form::Short,
        "nobody who looked was refused while all places were taken"
    );
    assert!(
        refused.slowest <= Duration::from_millis(within),
        "of {} who found no place, one was told so only after {:?} (I9)",
        refused.count,
        refused.slowest
    );
    assert!(
        full.saturating_sub(before) <= FULL_MIB_MAX && at_last.saturating_sub(full) <= GROWTH_MIB_MAX,
        "{} held {before} MiB, {full} MiB when all was full, and {at_last} MiB after refusing for {seconds} s (I9)",
        HELD_UP.name()
    );
    Outcome {
        done: format!(
            "{} came for {REQUESTS_IN_FLIGHT_MAX} places, {} times one was refused; {} of them only looked, the slowest was \
             told so after {} ms; memory {before}, {full} when full, {at_last} MiB after {seconds} s",
            REQUESTS_IN_FLIGHT_MAX + TOO_MANY,
            signs.refused.load(Ordering::Relaxed) + refused.count,
            refused.count,
            refused.slowest.as_millis()
        ),
        kills: 0,
        verdict,
    }
}

/// Everybody wants to list something, each on a connection of their own, until it is over.
fn crowd(market: &Market, signs: &Arc<Signs>) -> JoinSet<()> {
    let mut crowd = JoinSet::new();
    for nth in 0..REQUESTS_IN_FLIGHT_MAX + TOO_MANY {
        let one = market.sellers()[0].on_a_new_connection();
        let (market, signs) = (market.clone(), Arc::clone(signs));
        crowd.spawn(async move {
            let mut sent = 0;
            while !signs.over.load(Ordering::Relaxed) {
                let answer = list(&market, &one, &format!("crowd-{nth}-{sent}")).await;
                sent += 1;
                let is_refused = has_no_place(&answer);
                if is_refused {
                    signs.refused.fetch_add(1, Ordering::Relaxed);
                }
                if answer.is_none() || is_refused {
                    pause(RETRY_MILLIS).await;
                }
            }
        });
    }
    crowd
}

/// Looks for so long whether there is a place, and notes how soon it is said that there is none.
async fn probe(market: &Market, time: Duration) -> Refused {
    static LOOKS: AtomicUsize = AtomicUsize::new(0);
    let until = Instant::now() + time;
    let mut probes = JoinSet::new();
    for _ in 0..PROBES {
        let one = market.sellers()[0].on_a_new_connection();
        let market = market.clone();
        probes.spawn(async move {
            let mut refused = Refused::default();
            while Instant::now() < until {
                let look = LOOKS.fetch_add(1, Ordering::Relaxed);
                let begun = Instant::now();
                let answer = list(&market, &one, &format!("probe-{look}")).await;
                if has_no_place(&answer) {
                    refused.count += 1;
                    refused.slowest = refused.slowest.max(begun.elapsed());
                }
                pause(LOOK_MILLIS).await;
            }
            refused
        });
    }
    let all = probes.join_all().await;
    all.iter().fold(Refused::default(), |sum, one| sum.and(one))
}

/// Sends one listing, once; nothing if no answer came.
async fn list(market: &Market, seller: &Person, key: &str) -> Option<Answer> {
    let listing = json!({ "title": "A seat in the crowd", "price": PRICE });
    let answer = seller
        .once(&Wish::post("/api/tickets", Some(&listing), key))
        .await
        .ok()?;
    if answer.status == 201 {
        let known = KnownTicket {
            seller: 0,
            quantity: 1,
        };
        market.ledger().listed(&answer.field("id"), known);
    }
    Some(answer)
}

/// Whether it was not let in. One that was, and waited in vain, hears something else.
fn has_no_place(answer: &Option<Answer>) -> bool {
    let Some(answer) = answer.as_ref().filter(|answer| answer.status == 503) else {
        return false;
    };
    assert!(
        answer.header("retry-after").is_some(),
        "a 503 says when to come again: {}",
        answer.text()
    );
    answer.text().contains("Too many requests at once")
}
