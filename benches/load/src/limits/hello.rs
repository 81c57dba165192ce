//! How often this machine can answer HTTP with nothing behind it: the same server crate as the system's, in a process of
//! its own, asked by the same load generator on the same cores.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use super::{BARE_HTTP, LimitError};
use crate::drive::{Pace, Plan, drive};
use crate::http::Request;
use crate::number::{float, per, rounded};
use crate::place::{Base, Place};
use crate::results::Limit;
use crate::scenario::{Failed, Scenario};
use crate::user::User;

/// The command by which this program becomes that server.
pub const COMMAND: &str = "serve-hello";

/// Asks for nothing, again and again.
struct Hello;

impl Scenario for Hello {
    async fn operate(&self, user: &mut User, _: u64) -> Result<(), Failed> {
        user.call("GET /", &[200], Request::get("/")).await.map(drop)
    }
}

/// Serves until whoever started it is gone, which its standard input tells.
pub fn serve() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime can't be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let served = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/", get(async || "hello"));
        let over = tokio::task::spawn_blocking(|| std::io::stdin().lines().count());
        tokio::select! {
            served = axum::serve(listener, router) => served,
            _ = over => Ok(()),
        }
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bare HTTP can't be served: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures it.
pub(super) async fn measure(each: Duration, connections: usize) -> Result<Limit, LimitError> {
    let failed = |error: std::io::Error| LimitError::new(BARE_HTTP, &error);
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .arg(COMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
    }
    let base: Base = line
        .trim()
        .parse()
        .map_err(|error| LimitError::new(BARE_HTTP, &error))?;
    let plan = Plan {
        connections,
        pace: Pace::Closed,
        warm_up: each / 4,
        measured: each,
        drain: each,
    };
    let driven = drive(&Arc::new(Hello), &Place::at(base), &plan, &mut ()).await;
    // It ends by itself once its standard input is closed; waiting for it leaves no zombie behind.
    drop(child.stdin.take());
    child.wait().map_err(failed)?;
    let told = driven.kept.operations.percentiles();
    Ok(Limit {
        name: BARE_HTTP.to_owned(),
        value: rounded(per(float(driven.kept.operations.count()), driven.seconds), 1),
        unit: "/s".to_owned(),
        how: format!(
            "axum answering `hello` to {connections} connections; p50 {} ms, p99 {} ms",
            told.p50_ms, told.p99_ms
        ),
    })
}
