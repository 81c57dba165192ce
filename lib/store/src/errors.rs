//! What can go wrong: on reading, in a transaction, with a cursor.

use std::sync::Arc;

use events::Position;

/// Why a row can't be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store does not serve at the moment: it is being reopened, old, or closed.
    #[error("the store does not serve: {0}")]
    Unavailable(Arc<str>),
    /// A row is not what was written.
    #[error("a stored row is damaged: {0}")]
    Damaged(Arc<str>),
}

/// Why an event is not applied now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// It has been applied before.
    #[error("the event was applied before")]
    Duplicate,
    /// Events before it are missing.
    #[error("events are missing: {expected} comes next")]
    Gap {
        /// The one that comes next.
        expected: Position,
    },
}

/// Why a step inside a transaction failed. Converts with `?` into [`TransactError`] of every kind.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TxnError {
    /// The row is not the version that the put names.
    #[error("the row has changed since it was read")]
    Conflict,
    /// The event is not the next one.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The idempotency key came before, with another body.
    #[error("the idempotency key was used before with another request")]
    KeyReused,
    /// A row can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a transaction ended, if not well. `E` is the domain's own refusal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransactError<E> {
    /// The domain refused; nothing was changed.
    #[error("refused: {0}")]
    Refused(E),
    /// A row had another version than the one to be replaced; nothing was changed.
    #[error("the row has changed since it was read")]
    Conflict,
    /// An event was not the next one; nothing was changed.
    #[error(transparent)]
    Cursor(CursorError),
    /// The idempotency key came before, with another body; nothing was changed.
    #[error("the idempotency key was used before with another request")]
    KeyReused,
    /// Too many transactions wait already; nothing was changed.
    #[error("too many transactions wait")]
    Busy,
    /// Writing failed half-way: the change may or may not be there when the store is open again.
    #[error("the outcome is unknown: {0}")]
    Unknown(Arc<str>),
    /// The store does not serve: it is being reopened, old, or closed; nothing was changed.
    #[error("the store does not serve: {0}")]
    Unavailable(Arc<str>),
    /// The transaction panicked; nothing was changed.
    #[error("the transaction panicked: {0}")]
    Panicked(String),
    /// A row that the transaction needs is damaged; nothing was changed.
    #[error("a stored row is damaged: {0}")]
    Damaged(Arc<str>),
}

impl<E> TransactError<E> {
    /// The domain's refusal, for `map_err(TransactError::refuse)?`.
    pub fn refuse(refusal: impl Into<E>) -> Self {
        Self::Refused(refusal.into())
    }

    /// The same, with the domain's refusal changed into another.
    pub fn map_refused<F>(self, f: impl FnOnce(E) -> F) -> TransactError<F> {
        match self {
            Self::Refused(refusal) => TransactError::Refused(f(refusal)),
            Self::Conflict => TransactError::Conflict,
            Self::Cursor(error) => TransactError::Cursor(error),
            Self::KeyReused => TransactError::KeyReused,
            Self::Busy => TransactError::Busy,
            Self::Unknown(why) => TransactError::Unknown(why),
            Self::Unavailable(why) => TransactError::Unavailable(why),
            Self::Panicked(message) => TransactError::Panicked(message),
            Self::Damaged(what) => TransactError::Damaged(what),
        }
    }
}

impl<E> From<StoreError> for TransactError<E> {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(why) => Self::Unavailable(why),
            StoreError::Damaged(what) => Self::Damaged(what),
        }
    }
}

impl<E> From<CursorError> for TransactError<E> {
    fn from(error: CursorError) -> Self {
        Self::Cursor(error)
    }
}

impl<E> From<TxnError> for TransactError<E> {
    fn from(error: TxnError) -> Self {
        match error {
            TxnError::Conflict => Self::Conflict,
            TxnError::Cursor(error) => Self::Cursor(error),
            TxnError::KeyReused => Self::KeyReused,
            TxnError::Store(error) => error.into(),
        }
    }
}

/// A part of a transaction panicked, and what it had staged was taken back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {0}")]
pub struct Panicked(pub String);

/// What a caught panic says.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
