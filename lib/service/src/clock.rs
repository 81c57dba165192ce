//! The one clock of a process, and the ids that it makes.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use events::{OrderId, PaymentId, SessionId, TicketId, Timestamp, UserId};
use uuid::{ContextV7, Uuid};

/// Tells the time and makes ids. A clone is the same clock: the ids of one clock are strictly ascending.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    offset_ms: AtomicI64,
    ids: Mutex<ContextV7>,
}

impl Clock {
    /// The machine's clock.
    pub fn new() -> Self {
        Self::default()
    }

    /// The machine's clock, wrong by `offset_ms` milliseconds: how the fault bench and tests make a service
    /// live in another time.
    pub fn with_offset_ms(offset_ms: i64) -> Self {
        let clock = Self::default();
        clock.inner.offset_ms.store(offset_ms, Ordering::Relaxed);
        clock
    }

    /// Puts the clock forward; for tests of what happens after hours.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.inner.offset_ms.fetch_add(millis, Ordering::Relaxed);
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        #[allow(clippy::disallowed_methods, reason = "this is the one clock")]
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let offset_ms = self.inner.offset_ms.load(Ordering::Relaxed);
        let machine = Timestamp::default().plus(since_1970);
        Timestamp::from_micros(
            machine
                .as_micros()
                .saturating_add(offset_ms.saturating_mul(1_000)),
        )
    }

    /// An id for a new person.
    pub fn user_id(&self) -> UserId {
        UserId::from_bytes(self.id())
    }

    /// An id for a new session.
    pub fn session_id(&self) -> SessionId {
        SessionId::from_bytes(self.id())
    }

    /// An id for a new ticket.
    pub fn ticket_id(&self) -> TicketId {
        TicketId::from_bytes(self.id())
    }

    /// An id for a new order.
    pub fn order_id(&self) -> OrderId {
        OrderId::from_bytes(self.id())
    }

    /// An id for a new payment.
    pub fn payment_id(&self) -> PaymentId {
        PaymentId::from_bytes(self.id())
    }

    /// A name for a part of this process, that no other part of any process has, nor the same one after its next start.
    pub(crate) fn name(&self) -> String {
        Uuid::from_bytes(self.id()).to_string()
    }

    fn id(&self) -> [u8; 16] {
        // The time is read under the lock: a thread that was held up must not put an older time into a newer id.
        let context = self.inner.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let micros = u64::try_from(self.now().as_micros()).unwrap_or(0);
        let nanos = u32::try_from(micros % 1_000_000 * 1_000).unwrap_or(0);
        let moment = uuid::Timestamp::from_unix(&*context, micros / 1_000_000, nanos);
        Uuid::new_v7(moment).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_ascend_from_many_threads() {
        let clock = Clock::new();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let clock = clock.clone();
                std::thread::spawn(move || (0..5_000).map(|_| clock.order_id()).collect::<Vec<_>>())
            })
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            let ids = thread.join().unwrap();
            assert!(ids.is_sorted_by(|a, b| a < b));
            all.extend(ids);
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 20_000);
    }

    #[test]
    fn an_id_tells_the_clock_s_time() {
        let clock = Clock::with_offset_ms(-3_600_000);
        let before = clock.now();
        let id: TicketId = clock.ticket_id().to_string().parse().unwrap();
        assert!(id.created_at().since(before) < Duration::from_secs(5));
        clock.advance(Duration::from_secs(7_200));
        assert!(clock.now().since(before) >= Duration::from_secs(7_200));
        assert!(clock.ticket_id() > id);
    }
}
