//! Stripe's JSON from what the books hold.
//!
//! Every field that a client must find is there; of the optional ones those that this stand-in gives a
//! meaning to. Stripe sends the others as null, which its clients read as absent.

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::model::{
    CaptureMethod, Card, CardFailure, Charge, Intent, IntentStatus, LineItem, Metadata, Refund, Session,
    SessionStatus,
};
use crate::params::Params;

/// The API version whose shapes these are.
pub(crate) const API_VERSION: &str = "2026-09-30.endive";

/// Which ids are to be replaced by the objects that they name (`expand[]=payment_intent.latest_charge`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Expand(Vec<String>);

impl Expand {
    /// Nothing but ids.
    pub(crate) fn nothing() -> Self {
        Self::default()
    }

    /// Reads the parameter and refuses what can't be expanded.
    pub(crate) fn parse(params: &Params, known: &[&str]) -> Result<Self, ApiError> {
        let paths = params.list("expand");
        if let Some(unknown) = paths.iter().find(|path| !known.contains(path)) {
            return Err(ApiError::parameter_invalid(
                "expand",
                format!("This property cannot be expanded ({unknown})."),
            ));
        }
        Ok(Self(paths.into_iter().map(str::to_owned).collect()))
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|path| path.split('.').next() == Some(name))
    }

    /// What is to be expanded inside the object under this name.
    pub(crate) fn within(&self, name: &str) -> Self {
        let paths = self
            .0
            .iter()
            .filter_map(|path| path.strip_prefix(name)?.strip_prefix('.'));
        Self(paths.map(str::to_owned).collect())
    }
}

/// A Checkout Session, with its intent if it has one.
pub(crate) fn session(
    session: &Session,
    intent: Option<&Intent>,
    public_url: &str,
    expand: &Expand,
) -> Value {
    let paid = intent.is_some_and(|intent| intent.status == IntentStatus::Succeeded);
    let shown_intent = match (intent, expand.has("payment_intent")) {
        (Some(found), true) => self::intent(found, &expand.within("payment_intent")),
        _ => json!(session.intent),
    };
    let status = match session.status {
        SessionStatus::Open => "open",
        SessionStatus::Complete => "complete",
        SessionStatus::Expired => "expired",
    };
    let mut object = json!({
        "id": session.id,
        "object": "checkout.session",
        "adaptive_pricing": { "enabled": false },
        "amount_subtotal": session.amount_total,
        "amount_total": session.amount_total,
        "automatic_tax": { "enabled": false, "liability": null, "provider": null, "status": null },
        "cancel_url": session.cancel_url,
        "client_reference_id": session.client_reference_id,
        "created": session.created,
        "currency": session.currency,
        "custom_fields": [],
        "custom_text": {
            "after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null,
        },
        "customer": null,
        "customer_creation": "if_required",
        "customer_email": session.customer_email,
        "expires_at": session.expires_at,
        "livemode": false,
        "metadata": session.metadata,
        "mode": "payment",
        "payment_intent": shown_intent,
        "payment_method_collection": "if_required",
        "payment_method_types": ["card"],
        "payment_status": if paid { "paid" } else { "unpaid" },
        "phone_number_collection": { "enabled": false },
        "setup_intent": null,
        "shipping_options": [],
        "status": status,
        "subscription": null,
        "success_url": session.success_url,
        "total_details": { "amount_discount": 0, "amount_shipping": 0, "amount_tax": 0 },
        "ui_mode": "hosted_page",
        // Stripe, too, shows the page's address only while something can be done there.
        "url": (session.status == SessionStatus::Open).then(|| page_url(public_url, &session.id)),
    });
    if expand.has("line_items") {
        object["line_items"] = line_items(session);
    }
    object
}

/// The address of a session's payment page.
pub(crate) fn page_url(public_url: &str, session: &str) -> String {
    format!("{public_url}/stripe-fake/pay/{session}")
}

/// A list of line items.
pub(crate) fn line_items(session: &Session) -> Value {
    let items: Vec<Value> = session
        .line_items
        .iter()
        .map(|item| line_item(session, item))
        .collect();
    list(
        &items,
        &format!("/v1/checkout/sessions/{}/line_items", session.id),
    )
}

fn line_item(session: &Session, item: &LineItem) -> Value {
    let total = item.unit_amount.saturating_mul(item.quantity);
    json!({
        "id": item.id,
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": total,
        "amount_tax": 0,
        "amount_total": total,
        "currency": session.currency,
        "description": item.name,
        "price": null,
        "quantity": item.quantity,
    })
}

/// A PaymentIntent.
pub(crate) fn intent(intent: &Intent, expand: &Expand) -> Value {
    let latest_charge = match &intent.charge {
        Some(latest) if expand.has("latest_charge") => charge(intent, latest),
        latest => json!(latest.as_ref().map(|latest| &latest.id)),
    };
    // As at Stripe, an attempt that failed leaves no payment method on the intent.
    let method = match intent.status {
        IntentStatus::RequiresPaymentMethod => None,
        IntentStatus::RequiresAction => intent.card.as_ref().map(|card| &card.payment_method),
        IntentStatus::RequiresCapture | IntentStatus::Succeeded | IntentStatus::Canceled => intent
            .charge
            .as_ref()
            .filter(|charge| charge.failure.is_none())
            .map(|charge| &charge.card.payment_method),
    };
    json!({
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount,
        "amount_capturable": intent.amount_capturable(),
        "amount_details": { "tip": {} },
        "amount_received": intent.amount_received(),
        "canceled_at": intent.canceled_at,
        "cancellation_reason": intent.cancellation_reason,
        "capture_method": match intent.capture_method {
            CaptureMethod::Automatic => "automatic",
            CaptureMethod::Manual => "manual",
        },
        "client_secret": null,
        "confirmation_method": "automatic",
        "created": intent.created,
        "currency": intent.currency,
        "customer": null,
        "description": intent.description,
        "last_payment_error": intent.last_error.as_ref().map(card_failure),
        "latest_charge": latest_charge,
        "livemode": false,
        "metadata": intent.metadata,
        "next_action": (intent.status == IntentStatus::RequiresAction)
            .then(|| json!({ "type": "use_stripe_sdk", "use_stripe_sdk": {} })),
        "payment_method": method,
        "payment_method_types": ["card"],
        "status": intent.status.as_str(),
    })
}

