//! The one place where this crate asks what time it is. Everything else is told, so that a test can let
//! a session expire, or an idempotency key be forgotten, without waiting for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch, as all of Stripe's timestamps are.
pub(crate) type Seconds = i64;

/// Where the time comes from.
#[derive(Clone, Default)]
pub enum Clock {
    /// The machine's own clock.
    #[default]
    System,
    /// A clock that stands still until a test moves it; it holds seconds since the Unix epoch.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Seconds since the Unix epoch.
    #[expect(
        clippy::disallowed_methods,
        reason = "plays another company and depends on none of our libraries, so it has a clock of its own"
    )]
    pub(crate) fn now(&self) -> Seconds {
        match self {
            Self::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)),
            Self::Manual(seconds) => seconds.load(Ordering::SeqCst),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("Clock::System"),
            Self::Manual(seconds) => write!(f, "Clock::Manual({})", seconds.load(Ordering::SeqCst)),
        }
    }
}
