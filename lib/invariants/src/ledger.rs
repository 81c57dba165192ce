//! The books, arranged so that what belongs together is found.

use std::collections::BTreeMap;

use events::{OrderId, Source, TicketId, Timestamp};

use crate::{Books, Charge, Deadline, Fact, Hold, Order, OrderReplica, Payment, Ticket, TicketReplica};

/// Facts by what they are about. Those of a store that does not serve are left out: they may be old.
pub(crate) struct Ledger<'a> {
    books: &'a Books,
    pub(crate) tickets: BTreeMap<TicketId, &'a Ticket>,
    pub(crate) ticket_replicas: BTreeMap<TicketId, &'a TicketReplica>,
    pub(crate) holds_of_ticket: BTreeMap<TicketId, Vec<&'a Hold>>,
    pub(crate) holds_of_order: BTreeMap<OrderId, Vec<&'a Hold>>,
    pub(crate) orders: BTreeMap<OrderId, &'a Order>,
    pub(crate) order_replicas: BTreeMap<(Source, OrderId), &'a OrderReplica>,
    pub(crate) payments: BTreeMap<OrderId, Vec<&'a Payment>>,
    pub(crate) deadlines: BTreeMap<OrderId, &'a Deadline>,
    pub(crate) charges: BTreeMap<OrderId, Vec<&'a Charge>>,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(books: &'a Books) -> Self {
        let mut ledger = Self {
            books,
            tickets: BTreeMap::new(),
            ticket_replicas: BTreeMap::new(),
            holds_of_ticket: BTreeMap::new(),
            holds_of_order: BTreeMap::new(),
            orders: BTreeMap::new(),
            order_replicas: BTreeMap::new(),
            payments: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            charges: BTreeMap::new(),
        };
        let silent: Vec<Source> = books
            .accounts
            .iter()
            .filter(|account| !account.serving)
            .map(|account| account.source)
            .collect();
        for fact in &books.facts {
            if fact.source().is_none_or(|source| !silent.contains(&source)) {
                ledger.enter(fact);
            }
        }
        ledger
    }

    fn enter(&mut self, fact: &'a Fact) {
        match fact {
            // Nothing else is compared with a person: it only has to be there, which `kept` checks.
            Fact::User(_) => {}
            Fact::Ticket(ticket) => {
                self.tickets.insert(ticket.id, ticket);
            }
            Fact::Hold(hold) => {
                self.holds_of_ticket.entry(hold.ticket_id).or_default().push(hold);
                self.holds_of_order.entry(hold.order_id).or_default().push(hold);
            }
            Fact::Order(order) => {
                self.orders.insert(order.id, order);
            }
            Fact::TicketReplica(replica) => {
                self.ticket_replicas.insert(replica.id, replica);
            }
            Fact::OrderReplica(replica) => {
                self.order_replicas.insert((replica.holder, replica.id), replica);
            }
            Fact::Payment(payment) => {
                self.payments.entry(payment.order_id).or_default().push(payment);
            }
            Fact::Deadline(deadline) => {
                self.deadlines.insert(deadline.order_id, deadline);
            }
            Fact::Charge(charge) => {
                self.charges.entry(charge.order_id).or_default().push(charge);
            }
        }
    }

    /// Whether the books of a service are here and worth something, so that the absence of a fact means something.
    pub(crate) fn knows(&self, source: Source) -> bool {
        self.books.knows(source)
    }

    /// The time by the clock of a service, which is the one that its own deadlines are judged by.
    pub(crate) fn time_of(&self, source: Source, otherwise: Timestamp) -> Timestamp {
        self.books
            .account(source)
            .map_or(otherwise, |account| account.time)
    }

    pub(crate) fn holds_of_ticket(&self, id: TicketId) -> &[&'a Hold] {
        self.holds_of_ticket.get(&id).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn hold_of_order(&self, id: OrderId) -> Option<&'a Hold> {
        self.holds_of_order
            .get(&id)
            .and_then(|holds| holds.first())
            .copied()
    }

    pub(crate) fn payment_of(&self, id: OrderId) -> Option<&'a Payment> {
        self.payments
            .get(&id)
            .and_then(|payments| payments.first())
            .copied()
    }
}
