//! What each service's main shares: settings, clock, logs and metrics, the HTTP edge, who may do what, reading
//! what was just written, repeated requests, health, and starting and stopping in order.
//!
//! A service implements [`Service`]; its main is `service::run::<App>()`. The one-process `boxoffice` starts
//! the same services with [`start`], merges their routers, and puts one [`http::edge`] around them.
//!
//! There is no domain here, and nothing of one service that another one does not need.

mod access;
mod clock;
mod command_line;
mod description;
mod health;
mod heard;
pub mod http;
mod idempotency;
mod internal;
mod parts;
mod places;
mod process;
mod recollection;
mod refusal;
mod run;
mod self_check;
mod server;
mod service;
mod settings;
mod shutdown;
mod started;
mod telemetry;
mod trace;
mod transact;
mod turn_away;
mod waiting;

pub use access::{KeyRow, RevocationRow, feed, stage, tables};
pub use clock::Clock;
pub use command_line::{parse_command_line, print_line};
pub use health::{Health, Probe, router as health_router};
pub use idempotency::{ClientKey, Once, Reply};
pub use internal::{OPERATOR_TOKEN_CHARS_MIN, OperatorToken, OverControlSocket};
pub use parts::Parts;
pub use process::prepare_process;
pub use refusal::OrProblem;
pub use run::run;
pub use self_check::{ROWS_CHECKED_MAX, STORE_CHECK_INTERVAL, STORE_ROWS_CHECKED_MAX};
pub use server::{Bounds, CONNECTIONS_MAX, DRAIN_SECONDS_MAX, serve, serve_within};
pub use service::{Built, Dependency, Service, StartError, Task};
pub use settings::{LogFormat, Settings};
pub use shutdown::{Shutdown, ShutdownTrigger};
pub use started::{FIRST_LOOK_MILLIS_MAX, Started, start};
pub use telemetry::{init_logs, init_logs_from, metrics};
pub use trace::{Traces, current as current_trace, send_traces};
pub use transact::{TRANSACTION_ANSWER_MAX, TRANSACTION_WAIT_MAX};
pub use waiting::{FRESH_ID_SECONDS_MAX, LONG_POLLS_MAX, READ_WAIT_MAX, READ_WAITERS_MAX};
