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

struct Ask;

impl Scenario for Ask {
    async fn operate(&self, user: &mut User, _: u64) -> Result<(), Failed> {
        user.call("GET /", &[200], Request::get("/")).await.map(drop)
    }
}

async fn driven(pace: Pace, connections: usize, stall: Stall) -> Driven {
    let address = serve(stall).await;
    let place = Place::at(format!("http://{address}").parse().expect("an address"));
    let plan = Plan {
        connections,
        pace,
        warm_up: Duration::from_millis(100),
        measured: MEASURED,
        drain: Duration::from_secs(2),
    };
    drive(&Arc::new(Ask), &place, &plan, &mut ()).await
}

#[tokio::test]
async fn an_open_loop_counts_what_a_stall_holds_up() {
    let per_second = 200.0;
    let driven = driven(Pace::Open { per_second }, 4, STALL).await;
    let operations = &driven.kept.operations;
    assert_eq!(
        (operations.count(), driven.kept.failed),
        (400, 0),
        "{:?}",
        driven.kept.errors
    );
    // A quarter of all was due while it stood still, spread evenly over how late it was.
    let told = operations.percentiles();
    assert!(told.max_ms >= 450.0, "{told:?}");
    assert!(
        (300.0..700.0).contains(&operations.quantile_ms(0.95)),
        "{}",
        operations.quantile_ms(0.95)
    );
    assert!(
        operations.quantile_ms(0.6) < 300.0,
        "most of it is fast: {told:?}"
    );
}

#[tokio::test]
async fn a_closed_loop_hides_it_and_is_only_for_throughput() {
    let driven = driven(Pace::Closed, 4, STALL).await;
    let operations = &driven.kept.operations;
    assert!(operations.count() > 1_000, "{}", operations.count());
    // The same standstill: four slow answers among thousands.
    assert!(
        operations.quantile_ms(0.99) < 250.0,
        "{:?}",
        operations.percentiles()
    );
    assert!(
        operations.percentiles().max_ms >= 400.0,
        "{:?}",
        operations.percentiles()
    );
}

#[tokio::test]
async fn what_was_due_and_never_begun_is_a_failure() {
    let never = Stall {
        after: Duration::ZERO,
        lasts: Duration::from_secs(600),
    };
    let driven = driven(Pace::Open { per_second: 50.0 }, 2, never).await;
    assert_eq!(driven.kept.operations.count(), 0);
    // Two hang, and all that was due behind them was never begun; the warm-up's share is among them.
    assert_eq!(driven.kept.failed, 105, "{:?}", driven.kept.errors);
}
