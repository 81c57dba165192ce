//! What can go wrong with Redis itself. None of it is ever the end: every part tries again.

use redis::RedisError;

/// Redis did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BusError {
    /// The address can't be one of a Redis server.
    #[error("the Redis address is not valid: {0}")]
    Address(#[source] RedisError),
    /// Redis can't be reached, or the connection broke, or no answer came in time.
    #[error("redis can't be reached: {0}")]
    Unreachable(#[source] RedisError),
    /// Redis refused, for example because it is full or still loads its file.
    #[error("redis refused: {0}")]
    Refused(#[source] RedisError),
    /// Redis answered with something of another shape than the command's.
    #[error("redis answered out of shape: {0}")]
    Shape(&'static str),
}

impl BusError {
    /// Whether Redis has no memory left. It still serves what needs none: reading, acknowledging, trimming.
    pub(crate) fn is_full(&self) -> bool {
        self.code() == Some("OOM")
    }

    /// The server's own code, such as `NOGROUP` or `UNBLOCKED`.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(error) => error.code(),
            Self::Address(_) | Self::Unreachable(_) | Self::Shape(_) => None,
        }
    }
}

impl From<RedisError> for BusError {
    fn from(error: RedisError) -> Self {
        // Only what the server itself said has a code; after anything else (a timeout included) nobody knows
        // what is still on its way over that connection.
        if error.code().is_some() {
            Self::Refused(error)
        } else {
            Self::Unreachable(error)
        }
    }
}
