//! I3: whatever was answered with 2xx is there, in the version that was answered or a later one.

use std::collections::BTreeMap;

use events::{OrderId, OrderStatus, PaymentId, Source, TicketId, UserId, Version};
use serde::{Deserialize, Serialize};

use crate::{Books, Fact, Invariant, Violation};

/// What a client was told with a 2xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "acknowledged",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Acknowledged {
    /// Someone signed up.
    User {
        /// Who.
        id: UserId,
    },
    /// A listing was made or changed.
    Ticket {
        /// Which.
        id: TicketId,
        /// The version that the answer showed.
        version: Version,
    },
    /// A listing was withdrawn.
    TicketDeleted {
        /// Which.
        id: TicketId,
    },
    /// An order was placed, changed or seen.
    Order {
        /// Which.
        id: OrderId,
        /// The version that the answer showed.
        version: Version,
        /// The status that the answer showed.
        status: OrderStatus,
    },
    /// A payment was begun or seen.
    Payment {
        /// Which.
        id: PaymentId,
    },
}

/// What of it is lost. Each kind is judged only where the books of its service are here and the store serves.
pub fn kept(acknowledged: &[Acknowledged], books: &Books) -> Vec<Violation> {
    let kept = Kept::new(books);
    let mut found: Vec<Violation> = acknowledged
        .iter()
        .filter_map(|promise| kept.lost(books, *promise))
        .collect();
    found.sort();
    found.dedup();
    found
}

#[derive(Default)]
struct Kept {
    users: BTreeMap<UserId, Version>,
    tickets: BTreeMap<TicketId, (Version, bool)>,
    orders: BTreeMap<OrderId, (Version, OrderStatus)>,
    payments: BTreeMap<PaymentId, Version>,
}

impl Kept {
    fn new(books: &Books) -> Self {
        let mut kept = Self::default();
        for fact in &books.facts {
            match fact {
                Fact::User(user) => {
                    kept.users.insert(user.id, user.version);
                }
                Fact::Ticket(ticket) => {
                    kept.tickets
                        .insert(ticket.id, (ticket.version, ticket.listing.deleted));
                }
                Fact::Order(order) => {
                    kept.orders.insert(order.id, (order.version, order.status));
                }
                Fact::Payment(payment) => {
                    kept.payments.insert(payment.id, payment.version);
                }
                Fact::Hold(_)
                | Fact::TicketReplica(_)
                | Fact::OrderReplica(_)
                | Fact::Deadline(_)
                | Fact::Charge(_) => {}
            }
        }
        kept
    }

    fn lost(&self, books: &Books, promise: Acknowledged) -> Option<Violation> {
        match promise {
            Acknowledged::User { id } => {
                let gone = books.knows(Source::Auth) && !self.users.contains_key(&id);
                gone.then(|| missing("The sign-up of", &id))
            }
            Acknowledged::Ticket { id, version } => {
                if !books.knows(Source::Tickets) {
                    return None;
                }
                match self.tickets.get(&id) {
                    None => Some(missing("Ticket", &id)),
                    Some((kept, _)) => (*kept < version).then(|| older("Ticket", &id, version, *kept)),
                }
            }
            Acknowledged::TicketDeleted { id } => {
                if !books.knows(Source::Tickets) {
                    return None;
                }
                match self.tickets.get(&id) {
                    None => Some(missing("Ticket", &id)),
                    Some((_, true)) => None,
                    Some((_, false)) => {
                        let what = format!("Ticket {id} was acknowledged as withdrawn and is on sale");
                        Some(Violation::broken(Invariant::I3, &[&id], &what))
                    }
                }
            }
            Acknowledged::Order { id, version, status } => {
                if !books.knows(Source::Orders) {
                    return None;
                }
                match self.orders.get(&id) {
                    None => Some(missing("Order", &id)),
                    Some((kept, _)) if *kept < version => Some(older("Order", &id, version, *kept)),
                    Some((kept, is)) if *kept == version && *is != status => {
                        let what = format!(
                            "Order {id} was acknowledged as {was} in version {version}, which is {is}",
                            was = status.as_str(),
                            is = is.as_str(),
                        );
                        Some(Violation::broken(Invariant::I3, &[&id], &what))
                    }
                    Some(_) => None,
                }
            }
            Acknowledged::Payment { id } => {
                let gone = books.knows(Source::Payments) && !self.payments.contains_key(&id);
                gone.then(|| missing("Payment", &id))
            }
        }
    }
}

fn missing(what: &str, id: &dyn std::fmt::Display) -> Violation {
    Violation::broken(
        Invariant::I3,
        &[id],
        &format!("{what} {id} was acknowledged and is gone"),
    )
}

fn older(what: &str, id: &dyn std::fmt::Display, told: Version, kept: Version) -> Violation {
    let sentence = format!("{what} {id} was acknowledged in version {told} and is in version {kept}");
    Violation::broken(Invariant::I3, &[id], &sentence)
}
