//! Clears away notices that can't come again.

use std::convert::Infallible;
use std::time::Duration;

use service::Clock;
use store::{Context, Store, TransactError};

use crate::store::{Notice, PaymentIndexes};

/// How long notices are kept, to know a repetition by: longer than Stripe repeats them.
const NOTICE_DAYS: u64 = 30;
/// How many notices are kept at most.
const NOTICES_MAX: usize = 200_000;
/// How many notices one transaction forgets.
const NOTICES_SWEPT_MAX: usize = 1_000;

/// Forgets notices that can't come again.
///
/// # Errors
/// When the store can't write.
pub(crate) async fn sweep_once(
    store: &Store<PaymentIndexes>,
    clock: &Clock,
) -> Result<(), TransactError<Infallible>> {
    loop {
        let now = clock.now();
        let before = now.minus(Duration::from_secs(NOTICE_DAYS * 24 * 3600));
        let over = store.read(|indexes| indexes.forgettable(before, NOTICES_MAX, NOTICES_SWEPT_MAX));
        if over.is_empty() {
            return Ok(());
        }
        store
            .transact(Context::new(now), move |tx| {
                for id in &over {
                    tx.delete::<Notice>(id)?;
                }
                Ok(())
            })
            .await?;
    }
}
