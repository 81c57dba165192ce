//! `/internal/check`: has the store read every row of its own and compare what it keeps in memory.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use errors::Problem;
use serde_json::{Value, json};
use store::{CheckReport, Indexes, StoreError};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::Inside;
use super::operator::Operator;
use crate::OrProblem as _;

/// How long a request waits for the end of a check. A large store takes longer; then the next one waits for the same.
const CHECK_WAIT_MAX: Duration = Duration::from_secs(25);

/// When to ask again for the end of a check.
const RETRY_SECONDS: u32 = 1;

/// The check that runs, if one does.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<Option<JoinHandle<Result<CheckReport, StoreError>>>>);

/// Checks, and tells what was found.
pub(super) async fn check<I: Indexes>(
    State(inside): State<Inside<I>>,
    _operator: Operator,
) -> Result<Json<Value>, Problem> {
    let still_runs = || Problem::unavailable("The check still runs: ask again for its end", RETRY_SECONDS);
    let ended = tokio::time::timeout(CHECK_WAIT_MAX, async {
        let mut running = inside.checking.0.lock().await;
        let check = running.get_or_insert_with(|| {
            let store = inside.parts.store.clone();
            tokio::task::spawn_blocking(move || store.check_blocking())
        });
        let ended = check.await;
        *running = None;
        ended
    });
    let report = ended
        .await
        .map_err(|_| still_runs())?
        .map_err(|error| Problem::internal(format!("the check was broken off: {error}")))?
        .or_problem()?;
    Ok(Json(json!({
        "service": report.source,
        "good": report.is_good(),
        "epoch": report.head.epoch,
        "seq": report.head.seq,
        "batch": report.batch,
        "rows": report.rows,
        "stateHash": report.state_hash.to_string(),
        "problems": report.problems,
        "problemsCount": report.problems_count,
    })))
}
