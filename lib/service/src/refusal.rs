//! The store's errors in the words of the contract, in one place for all services.

use errors::Problem;
use store::{StoreError, TransactError};

/// When a client should try again after a store had no place or no answer.
const STORE_RETRY_SECONDS: u32 = 1;

/// Turns what went wrong below a handler into the problem that the client is told. A service's own refusals
/// are turned by its `impl From<…> for Problem`.
pub trait OrProblem<T> {
    /// The value, or the problem.
    ///
    /// # Errors
    /// The problem to answer with.
    fn or_problem(self) -> Result<T, Problem>;
}

impl<T, E: Into<Problem>> OrProblem<T> for Result<T, TransactError<E>> {
    fn or_problem(self) -> Result<T, Problem> {
        self.map_err(|error| match error {
            TransactError::Refused(refusal) => refusal.into(),
            TransactError::Conflict => {
                Problem::conflict("It was changed by someone else at the same time: read it again")
            }
            TransactError::KeyReused => {
                Problem::unprocessable("This Idempotency-Key was used before with another request")
            }
            TransactError::Busy => Problem::unavailable(
                "Too many requests wait already, try again soon",
                STORE_RETRY_SECONDS,
            ),
            TransactError::Unknown(cause) => Problem::unavailable(
                "It is not known whether this was done: look before you try again",
                STORE_RETRY_SECONDS,
            )
            .because(cause.as_ref()),
            TransactError::Unavailable(cause) => unavailable(&cause),
            TransactError::Cursor(error) => Problem::internal(format!("a request met a cursor: {error}")),
            TransactError::Panicked(message) => {
                Problem::internal(format!("a transaction panicked: {message}"))
            }
            TransactError::Damaged(what) => Problem::internal(format!("a row is damaged: {what}")),
        })
    }
}

impl<T> OrProblem<T> for Result<T, StoreError> {
    fn or_problem(self) -> Result<T, Problem> {
        self.map_err(|error| match error {
            StoreError::Unavailable(cause) => unavailable(&cause),
            StoreError::Damaged(what) => Problem::internal(format!("a row is damaged: {what}")),
        })
    }
}

fn unavailable(cause: &str) -> Problem {
    Problem::unavailable("Not available at the moment, try again soon", STORE_RETRY_SECONDS).because(cause)
}
