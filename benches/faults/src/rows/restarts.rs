//! Rows in which services come and go in an orderly way, or meet each other where only one may be.

use std::time::{Duration, Instant};

use testkit::Client;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::healed::Healed;
use crate::judge::settle;
use crate::market::{Market, Mix, Plan};
use crate::part::Part;
use crate::report::Outcome;
use crate::rows::accepted::Accepted;
use crate::rows::pause;
use crate::stage::Stage;
use crate::system::{Setup, System};

/// An unpaid order's time: short, so that orders run out while services are down.
const HOLD_SECONDS: u64 = 6;

/// How many people buy at once.
const PEOPLE: usize = 12;

/// How long a service may take to be gone after SIGTERM.
const GONE_SECONDS_MAX: u64 = 10;

/// How many writes each service that is told to stop has accepted, and not read whole.
const ACCEPTED_A_STOP: usize = 4;

/// How long a second process may take to refuse a store that is in use.
const REFUSED_SECONDS_MAX: u64 = 2;

/// Row 26: all services restarted every five seconds under load; by SIGTERM and by kill -9, in turn.
pub(super) async fn all_again_and_again(stage: Stage) -> Outcome {
    let (rounds, every) = stage.size((4, Duration::from_millis(900)), (60, Duration::from_secs(5)));
    let system = System::start(&Setup::default().hold(HOLD_SECONDS)).await;
    let market = Market::open(&system, PEOPLE, HOLD_SECONDS, stage.seed).await;
    let purchases = market.purchases(Mix::ALL_WAYS);
    for round in 0..rounds {
        let begun = Instant::now();
        if round % 2 == 0 {
            for part in Part::SERVICES {
                system.process(part).terminate();
            }
            for part in Part::SERVICES {
                gone_in_time(&stage, &system, part).await;
            }
        } else {
            for part in Part::SERVICES {
                system.kill(part);
            }
        }
        for part in Part::SERVICES {
            system.spawn(part);
        }
        system.ready().await;
        let rest = every.saturating_sub(begun.elapsed());
        pause(u64::try_from(rest.as_millis()).unwrap_or(0)).await;
        if round % 10 == 9 {
            stage.say(&format!(
                "{} restarts of all, {} purchases are over",
                round + 1,
                purchases.finished()
            ));
        }
    }
    let healed = Healed::now(&system);
    purchases.finish().await;
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!("all five services {rounds} times, half of them by kill -9"),
        kills: system.kills(),
        verdict,
    }
}

/// Waits until a service that was told to stop is gone, and well.
pub(super) async fn gone_in_time(stage: &Stage, system: &System, part: Part) -> Duration {
    let within = stage.promised(Duration::from_secs(GONE_SECONDS_MAX));
    let begun = Instant::now();
    loop {
        let ended = system.process(part).ended();
        if let Some(status) = ended {
            let printed = system.process(part).printed();
            assert_eq!(
                status.code(),
                Some(0),
                "{} ended with {status}\n{printed}",
                part.name()
            );
            return begun.elapsed();
        }
        let waited = begun.elapsed();
        assert!(
            waited < within,
            "{} is still there {waited:?} after SIGTERM",
            part.name()
        );
        pause(10).await;
    }
}

/// What came of the requests of one client of a service that was told to stop.
#[derive(Default)]
struct Told {
    /// Answered.
    answered: usize,
    /// Closed before the service had read them; nothing may have come of them.
    unread: usize,
}

