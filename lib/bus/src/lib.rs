//! How events travel between the services: over Redis Streams, which may lose anything at any time.
//!
//! **outbox → [`Relay`] → stream → [`Consumer`] → [`Handler`]**
//!
//! The truth stands in the stores at both ends. The outbox keeps what was published; the consumer's cursor,
//! moved in the transaction of the effect, says what was applied. In between, Redis is transport and timer:
//! after a `FLUSHALL` in the middle of everything, the relay sees that the stream is gone and publishes what
//! it has kept, and the consumers drop what they know. Events of one source arrive in order, each is applied
//! exactly once, and none is skipped.
//!
//! - [`Bus`]: where Redis is; never a reason not to start. [`BusStatus`]: how the parts are doing.
//! - [`Relay`]: one per service, the only publisher of its stream.
//! - [`Consumer`]: one per service and source it reads. What can't be applied becomes a dead letter in the
//!   consumer's store.
//! - [`ScheduledSet`]: a timer of deadlines.
//!
//! It is not a message broker's client for arbitrary messages, knows no subscribers but [`readers`], and holds
//! no state that it could not find out again.
//!
//! # A stream entry
//! Four fields: `seq` (the number in the producer's outbox), `type`, `subject`, `envelope` (JSON, with the
//! epoch). The stream's last readable entry is the relay's only mark of how far it has come.
//!
//! # Metrics
//! By `source`: `bus_relayed_total`, `bus_unpublished_events` (gauge), `bus_relay_errors_total`,
//! `bus_relay_mismatches_total` (the stream was not as the relay had left it), `bus_resends_total`,
//! `bus_resends_refused_total` (a reader needs a snapshot). By `source` and `group`: `bus_lag_events` (gauge),
//! `bus_applied_total`, `bus_passed_total` (of no concern), `bus_stale_total`, `bus_duplicates_total`,
//! `bus_gaps_total`, `bus_resend_requests_total`, `bus_dead_letters_total`, `bus_consumer_errors_total`.

mod apply;
mod backoff;
mod bus;
mod consumer;
mod decode;
mod entry;
mod errors;
mod group;
mod handler;
mod head;
mod history;
mod keys;
mod link;
mod publisher;
mod recovery;
mod relay;
mod replay;
mod requests;
mod restating;
mod roll;
mod scheduled_set;
mod snapshot;
mod snapshots;
mod standing;
mod status;
mod stream;
mod topology;
mod trim;

pub use bus::{Bus, BusConfig, Clock};
pub use consumer::{ConsumeError, Consumed, Consumer, HANDLER_TRIES_MAX};
pub use errors::BusError;
pub use group::READ_ENTRIES_MAX;
pub use handler::{Applied, Handler, Impossible};
pub use publisher::{RELAY_BYTES_MAX, RELAY_EVENTS_MAX, RelayError, Relayed};
pub use recovery::{Adopted, NotRecovering, Recovery};
pub use relay::{Relay, Trimmed};
pub use replay::{ReplayError, Replayed, drop_letter, replay};
pub use scheduled_set::{DUE_ORDERS_MAX, ScheduledSet};
pub use standing::TakenBack;
pub use status::{BusStatus, SourceState, SourceStatus};
pub use topology::readers;
