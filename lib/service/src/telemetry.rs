//! Logs and metrics of a process.

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// What is logged when `RUST_LOG` says nothing.
const LOG_DEFAULT: &str = "info";

/// Histogram bounds: from a memory read to a long poll.
const BUCKET_SECONDS: [f64; 22] = [
    0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.000_7, 0.001, 0.001_5, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015,
    0.02, 0.03, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0,
];

/// Logs go to stderr from now on; stdout is for what was asked for. Only the first call in a process counts.
///
/// # Errors
/// When `RUST_LOG` can't be understood; the sentence names it.
pub fn init_logs(format: LogFormat) -> Result<(), String> {
    init_logs_from(format, LOG_DEFAULT)
}

/// As [`init_logs`], with other directives for when `RUST_LOG` says nothing.
///
/// # Errors
/// When the directives can't be understood; the sentence names `RUST_LOG`.
pub fn init_logs_from(format: LogFormat, default: &str) -> Result<(), String> {
    let directives = std::env::var("RUST_LOG").unwrap_or_else(|_| default.to_owned());
    let filter = EnvFilter::try_new(&directives)
        .map_err(|error| format!("RUST_LOG is not a list of log directives: {error}"))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let installed = match format {
        LogFormat::Human => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .try_init(),
    };
    if installed.is_err() {
        tracing::debug!("this process logs already");
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, message, "panicked");
    }));
    Ok(())
}

/// How often what histograms have collected is put into their buckets, scraped or not: until then each sample
/// takes memory.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The metrics of this process, which has one recorder, whoever asks first.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&BUCKET_SECONDS)
            .expect("the list of bounds is not empty")
            .build_recorder();
        let handle = recorder.handle();
        keep_up(handle.clone());
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed: /metrics stays empty");
        }
        handle
    })
}

fn keep_up(handle: PrometheusHandle) {
    let upkeep = move || {
        loop {
            std::thread::park_timeout(UPKEEP_INTERVAL);
            handle.run_upkeep();
        }
    };
    let spawned = std::thread::Builder::new()
        .name("metrics-upkeep".to_owned())
        .spawn(upkeep);
    if let Err(error) = spawned {
        tracing::error!(%error, "metrics are not kept up: their memory grows until they are scraped");
    }
}
