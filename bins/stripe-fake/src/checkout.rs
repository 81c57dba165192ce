//! Checkout Sessions over the API: create, retrieve, list, expire. What a person does on the payment page
//! is in `payment`.

use serde_json::Value;

use crate::book::Book;
use crate::clock::Seconds;
use crate::decision::{Decision, Moment};
use crate::error::ApiError;
use crate::model::{CaptureMethod, Intent, IntentStatus, LineItem, Record, Session, SessionStatus};
use crate::money;
use crate::params::Params;
use crate::render::{self, Expand};

/// Stripe's bounds on how long a session stays open.
const OPEN_SECONDS_MIN: i64 = 30 * 60;
const OPEN_SECONDS_MAX: i64 = 24 * 60 * 60;
const LINE_ITEMS_MAX: usize = 100;
const QUANTITY_MAX: i64 = 999_999;
const REFERENCE_CHARACTERS_MAX: usize = 200;
const URL_CHARACTERS_MAX: usize = 5_000;
const EXPANDABLE: &[&str] = &["line_items", "payment_intent", "payment_intent.latest_charge"];
const EXPANDABLE_IN_LIST: &[&str] = &[
    "data.line_items",
    "data.payment_intent",
    "data.payment_intent.latest_charge",
];

/// What a session may be created with: what has a meaning here, and what only changes Stripe's page.
const CREATE_PARAMS: &[&str] = &[
    "adaptive_pricing",
    "allow_promotion_codes",
    "automatic_tax",
    "billing_address_collection",
    "branding_settings",
    "cancel_url",
    "client_reference_id",
    "consent_collection",
    "currency",
    "custom_fields",
    "custom_text",
    "customer_creation",
    "customer_email",
    "excluded_payment_method_types",
    "expand",
    "expires_at",
    "integration_identifier",
    "invoice_creation",
    "line_items",
    "locale",
    "metadata",
    "mode",
    "name_collection",
    "origin_context",
    "payment_intent_data",
    "payment_method_options",
    "payment_method_types",
    "phone_number_collection",
    "redirect_on_completion",
    "submit_type",
    "success_url",
    "tax_id_collection",
    "ui_mode",
    "wallet_options",
];

/// `POST /v1/checkout/sessions`
pub(crate) fn create(params: &Params, moment: &Moment<'_>) -> Result<Decision, ApiError> {
    params.only(CREATE_PARAMS)?;
    let expand = Expand::parse(params, EXPANDABLE)?;
    match params.required("mode")? {
        "payment" => {}
        other => {
            return Err(ApiError::parameter_invalid(
                "mode",
                format!("Invalid mode for this stand-in: {other}"),
            ));
        }
    }
    if let Some(mode @ ("embedded" | "embedded_page" | "custom" | "elements")) = params.get("ui_mode") {
        return Err(ApiError::parameter_invalid(
            "ui_mode",
            format!("This stand-in has no ui_mode {mode}."),
        ));
    }
    let (currency, line_items) = line_items(params, moment)?;
    let amount_total = total(&line_items, &currency)?;
    let customer_email = params.get("customer_email").map(str::to_owned);
    if customer_email
        .as_deref()
        .is_some_and(|email| !email.contains('@'))
    {
        return Err(ApiError::parameter(
            "email_invalid",
            "customer_email",
            "Invalid email address.".to_owned(),
        ));
    }
    let client_reference_id = params.get("client_reference_id").map(str::to_owned);
    if client_reference_id
        .as_ref()
        .is_some_and(|id| id.chars().count() > REFERENCE_CHARACTERS_MAX)
    {
        let message = format!("Invalid string: it must be at most {REFERENCE_CHARACTERS_MAX} characters.");
        return Err(ApiError::parameter_invalid("client_reference_id", message));
    }
    let session = Session {
        id: moment.ids.session(),
        created: moment.now,
        expires_at: expires_at(params, moment.now)?,
        status: SessionStatus::Open,
        currency,
        amount_total,
        line_items,
        success_url: url("success_url", params.required("success_url")?)?,
        cancel_url: params
            .get("cancel_url")
            .map(|given| url("cancel_url", given))
            .transpose()?,
        client_reference_id,
        customer_email,
        metadata: params.metadata("metadata")?,
        capture_method: capture_method(params)?,
        intent_metadata: params.metadata("payment_intent_data[metadata]")?,
        intent_description: params.get("payment_intent_data[description]").map(str::to_owned),
        intent: None,
    };
    let body = render::session(&session, None, moment.public_url, &expand);
    Ok(Decision::changed(vec![Record::Session(Box::new(session))], body))
}

