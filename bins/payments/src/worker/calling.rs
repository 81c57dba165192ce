//! How others call the worker: a bell that the indexes ring, and requests for a look.

use std::sync::Arc;
use std::time::Duration;

use events::PaymentId;
use tokio::sync::{Notify, mpsc, oneshot};

/// How many requests for a look wait at most; beyond it a look comes when it comes.
const LOOKS_WAITING_MAX: usize = 1_024;

/// Rings when there is something new to do. Rung twice before it is heard, it is heard once.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Notify>);

/// All bells are alike: one holds nothing that rows could disagree about, and indexes are compared by what they hold.
impl PartialEq for Bell {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Bell {}

impl Bell {
    /// Rings.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    pub(super) async fn rung(&self) {
        self.0.notified().await;
    }
}

/// Asks the worker for a look at Stripe.
#[derive(Debug, Clone)]
pub struct Looks(mpsc::Sender<Look>);

#[derive(Debug)]
pub(super) struct Look {
    pub(super) id: PaymentId,
    pub(super) done: Option<oneshot::Sender<()>>,
}

impl Looks {
    pub(super) fn new() -> (Self, mpsc::Receiver<Look>) {
        let (sender, looks) = mpsc::channel(LOOKS_WAITING_MAX);
        (Self(sender), looks)
    }

    /// Has a step made for a payment at once, and waits for it, but not longer than `within`: what Stripe then
    /// has not said is not waited for.
    pub async fn look(&self, id: PaymentId, within: Duration) {
        let (done, looked) = oneshot::channel();
        if !self.send(Look { id, done: Some(done) }) {
            return;
        }
        // Looked, not looked in time, or the worker is gone: the caller goes on with what is stored.
        let (Ok(Ok(()) | Err(_)) | Err(_)) = tokio::time::timeout(within, looked).await;
    }

    /// Has a step made for a payment at once, and does not wait for it.
    pub fn ask(&self, id: PaymentId) {
        self.send(Look { id, done: None });
    }

    /// Turned away, a look comes when it comes: the worker finds what is to be done by itself.
    fn send(&self, look: Look) -> bool {
        let sent = self.0.try_send(look).is_ok();
        if !sent {
            metrics::counter!("payments_looks_turned_away_total").increment(1);
        }
        sent
    }
}
