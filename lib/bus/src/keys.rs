//! The keys in Redis, all of them, in one place.
//!
//! | key | what |
//! | --- | --- |
//! | `events:SOURCE` | stream: what that service has published; one group per reading service |
//! | `requests:SOURCE` | stream: what consumers ask of that service's relay; read by the relay only, no group |
//! | `roll:SOURCE` | string: the id of that relay's last roll call in its request stream; whoever has not answered it states its cursor |
//! | `inquiries:SOURCE` | list: questions to that service how far it is; see `inquiries.rs` |
//! | `answers:SOURCE:ASKER` | list: what it says to them, for the one process that asked |
//! | `snapshot:SOURCE:GROUP` | stream: all that SOURCE has, for that one reader; see `snapshot.rs` |
//! | `deadlines` | sorted set: order id by deadline in milliseconds; see [`crate::ScheduledSet`] |
//!
//! A prefix goes before each of them, so that tests can share a server; it is empty in production.

use events::Source;

/// Makes the keys of one system.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// The stream that `source` publishes.
    pub(crate) fn events(&self, source: Source) -> String {
        format!("{}events:{source}", self.prefix)
    }

    /// The stream in which consumers ask `source`'s relay.
    pub(crate) fn requests(&self, source: Source) -> String {
        format!("{}requests:{source}", self.prefix)
    }

    /// Which roll `source`'s relay has called last.
    pub(crate) fn roll(&self, source: Source) -> String {
        format!("{}roll:{source}", self.prefix)
    }

    /// The list in which `source` is asked how far it is.
    pub(crate) fn inquiries(&self, source: Source) -> String {
        format!("{}inquiries:{source}", self.prefix)
    }

    /// The list in which `source` answers `asker`.
    pub(crate) fn answers(&self, source: Source, asker: &str) -> String {
        format!("{}answers:{source}:{asker}", self.prefix)
    }

    /// The stream in which `source`'s relay tells `group` all that it has.
    pub(crate) fn snapshot(&self, source: Source, group: Source) -> String {
        format!("{}snapshot:{source}:{group}", self.prefix)
    }

    /// A scheduled set.
    pub(crate) fn set(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
