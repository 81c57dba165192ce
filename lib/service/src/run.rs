//! The main of a service in a process of its own.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser};
use tokio::net::TcpListener;

use crate::command_line::{parse_command_line, print_line};
use crate::process::prepare_process;
use crate::server::Bounds;
use crate::settings::{INTERNAL_LISTEN_VARIABLE, listen_default, listen_variable};
use crate::{Service, Settings, Shutdown, StartError, health, http, send_traces, server, start, telemetry};

/// The exit code of a process that could not start.
const EXIT_NOT_STARTED: u8 = 1;

#[derive(Debug, Parser)]
#[command(version)]
struct Config<O: Args> {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    options: O,
}

/// Runs the service `S` until SIGTERM or ctrl-C. What stops it from starting is said in one sentence on stderr.
pub fn run<S: Service>() -> ExitCode {
    prepare_process();
    let config = configure::<S>();
    if let Err(error) = telemetry::init_logs(config.settings.log_format) {
        return not_started::<S>(&error);
    }
    telemetry::metrics();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return not_started::<S>(&format!("the runtime can't be started: {error}")),
    };
    match runtime.block_on(serve::<S>(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => not_started::<S>(&error.to_string()),
    }
}

/// The command line, with the name, the address and the words of this service.
fn configure<S: Service>() -> Config<S::Options> {
    let command = Config::<S::Options>::command()
        .name(S::SOURCE.as_str())
        .about(S::ABOUT)
        .mut_arg("listen", |arg| {
            arg.env(listen_variable(S::SOURCE))
                .default_value(listen_default(S::SOURCE))
        });
    parse_command_line(command)
}

async fn serve<S: Service>(config: Config<S::Options>) -> Result<(), StartError> {
    let Config { settings, options } = config;
    let shutdown = Shutdown::on_signals()
        .map_err(|error| StartError::Failed(format!("signals can't be listened for: {error}")))?;
    let traces = send_traces(S::SOURCE.as_str()).map_err(StartError::Failed)?;
    // The addresses first: a process that can't serve should not open a store for nothing.
    let (listener, address) = listen(listen_variable(S::SOURCE), settings.listen).await?;
    let internal = match settings.internal_listen {
        Some(address) => Some(listen(INTERNAL_LISTEN_VARIABLE, address).await?),
        None => None,
    };
    let started = start::<S>(&settings, options, shutdown.clone()).await?;
    let openapi = started.openapi.clone();
    let public = started.api.clone().route(
        "/api/openapi.json",
        axum::routing::get(async move || axum::Json(openapi)),
    );
    let inside = started
        .internal
        .clone()
        .merge(health::router(vec![started.probe.clone()]));
    let (public, inside) = match internal {
        Some((listener, address)) => {
            print_line(&format!("internal on http://{address}"));
            let bounds = Bounds::internal();
            let inside = server::serve_within(bounds, listener, http::edge(inside), shutdown.clone());
            (public, Some(tokio::spawn(inside)))
        }
        None => (public.merge(inside), None),
    };
    print_line(&format!("listening on http://{address}"));
    tracing::info!(service = %S::SOURCE, %address, "serving");
    server::serve(listener, http::edge(public), shutdown).await;
    if let Some(inside) = inside
        && let Err(error) = inside.await
    {
        tracing::error!(%error, "the server of what is for the inside panicked");
    }
    // Traces last: what is applied while the loops end is told, too. A collector that hangs adds less than half a second.
    started.stop().await;
    traces.flush().await;
    Ok(())
}

/// Takes an address, and says which it is.
async fn listen(
    variable: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let refused = |error| StartError::Listen {
        variable,
        address,
        error,
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

fn not_started<S: Service>(why: &str) -> ExitCode {
    #[allow(
        clippy::print_stderr,
        reason = "logs may not be set up, and a person reads this"
    )]
    {
        eprintln!("{}: {why}", S::SOURCE);
    }
    ExitCode::from(EXIT_NOT_STARTED)
}
