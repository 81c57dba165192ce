//! I5: versions of an entity go up by one, without gaps, as every consumer sees them in the outbox.

use std::collections::HashMap;

use events::{Event, EventType, Seq, Source, Version};
use serde::{Deserialize, Serialize};

use crate::{Books, Invariant, Violation};

/// Two events in a row about one entity whose versions do not follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionGap {
    /// Which entity.
    pub subject: String,
    /// The event that does not follow.
    pub seq: Seq,
    /// The version before.
    pub before: Version,
    /// The version that should have been the next.
    pub found: Version,
}

/// Walks over a service's outbox from the oldest kept event on. What was trimmed before is unknown: the first event
/// about an entity may have any version, unless the outbox begins with the service's first event.
#[derive(Debug, Default)]
pub struct VersionScan {
    last: HashMap<String, Version>,
}

impl VersionScan {
    /// Looks at the next event of the outbox.
    pub fn see(&mut self, seq: Seq, event: &Event) -> Option<VersionGap> {
        if !raises_the_version(event.event_type()) {
            return None;
        }
        let (subject, found) = (event.subject(), event.entity_version());
        let before = self.last.insert(subject.clone(), found)?;
        (found != before.next()).then_some(VersionGap {
            subject,
            seq,
            before,
            found,
        })
    }
}

/// Whether each event of that type comes with a new version of its subject.
fn raises_the_version(event_type: EventType) -> bool {
    match event_type {
        EventType::TicketCreated
        | EventType::TicketUpdated
        | EventType::TicketDeleted
        | EventType::TicketReserved
        | EventType::TicketReleased
        | EventType::TicketSold
        | EventType::OrderCreated
        | EventType::OrderAwaitingPayment
        | EventType::OrderAccepted
        | EventType::OrderCompleted
        | EventType::OrderRefunding
        | EventType::OrderCancelled
        | EventType::PaymentOpened
        | EventType::PaymentAuthorized
        | EventType::PaymentCreated
        | EventType::PaymentFailed
        | EventType::PaymentRefunded => true,
        // A rejection changes nothing about the ticket; the others are about things that have no versions.
        EventType::TicketRejected
        | EventType::OrderNotDue
        | EventType::OrderExpired
        | EventType::UserRegistered
        | EventType::SessionRevoked
        | EventType::KeyPublished
        | EventType::KeyRetired => false,
    }
}

/// Every gap that a service has found in its own outbox.
pub(crate) fn check(books: &Books, found: &mut Vec<Violation>) {
    for account in &books.accounts {
        for gap in &account.version_gaps {
            found.push(gap_found(account.source, gap));
        }
    }
}

fn gap_found(source: Source, gap: &VersionGap) -> Violation {
    let what = format!(
        "Event {seq} of {source} says version {found} of {subject}, and the event before it said version {before}",
        seq = gap.seq,
        found = gap.found,
        subject = gap.subject,
        before = gap.before,
    );
    Violation::broken(Invariant::I5, &[&source, &gap.subject], &what)
}
