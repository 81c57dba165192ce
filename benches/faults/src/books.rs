//! The services' own books, and Stripe's, for `invariants`: collected over HTTP, page after page.

use std::str::FromStr as _;

use events::OrderId;
use http::Method;
use invariants::{Account, Books, Charge, Fact, Invariant, Page, Tolerance, Violation};
use serde_json::Value;
use testkit::Client;

use crate::judge::Findings;
use crate::layout::OPERATOR_TOKEN;
use crate::ledger::Entries;
use crate::market::stripe;
use crate::part::Part;
use crate::system::System;

/// How many facts are asked for at once.
const FACTS_PER_PAGE: usize = 1_000;

/// Adds what the invariants say about the books of all services, read now, and what was acknowledged and is in none of them.
pub async fn compare(system: &System, entries: &Entries, findings: &mut Findings) {
    let books = match collect(system).await {
        Ok(books) => books,
        Err(sentence) => return findings.pending.push(sentence),
    };
    let lost = invariants::kept(&entries.promises(), &books);
    findings.lost.extend(lost.into_iter().map(by_subject));
    let now = service::Clock::new().now();
    // At rest nothing may be under way any more; until then it is pending, and asked again.
    for violation in invariants::check(&books, now, Tolerance::NONE) {
        match (violation.is_broken(), violation.invariant) {
            (false, _) => findings.pending.push(violation.sentence),
            // More was sold than there is, or more was paid than was delivered.
            (true, Invariant::I1 | Invariant::I2) => {
                let (subject, sentence) = by_subject(violation);
                findings.doubled.insert(subject, sentence);
            }
            (true, _) => findings.broken.push(violation.sentence),
        }
    }
}

/// What a violation is about in the first place, and its sentence.
fn by_subject(violation: Violation) -> (String, String) {
    let subject = violation.subjects.first().unwrap_or(&violation.sentence);
    (subject.clone(), violation.sentence)
}

/// The books of every service and of Stripe.
///
/// # Errors
/// A sentence, when one of them does not answer.
pub async fn collect(system: &System) -> Result<Books, String> {
    let mut books = Books::default();
    for part in Part::SERVICES {
        let client = Client::new(system.base(part)).with_bearer(OPERATOR_TOKEN);
        let mut after = String::new();
        loop {
            let path = format!("/internal/books?limit={FACTS_PER_PAGE}{after}");
            let answer = client
                .get(&path)
                .try_send()
                .await
                .map_err(|error| format!("the books of {}: {error}", part.name()))?;
            if answer.status != 200 {
                let (status, text) = (answer.status, answer.text());
                return Err(format!(
                    "the books of {} are answered {status}: {text}",
                    part.name()
                ));
            }
            let page: Page = serde_json::from_slice(&answer.body)
                .map_err(|error| format!("the books of {}: {error}", part.name()))?;
            let next = page.next.clone();
            books.add(page);
            match next {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
    }
    books.facts.extend(charges(system).await?);
    Ok(books)
}

/// What a service says of its store as a whole, if it says anything now.
pub async fn account(system: &System, part: Part) -> Option<Account> {
    let client = Client::new(system.base(part)).with_bearer(OPERATOR_TOKEN);
    let answer = client.get("/internal/books?limit=1").try_send().await.ok()?;
    serde_json::from_slice::<Page>(&answer.body).ok()?.account
}

/// A backup of a service's store, taken while it serves.
///
/// # Panics
/// When it is not given.
pub async fn backup(system: &System, part: Part) -> Vec<u8> {
    let client = Client::new(system.base(part)).with_bearer(OPERATOR_TOKEN);
    client.get("/internal/backup").expect(200).await.body.to_vec()
}

/// Has every store read all its rows and compare them with its indexes; answers what each says of itself, with the hash
/// of its rows.
///
/// # Panics
/// When a store is not good, or does not say.
pub async fn checked(system: &System) -> Books {
    let mut books = Books::default();
    for part in Part::SERVICES {
        let client = Client::new(system.base(part)).with_bearer(OPERATOR_TOKEN);
        let answer = client.request(Method::POST, "/internal/check").send().await;
        assert_eq!(answer.status, 200, "{}: {}", part.name(), answer.text());
        let report = answer.json();
        assert_eq!(report["good"], true, "the store of {}: {report}", part.name());
        let account = account(system, part).await;
        let mut account = account.unwrap_or_else(|| panic!("{} says nothing of its store", part.name()));
        account.state_hash = Some(answer.field("stateHash"));
        books.accounts.push(account);
    }
    books
}

async fn charges(system: &System) -> Result<Vec<Fact>, String> {
    let answer = stripe(system)
        .get("/stripe-fake/ledger")
        .try_send()
        .await
        .map_err(|error| format!("Stripe's books: {error}"))?;
    let ledger: Value =
        serde_json::from_slice(&answer.body).map_err(|error| format!("Stripe's books: {error}"))?;
    let intents = ledger["intents"]
        .as_array()
        .ok_or("Stripe's books list no intents")?;
    intents.iter().map(charge).collect()
}

fn charge(intent: &Value) -> Result<Fact, String> {
    let unreadable = || format!("Stripe's books say {intent}");
    let amount = |name: &str| intent[name].as_i64().ok_or_else(unreadable);
    let held = intent["status"] == "requires_capture";
    Ok(Fact::Charge(Charge {
        intent: intent["id"].as_str().ok_or_else(unreadable)?.to_owned(),
        order_id: intent["order"]
            .as_str()
            .and_then(|id| OrderId::from_str(id).ok())
            .ok_or_else(unreadable)?,
        authorized_minor: if held { amount("amount")? } else { 0 },
        captured_minor: amount("captured")?,
        refunded_minor: amount("refunded")?,
    }))
}
