//! What the consumer tells the alarm: orders whose deadlines have just changed.
//!
//! A hint is no truth: it only says which deadlines to look up again. One that is lost (by a kill) is made up for when
//! the alarm fills the set from the store.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use events::OrderId;
use tokio::sync::Notify;

/// The most hints that are kept while they can't be carried to the set; beyond it the set is filled anew instead.
pub const HINTS_MAX: usize = 100_000;

/// Orders whose deadlines have just changed.
#[derive(Debug, Default)]
pub struct Hints {
    noted: Mutex<Noted>,
    arrived: Notify,
}

/// The hints of one moment.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    pub(crate) orders: HashSet<OrderId>,
    /// There were too many to be kept: any deadline may have changed.
    pub(crate) too_many: bool,
}

impl Hints {
    /// This order's deadline was (or is about to be) changed.
    pub fn push(&self, order: OrderId) {
        self.noted().add(order);
        self.arrived.notify_one();
    }

    /// Waits until there may be a hint.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// How many orders the set may know less or more of than the store because of hints that it has not been told.
    pub(crate) fn pending(&self) -> usize {
        self.noted().orders.len()
    }

    pub(crate) fn take(&self) -> Noted {
        std::mem::take(&mut *self.noted())
    }

    pub(crate) fn give_back(&self, orders: impl IntoIterator<Item = OrderId>) {
        let mut noted = self.noted();
        for order in orders {
            noted.add(order);
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Noted {
    fn add(&mut self, order: OrderId) {
        if self.orders.len() == HINTS_MAX && !self.orders.contains(&order) {
            self.orders = HashSet::new();
            self.too_many = true;
        }
        self.orders.insert(order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(n: usize) -> OrderId {
        OrderId::from_bytes((n as u128).to_be_bytes())
    }

    #[test]
    fn hints_are_bounded_and_say_when_there_were_too_many() {
        let hints = Hints::default();
        for n in 0..HINTS_MAX {
            hints.push(order(n));
            hints.push(order(n));
        }
        assert_eq!(hints.pending(), HINTS_MAX, "the same order twice is one hint");
        hints.push(order(0));
        let noted = hints.take();
        assert_eq!((noted.orders.len(), noted.too_many), (HINTS_MAX, false));
        assert_eq!(hints.pending(), 0);

        hints.give_back(noted.orders);
        hints.push(order(HINTS_MAX));
        assert_eq!(hints.pending(), 1);
        let noted = hints.take();
        assert!(noted.too_many);
        assert!(noted.orders.contains(&order(HINTS_MAX)));
        assert!(!hints.take().too_many, "it is said once");
    }
}
