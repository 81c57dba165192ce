//! A stall must be seen as what it is. A closed loop asks nothing while it waits, so that a second of standstill is one
//! slow answer of each connection; an open loop counts everything that was due in that second.

use std::sync::Arc;
use std::time::Duration;

use load::drive::{Driven, Pace, Plan, drive};
use load::http::Request;
use load::place::Place;
use load::scenario::{Failed, Scenario};
use load::user::User;

use crate::stalling::{Stall, serve};

/// Within a window of two seconds, the server stands still for half a second.
const MEASURED: Duration = Duration::from_secs(2);
const STALL: Stall = Stall {
    after: Duration::from_millis(700),
    lasts: Duration::from_millis(500),
};

/// How long what was begun or due may take, where all of it must be answered.
const PATIENCE: Duration = Duration::from_secs(60);

struct Ask;

impl Scenario for Ask {
    async fn operate(&self, user: &mut User, _: u64) -> Result<(), Failed> {
        user.call("GET /", &[200], Request::get("/")).await.map(drop)
    }
}

async fn driven(pace: Pace, connections: usize, stall: Stall, drain: Duration) -> Driven {
    let address = serve(stall).await;
    let place = Place::at(format!("http://{address}").parse().expect("an address"));
    let plan = Plan {
        connections,
        pace,
        warm_up: Duration::from_millis(100),
        measured: MEASURED,
        drain,
    };
    drive(&Arc::new(Ask), &place, &plan, &mut ()).await
}

/// What else the machine does can only make an answer later: so what is slow is bounded from below, and what is fast is
/// compared with the other loop.
#[tokio::test]
async fn an_open_loop_counts_what_a_stall_holds_up_and_a_closed_one_hides_it() {
    let per_second = 200.0;
    let open = driven(Pace::Open { per_second }, 4, STALL, PATIENCE).await;
    let operations = &open.kept.operations;
    assert_eq!(
        (operations.count(), open.kept.failed),
        (400, 0),
        "{:?}",
        open.kept.errors
    );
    // A quarter of all was due while it stood still, spread evenly over how late it was.
    let told = operations.percentiles();
    assert!(told.max_ms >= 450.0, "{told:?}");
    assert!(operations.quantile_ms(0.95) >= 300.0, "{told:?}");

    // The same standstill: four slow answers among very many. That loop is only for throughput.
    let closed = driven(Pace::Closed, 4, STALL, PATIENCE).await;
    let hidden = &closed.kept.operations;
    assert!(hidden.count() > 100, "{}", hidden.count());
    assert!(hidden.percentiles().max_ms >= 100.0, "{:?}", hidden.percentiles());
    assert!(
        operations.quantile_ms(0.95) > 3.0 * hidden.quantile_ms(0.95),
        "{told:?} {:?}",
        hidden.percentiles()
    );
}

#[tokio::test]
async fn what_was_due_and_never_begun_is_a_failure() {
    let never = Stall {
        after: Duration::ZERO,
        lasts: Duration::from_secs(600),
    };
    let driven = driven(Pace::Open { per_second: 50.0 }, 2, never, Duration::from_secs(2)).await;
    assert_eq!(driven.kept.operations.count(), 0);
    // Two hang, and all that was due behind them was never begun; the warm-up's share is among them.
    assert_eq!(driven.kept.failed, 105, "{:?}", driven.kept.errors);
}
