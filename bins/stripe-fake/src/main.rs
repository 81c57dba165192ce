//! The stand-in for Stripe as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use stripe_fake::{Config, SECRET_KEY_DEFAULT, StripeFake, WEBHOOK_SECRET_DEFAULT};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long open requests may take to finish after SIGTERM or ctrl-C.
const DRAIN_SECONDS_MAX: u64 = 8;

/// The part of Stripe that Boxoffice uses, for laptops and tests: hosted Checkout with test cards, captures,
/// cancellations, refunds, idempotency keys and signed webhooks. No money moves.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "STRIPE_FAKE_LISTEN", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Where the books are kept; without it they end with the process
    #[arg(long, env = "STRIPE_FAKE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Under which address a browser reaches the payment page [default: the address listened on]
    #[arg(long, env = "STRIPE_FAKE_PUBLIC_URL")]
    public_url: Option<String>,
    /// Where events are sent (http only); nowhere, if absent
    #[arg(long, env = "STRIPE_WEBHOOK_URL")]
    webhook_url: Option<String>,
    /// The key that API requests must show
    #[arg(long, env = "STRIPE_SECRET_KEY", default_value = SECRET_KEY_DEFAULT, hide_env_values = true)]
    secret_key: String,
    /// What events are signed with
    #[arg(long, env = "STRIPE_WEBHOOK_SECRET", default_value = WEBHOOK_SECRET_DEFAULT, hide_env_values = true)]
    webhook_secret: String,
    /// Let /stripe-fake/faults make things go wrong; never where others can reach it
    #[arg(long, env = "STRIPE_FAKE_FAULTS")]
    faults: bool,
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("can't start the runtime: {error}")),
    };
    match runtime.block_on(run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => failed(&sentence),
    }
}

fn failed(sentence: &str) -> ExitCode {
    tracing::error!("{sentence}");
    ExitCode::FAILURE
}

async fn run(args: Args) -> Result<(), String> {
    let listen = args.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| format!("can't listen on {listen}: {error}"))?;
    let address = listener
        .local_addr()
        .map_err(|error| format!("can't tell the address listened on: {error}"))?;
    let fake = StripeFake::open(Config {
        data_dir: args.data_dir,
        public_url: args.public_url.unwrap_or_else(|| format!("http://{address}")),
        secret_key: args.secret_key,
        webhook_url: args.webhook_url,
        webhook_secret: args.webhook_secret,
        faults_enabled: args.faults,
        ..Config::default()
    })
    .map_err(|error| error.to_string())?;

    let (stop, stopped) = watch::channel(false);
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| format!("can't wait for SIGTERM: {error}"))?;
    let stopping = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        stop.send_replace(true);
        // What still hangs after this, a fault that was asked for among it, is not waited for.
        tokio::time::sleep(Duration::from_secs(DRAIN_SECONDS_MAX)).await;
    };
    println!("listening on http://{address}");
    let routes = fake.router().merge(fake.health_router());
    let serving = axum::serve(listener, routes).with_graceful_shutdown(told(stopped.clone()));
    let working = async { tokio::join!(async { serving.await }, fake.run_background(told(stopped))).0 };
    tokio::select! {
        served = working => served.map_err(|error| format!("the server ended: {error}")),
        () = stopping => Ok(()),
    }
}

/// Ends when it is time to stop.
async fn told(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a reason to stop, too.
    drop(stopped.wait_for(|stopped| *stopped).await);
}
