//! Refunds over the API and from the dashboard: create, retrieve, list.

use serde_json::Value;

use crate::book::Book;
use crate::decision::{Decision, Moment};
use crate::error::ApiError;
use crate::model::{Charge, Intent, Metadata, Record, Refund};
use crate::money;
use crate::params::Params;
use crate::render::{self, Expand};

const EXPANDABLE: &[&str] = &["charge", "payment_intent", "payment_intent.latest_charge"];
const EXPANDABLE_IN_LIST: &[&str] = &[
    "data.charge",
    "data.payment_intent",
    "data.payment_intent.latest_charge",
];
const REASONS: &[&str] = &["duplicate", "fraudulent", "requested_by_customer"];

/// What a refund is asked for with.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// All that is left, unless said.
    pub(crate) amount: Option<i64>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) metadata: Metadata,
}

/// `POST /v1/refunds`
pub(crate) fn create(book: &Book, params: &Params, moment: &Moment<'_>) -> Result<Decision, ApiError> {
    params.only(&[
        "amount",
        "charge",
        "currency",
        "expand",
        "metadata",
        "payment_intent",
        "reason",
    ])?;
    let expand = Expand::parse(params, EXPANDABLE)?;
    let wanted = Wanted {
        amount: params.integer("amount")?,
        reason: params.get("reason"),
        metadata: params.metadata("metadata")?,
    };
    if let Some(unknown) = wanted.reason.filter(|reason| !REASONS.contains(reason)) {
        return Err(ApiError::parameter_invalid(
            "reason",
            format!("Invalid reason: {unknown}"),
        ));
    }
    if params.get("charge").is_some() {
        let message = "This stand-in refunds by payment_intent.".to_owned();
        return Err(ApiError::parameter_invalid("charge", message));
    }
    let intent = params.required("payment_intent")?;
    let intent = book
        .intent(intent)
        .ok_or_else(|| ApiError::missing("payment_intent", "payment_intent", intent))?;
    let (records, refund, intent) = refunded(intent, wanted, moment)?;
    Ok(Decision::changed(
        records,
        render::refund(&refund, Some(&intent), &expand),
    ))
}

/// `GET /v1/refunds/{id}`
pub(crate) fn retrieve(book: &Book, id: &str, params: &Params) -> Result<Decision, ApiError> {
    params.only(&["expand"])?;
    let expand = Expand::parse(params, EXPANDABLE)?;
    let refund = book
        .refund(id)
        .ok_or_else(|| ApiError::missing("refund", "refund", id))?;
    Ok(Decision::answer(render::refund(
        refund,
        book.intent(&refund.intent),
        &expand,
    )))
}

/// `GET /v1/refunds?payment_intent=...`, the newest first.
pub(crate) fn list(book: &Book, params: &Params) -> Result<Decision, ApiError> {
    params.only(&["expand", "limit", "payment_intent", "starting_after"])?;
    let expand = Expand::parse(params, EXPANDABLE_IN_LIST)?.within("data");
    let intent = params.required("payment_intent")?;
    let intent = book
        .intent(intent)
        .ok_or_else(|| ApiError::missing("payment_intent", "payment_intent", intent))?;
    let refunds = book.refunds_of(&intent.id).rev();
    let refunds: Vec<Value> = refunds
        .map(|refund| render::refund(refund, Some(intent), &expand))
        .collect();
    Ok(Decision::answer(render::page(&refunds, params, "/v1/refunds")?))
}

/// Gives money of an intent back.
pub(crate) fn refunded(
    intent: &Intent,
    wanted: Wanted<'_>,
    moment: &Moment<'_>,
) -> Result<(Vec<Record>, Refund, Intent), ApiError> {
    let Some(charge) = intent.charge.as_ref().filter(|charge| charge.captured) else {
        let message = format!(
            "This PaymentIntent ({}) does not have a successful charge to refund.",
            intent.id
        );
        return Err(ApiError::unexpected_state(
            message,
            render::intent(intent, &Expand::nothing()),
        ));
    };
    let left = charge.amount_captured - charge.amount_refunded;
    if left == 0 {
        let message = format!("Charge {} has already been refunded.", charge.id);
        return Err(ApiError::state(Some("charge_already_refunded"), message));
    }
    let amount = wanted.amount.unwrap_or(left);
    if amount < 1 {
        let message = "Invalid positive integer".to_owned();
        return Err(ApiError::parameter(
            "parameter_invalid_integer",
            "amount",
            message,
        ));
    }
    if amount > left {
        let message = format!(
            "Refund amount ({}) is greater than unrefunded amount on charge ({})",
            money::displayed(amount, &intent.currency),
            money::displayed(left, &intent.currency)
        );
        return Err(ApiError::state(None, message));
    }
    let refund = Refund {
        id: moment.ids.object("re_"),
        created: moment.now,
        intent: intent.id.clone(),
        charge: charge.id.clone(),
        amount,
        currency: intent.currency.clone(),
        reason: wanted.reason.map(str::to_owned),
        metadata: wanted.metadata,
    };
    let charge = Charge {
        amount_refunded: charge.amount_refunded + amount,
        ..charge.clone()
    };
    let shown_charge = render::charge(intent, &charge);
    let intent = Intent {
        charge: Some(charge),
        ..intent.clone()
    };
    let records = vec![
        Record::Intent(Box::new(intent.clone())),
        Record::Refund(Box::new(refund.clone())),
        moment.event(
            "refund.created",
            &render::refund(&refund, Some(&intent), &Expand::nothing()),
        ),
        moment.event("charge.refunded", &shown_charge),
    ];
    Ok((records, refund, intent))
}
