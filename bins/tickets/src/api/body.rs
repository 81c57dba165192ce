//! What clients send and get: parsed at the edge, printed from the domain.

use std::str::FromStr as _;

use errors::{FieldErrors, Problem};
use events::{Currency, Money, QUANTITY_MAX, ShowTime};
use serde::{Deserialize, Serialize};
use service::http::Decimal;
use utoipa::ToSchema;

use crate::domain::{Details, Hold, Ticket};

/// The longest title, in characters.
const TITLE_CHARS_MAX: usize = 200;

/// The longest description, in characters.
const DESCRIPTION_CHARS_MAX: usize = 5_000;

/// The longest venue, in characters.
const VENUE_CHARS_MAX: usize = 200;

/// What a seller says about a ticket.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TicketRequest {
    /// What it is for; 1 to 200 characters
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    /// The price of one piece in major units, above zero, with at most the currency's decimals
    price: Decimal,
    /// ISO 4217 in lower case; usd if not said
    #[serde(default)]
    currency: Option<String>,
    /// How many pieces; 1 if not said
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100_000)]
    quantity: Option<i64>,
    /// More about it; up to 5,000 characters
    #[serde(default)]
    #[schema(max_length = 5_000)]
    description: Option<String>,
    /// Where; up to 200 characters
    #[serde(default)]
    #[schema(max_length = 200)]
    venue: Option<String>,
    /// When, with a zone: `2027-05-01T20:00:00+02:00`, or with `[Europe/Berlin]` behind it
    #[serde(default)]
    starts_at: Option<String>,
}

impl TicketRequest {
    /// The details, or everything that is wrong with them.
    ///
    /// # Errors
    /// A 400 that names every field that is wrong.
    pub fn parse(self) -> Result<Details, Problem> {
        let mut wrong = FieldErrors::default();
        let title = text("title", "Title", Some(self.title), TITLE_CHARS_MAX, &mut wrong);
        wrong.require(!title.is_empty(), "title", "Title must not be empty");
        let description = text(
            "description",
            "Description",
            self.description,
            DESCRIPTION_CHARS_MAX,
            &mut wrong,
        );
        let venue = text("venue", "Venue", self.venue, VENUE_CHARS_MAX, &mut wrong);
        let currency = self
            .currency
            .as_deref()
            .map_or(Ok(Currency::default()), Currency::from_str);
        let currency = wrong.take("currency", "Currency", currency);
        let price = Money::parse_major(self.price.as_str(), currency.unwrap_or_default());
        let price = wrong.take("price", "Price", price);
        if price.is_some_and(Money::is_zero) {
            wrong.push("price", "Price must be above zero");
        }
        let quantity = self.quantity.unwrap_or(1);
        let quantity = u32::try_from(quantity)
            .ok()
            .filter(|quantity| (1..=QUANTITY_MAX).contains(quantity));
        wrong.require(
            quantity.is_some(),
            "quantity",
            format!("Quantity must be from 1 to {QUANTITY_MAX}"),
        );
        let starts_at = self.starts_at.filter(|text| !text.is_empty());
        let starts_at = starts_at.map(|text| text.parse::<ShowTime>()).transpose();
        let starts_at = wrong.take("startsAt", "Starts at", starts_at);
        match (price, quantity, starts_at) {
            (Some(price), Some(quantity), Some(starts_at)) if wrong.is_empty() => Ok(Details {
                title,
                description,
                venue: Some(venue).filter(|venue| !venue.is_empty()),
                starts_at,
                price,
                quantity,
            }),
            _ => Err(wrong.into_problem()),
        }
    }
}

/// A text without the blanks around it. Control characters other than line breaks have no business in one.
fn text(
    field: &str,
    label: &str,
    value: Option<String>,
    chars_max: usize,
    wrong: &mut FieldErrors,
) -> String {
    let value = value.unwrap_or_default().trim().to_owned();
    let fits = value.chars().count() <= chars_max;
    wrong.require(
        fits,
        field,
        format!("{label} must have at most {chars_max} characters"),
    );
    let clean = !value
        .chars()
        .any(|character| character.is_control() && !['\n', '\r', '\t'].contains(&character));
    wrong.require(
        clean,
        field,
        format!("{label} must not contain control characters"),
    );
    value
}

/// A ticket as everyone may see it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketBody {
    id: String,
    title: String,
    description: String,
    /// Of one piece, in major units
    #[schema(value_type = f64)]
    price: serde_json::Number,
    currency: &'static str,
    /// Pieces in all, the sold ones included
    quantity: u32,
    /// Pieces that can be ordered
    available: u32,
    venue: Option<String>,
    /// In UTC
    starts_at: Option<String>,
    /// The clock of the place: a zone's name or an offset
    time_zone: Option<String>,
    /// The seller
    user_id: String,
    version: u64,
    created_at: String,
    updated_at: String,
}

impl From<&Ticket> for TicketBody {
    fn from(ticket: &Ticket) -> Self {
        let details = &ticket.details;
        Self {
            id: ticket.id.to_string(),
            title: details.title.clone(),
            description: details.description.clone(),
            price: details.price.to_major_number(),
            currency: details.price.currency().as_str(),
            quantity: details.quantity,
            available: ticket.available(),
            venue: details.venue.clone(),
            starts_at: details.starts_at.as_ref().map(|time| time.at().to_string()),
            time_zone: details.starts_at.as_ref().map(|time| time.zone().to_owned()),
            user_id: ticket.seller_id.to_string(),
            version: ticket.version.0,
            created_at: ticket.created_at.to_string(),
            updated_at: ticket.updated_at.to_string(),
        }
    }
}

/// An order as the seller of its ticket may see it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HoldBody {
    id: String,
    status: &'static str,
    quantity: u32,
    /// In major units
    #[schema(value_type = f64)]
    total: serde_json::Number,
    currency: &'static str,
    created_at: String,
}

impl From<&Hold> for HoldBody {
    fn from(hold: &Hold) -> Self {
        Self {
            id: hold.order_id.to_string(),
            status: hold.order_status.as_str(),
            quantity: hold.quantity,
            total: hold.total.to_major_number(),
            currency: hold.total.currency().as_str(),
            created_at: hold.ordered_at.to_string(),
        }
    }
}
