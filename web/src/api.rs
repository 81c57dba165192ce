//! What the services say, as the contract writes it: tickets, orders, people, payments.
//!
//! These types are lenient where the contract may grow (unknown fields are passed over) and strict where a
//! page could mislead (amounts are kept as the decimal text that was sent, never as floats).

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// An amount in major units, exactly as the service wrote it, like `12.5`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decimal(String);

impl Decimal {
    /// The digits as they came.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        struct DecimalVisitor;

        impl Visitor<'_> for DecimalVisitor {
            type Value = Decimal;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an amount as a number or a decimal string")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Decimal, E> {
                Ok(Decimal(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Decimal, E> {
                Ok(Decimal(value.to_string()))
            }

            // The shortest text that reads back as the same double is the decimal that was written, for
            // every amount of up to fifteen digits; nothing is ever computed with it.
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Decimal, E> {
                Ok(Decimal(value.to_string()))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Decimal, E> {
                Ok(Decimal(value.to_owned()))
            }
        }

        deserializer.deserialize_any(DecimalVisitor)
    }
}

/// A listing.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ticket {
    /// Its id.
    pub(crate) id: String,
    /// What is sold.
    pub(crate) title: String,
    /// More about it.
    #[serde(default)]
    pub(crate) description: Option<String>,
    /// Price of one, in major units.
    pub(crate) price: Decimal,
    /// Currency code in lower case.
    pub(crate) currency: String,
    /// Pieces that were listed.
    pub(crate) quantity: u64,
    /// Pieces that nobody holds or has bought.
    #[serde(default)]
    pub(crate) available: u64,
    /// Where it takes place.
    #[serde(default)]
    pub(crate) venue: Option<String>,
    /// When it takes place.
    #[serde(default)]
    pub(crate) starts_at: Option<String>,
    /// The clock that it is read on: a zone's name or an offset.
    #[serde(default)]
    pub(crate) time_zone: Option<String>,
    /// Its seller.
    #[serde(default)]
    pub(crate) user_id: Option<String>,
    /// Raised by each change.
    pub(crate) version: u64,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum OrderStatus {
    /// Asked for, not yet confirmed.
    #[serde(rename = "created")]
    Created,
    /// Reserved until its deadline.
    #[serde(rename = "awaiting:payment")]
    AwaitingPayment,
    /// Payment authorised, not yet captured.
    #[serde(rename = "accepted")]
    Accepted,
    /// Paid and handed over.
    #[serde(rename = "complete")]
    Complete,
    /// The money is on its way back.
    #[serde(rename = "refunding")]
    Refunding,
    /// Ended without a ticket.
    #[serde(rename = "cancelled")]
    Cancelled,
}

impl OrderStatus {
    /// The contract's name of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            OrderStatus::Created => "created",
            OrderStatus::AwaitingPayment => "awaiting:payment",
            OrderStatus::Accepted => "accepted",
            OrderStatus::Complete => "complete",
            OrderStatus::Refunding => "refunding",
            OrderStatus::Cancelled => "cancelled",
        }
    }

    /// A person's word for it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            OrderStatus::Created => "Being confirmed",
            OrderStatus::AwaitingPayment => "Waiting for payment",
            OrderStatus::Accepted => "Completing payment",
            OrderStatus::Complete => "Paid",
            OrderStatus::Refunding => "Refund on its way",
            OrderStatus::Cancelled => "Cancelled",
        }
    }

    /// The look of its badge.
    pub(crate) fn tone(self) -> &'static str {
        match self {
            OrderStatus::Created | OrderStatus::AwaitingPayment => "waiting",
            OrderStatus::Accepted | OrderStatus::Complete => "good",
            OrderStatus::Refunding => "waiting",
            OrderStatus::Cancelled => "muted",
        }
    }

    /// Whether nothing will change any more by itself.
    pub(crate) fn is_settled(self) -> bool {
        match self {
            OrderStatus::Complete | OrderStatus::Cancelled => true,
            OrderStatus::Created
            | OrderStatus::AwaitingPayment
            | OrderStatus::Accepted
            | OrderStatus::Refunding => false,
        }
    }
}

