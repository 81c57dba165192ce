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
//! - [`Inquirer`]: one per service and source it reads; asks the source how far it is, for [`Bus::head`].
//! - [`ScheduledSet`]: a timer of deadlines.
//!
//! It is not a message broker's client for arbitrary messages, knows no subscribers but [`readers`], and holds
//! no state that it could not find out again.
//!
//! # A stream entry
//! Four fields: `seq` (the number in the producer's outbox), `type`, `subject`, `envelope` (JSON, with the
//! epoch). The stream's last readable entry is the relay's only mark of how far it has come.
//!
//! # After a loss
//! - A *store* that was set back shows in that its stream, or a reader's cursor, is ahead of it. Its relay takes its
//!   own events back from the stream before it serves ([`Recovery::adopt`], [`Relay::compared`]), or refuses.
//! - A *reader* that events can't help any more, because the outbox does not keep them or because the source had to
//!   begin a new epoch, gets a snapshot ([`Recovery::restate`], [`Recovery::restated`], [`Recovery::forsake`]).
//! - A *dead letter* is applied late with [`replay()`].
//!
//! # Metrics
//! All counters are there from the start.
//!
//! | name | by | says |
//! | --- | --- | --- |
//! | `bus_lag_events` (gauge) | source, group | how many events a reader is behind the stream |
//! | `bus_unpublished_events` (gauge) | source | the depth of the outbox: what is decided and not in the stream |
//! | `bus_relayed_total` | source | events that were appended |
//! | `bus_relay_errors_total` | source | steps of the relay that failed and were tried again |
//! | `bus_relay_mismatches_total` | source | the stream was not as the relay had left it |
//! | `bus_resends_total` | source | the relay has gone back for a reader |
//! | `bus_snapshots_total` | source, group | snapshots that were made |
//! | `bus_adopted_events_total` | source | own events that a store has taken back from its stream |
//! | `bus_adopted_without_total` | source | among them, such that could not come back whole |
//! | `bus_applied_total` | source, group | events that were applied |
//! | `bus_passed_total` | source, group | events of no concern |
//! | `bus_stale_total` | source, group | events that came too late to change anything |
//! | `bus_restated_total` | source, group | entities that were applied out of snapshots |
//! | `bus_duplicates_total` | source, group | entries that were dropped as repeats |
//! | `bus_gaps_total` | source, group | entries that were dropped because something before them was missing |
//! | `bus_resend_requests_total` | source, group | how often missing events were asked for |
//! | `bus_handler_retries_total` | source, group | how often something that could not be applied was tried again |
//! | `bus_dead_letters_total` | source, group | dead letters that were written; `store_dead_letters` says how many lie there |
//! | `bus_inquiries_total` | source, group | how often a source was asked how far it is |
//! | `bus_inquiries_unanswered_total` | source, group | among them, such that found no answer within half a second |
//! | `bus_consumer_errors_total` | source, group | steps of a consumer that failed and were tried again |

mod answerer;
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
mod inquirer;
mod inquiries;
mod instruments;
mod keys;
mod link;
mod place;
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
pub use inquirer::Inquirer;
pub use publisher::{RELAY_BYTES_MAX, RELAY_EVENTS_MAX, RelayError, Relayed};
pub use recovery::{Adopted, NotRecovering, Recovery};
pub use relay::{Relay, Trimmed};
pub use replay::{ReplayError, Replayed, drop_letter, replay};
pub use scheduled_set::{DUE_ORDERS_MAX, ScheduledSet};
pub use standing::TakenBack;
pub use status::{BusStatus, SourceState, SourceStatus};
pub use topology::readers;
