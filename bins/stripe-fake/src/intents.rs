//! PaymentIntents over the API: retrieve, capture, cancel; and authorisations that lapse.

use crate::book::Book;
use crate::decision::{Decision, Moment};
use crate::error::ApiError;
use crate::model::{Charge, Intent, IntentStatus, Record};
use crate::money;
use crate::params::Params;
use crate::render::{self, Expand};

const EXPANDABLE: &[&str] = &["latest_charge"];
const CANCELLATION_REASONS: &[&str] = &["abandoned", "duplicate", "fraudulent", "requested_by_customer"];

/// `GET /v1/payment_intents/{id}`
pub(crate) fn retrieve(book: &Book, id: &str, params: &Params) -> Result<Decision, ApiError> {
    params.only(&["client_secret", "expand"])?;
    let expand = Expand::parse(params, EXPANDABLE)?;
    Ok(Decision::answer(render::intent(found(book, id)?, &expand)))
}

/// `POST /v1/payment_intents/{id}/capture`
pub(crate) fn capture(
    book: &Book,
    id: &str,
    params: &Params,
    moment: &Moment<'_>,
) -> Result<Decision, ApiError> {
    params.only(&[
        "amount_to_capture",
        "expand",
        "final_capture",
        "metadata",
        "statement_descriptor",
    ])?;
    let expand = Expand::parse(params, EXPANDABLE)?;
    let asked = params.integer("amount_to_capture")?;
    let metadata = params.metadata("metadata")?;
    let intent = found(book, id)?;
    let (IntentStatus::RequiresCapture, Some(charge)) = (intent.status, &intent.charge) else {
        let message = format!(
            "This PaymentIntent could not be captured because it has a status of {}. Only a PaymentIntent with one \
             of the following statuses may be captured: requires_capture.",
            intent.status.as_str()
        );
        return Err(ApiError::unexpected_state(
            message,
            render::intent(intent, &Expand::nothing()),
        ));
    };
    let amount = asked.unwrap_or(intent.amount);
    if amount < 1 {
        let message = "Invalid positive integer".to_owned();
        return Err(ApiError::parameter(
            "parameter_invalid_integer",
            "amount_to_capture",
            message,
        ));
    }
    if amount > intent.amount {
        let message = format!(
            "You cannot capture {}: only {} was authorised.",
            money::displayed(amount, &intent.currency),
            money::displayed(intent.amount, &intent.currency)
        );
        return Err(ApiError::parameter(
            "amount_too_large",
            "amount_to_capture",
            message,
        ));
    }
    if charge.card.fails_at_capture {
        return Ok(capture_refused(intent, moment));
    }
    let charge = Charge {
        captured: true,
        amount_captured: amount,
        ..charge.clone()
    };
    let mut captured = Intent {
        status: IntentStatus::Succeeded,
        charge: Some(charge),
        ..intent.clone()
    };
    captured.metadata.extend(metadata);
    let records = vec![
        Record::Intent(Box::new(captured.clone())),
        moment.event(
            "payment_intent.succeeded",
            &render::intent(&captured, &Expand::nothing()),
        ),
    ];
    Ok(Decision::changed(records, render::intent(&captured, &expand)))
}

/// `POST /v1/payment_intents/{id}/cancel`
pub(crate) fn cancel(
    book: &Book,
    id: &str,
    params: &Params,
    moment: &Moment<'_>,
) -> Result<Decision, ApiError> {
    params.only(&["cancellation_reason", "expand"])?;
    let expand = Expand::parse(params, EXPANDABLE)?;
    let reason = params.get("cancellation_reason");
    if let Some(unknown) = reason.filter(|reason| !CANCELLATION_REASONS.contains(reason)) {
        let message = format!("Invalid cancellation_reason: {unknown}");
        return Err(ApiError::parameter_invalid("cancellation_reason", message));
    }
    let intent = found(book, id)?;
    match intent.status {
        IntentStatus::RequiresCapture => {
            let (records, canceled) = canceled(intent, reason, moment);
            Ok(Decision::changed(records, render::intent(&canceled, &expand)))
        }
        // The page of an open session could still pay it: the session has to be expired instead.
        IntentStatus::RequiresPaymentMethod | IntentStatus::RequiresAction => {
            let message =
                "You cannot cancel this PaymentIntent because it was created by a Checkout Session that \
                           is still open. Expire the Checkout Session instead."
                    .to_owned();
            Err(ApiError::unexpected_state(
                message,
                render::intent(intent, &Expand::nothing()),
            ))
        }
        IntentStatus::Succeeded | IntentStatus::Canceled => {
            let message = format!(
                "You cannot cancel this PaymentIntent because it has a status of {}. Only a PaymentIntent with one \
                 of the following statuses may be canceled: requires_payment_method, requires_capture, \
                 requires_confirmation, requires_action, processing.",
                intent.status.as_str()
            );
            Err(ApiError::unexpected_state(
                message,
                render::intent(intent, &Expand::nothing()),
            ))
        }
    }
}

/// The records of an authorisation that was not captured in time: the bank takes it back.
pub(crate) fn lapse(book: &Book, id: &str, moment: &Moment<'_>) -> Vec<Record> {
    match book.intent(id) {
        Some(intent) if intent.status == IntentStatus::RequiresCapture => {
            canceled(intent, Some("automatic"), moment).0
        }
        // It was captured or cancelled since the list was made.
        Some(_) | None => Vec::new(),
    }
}

/// The bank refuses to honour its authorisation. Nothing is taken, and nothing can be any more: the
/// intent is cancelled, so that whoever reads it again sees an end.
fn capture_refused(intent: &Intent, moment: &Moment<'_>) -> Decision {
    let (records, canceled) = canceled(intent, Some("automatic"), moment);
    let error = ApiError::card(
        "card_declined",
        Some("generic_decline".to_owned()),
        "Your card was declined.".to_owned(),
        render::intent(&canceled, &Expand::nothing()),
    );
    Decision::refused(records, &error)
}

fn canceled(intent: &Intent, reason: Option<&str>, moment: &Moment<'_>) -> (Vec<Record>, Intent) {
    let canceled = Intent {
        status: IntentStatus::Canceled,
        canceled_at: Some(moment.now),
        cancellation_reason: reason.map(str::to_owned),
        ..intent.clone()
    };
    let event = moment.event(
        "payment_intent.canceled",
        &render::intent(&canceled, &Expand::nothing()),
    );
    (vec![Record::Intent(Box::new(canceled.clone())), event], canceled)
}

fn found<'a>(book: &'a Book, id: &str) -> Result<&'a Intent, ApiError> {
    book.intent(id)
        .ok_or_else(|| ApiError::missing("payment_intent", "intent", id))
}
