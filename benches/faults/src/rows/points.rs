//! Rows about the named points: a part is killed at one of them, at the very moment of a purchase.

use std::time::{Duration, Instant};

use failpoint::Point;

use crate::healed::Healed;
use crate::judge::{Verdict, settle};
use crate::market::{Market, Mix, Plan};
use crate::part::Part;
use crate::person::Person;
use crate::report::Outcome;
use crate::rows::pause;
use crate::stage::Stage;
use crate::system::{Setup, System};
use crate::times::Times;

/// An unpaid order's time where orders are to run out.
const HOLD_SECONDS: u64 = 3;

/// How long a point may take to be met before another is tried.
const MET_MILLIS_MAX: u64 = 1_000;

/// Between two looks whether it was.
const LOOK_MILLIS: u64 = 20;

/// An order to kill is for one of so many next visits.
const VISITS_MAX: u64 = 5;

pub(super) async fn of_auth(stage: Stage) -> Outcome {
    every_point_of(stage, Part::Auth).await
}

pub(super) async fn of_tickets(stage: Stage) -> Outcome {
    every_point_of(stage, Part::Tickets).await
}

pub(super) async fn of_orders(stage: Stage) -> Outcome {
    every_point_of(stage, Part::Orders).await
}

pub(super) async fn of_expiration(stage: Stage) -> Outcome {
    every_point_of(stage, Part::Expiration).await
}

pub(super) async fn of_payments(stage: Stage) -> Outcome {
    every_point_of(stage, Part::Payments).await
}

/// Row 1: at every point that this service meets in a purchase it is killed; the purchase comes to its end.
async fn every_point_of(stage: Stage, part: Part) -> Outcome {
    let visits_max = stage.size(1, 6);
    let system = System::start(&Setup::default()).await;
    let market = Market::open(&system, 2, Setup::default().hold_seconds, stage.seed).await;
    let _keeper = system.keep_alive();
    // The first time nothing is done to it: that shows which points there are.
    story(&system, &market).await;
    let points = Point::ALL
        .iter()
        .copied()
        .filter(|point| system.visited(part, *point));
    let points: Vec<Point> = points.collect();
    let mut strikes = 0;
    let mut verdict = Verdict::default();
    let mut times = Times::default();
    for point in &points {
        for visit in 1..=visits_max {
            system.arm(part, *point, &format!("kill {visit}"));
            story(&system, &market).await;
            let unmet = system.disarm(part, *point);
            assert!(
                !(unmet && visit == 1),
                "{} never came to {} in a purchase, though it did before",
                part.name(),
                point.name()
            );
            if unmet {
                // The story is too short for that many visits, and so it is for more.
                break;
            }
            strikes += 1;
            verdict = settle(&system, &market, Healed::now(&system)).await;
            times = times.max(verdict.times);
        }
        stage.say(&format!("{} is done", point.name()));
    }
    Outcome {
        done: format!("killed {strikes} times at {} points", points.len()),
        kills: system.kills(),
        verdict: Verdict { times, ..verdict },
    }
}

/// Somebody signs up; one purchase is paid and given back, one is cancelled on Stripe's page.
async fn story(system: &System, market: &Market) {
    let sign_up = Person::sign_up_many(system, market.ledger(), 1);
    let refunded = market.purchase_as(0, Plan::Refund);
    let cancelled = market.purchase_as(1, Plan::CancelLate);
    tokio::join!(sign_up, refunded, cancelled);
}

/// Row 4: between commit, append and its reply, while many buy.
pub(super) async fn around_the_append(stage: Stage) -> Outcome {
    let points = [
        Point::AfterSync,
        Point::AfterReply,
        Point::BeforeAppend,
        Point::AfterAppend,
    ];
    under_load(stage, &points).await
}

/// Row 5: between applying an event and its XACK, while many buy.
pub(super) async fn around_the_acknowledgement(stage: Stage) -> Outcome {
    let points = [
        Point::BeforeCommit,
        Point::AfterCommit,
        Point::BeforeAck,
        Point::AfterAck,
    ];
    under_load(stage, &points).await
}

async fn under_load(stage: Stage, points: &[Point]) -> Outcome {
    let (wanted, strikes_min) = stage.size((50, 12), (1_000, 60));
    let system = System::start(&Setup::default().hold(HOLD_SECONDS)).await;
    let market = Market::open(&system, 12, HOLD_SECONDS, stage.seed).await;
    let keeper = system.keep_alive();
    let purchases = market.purchases(Mix::ALL_WAYS);
    let mut random = stage.random();
    let mut strikes = 0;
    while purchases.finished() < wanted || strikes < strikes_min {
        let victim = *random.pick(&Part::SERVICES).expect("there are services");
        let point = *random.pick(points).expect("there are points");
        system.arm(victim, point, &format!("kill {}", random.between(1, VISITS_MAX)));
        if is_met(&system, victim, point).await {
            strikes += 1;
        }
        if strikes % 20 == 0 {
            stage.say(&format!(
                "{strikes} strikes, {} purchases are over",
                purchases.finished()
            ));
        }
    }
    let healed = Healed::now(&system);
    purchases.finish().await;
    drop(keeper);
    let verdict = settle(&system, &market, healed).await;
    Outcome {
        done: format!("killed {strikes} times"),
        kills: system.kills(),
        verdict,
    }
}

/// Waits a moment for the point to be met; takes the order back otherwise.
async fn is_met(system: &System, part: Part, point: Point) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(MET_MILLIS_MAX) {
        if !system.is_armed(part, point) {
            return true;
        }
        pause(LOOK_MILLIS).await;
    }
    !system.disarm(part, point)
}

/// A purchase of every kind meets every point there is: one that nothing ever reaches would prove nothing.
pub(super) async fn all_are_visited(stage: Stage) -> Outcome {
    let system = System::start(&Setup::default().hold(HOLD_SECONDS)).await;
    let market = Market::open(&system, 3, HOLD_SECONDS, stage.seed).await;
    let refunded = market.purchase_as(0, Plan::Refund);
    let cancelled = market.purchase_as(1, Plan::CancelLate);
    let expired = market.purchase_as(2, Plan::LetExpire);
    tokio::join!(refunded, cancelled, expired);
    let verdict = settle(&system, &market, Healed::now(&system)).await;
    // Every service commits, so each meets the points of the store and of the relay; the others have owners.
    let met_by = |point: Point| -> &[Part] {
        match point {
            Point::BeforeBatch
            | Point::AfterBatch
            | Point::BeforeFlush
            | Point::AfterFlush
            | Point::BeforeSync
            | Point::AfterSync
            | Point::AfterReply
            | Point::BeforeAppend
            | Point::AfterAppend => &Part::SERVICES,
            Point::BeforeCommit | Point::AfterCommit | Point::BeforeAck | Point::AfterAck => {
                &[Part::Tickets, Part::Orders, Part::Expiration, Part::Payments]
            }
            Point::BeforeSchedule
            | Point::AfterSchedule
            | Point::BeforeUnschedule
            | Point::AfterUnschedule => &[Part::Expiration],
            Point::BeforeStripe | Point::AfterStripe => &[Part::Payments],
        }
    };
    let mut missed = Vec::new();
    for point in Point::ALL.iter().copied() {
        for part in met_by(point).iter().copied() {
            if !system.visited(part, point) {
                missed.push(format!("{} of {}", point.name(), part.name()));
            }
        }
    }
    assert!(missed.is_empty(), "never visited: {}", missed.join(", "));
    Outcome {
        done: format!("{} points, each visited where it should be", Point::ALL.len()),
        kills: 0,
        verdict,
    }
}
