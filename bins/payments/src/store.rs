//! What this service stores: orders (a replica), payments, and notices from Stripe; and what it keeps in
//! memory about them. The stored forms are frozen: a new shape is a new type beside the old one.

mod notice;
mod order_row;
mod payment_row;

use std::collections::{BTreeMap, BTreeSet};

use events::{PaymentId, Timestamp, Version};
use store::{Change, Indexes, Tables};

pub use self::notice::{NOTICE_ID_CHARS_MAX, Notice};
use crate::domain::{Order, Payment, Step, next_step};
use crate::worker::Bell;

/// What is kept in memory, rebuilt at every open.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PaymentIndexes {
    wanted: BTreeMap<PaymentId, Version>,
    watched: BTreeSet<PaymentId>,
    unread: BTreeMap<PaymentId, BTreeSet<String>>,
    read_at: BTreeSet<(Timestamp, String)>,
    bell: Bell,
}

/// Why a payment is urgent; another value means that there is something new to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Urgency {
    /// The version in which something is wanted of Stripe.
    pub version: Option<Version>,
    /// How many notices wait to be read.
    pub notices: usize,
}

impl PaymentIndexes {
    /// The payments for which something is to be done at Stripe, or about which notices wait to be read.
    pub fn urgent(&self) -> BTreeMap<PaymentId, Urgency> {
        let mut urgent = BTreeMap::new();
        for (id, version) in &self.wanted {
            urgent.insert(
                *id,
                Urgency {
                    version: Some(*version),
                    notices: 0,
                },
            );
        }
        for (id, notices) in &self.unread {
            urgent.entry(*id).or_insert_with(Urgency::default).notices = notices.len();
        }
        urgent
    }

    /// The version of a payment for which something is to be done; it may not be durable yet.
    pub fn wanted_version(&self, id: PaymentId) -> Option<Version> {
        self.wanted.get(&id).copied()
    }

    /// Whether a payment is only looked at now and then.
    pub fn is_watched(&self, id: PaymentId) -> bool {
        self.watched.contains(&id)
    }

    /// The payments that are only looked at now and then, because a notice may have been lost.
    pub fn watched(&self) -> impl Iterator<Item = PaymentId> + '_ {
        self.watched.iter().copied()
    }

    /// The notices about a payment that have not led to a look at Stripe yet.
    pub fn unread(&self, id: PaymentId) -> Vec<String> {
        self.unread
            .get(&id)
            .map(|ids| ids.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Notices that were read and are older than `before`, or in excess of `kept`; the oldest first.
    pub fn forgettable(&self, before: Timestamp, kept: usize, limit: usize) -> Vec<String> {
        let excess = self.read_at.len().saturating_sub(kept);
        let old = self.read_at.iter().enumerate();
        old.take_while(|(place, (at, _))| *place < excess || *at < before)
            .take(limit)
            .map(|(_, (_, id))| id.clone())
            .collect()
    }

    /// Rings whenever something is to be done that was not before.
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }

    fn apply_payment(&mut self, before: Option<&Payment>, after: Option<&Payment>) {
        if let Some(payment) = before {
            self.wanted.remove(&payment.id);
            self.watched.remove(&payment.id);
        }
        let Some(payment) = after else { return };
        match next_step(payment) {
            Some(Step::Observe) => {
                self.watched.insert(payment.id);
            }
            Some(Step::CreateSession | Step::Look | Step::Capture | Step::Close | Step::Refund) => {
                self.wanted.insert(payment.id, payment.version);
                self.bell.ring();
            }
            None => {}
        }
    }

    fn apply_notice(&mut self, before: Option<&Notice>, after: Option<&Notice>) {
        if let Some(notice) = before {
            self.read_at.remove(&(notice.received_at, notice.id.clone()));
            if let Some(ids) = self.unread.get_mut(&notice.payment_id) {
                ids.remove(&notice.id);
                if ids.is_empty() {
                    self.unread.remove(&notice.payment_id);
                }
            }
        }
        match after {
            Some(notice) if notice.read => {
                self.read_at.insert((notice.received_at, notice.id.clone()));
            }
            Some(notice) => {
                self.unread
                    .entry(notice.payment_id)
                    .or_default()
                    .insert(notice.id.clone());
                self.bell.ring();
            }
            None => {}
        }
    }
}

impl Indexes for PaymentIndexes {
    fn apply(&mut self, change: &Change<'_>) {
        if let Some((before, after)) = change.of::<Payment>() {
            self.apply_payment(before, after);
        } else if let Some((before, after)) = change.of::<Notice>() {
            self.apply_notice(before, after);
        }
    }

    fn tables() -> Tables {
        service::tables()
            .with::<Order>()
            .with::<Payment>()
            .with::<Notice>()
    }
}

#[cfg(test)]
mod tests;
