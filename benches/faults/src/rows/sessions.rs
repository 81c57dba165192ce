//! Row 32, the other half of it: sessions end while people buy, and every service refuses them at once, cached verification
//! or not. That keys change without anybody being refused is held by `rotate_key`, elsewhere.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::Client;

use crate::healed::Healed;
use crate::judge::settle;
use crate::market::{Market, Mix};
use crate::part::Part;
use crate::person::Person;
use crate::report::Outcome;
use crate::rows::pause;
use crate::stage::Stage;
use crate::system::{Setup, System};

/// How many people buy meanwhile.
const PEOPLE: usize = 4;

/// How long a session that has ended may still be let in somewhere.
const REVOKED_SECONDS_MAX: u64 = 2;

/// How long a new session may take to be let in everywhere, on a busy machine too.
const LET_IN_SECONDS_MAX: u64 = 60;

/// Between two looks.
const LOOK_MILLIS: u64 = 5;

/// A door of each service that knows people: what is behind it is only for who is signed in.
const DOORS: [(Part, &str); 3] = [
    (Part::Tickets, "/api/tickets?seller=me"),
    (Part::Orders, "/api/orders"),
    (
        Part::Payments,
        "/api/payments/0193a4b6-0c00-7000-8000-000000000001",
    ),
];

/// Somebody signs in twice and out once, and then out everywhere, again and again.
pub(super) async fn end(stage: Stage) -> Outcome {
    let rounds = stage.size(3, 100);
    let setup = Setup::default();
    let system = System::start(&setup).await;
    let market = Market::open(&system, PEOPLE, setup.hold_seconds, stage.seed).await;
    let people = Person::sign_up_many(&system, market.ledger(), 1).await;
    let purchases = market.purchases(Mix::NO_DEADLINES);
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds {
        let (phone, laptop) = (
            people[0].another_session().await,
            people[0].another_session().await,
        );
        for session in [&phone, &laptop] {
            is_let_in(&system, session).await;
        }
        sign_out(&system, &phone, false).await;
        slowest = slowest.max(is_refused(&stage, &system, &[&phone]).await);
        is_let_in(&system, &laptop).await;
        sign_out(&system, &laptop, true).await;
        slowest = slowest.max(is_refused(&stage, &system, &[&phone, &laptop]).await);
    }
    let healed = Healed::now(&system);
    purchases.finish().await;
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!(
            "{} times somebody signed out, half of them everywhere; refused by every service within {} ms",
            2 * rounds,
            slowest.as_millis()
        ),
        kills: 0,
        verdict,
    }
}

/// Signs out, of this session or of all, and is answered.
async fn sign_out(system: &System, session: &str, everywhere: bool) {
    let auth = Client::new(system.base(Part::Auth)).with_bearer(session);
    let out = auth.post("/api/users/signout", &json!({ "everywhere": everywhere }));
    out.patient().expect(200).await;
}

/// Waits until no service lets these sessions in any more, and says how long after the answer that was.
async fn is_refused(stage: &Stage, system: &System, sessions: &[&str]) -> Duration {
    let within = stage.promised(Duration::from_secs(REVOKED_SECONDS_MAX));
    let begun = Instant::now();
    for session in sessions {
        for (part, path) in DOORS {
            while status(system, part, path, session).await != 401 {
                let waited = begun.elapsed();
                assert!(
                    waited < within,
                    "{} lets a session in {waited:?} after its end",
                    part.name()
                );
                pause(LOOK_MILLIS).await;
            }
        }
    }
    begun.elapsed()
}

/// Every service lets the session in; none may ever say that there is nobody.
async fn is_let_in(system: &System, session: &str) {
    for (part, path) in DOORS {
        let begun = Instant::now();
        loop {
            match status(system, part, path, session).await {
                200 | 404 => break,
                503 if begun.elapsed() < Duration::from_secs(LET_IN_SECONDS_MAX) => pause(LOOK_MILLIS).await,
                status => panic!("{} answers {status} to a session that has not ended", part.name()),
            }
        }
    }
}

async fn status(system: &System, part: Part, path: &str, session: &str) -> u16 {
    let client = Client::new(system.base(part)).with_bearer(session);
    client.get(path).send().await.status.as_u16()
}
