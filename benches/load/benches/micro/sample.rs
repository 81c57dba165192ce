//! Things as they are in a running system.

use events::{Currency, Money, OrderSnapshot, OrderStatus, OrderedTicket, TicketSnapshot, Version};
use service::Clock;

pub(crate) fn price() -> Money {
    Money::from_minor(2_550, Currency::Usd).expect("a price above nothing")
}

pub(crate) fn ticket(clock: &Clock) -> TicketSnapshot {
    let now = clock.now();
    TicketSnapshot {
        id: clock.ticket_id(),
        version: Version::FIRST,
        seller_id: clock.user_id(),
        title: "Two seats, row 7".to_owned(),
        description: "Side by side, with a free view of the stage.".to_owned(),
        venue: Some("Old Town Hall".to_owned()),
        starts_at: Some("2027-06-12T20:00:00+02:00".parse().expect("a time with a zone")),
        price: price(),
        quantity: 2,
        reserved: 0,
        sold: 0,
        deleted: false,
        created_at: now,
        updated_at: now,
    }
}

pub(crate) fn order(clock: &Clock) -> OrderSnapshot {
    let ticket = ticket(clock);
    OrderSnapshot {
        id: clock.order_id(),
        version: Version::FIRST,
        user_id: clock.user_id(),
        status: OrderStatus::Created,
        reason: None,
        quantity: 1,
        total: price(),
        expires_at: clock.now(),
        created_at: clock.now(),
        ticket: OrderedTicket {
            id: ticket.id,
            version: ticket.version,
            seller_id: ticket.seller_id,
            title: ticket.title,
            price: ticket.price,
            venue: ticket.venue,
            starts_at: ticket.starts_at,
        },
    }
}
