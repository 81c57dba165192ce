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
use crate::stage::{Form, Stage};
use crate::system::{Setup, System};
use crate::times::Times;

/// An unpaid order's time where orders are to run out.
const HOLD_SECONDS: u64 = 3;

/// The same where every point is met with a deadline that comes: there are many.
const DEADLINE_HOLD_SECONDS: u64 = 2;

/// How long a point may take to be met before another is tried.
const MET_MILLIS_MAX: u64 = 1_000;

/// How many purchases are made to come to a point once: some are over so quickly that, for one, their deadline need not
/// be scheduled any more.
const STORIES_MAX: usize = 20;

/// Between two looks whether it was.
const LOOK_MILLIS: u64 = 20;

/// At so many points at least a service is when an order's time is over: those of a batch, and of its way into the stream.
const DEADLINE_POINTS_MIN: usize = 6;

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

/// Row 1: at every point that this service meets in a purchase it is killed, at one visit or another, around its calls to
/// Stripe at every one, and at those that it meets when an order's time is over also then; each time everything comes to its end.
async fn every_point_of(stage: Stage, part: Part) -> Outcome {
    let (strikes_a_point, at_deadlines) = match part {
        // What a deadline sets going goes through expiration first, and then through all the others but auth.
        Part::Expiration => stage.size((1, true), (3, true)),
        Part::Tickets | Part::Orders | Part::Payments => stage.size((1, false), (3, true)),
        Part::Auth | Part::Stripe => stage.size((1, false), (3, false)),
    };
    let hold = if at_deadlines {
        DEADLINE_HOLD_SECONDS
    } else {
        Setup::default().hold_seconds
    };
    let system = System::start(&Setup::default().hold(hold)).await;
    let market = Market::open(&system, 2, hold, stage.seed).await;
    let _keeper = system.keep_alive();
    let mut random = stage.random();
    let mut strikes = Strikes::default();
    for (point, visits) in visits_of_a_story(&system, &market, part).await {
        let chosen: Vec<u64> = if each_visit_differs(&stage, point) {
            (1..=visits).collect()
        } else {
            let visit = |nth| match nth {
                // A long run has the first one always, so that no row depends on chance alone.
                0 if strikes_a_point > 1 => 1,
                _ => random.between(1, visits),
            };
            (0..strikes_a_point).map(visit).collect()
        };
        for visit in chosen {
            let met = in_a_story(&system, &market, (part, point), visit).await;
            strikes.add(met, &system, &market).await;
        }
        if at_deadlines && at_a_deadline(&system, &market, (part, point)).await {
            strikes.at_deadlines += 1;
            strikes.add(1, &system, &market).await;
        }
        strikes.points += 1;
        stage.say(&format!("{} is done", point.name()));
    }
    assert!(
        !at_deadlines || strikes.at_deadlines >= DEADLINE_POINTS_MIN,
        "only {} points of {} were met when an order's time was over",
        strikes.at_deadlines,
        part.name()
    );
    strikes.outcome(&system)
}

/// Whether a point is another one at each visit: a call to Stripe creates, reads, captures, voids or gives back, and only
/// being killed at all of them is being killed after a capture. A short run takes them where more can go wrong, behind.
fn each_visit_differs(stage: &Stage, point: Point) -> bool {
    point == Point::AfterStripe || (point == Point::BeforeStripe && stage.form == Form::Long)
}

/// What was done to one service, and what came of it.
#[derive(Default)]
struct Strikes {
    points: usize,
    count: usize,
    at_deadlines: usize,
    latest_visit: u64,
    times: Times,
    verdict: Verdict,
}

impl Strikes {
    /// A strike at this visit of a point; all must come right before the next one.
    async fn add(&mut self, visit: u64, system: &System, market: &Market) {
        self.count += 1;
        self.latest_visit = self.latest_visit.max(visit);
        self.verdict = settle(system, market, Healed::now(system)).await;
        self.times = self.times.max(self.verdict.times);
    }

    fn outcome(self, system: &System) -> Outcome {
        let at_deadlines = match self.at_deadlines {
            0 => String::new(),
            times => format!(", {times} of them when an order's time was over"),
        };
        Outcome {
            done: format!(
                "killed {} times at {} points, up to their visit {} in a purchase{at_deadlines}",
                self.count, self.points, self.latest_visit
            ),
            kills: system.kills(),
            verdict: Verdict {
                times: self.times,
                ..self.verdict
            },
        }
    }
}

/// A story to which nothing is done: the points that the service comes to, and how often.
async fn visits_of_a_story(system: &System, market: &Market, part: Part) -> Vec<(Point, u64)> {
    for point in Point::ALL {
        system.count_visits(part, *point);
    }
    story(system, market).await;
    let counted = Point::ALL
        .iter()
        .map(|point| (*point, system.visits_counted(part, *point)));
    counted.filter(|(_, visits)| *visits > 0).collect()
}

/// Kills a service at a visit of a point in a story; at an earlier one, where this story makes fewer. At which it was.
async fn in_a_story(system: &System, market: &Market, (part, point): (Part, Point), wanted: u64) -> u64 {
    let mut visit = wanted;
    for _ in 0..STORIES_MAX {
        system.arm(part, point, &format!("kill {visit}"));
        story(system, market).await;
        if !system.disarm(part, point) {
            return visit;
        }
        visit = visit.div_ceil(2);
    }
    panic!(
        "{} never came to {} in {STORIES_MAX} purchases, though it did before",
        part.name(),
        point.name()
    );
}

/// Kills a service at a point when nothing is under way but an order whose time is over soon. Whether it came there.
async fn at_a_deadline(system: &System, market: &Market, (part, point): (Part, Point)) -> bool {
    let ticket = market.list(1).await.expect("a listing is answered 201");
    let order = market.order(0, &ticket).await.expect_taken();
    // Its being placed has been heard of by then, so that the next visit is the deadline's.
    pause(DEADLINE_HOLD_SECONDS * 1_000 / 2).await;
    system.arm(part, point, "kill 1");
    market.go_on(0, &order, Plan::LetExpire).await;
    // What follows from it at the others may still be under way.
    is_met(system, part, point).await
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