/// `GET /v1/checkout/sessions/{id}`
pub(crate) fn retrieve(
    book: &Book,
    id: &str,
    params: &Params,
    moment: &Moment<'_>,
) -> Result<Decision, ApiError> {
    params.only(&["expand"])?;
    let expand = Expand::parse(params, EXPANDABLE)?;
    let (session, intent) = found(book, id)?;
    Ok(Decision::answer(render::session(
        session,
        intent,
        moment.public_url,
        &expand,
    )))
}

/// `GET /v1/checkout/sessions?payment_intent=...`
pub(crate) fn list(book: &Book, params: &Params, moment: &Moment<'_>) -> Result<Decision, ApiError> {
    params.only(&["expand", "limit", "payment_intent", "starting_after"])?;
    let expand = Expand::parse(params, EXPANDABLE_IN_LIST)?.within("data");
    let intent = params.required("payment_intent")?;
    let intent = book
        .intent(intent)
        .ok_or_else(|| ApiError::missing("payment_intent", "payment_intent", intent))?;
    let sessions: Vec<Value> = book
        .session(&intent.session)
        .map(|session| render::session(session, Some(intent), moment.public_url, &expand))
        .into_iter()
        .collect();
    Ok(Decision::answer(render::page(
        &sessions,
        params,
        "/v1/checkout/sessions",
    )?))
}

/// `GET /v1/checkout/sessions/{id}/line_items`
pub(crate) fn list_line_items(book: &Book, id: &str, params: &Params) -> Result<Decision, ApiError> {
    params.only(&["expand", "limit", "starting_after"])?;
    let (session, _) = found(book, id)?;
    Ok(Decision::answer(render::line_items(session)))
}

/// `POST /v1/checkout/sessions/{id}/expire`
pub(crate) fn expire(
    book: &Book,
    id: &str,
    params: &Params,
    moment: &Moment<'_>,
) -> Result<Decision, ApiError> {
    params.only(&["expand"])?;
    let expand = Expand::parse(params, EXPANDABLE)?;
    let (session, intent) = found(book, id)?;
    let status = match session.status {
        SessionStatus::Open => {
            let (records, session, intent) = expired(session, intent, moment);
            let body = render::session(&session, intent.as_ref(), moment.public_url, &expand);
            return Ok(Decision::changed(records, body));
        }
        SessionStatus::Complete => "complete",
        SessionStatus::Expired => "expired",
    };
    let message = format!(
        "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of \
         \"{status}\"."
    );
    Err(ApiError::state(None, message))
}

/// The records of an open session whose time is over.
pub(crate) fn expire_overdue(book: &Book, id: &str, moment: &Moment<'_>) -> Vec<Record> {
    match found(book, id) {
        Ok((session, intent)) if session.status == SessionStatus::Open => expired(session, intent, moment).0,
        // It was paid or expired since the list of the overdue was made.
        Ok(_) | Err(_) => Vec::new(),
    }
}

/// Closes an open session, and the intent of an attempt that did not succeed with it.
fn expired(
    session: &Session,
    intent: Option<&Intent>,
    moment: &Moment<'_>,
) -> (Vec<Record>, Session, Option<Intent>) {
    let session = Session {
        status: SessionStatus::Expired,
        ..session.clone()
    };
    let canceled = intent.map(|intent| Intent {
        status: IntentStatus::Canceled,
        canceled_at: Some(moment.now),
        cancellation_reason: Some("automatic".to_owned()),
        card: None,
        ..intent.clone()
    });
    let mut records = vec![Record::Session(Box::new(session.clone()))];
    if let Some(intent) = &canceled {
        records.push(Record::Intent(Box::new(intent.clone())));
        records.push(moment.event(
            "payment_intent.canceled",
            &render::intent(intent, &Expand::nothing()),
        ));
    }
    let shown = render::session(&session, canceled.as_ref(), moment.public_url, &Expand::nothing());
    records.push(moment.event("checkout.session.expired", &shown));
    (records, session, canceled)
}

fn found<'a>(book: &'a Book, id: &str) -> Result<(&'a Session, Option<&'a Intent>), ApiError> {
    let session = book
        .session(id)
        .ok_or_else(|| ApiError::missing("checkout.session", "session", id))?;
    Ok((
        session,
        session.intent.as_deref().and_then(|intent| book.intent(intent)),
    ))
}

