//! What one user does again and again.

pub mod browse;
pub mod create;
pub mod expiry;
pub mod mix;
pub mod purchase;
pub mod reserve;
pub mod sign_up;

use crate::user::User;

/// Something went wrong and has been recorded; the operation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

/// What one user does again and again. All that has to be there before is made by whoever makes the scenario.
pub trait Scenario: Send + Sync + 'static {
    /// One operation, the `number`th of the run.
    ///
    /// # Errors
    /// [`Failed`], once the user has recorded what went wrong.
    fn operate(&self, user: &mut User, number: u64) -> impl Future<Output = Result<(), Failed>> + Send;
}
