//! What happens when a person tries to pay a session: the card's bank approves, declines, or asks for a
//! confirmation first.

use crate::book::Book;
use crate::cards::{Outcome, Presented};
use crate::decision::Moment;
use crate::model::{
    CaptureMethod, Card, CardFailure, Charge, Intent, IntentStatus, Record, Session, SessionStatus,
};
use crate::render::{self, Expand};

/// How an attempt to pay went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Paid, or authorised if the merchant captures later.
    Approved,
    /// The bank wants its customer to confirm first.
    NeedsConfirmation,
    Declined(CardFailure),
}

/// Why a session can't be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotPayable {
    Missing,
    Complete,
    Expired,
    /// There is nothing that waits for a confirmation.
    NothingToConfirm,
}

/// The session, if it can be paid now.
pub(crate) fn payable<'a>(book: &'a Book, id: &str, moment: &Moment<'_>) -> Result<&'a Session, NotPayable> {
    let session = book.session(id).ok_or(NotPayable::Missing)?;
    match session.status {
        SessionStatus::Complete => Err(NotPayable::Complete),
        SessionStatus::Expired => Err(NotPayable::Expired),
        // The sweep marks it expired within a second; nobody pays meanwhile.
        SessionStatus::Open if session.expires_at <= moment.now => Err(NotPayable::Expired),
        SessionStatus::Open => Ok(session),
    }
}

/// A person has sent a card's details.
pub(crate) fn attempt(
    book: &Book,
    id: &str,
    presented: &Presented,
    moment: &Moment<'_>,
) -> Result<(Vec<Record>, Attempt), NotPayable> {
    let session = payable(book, id, moment)?;
    let intent = session.intent.as_deref().and_then(|id| book.intent(id));
    let intent = intent.cloned().unwrap_or_else(|| new_intent(session, moment));
    let card = Card {
        payment_method: moment.ids.object("pm_"),
        brand: presented.brand.to_owned(),
        last4: presented.last4.clone(),
        exp_month: presented.exp_month,
        exp_year: presented.exp_year,
        fails_at_capture: presented.outcome == Outcome::FailsAtCapture,
    };
    Ok(match presented.outcome {
        Outcome::Approved | Outcome::FailsAtCapture => {
            (approved(session, intent, card, moment), Attempt::Approved)
        }
        Outcome::Declined(decline) => {
            let failure = decline.failure();
            (
                declined(session, intent, card, failure.clone(), moment),
                Attempt::Declined(failure),
            )
        }
        Outcome::NeedsConfirmation => {
            let intent = Intent {
                status: IntentStatus::RequiresAction,
                card: Some(card),
                last_error: None,
                ..intent
            };
            (
                records(session, &intent, SessionStatus::Open),
                Attempt::NeedsConfirmation,
            )
        }
    })
}

/// A person has answered the bank's question.
pub(crate) fn confirm(
    book: &Book,
    id: &str,
    confirmed: bool,
    moment: &Moment<'_>,
) -> Result<(Vec<Record>, Attempt), NotPayable> {
    let session = payable(book, id, moment)?;
    let intent = session
        .intent
        .as_deref()
        .and_then(|id| book.intent(id))
        .ok_or(NotPayable::NothingToConfirm)?;
    let card = match (&intent.card, intent.status) {
        (Some(card), IntentStatus::RequiresAction) => card.clone(),
        _ => return Err(NotPayable::NothingToConfirm),
    };
    let intent = Intent {
        card: None,
        ..intent.clone()
    };
    if confirmed {
        return Ok((approved(session, intent, card, moment), Attempt::Approved));
    }
    let failure = CardFailure {
        code: "payment_intent_authentication_failure".to_owned(),
        decline_code: None,
        message:
            "We are unable to authenticate your payment method. Please choose a different payment method and \
                  try again."
                .to_owned(),
    };
    Ok((
        declined(session, intent, card, failure.clone(), moment),
        Attempt::Declined(failure),
    ))
}

/// The card that waits for its holder's confirmation, if one does.
pub(crate) fn waiting_card<'a>(book: &'a Book, session: &Session) -> Option<&'a Card> {
    let intent = book.intent(session.intent.as_deref()?)?;
    intent
        .card
        .as_ref()
        .filter(|_| intent.status == IntentStatus::RequiresAction)
}

fn new_intent(session: &Session, moment: &Moment<'_>) -> Intent {
    Intent {
        id: moment.ids.object("pi_"),
        session: session.id.clone(),
        created: moment.now,
        amount: session.amount_total,
        currency: session.currency.clone(),
        capture_method: session.capture_method,
        status: IntentStatus::RequiresPaymentMethod,
        description: session.intent_description.clone(),
        metadata: session.intent_metadata.clone(),
        canceled_at: None,
        cancellation_reason: None,
        card: None,
        last_error: None,
        charge: None,
    }
}

fn approved(session: &Session, intent: Intent, card: Card, moment: &Moment<'_>) -> Vec<Record> {
    let (status, captured, kind) = match intent.capture_method {
        CaptureMethod::Manual => (
            IntentStatus::RequiresCapture,
            false,
            "payment_intent.amount_capturable_updated",
        ),
        CaptureMethod::Automatic => (IntentStatus::Succeeded, true, "payment_intent.succeeded"),
    };
    let charge = Charge {
        id: moment.ids.object("ch_"),
        created: moment.now,
        card,
        captured,
        amount_captured: if captured { intent.amount } else { 0 },
        amount_refunded: 0,
        failure: None,
    };
    let intent = Intent {
        status,
        card: None,
        last_error: None,
        charge: Some(charge),
        ..intent
    };
    let mut records = records(session, &intent, SessionStatus::Complete);
    records.push(moment.event(kind, &render::intent(&intent, &Expand::nothing())));
    let session = Session {
        status: SessionStatus::Complete,
        intent: Some(intent.id.clone()),
        ..session.clone()
    };
    let shown = render::session(&session, Some(&intent), moment.public_url, &Expand::nothing());
    records.push(moment.event("checkout.session.completed", &shown));
    records
}

fn declined(
    session: &Session,
    intent: Intent,
    card: Card,
    failure: CardFailure,
    moment: &Moment<'_>,
) -> Vec<Record> {
    let charge = Charge {
        id: moment.ids.object("ch_"),
        created: moment.now,
        card,
        captured: false,
        amount_captured: 0,
        amount_refunded: 0,
        failure: Some(failure.clone()),
    };
    let intent = Intent {
        status: IntentStatus::RequiresPaymentMethod,
        card: None,
        last_error: Some(failure),
        charge: Some(charge),
        ..intent
    };
    let mut records = records(session, &intent, SessionStatus::Open);
    records.push(moment.event(
        "payment_intent.payment_failed",
        &render::intent(&intent, &Expand::nothing()),
    ));
    records
}

fn records(session: &Session, intent: &Intent, status: SessionStatus) -> Vec<Record> {
    let session = Session {
        status,
        intent: Some(intent.id.clone()),
        ..session.clone()
    };
    vec![
        Record::Session(Box::new(session)),
        Record::Intent(Box::new(intent.clone())),
    ]
}