/// The currency that all lines share, and the lines.
fn line_items(params: &Params, moment: &Moment<'_>) -> Result<(String, Vec<LineItem>), ApiError> {
    let positions = params.positions("line_items");
    if positions.len() > LINE_ITEMS_MAX {
        let message = format!("A Checkout Session can have at most {LINE_ITEMS_MAX} line items.");
        return Err(ApiError::parameter_invalid("line_items", message));
    }
    let mut currency: Option<String> = None;
    let mut items = Vec::with_capacity(positions.len());
    for position in positions {
        let item = format!("line_items[{position}]");
        if params.has(&format!("{item}[price]")) {
            let message = "This stand-in keeps no prices: give price_data.".to_owned();
            return Err(ApiError::parameter_invalid(&format!("{item}[price]"), message));
        }
        let name = format!("{item}[price_data][currency]");
        let own = params.required(&name)?.to_lowercase();
        if !money::is_currency(&own) {
            return Err(ApiError::parameter_invalid(
                &name,
                format!("Invalid currency: {own}."),
            ));
        }
        if *currency.get_or_insert_with(|| own.clone()) != own {
            let message = "All line items of a Checkout Session must have the same currency.".to_owned();
            return Err(ApiError::parameter_invalid(&name, message));
        }
        let name = format!("{item}[price_data][unit_amount]");
        params.required(&name)?;
        let unit_amount = bounded(params, &name, 0, money::AMOUNT_MINOR_MAX)?;
        let name = format!("{item}[quantity]");
        params.required(&name)?;
        let quantity = bounded(params, &name, 1, QUANTITY_MAX)?;
        items.push(LineItem {
            id: moment.ids.object("li_"),
            name: params
                .required(&format!("{item}[price_data][product_data][name]"))?
                .to_owned(),
            description: params
                .get(&format!("{item}[price_data][product_data][description]"))
                .map(str::to_owned),
            unit_amount,
            quantity,
        });
    }
    let missing = || {
        let message = "You must provide line_items in payment mode.".to_owned();
        ApiError::parameter("parameter_missing", "line_items", message)
    };
    Ok((currency.ok_or_else(missing)?, items))
}

fn bounded(params: &Params, name: &str, min: i64, max: i64) -> Result<i64, ApiError> {
    let value = params.integer(name)?.unwrap_or(min);
    if value < min {
        let message = format!("Invalid value: must be at least {min}.");
        return Err(ApiError::parameter("parameter_invalid_integer", name, message));
    }
    if value > max {
        let message = format!("Invalid value: must be at most {max}.");
        return Err(ApiError::parameter("parameter_invalid_integer", name, message));
    }
    Ok(value)
}

fn total(items: &[LineItem], currency: &str) -> Result<i64, ApiError> {
    // Both factors are bounded, so no product and no sum of a hundred of them can overflow.
    let total: i64 = items.iter().map(|item| item.unit_amount * item.quantity).sum();
    let min = money::amount_minor_min(currency);
    if total < min {
        let message = format!(
            "The Checkout Session's total amount due must add up to at least {} {currency}",
            money::displayed(min, currency)
        );
        return Err(ApiError::state(Some("amount_too_small"), message));
    }
    if total > money::AMOUNT_MINOR_MAX {
        let message = format!(
            "The Checkout Session's total amount due must be no more than {} {currency}",
            money::displayed(money::AMOUNT_MINOR_MAX, currency)
        );
        return Err(ApiError::state(Some("amount_too_large"), message));
    }
    Ok(total)
}

fn expires_at(params: &Params, now: Seconds) -> Result<Seconds, ApiError> {
    let at = params.integer("expires_at")?.unwrap_or(now + OPEN_SECONDS_MAX);
    let wrong = |message: &str| Err(ApiError::parameter_invalid("expires_at", message.to_owned()));
    if at.saturating_sub(now) < OPEN_SECONDS_MIN {
        wrong("The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation.")
    } else if at.saturating_sub(now) > OPEN_SECONDS_MAX {
        wrong("The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.")
    } else {
        Ok(at)
    }
}

/// An absolute web address. Its braces (`{CHECKOUT_SESSION_ID}`) are filled in when a person is sent there.
fn url(name: &str, given: &str) -> Result<String, ApiError> {
    let rest = given
        .strip_prefix("https://")
        .or_else(|| given.strip_prefix("http://"));
    let host = rest
        .and_then(|rest| rest.split(['/', '?', '#']).next())
        .unwrap_or_default();
    // The host goes into the page's security policy, so nothing may hide in it.
    let good_host = !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'));
    let printable = given.is_ascii() && !given.chars().any(|c| c.is_control() || c.is_whitespace());
    if !good_host || !printable || given.len() > URL_CHARACTERS_MAX {
        return Err(ApiError::parameter(
            "url_invalid",
            name,
            "Not a valid URL".to_owned(),
        ));
    }
    Ok(given.to_owned())
}

fn capture_method(params: &Params) -> Result<CaptureMethod, ApiError> {
    let name = "payment_intent_data[capture_method]";
    match params.get(name) {
        None | Some("automatic" | "automatic_async") => Ok(CaptureMethod::Automatic),
        Some("manual") => Ok(CaptureMethod::Manual),
        Some(other) => Err(ApiError::parameter_invalid(
            name,
            format!("Invalid capture_method: {other}"),
        )),
    }
}
