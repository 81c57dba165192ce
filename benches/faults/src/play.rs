//! Plays one part of the system: this executable started with [`PLAY_VARIABLE`] in its environment is that service.
//!
//! One executable for all parts keeps the failpoints out of the programs that ship, and one build is enough. Each
//! service runs the very `main` that its own program runs. Nothing here knows that it is watched.

use std::net::SocketAddr;
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use stripe_fake::{Config, StripeFake};
use tokio::net::TcpListener;

use crate::part::Part;
use crate::release::{RELEASE_VARIABLE, Release};

/// The variable that says which part is to be played.
pub const PLAY_VARIABLE: &str = "BOXOFFICE_FAULTS_PLAY";

/// How often a part looks whether the bench is still there.
const PARENT_LOOK_MILLIS: u64 = 1_000;

/// What a part ends with when the bench is gone; nobody is left to read it.
const ORPHAN_EXIT_CODE: i32 = 3;

/// The part that the environment asks for, if it asks for one.
pub fn asked_for() -> Option<String> {
    std::env::var(PLAY_VARIABLE).ok()
}

/// Plays it until it is told to stop.
pub fn play(name: &str) -> ExitCode {
    let Some(part) = Part::named(name) else {
        eprintln!("{PLAY_VARIABLE}={name}: there is no such part");
        return ExitCode::from(2);
    };
    end_with_the_bench();
    if let Some(release) = std::env::var_os(RELEASE_VARIABLE)
        && let Err(sentence) = Release::begin(&release.to_string_lossy())
    {
        eprintln!("{RELEASE_VARIABLE}: {sentence}");
        return ExitCode::from(2);
    }
    match part {
        Part::Auth => service::run::<auth::App>(),
        Part::Tickets => service::run::<tickets::App>(),
        Part::Orders => service::run::<orders::App>(),
        Part::Expiration => service::run::<expiration::App>(),
        Part::Payments => service::run::<payments::App>(),
        Part::Stripe => stripe(),
    }
}

/// A part whose bench is gone, killed perhaps, would run for ever and keep its ports.
fn end_with_the_bench() {
    let bench = parent_id();
    std::thread::spawn(move || {
        while parent_id() == bench {
            #[allow(clippy::disallowed_methods, reason = "the pause between two looks")]
            std::thread::sleep(Duration::from_millis(PARENT_LOOK_MILLIS));
        }
        std::process::exit(ORPHAN_EXIT_CODE);
    });
}

/// The stand-in for Stripe; told by the same variables as its own program.
fn stripe() -> ExitCode {
    let served = tokio::runtime::Runtime::new()
        .map_err(|error| format!("can't start the runtime: {error}"))
        .and_then(|runtime| runtime.block_on(serve_stripe()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("stripe-fake: {sentence}");
            ExitCode::FAILURE
        }
    }
}

async fn serve_stripe() -> Result<(), String> {
    let variable = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
    let listen: SocketAddr = variable("STRIPE_FAKE_LISTEN")?
        .parse()
        .map_err(|error| format!("STRIPE_FAKE_LISTEN: {error}"))?;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| format!("can't listen on {listen}: {error}"))?;
    let fake = StripeFake::open(Config {
        data_dir: Some(PathBuf::from(variable("STRIPE_FAKE_DATA_DIR")?)),
        public_url: format!("http://{listen}"),
        secret_key: variable("STRIPE_SECRET_KEY")?,
        webhook_url: Some(variable("STRIPE_WEBHOOK_URL")?),
        webhook_secret: variable("STRIPE_WEBHOOK_SECRET")?,
        faults_enabled: true,
        ..Config::default()
    })
    .map_err(|error| error.to_string())?;
    let serving = async { axum::serve(listener, fake.router()).await };
    tokio::select! {
        served = serving => served.map_err(|error| format!("the server ended: {error}")),
        () = fake.run_background(std::future::pending()) => Err("its background work ended".to_owned()),
    }
}
