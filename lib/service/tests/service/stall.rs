//! A disk that takes its time, played by a transaction that holds the writer up.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use testkit::{Client, eventually};
use tokio::task::JoinSet;

use crate::world::SOON;

/// Longer than any test waits.
const UNTIL_LET_GO_MILLIS: u64 = 60_000;

/// Whether a stalled writer may go on, and how many have been stalled.
static GATE: Mutex<Gate> = Mutex::new(Gate { open: false, held: 0 });
static OPENED: Condvar = Condvar::new();

struct Gate {
    open: bool,
    held: u32,
}

/// Holds the thread up until the gate opens, or for so long. What the route `/stall` does within its transaction.
pub(crate) fn hold_up(at_most: Duration) {
    let mut gate = GATE.lock().unwrap_or_else(PoisonError::into_inner);
    gate.held += 1;
    let waited = OPENED.wait_timeout_while(gate, at_most, |gate| !gate.open);
    drop(waited.unwrap_or_else(PoisonError::into_inner));
}

/// A writer that is held up, until this is ended.
pub(crate) struct Stall(JoinSet<()>);

impl Stall {
    /// Holds up every batch for so long.
    pub(crate) fn each_batch(client: &Client, for_so_long: Duration) -> Self {
        let mut stalls = JoinSet::new();
        // Two, so that one waits for the next batch while the other is in the present one.
        for _ in 0..2 {
            let client = client.clone();
            stalls.spawn(async move {
                loop {
                    let millis = u64::try_from(for_so_long.as_millis()).unwrap();
                    client.post("/stall", &json!({ "millis": millis })).send().await;
                }
            });
        }
        Self(stalls)
    }

    /// Holds up the writer until [`Self::end`]; returns when it is.
    pub(crate) async fn for_now(client: &Client) -> Self {
        let held = || GATE.lock().unwrap_or_else(PoisonError::into_inner).held;
        let before = held();
        let mut stalls = JoinSet::new();
        let client = client.clone();
        stalls.spawn(async move {
            let millis = json!({ "millis": UNTIL_LET_GO_MILLIS });
            client.post("/stall", &millis).send().await;
        });
        eventually("the writer to be held up", SOON, || async {
            (held() > before).then_some(())
        })
        .await;
        Self(stalls)
    }

    /// Lets the writer go on.
    pub(crate) async fn end(mut self) {
        GATE.lock().unwrap_or_else(PoisonError::into_inner).open = true;
        OPENED.notify_all();
        self.0.shutdown().await;
    }
}
