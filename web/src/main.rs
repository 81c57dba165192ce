//! The site as a process of its own: flags, log, listener, graceful stop.

use std::net::SocketAddr;

use clap::Parser;
use jiff::Timestamp;
use tracing_subscriber::EnvFilter;

/// The website of Boxoffice: pages in front of the five services.
#[derive(Parser)]
#[command(name = "web", version)]
struct Flags {
    #[command(flatten)]
    config: web::Config,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let flags = Flags::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let listener = tokio::net::TcpListener::bind(flags.config.listen).await?;
    let upstream = web::Upstream::http(flags.config.service_urls());
    let (stopping, stopped) = tokio::sync::watch::channel(false);
    let router = web::router(
        flags.config.settings(web::Clock::new(now)).stopping_with(stopped),
        upstream,
    );
    println!("listening on http://{}", listener.local_addr()?);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(async move {
            stop().await;
            stopping.send_replace(true);
        })
        .await
}

#[expect(clippy::disallowed_methods, reason = "this is the clock of the site's edge")]
fn now() -> Timestamp {
    Timestamp::now()
}

async fn stop() {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .expect("a process may listen to its own signals");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