/// Row 30: SIGTERM under load. What was accepted is done and answered, and nothing else is done; gone within ten seconds.
///
/// Of a connection that is closed without an answer nobody can say whether the service had accepted what was on it. That
/// is why each service that has writes holds some of which it has said that it has: these must all be answered.
pub(super) async fn told_to_stop(stage: Stage) -> Outcome {
    let rounds = stage.size(1, 8);
    let system = System::start(&Setup::default()).await;
    let market = Market::open(&system, PEOPLE, Setup::default().hold_seconds, stage.seed).await;
    let ticket = market.list(100_000).await.expect("a listing is answered 201");
    let (mut answered, mut unread, mut completed) = (0, 0, 0);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        for part in Part::SERVICES {
            let mut accepted = Vec::new();
            for nth in 0..ACCEPTED_A_STOP {
                let key = format!("accepted-{round}-{nth}");
                accepted.extend(Accepted::by(part, &system, &market, &ticket, &key).await);
            }
            completed += accepted.len();
            let mut requests = JoinSet::new();
            for buyer in 0..PEOPLE {
                let (market, base, ticket) = (market.clone(), system.base(part), ticket.clone());
                requests
                    .spawn(async move { requests_until_refused(&market, part, &base, buyer, &ticket).await });
            }
            pause(200).await;
            system.process(part).terminate();
            let (gone, ()) = tokio::join!(gone_in_time(&stage, &system, part), async {
                // Only when it has heard of its stop.
                takes_no_connections(&stage, &system, part).await;
                for write in accepted {
                    write.completed(&market).await;
                }
            });
            slowest = slowest.max(gone);
            for told in requests.join_all().await {
                let told =
                    told.unwrap_or_else(|sentence| panic!("{} was told to stop: {sentence}", part.name()));
                answered += told.answered;
                unread += told.unread;
            }
            system.spawn(part);
            system.part_ready(part).await;
        }
    }
    // The orders that were answered are given back; one that was placed without an answer would stand out now.
    let open = market.ledger().copy().orders;
    for (order, known) in &open {
        market.cancel(known.buyer, order).await;
    }
    let verdict = settle(&system, &market, Healed::now(&system)).await;
    Outcome {
        done: format!(
            "{} stops, {completed} writes accepted before and completed after; {answered} other requests answered, {unread} \
             closed unread; {} orders, none without an answer; gone within {} ms",
            rounds * Part::SERVICES.len(),
            open.len(),
            slowest.as_millis()
        ),
        kills: system.kills(),
        verdict,
    }
}

/// Waits until nobody can connect to a service that was told to stop.
pub(super) async fn takes_no_connections(stage: &Stage, system: &System, part: Part) {
    let base = system.base(part);
    let address = base.trim_start_matches("http://");
    let within = stage.promised(Duration::from_secs(GONE_SECONDS_MAX));
    let begun = Instant::now();
    while TcpStream::connect(address).await.is_ok() {
        let waited = begun.elapsed();
        assert!(
            waited < within,
            "{} takes connections {waited:?} after SIGTERM",
            part.name()
        );
        pause(10).await;
    }
}

/// Sends one request after another, each on a connection of its own, until connections are refused.
async fn requests_until_refused(
    market: &Market,
    part: Part,
    base: &str,
    buyer: usize,
    ticket: &str,
) -> Result<Told, String> {
    let mut told = Told::default();
    loop {
        let answer = match part {
            Part::Orders => market.order_once(buyer, ticket).await.map(|_| ()),
            Part::Auth | Part::Tickets | Part::Expiration | Part::Payments | Part::Stripe => {
                let answer = Client::new(base).get("/readyz").try_send().await;
                answer.map(|_| ()).map_err(|error| error.to_string())
            }
        };
        match answer {
            Ok(()) => told.answered += 1,
            Err(error) if error.contains("Connection refused") => return Ok(told),
            // The system had taken the connection and the service had read nothing of it when it closed.
            Err(error)
                if error.contains("closed before message completed") || error.contains("reset by peer") =>
            {
                told.unread += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Row 27: a second process on each store refuses, quickly and in words, and the first one goes on.
pub(super) async fn second_process(stage: Stage) -> Outcome {
    let system = System::start(&Setup::default()).await;
    let market = Market::open(&system, 2, Setup::default().hold_seconds, stage.seed).await;
    let mut slowest = Duration::ZERO;
    let within = stage.promised(Duration::from_secs(REFUSED_SECONDS_MAX));
    for part in Part::SERVICES {
        let listen = format!("{}_LISTEN", part.name().to_uppercase());
        let builder = system.process(part).builder().env(&listen, "127.0.0.1:0");
        let begun = Instant::now();
        let mut second = builder.spawn();
        let status = loop {
            if let Some(status) = second.ended() {
                break status;
            }
            let waited = begun.elapsed();
            assert!(
                waited < within,
                "a second {} still runs after {waited:?}",
                part.name()
            );
            pause(5).await;
        };
        slowest = slowest.max(begun.elapsed());
        second.wait(within);
        assert!(!status.success(), "a second {} ended well", part.name());
        let said = second.printed();
        assert!(
            said.contains("in use"),
            "a second {} did not say why: {said}",
            part.name()
        );
        market.purchase_as(0, Plan::Buy).await;
    }
    let verdict = settle(&system, &market, Healed::now(&system)).await;
    Outcome {
        done: format!(
            "each of five refused, the slowest after {} ms",
            slowest.as_millis()
        ),
        kills: 0,
        verdict,
    }
}
