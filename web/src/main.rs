//! The site as a process of its own.

use std::error::Error;
use std::process::ExitCode;

use axum::routing::get;
use axum::{Json, Router};
use clap::{CommandFactory as _, Parser};
use serde_json::json;
use service::{Clock, Shutdown, parse_command_line, prepare_process, print_line};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The website of Boxoffice: pages in front of the five services.
#[derive(Parser)]
#[command(name = "web", version)]
struct Flags {
    #[command(flatten)]
    config: web::Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    prepare_process();
    let flags: Flags = parse_command_line(Flags::command());
    match run(flags.config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("web: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: web::Config) -> Result<(), Box<dyn Error>> {
    service::init_logs(config.log_format)?;
    service::metrics();
    let traces = service::send_traces("web")?;
    let shutdown = Shutdown::on_signals()?;
    let address = config.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("WEB_LISTEN {address}: {error}"))?;
    if let Some(address) = config.internal_listen {
        let internal = TcpListener::bind(address)
            .await
            .map_err(|error| format!("WEB_INTERNAL_LISTEN {address}: {error}"))?;
        tokio::spawn(service::serve(internal, internal_routes(), shutdown.clone()));
    }
    let upstream = web::Upstream::http(config.service_urls());
    let settings = config
        .settings(web::Clock::of_process(Clock::new()))
        .with_shutdown(shutdown.clone());
    let router = web::router(settings, upstream);
    print_line(&format!("listening on http://{}", listener.local_addr()?));
    service::serve(listener, router, shutdown).await;
    traces.flush().await;
    Ok(())
}

/// The site holds nothing that could be lost or behind: while it answers it is live and ready, also with
/// services missing, since then its pages say so.
fn internal_routes() -> Router {
    Router::new()
        .route("/healthz", get(async || Json(json!({ "live": true }))))
        .route("/readyz", get(async || Json(json!({ "ready": true }))))
        .route("/metrics", get(async || service::metrics().render()))
}
