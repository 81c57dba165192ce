//! What becomes of an order's claim on a ticket.
//!
//! Every order is decided about once: its [`Hold`] stays as the record, a refusal leaves one as well, and an event that
//! tells of an earlier status than the record is too late. Only after a loss, when the orders service states its orders
//! anew ([`restate`]), may a claim that has ended begin again. It gets pieces only if nobody else has them; otherwise
//! the order hears that it is rejected, and whoever has paid gets the money back.

use events::{Event, OrderStatus, RejectReason, TicketChange, Timestamp};

use super::{Claim, Decision, Hold, HoldState, Ticket, TicketError};

type Decided = Result<Decision, TicketError>;

/// An order was placed.
pub(super) fn reserve(
    ticket: Option<&Ticket>,
    hold: Option<&Hold>,
    claim: &Claim,
    now: Timestamp,
) -> Decided {
    match hold {
        None => Ok(grant(ticket, claim, OrderStatus::Created, now)),
        // A hold that was rebuilt from what this service has published lacks what only the order knows.
        Some(hold) if hold.quantity == claim.quantity && *hold != completed(hold, claim) => {
            Ok(only(completed(hold, claim)))
        }
        Some(hold) => Err(TicketError::Stale(match hold.state {
            HoldState::Held | HoldState::Sold | HoldState::Released => "this order has its hold already",
            HoldState::Refused => "this order was refused its pieces already",
        })),
    }
}

/// An order goes on to a status that moves no pieces.
pub(super) fn note(hold: Option<&Hold>, status: OrderStatus) -> Decided {
    let hold = hold.ok_or(TicketError::Impossible("an order without a hold goes on"))?;
    if hold.order_status >= status {
        return Err(TicketError::Stale("the order is known to be further on"));
    }
    Ok(only(noted(hold, status)))
}

/// An order is complete.
pub(super) fn sell(ticket: Option<&Ticket>, hold: Option<&Hold>, claim: &Claim, now: Timestamp) -> Decided {
    let hold = hold.ok_or(TicketError::Impossible("an order without a hold is complete"))?;
    if hold.order_status >= OrderStatus::Complete {
        return Err(TicketError::Stale(match hold.state {
            HoldState::Sold => "these pieces are sold already",
            HoldState::Held | HoldState::Released | HoldState::Refused => {
                "the order is known to be further on"
            }
        }));
    }
    match (hold.state, ticket) {
        (HoldState::Held, Some(ticket)) => sold(ticket, hold, OrderStatus::Complete, now),
        // The orders service has lost that it was complete, and has got there again.
        (HoldState::Sold, Some(_)) => Ok(only(noted(hold, OrderStatus::Complete))),
        (HoldState::Held | HoldState::Sold, None) => {
            Err(TicketError::Impossible("a hold without its ticket"))
        }
        // The order has no pieces and has been paid all the same: it has lost that it lost them, or this service has
        // lost the ticket and with it that it had them. Nobody else can tell the buyer that the money goes back.
        (HoldState::Released | HoldState::Refused, ticket) => {
            Ok(grant(ticket, claim, OrderStatus::Complete, now))
        }
    }
}

/// An order is over.
pub(super) fn release(
    ticket: Option<&Ticket>,
    hold: Option<&Hold>,
    claim: &Claim,
    now: Timestamp,
) -> Decided {
    let Some(hold) = hold else {
        // Should the event that placed it yet come, it comes too late.
        return Ok(only(claim.refused(OrderStatus::Cancelled)));
    };
    match hold.state {
        HoldState::Released => Err(TicketError::Stale("these pieces are released already")),
        HoldState::Refused if hold.order_status == OrderStatus::Cancelled => {
            Err(TicketError::Stale("this order held nothing"))
        }
        HoldState::Refused => Ok(only(noted(hold, OrderStatus::Cancelled))),
        HoldState::Held | HoldState::Sold => released(ticket, hold, now),
    }
}

/// The orders service has lost events, and states how this order is.
pub(super) fn restate(
    ticket: Option<&Ticket>,
    hold: Option<&Hold>,
    claim: &Claim,
    status: OrderStatus,
    now: Timestamp,
) -> Decided {
    let (hold, ticket) = match (hold.map(|hold| completed(hold, claim)), ticket) {
        (Some(hold), Some(ticket)) => (hold, ticket),
        (Some(hold), None) if matches!(hold.state, HoldState::Held | HoldState::Sold) => {
            return Err(TicketError::Impossible("a hold without its ticket"));
        }
        (Some(_) | None, ticket) if status != OrderStatus::Cancelled => {
            return Ok(grant(ticket, claim, status, now));
        }
        (Some(_) | None, _) => return Ok(only(claim.refused(status))),
    };
    match (hold.state, status) {
        (HoldState::Held | HoldState::Sold, OrderStatus::Cancelled) => released(Some(ticket), &hold, now),
        (HoldState::Released | HoldState::Refused, OrderStatus::Cancelled) => Ok(only(noted(&hold, status))),
        // What was decided about the order as it is stated stands; it may not have heard of it.
        (HoldState::Refused, status) if hold.order_status == status => {
            Ok(reject(Some(ticket), claim, status, RejectReason::SoldOut))
        }
        (HoldState::Released | HoldState::Refused, _) => Ok(grant(Some(ticket), claim, status, now)),
        // It may not have heard that its pieces are held, and the event that said so may be gone.
        (HoldState::Held, OrderStatus::Created) => {
            let next = ticket.changed(now);
            let hold = noted(&hold, OrderStatus::AwaitingPayment);
            let events = vec![Event::TicketReserved(next.change(&hold))];
            Ok(Decision {
                ticket: Some(next),
                hold: Some(hold),
                events,
            })
        }
        (HoldState::Held, OrderStatus::Complete | OrderStatus::Refunding) => sold(ticket, &hold, status, now),
        // Pieces that were sold stay with an order that has fallen behind: it comes to its end again, one or the other.
        (HoldState::Held | HoldState::Sold, _) => Ok(only(noted(&hold, status))),
    }
}