/// What an order says about its ticket.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderedTicket {
    /// The ticket's id.
    pub(crate) id: String,
    /// What was ordered.
    pub(crate) title: String,
    /// Price of one, in major units.
    pub(crate) price: Decimal,
    /// Where it takes place.
    #[serde(default)]
    pub(crate) venue: Option<String>,
    /// When it takes place.
    #[serde(default)]
    pub(crate) starts_at: Option<String>,
    /// The clock that it is read on: a zone's name or an offset.
    #[serde(default)]
    pub(crate) time_zone: Option<String>,
}

/// A purchase, as its buyer sees it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order {
    /// Its id.
    pub(crate) id: String,
    /// Where it stands.
    pub(crate) status: OrderStatus,
    /// Why it was cancelled.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// Pieces.
    pub(crate) quantity: u64,
    /// What all of them cost, in major units.
    pub(crate) total: Decimal,
    /// Currency code in lower case.
    pub(crate) currency: String,
    /// When the hold ends.
    #[serde(default)]
    pub(crate) expires_at: Option<String>,
    /// Raised by each change.
    pub(crate) version: u64,
    /// When it was placed.
    #[serde(default)]
    pub(crate) created_at: Option<String>,
    /// What was ordered.
    pub(crate) ticket: OrderedTicket,
}

/// A purchase, as its seller sees it: nothing of the buyer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sale {
    /// The order's id.
    pub(crate) id: String,
    /// Where it stands.
    pub(crate) status: OrderStatus,
    /// Pieces.
    pub(crate) quantity: u64,
    /// What all of them cost, in major units.
    pub(crate) total: Decimal,
    /// When it was placed.
    #[serde(default)]
    pub(crate) created_at: Option<String>,
}

/// Someone who is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Person {
    /// Their id.
    pub(crate) id: String,
    /// Their e-mail address.
    pub(crate) email: String,
}

/// The answer of `GET /api/users/currentuser`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WhoAmI {
    /// Nobody, when no valid session came along.
    pub(crate) current_user: Option<Person>,
}

/// A payment that was begun.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Payment {
    /// Where the person pays; absent once there is nothing to pay.
    #[serde(default)]
    pub(crate) url: Option<String>,
}

/// What signs a person up or in.
#[derive(Debug, Serialize)]
pub(crate) struct Credentials<'a> {
    /// E-mail address, as typed.
    pub(crate) email: &'a str,
    /// Password, as typed.
    pub(crate) password: &'a str,
}

/// A change of password.
#[derive(Debug, Serialize)]
pub(crate) struct PasswordChange<'a> {
    /// The password until now.
    pub(crate) current: &'a str,
    /// The password from now on.
    pub(crate) new: &'a str,
}

/// What ends sessions.
#[derive(Debug, Serialize)]
pub(crate) struct SignOut {
    /// All of the person's sessions, not this one only.
    pub(crate) everywhere: bool,
}

/// A listing as its seller describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TicketDraft<'a> {
    /// What is sold.
    pub(crate) title: &'a str,
    /// Price of one as typed: the service reads decimal text and knows each currency's decimals.
    pub(crate) price: &'a str,
    /// Currency code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) currency: Option<&'a str>,
    /// Pieces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quantity: Option<u64>,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<&'a str>,
    /// Where it takes place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) venue: Option<&'a str>,
    /// When it takes place, with its zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) starts_at: Option<String>,
}

/// A reservation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reservation<'a> {
    /// Which ticket.
    pub(crate) ticket_id: &'a str,
    /// Pieces.
    pub(crate) quantity: u64,
    /// The price of one that the buyer saw, as decimal text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) price: Option<&'a str>,
}

/// Which order shall be paid.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PaymentRequest<'a> {
    /// Its id.
    pub(crate) order_id: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_keeps_its_digits() {
        for (json, text) in [
            ("12", "12"),
            ("12.5", "12.5"),
            ("\"12.50\"", "12.50"),
            ("0.1", "0.1"),
            ("99999999999.99", "99999999999.99"),
        ] {
            assert_eq!(serde_json::from_str::<Decimal>(json).unwrap().as_str(), text);
        }
        assert!(serde_json::from_str::<Decimal>("null").is_err());
    }
}
