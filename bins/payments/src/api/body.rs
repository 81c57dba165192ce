//! What comes in and goes out.

use events::OrderId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{Payment, State};

/// Which order is to be paid.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PaymentRequest {
    /// The order.
    #[schema(value_type = String, format = "uuid")]
    pub order_id: OrderId,
}

/// A payment that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenedBody {
    /// Which.
    #[schema(format = "uuid")]
    pub id: String,
    /// For which order.
    #[schema(format = "uuid")]
    pub order_id: String,
    /// `opening`, `open`, `authorized`, `capturing`, `captured`, `closing`, `closed`, `lapsed`, `failed`,
    /// `refunding` or `refunded`.
    pub status: &'static str,
    /// Stripe's page, while it can be paid there.
    pub url: Option<String>,
}

/// A payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentBody {
    /// Which, for which order, where it stands, and Stripe's page.
    #[serde(flatten)]
    pub opened: OpenedBody,
    /// How much, in major units.
    #[schema(value_type = f64)]
    pub amount: serde_json::Number,
    /// Of which currency.
    pub currency: &'static str,
    /// When it was begun.
    #[schema(format = "date-time")]
    pub created_at: String,
    /// Since when it stands where it stands.
    #[schema(format = "date-time")]
    pub updated_at: String,
}

impl From<&Payment> for OpenedBody {
    fn from(payment: &Payment) -> Self {
        let url = match &payment.state {
            State::Open(checkout) => Some(checkout.url.clone()),
            State::Opening
            | State::Recalled(_)
            | State::Authorized(_)
            | State::Capturing(_)
            | State::Captured(_)
            | State::Closing(_)
            | State::Closed(_)
            | State::Lapsed(_)
            | State::Failed(_)
            | State::Refunding(_)
            | State::Refunded(_) => None,
        };
        Self {
            id: payment.id.to_string(),
            order_id: payment.order_id.to_string(),
            status: payment.state.as_str(),
            url,
        }
    }
}

impl From<&Payment> for PaymentBody {
    fn from(payment: &Payment) -> Self {
        Self {
            opened: OpenedBody::from(payment),
            amount: payment.amount.to_major_number(),
            currency: payment.amount.currency().as_str(),
            created_at: payment.id.created_at().to_string(),
            updated_at: payment.changed_at.to_string(),
        }
    }
}