/// The orders service knows nothing of this order any more.
pub(super) fn forsake(ticket: Option<&Ticket>, hold: Option<&Hold>, now: Timestamp) -> Decided {
    match hold {
        Some(hold) if matches!(hold.state, HoldState::Held | HoldState::Sold) => released(ticket, hold, now),
        Some(_) | None => Err(TicketError::Stale("this order holds nothing")),
    }
}

/// Gives an order in `status` its pieces, or rejects it.
fn grant(ticket: Option<&Ticket>, claim: &Claim, status: OrderStatus, now: Timestamp) -> Decision {
    let ticket = match refusal(ticket, claim, status) {
        Ok(ticket) => ticket,
        Err(reason) => return reject(ticket, claim, status, reason),
    };
    let is_sold = status >= OrderStatus::Complete;
    let pieces = |of_these| if of_these { claim.quantity } else { 0 };
    let next = Ticket {
        reserved: ticket.reserved + pieces(!is_sold),
        sold: ticket.sold + pieces(is_sold),
        ..ticket.changed(now)
    };
    let hold = Hold {
        state: if is_sold { HoldState::Sold } else { HoldState::Held },
        order_status: status.max(OrderStatus::AwaitingPayment),
        ..claim.refused(status)
    };
    let change = next.change(&hold);
    let event = if is_sold {
        Event::TicketSold(change)
    } else {
        Event::TicketReserved(change)
    };
    Decision {
        ticket: Some(next),
        hold: Some(hold),
        events: vec![event],
    }
}

fn reject(ticket: Option<&Ticket>, claim: &Claim, status: OrderStatus, reason: RejectReason) -> Decision {
    let event = Event::TicketRejected(TicketChange {
        ticket: ticket.map(Ticket::snapshot),
        ticket_id: claim.ticket_id,
        order_id: claim.order_id,
        quantity: claim.quantity,
        reason: Some(reason),
    });
    Decision {
        ticket: None,
        hold: Some(claim.refused(status)),
        events: vec![event],
    }
}

/// The ticket, if an order in `status` can have its pieces; otherwise why not.
fn refusal<'t>(
    ticket: Option<&'t Ticket>,
    claim: &Claim,
    status: OrderStatus,
) -> Result<&'t Ticket, RejectReason> {
    let ticket = ticket.ok_or(RejectReason::Deleted)?;
    // What is paid, or about to be, is not asked whether the seller would still sell it.
    if ticket.deleted && status < OrderStatus::Accepted {
        return Err(RejectReason::Deleted);
    }
    // Price and currency are what the buyer agreed to; the version is raised by every reservation and says nothing.
    if ticket.details.price != claim.price && status == OrderStatus::Created {
        return Err(RejectReason::PriceChanged);
    }
    if claim.quantity == 0 || claim.quantity > ticket.unclaimed() {
        return Err(RejectReason::SoldOut);
    }
    Ok(ticket)
}

fn sold(ticket: &Ticket, hold: &Hold, status: OrderStatus, now: Timestamp) -> Decided {
    let reserved = ticket.reserved.checked_sub(hold.quantity);
    let reserved = reserved.ok_or(TicketError::Impossible("a hold is larger than what is reserved"))?;
    let next = Ticket {
        reserved,
        sold: ticket.sold + hold.quantity,
        ..ticket.changed(now)
    };
    let hold = Hold {
        state: HoldState::Sold,
        ..noted(hold, status)
    };
    let events = vec![Event::TicketSold(next.change(&hold))];
    Ok(Decision {
        ticket: Some(next),
        hold: Some(hold),
        events,
    })
}

fn released(ticket: Option<&Ticket>, hold: &Hold, now: Timestamp) -> Decided {
    let ticket = ticket.ok_or(TicketError::Impossible("a hold without its ticket"))?;
    let too_large = TicketError::Impossible("a hold is larger than what is reserved or sold");
    let (reserved, sold) = if hold.state == HoldState::Sold {
        (Some(ticket.reserved), ticket.sold.checked_sub(hold.quantity))
    } else {
        (ticket.reserved.checked_sub(hold.quantity), Some(ticket.sold))
    };
    let next = Ticket {
        reserved: reserved.ok_or(too_large)?,
        sold: sold.ok_or(too_large)?,
        ..ticket.changed(now)
    };
    let hold = Hold {
        state: HoldState::Released,
        ..noted(hold, OrderStatus::Cancelled)
    };
    let events = vec![Event::TicketReleased(next.change(&hold))];
    Ok(Decision {
        ticket: Some(next),
        hold: Some(hold),
        events,
    })
}

/// Only the record of the claim changes.
fn only(hold: Hold) -> Decision {
    Decision {
        hold: Some(hold),
        ..Decision::default()
    }
}

/// With what only the order itself tells.
fn completed(hold: &Hold, claim: &Claim) -> Hold {
    Hold {
        total: claim.total,
        ordered_at: claim.ordered_at,
        ..hold.clone()
    }
}

fn noted(hold: &Hold, status: OrderStatus) -> Hold {
    Hold {
        order_status: status,
        ..hold.clone()
    }
}

impl Claim {
    /// The record that it got nothing.
    fn refused(&self, order_status: OrderStatus) -> Hold {
        Hold {
            ticket_id: self.ticket_id,
            order_id: self.order_id,
            quantity: self.quantity,
            state: HoldState::Refused,
            order_status,
            total: self.total,
            ordered_at: self.ordered_at,
        }
    }
}