fn card_failure(failure: &CardFailure) -> Value {
    json!({
        "type": "card_error",
        "code": failure.code,
        "decline_code": failure.decline_code,
        "message": failure.message,
    })
}

/// A charge; it shows its intent's amount, currency and metadata.
pub(crate) fn charge(intent: &Intent, charge: &Charge) -> Value {
    let approved = charge.failure.is_none();
    let refunded = approved && charge.amount_captured > 0 && charge.amount_refunded == charge.amount_captured;
    json!({
        "id": charge.id,
        "object": "charge",
        "amount": intent.amount,
        "amount_captured": charge.amount_captured,
        "amount_refunded": charge.amount_refunded,
        "billing_details": { "address": null, "email": null, "name": null, "phone": null, "tax_id": null },
        "captured": charge.captured,
        "created": charge.created,
        "currency": intent.currency,
        "description": intent.description,
        "disputed": false,
        "failure_code": charge.failure.as_ref().map(|failure| &failure.code),
        "failure_message": charge.failure.as_ref().map(|failure| &failure.message),
        "fraud_details": {},
        "livemode": false,
        "metadata": intent.metadata,
        "outcome": outcome(charge),
        "paid": approved,
        "payment_intent": intent.id,
        "payment_method": charge.card.payment_method,
        "payment_method_details": { "type": "card", "card": card(&charge.card) },
        "refunded": refunded,
        "status": if approved { "succeeded" } else { "failed" },
    })
}

fn outcome(charge: &Charge) -> Value {
    match &charge.failure {
        None => json!({
            "network_status": "approved_by_network", "reason": null, "risk_level": "normal",
            "seller_message": "Payment complete.", "type": "authorized",
        }),
        Some(failure) => json!({
            "network_status": "declined_by_network", "reason": failure.decline_code, "risk_level": "normal",
            "seller_message": "The bank declined the payment.", "type": "issuer_declined",
        }),
    }
}

fn card(card: &Card) -> Value {
    json!({
        "brand": card.brand,
        "country": "US",
        "exp_month": card.exp_month,
        "exp_year": card.exp_year,
        "funding": "credit",
        "last4": card.last4,
        "network": card.brand,
    })
}

/// A refund, with the intent whose money went back.
pub(crate) fn refund(refund: &Refund, paid: Option<&Intent>, expand: &Expand) -> Value {
    let shown_intent = match paid {
        Some(paid) if expand.has("payment_intent") => intent(paid, &expand.within("payment_intent")),
        _ => json!(refund.intent),
    };
    let shown_charge = match paid.and_then(|paid| Some((paid, paid.charge.as_ref()?))) {
        Some((paid, latest)) if expand.has("charge") => charge(paid, latest),
        _ => json!(refund.charge),
    };
    json!({
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "balance_transaction": null,
        "charge": shown_charge,
        "created": refund.created,
        "currency": refund.currency,
        "metadata": refund.metadata,
        "payment_intent": shown_intent,
        "reason": refund.reason,
        "receipt_number": null,
        "status": "succeeded",
    })
}

/// A list that is complete in one page.
pub(crate) fn list(data: &[Value], url: &str) -> Value {
    json!({ "object": "list", "data": data, "has_more": false, "url": url })
}

/// The page of a list that `limit` and `starting_after` ask for.
pub(crate) fn page(all: &[Value], params: &Params, url: &str) -> Result<Value, ApiError> {
    const LIMIT_DEFAULT: i64 = 10;
    const LIMIT_MAX: i64 = 100;
    let limit = params.integer("limit")?.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::parameter_invalid(
            "limit",
            format!("Invalid limit: it must be from 1 to {LIMIT_MAX}."),
        ));
    }
    let start = match params.get("starting_after") {
        None => 0,
        Some(after) => match all.iter().position(|object| object["id"] == after) {
            Some(position) => position + 1,
            None => return Err(ApiError::missing("object", "starting_after", after)),
        },
    };
    let end = all.len().min(start + usize::try_from(limit).unwrap_or(0));
    let mut list = list(&all[start..end], url);
    list["has_more"] = json!(end < all.len());
    Ok(list)
}

/// The text of an event.
pub(crate) fn event(
    id: &str,
    kind: &str,
    created: i64,
    object: &Value,
    request: Option<&str>,
    idempotency_key: Option<&str>,
) -> String {
    json!({
        "id": id,
        "object": "event",
        "api_version": API_VERSION,
        "created": created,
        "data": { "object": object },
        "livemode": false,
        "pending_webhooks": 1,
        "request": { "id": request, "idempotency_key": idempotency_key },
        "type": kind,
    })
    .to_string()
}

/// Metadata as the ledger shows it: the order that a payment is for, under whichever common name.
pub(crate) fn order_of(metadata: &Metadata) -> Option<&str> {
    ["order_id", "orderId", "order"]
        .into_iter()
        .find_map(|name| metadata.get(name))
        .map(String::as_str)
}
