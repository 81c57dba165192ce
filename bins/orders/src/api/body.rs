//! What clients send and get: parsed at the edge, printed from the domain.

use std::time::Duration;

use errors::{FieldErrors, Problem};
use events::{Currency, Money, MoneyError, OrderId, QUANTITY_MAX, TicketId, UserId};
use serde::{Deserialize, Serialize};
use service::http::Decimal;
use utoipa::ToSchema;

use crate::domain::{Order, OrderError, PlaceOrder, TicketView};

/// A buyer's wish.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderRequest {
    /// Of what
    ticket_id: String,
    /// How many pieces; 1 if not said
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100_000)]
    quantity: Option<i64>,
    /// The price of one piece that the buyer saw; if it is another by now, the order is refused
    #[serde(default)]
    price: Option<Decimal>,
}

/// A wish that makes sense, as far as can be told without the ticket.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) ticket_id: TicketId,
    quantity: u32,
    seen_price: Option<Decimal>,
}

impl OrderRequest {
    pub(super) fn parse(self) -> Result<Wish, Problem> {
        let mut wrong = FieldErrors::default();
        let ticket_id = wrong.take("ticketId", "Ticket id", self.ticket_id.parse::<TicketId>());
        let quantity = u32::try_from(self.quantity.unwrap_or(1)).ok();
        let quantity = quantity.filter(|quantity| (1..=QUANTITY_MAX).contains(quantity));
        wrong.require(
            quantity.is_some(),
            "quantity",
            format!("Quantity must be from 1 to {QUANTITY_MAX}"),
        );
        if let Some(price) = &self.price
            && Money::parse_major(price.as_str(), Currency::Usd) == Err(MoneyError::Malformed)
        {
            wrong.push("price", format!("Price {}", MoneyError::Malformed));
        }
        match (ticket_id, quantity) {
            (Some(ticket_id), Some(quantity)) if wrong.is_empty() => Ok(Wish {
                ticket_id,
                quantity,
                seen_price: self.price,
            }),
            _ => Err(wrong.into_problem()),
        }
    }
}

impl Wish {
    /// The command, now that the ticket tells in which currency the seen price was.
    pub(super) fn into_command(
        self,
        id: OrderId,
        user_id: UserId,
        ticket: &TicketView,
        hold: Duration,
    ) -> Result<PlaceOrder, OrderError> {
        let seen_price = self.seen_price.map(|seen| {
            // A price that this currency can't even express is not the price.
            Money::parse_major(seen.as_str(), ticket.price.currency())
                .map_err(|_| OrderError::PriceChanged { now: ticket.price })
        });
        Ok(PlaceOrder {
            id,
            user_id,
            quantity: self.quantity,
            seen_price: seen_price.transpose()?,
            hold,
        })
    }
}

/// A body that says nothing, for routes that need none: it may be left out, or be `{}`.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoFields {}

/// An order as its buyer sees it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderBody {
    id: String,
    user_id: String,
    /// created, awaiting:payment, accepted, complete, refunding or cancelled
    status: &'static str,
    /// Why it was cancelled
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    quantity: u32,
    /// In major units
    #[schema(value_type = f64)]
    total: serde_json::Number,
    currency: &'static str,
    expires_at: String,
    version: u64,
    created_at: String,
    ticket: OrderedTicketBody,
}

/// The ticket as it was when it was ordered.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderedTicketBody {
    id: String,
    title: String,
    /// Of one piece, in major units
    #[schema(value_type = f64)]
    price: serde_json::Number,
    version: u64,
    venue: Option<String>,
    /// In UTC
    starts_at: Option<String>,
    /// The clock of the place: a zone's name or an offset
    time_zone: Option<String>,
}

impl From<&Order> for OrderBody {
    fn from(order: &Order) -> Self {
        let ticket = &order.ticket;
        Self {
            id: order.id.to_string(),
            user_id: order.user_id.to_string(),
            status: order.status.as_str(),
            reason: order.reason.map(events::CancelReason::as_str),
            quantity: order.quantity,
            total: order.total.to_major_number(),
            currency: order.total.currency().as_str(),
            expires_at: order.expires_at.to_string(),
            version: order.version.0,
            created_at: order.created_at.to_string(),
            ticket: OrderedTicketBody {
                id: ticket.id.to_string(),
                title: ticket.title.clone(),
                price: ticket.price.to_major_number(),
                version: ticket.version.0,
                venue: ticket.venue.clone(),
                starts_at: ticket.starts_at.as_ref().map(|time| time.at().to_string()),
                time_zone: ticket.starts_at.as_ref().map(|time| time.zone().to_owned()),
            },
        }
    }
}

/// A refund that has begun, as the seller sees it: nothing about the buyer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefundBody {
    id: String,
    status: &'static str,
}

impl From<&Order> for RefundBody {
    fn from(order: &Order) -> Self {
        Self {
            id: order.id.to_string(),
            status: order.status.as_str(),
        }
    }
}
