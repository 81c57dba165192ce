//! Whether all is well after a fault: what the system says now against what it has acknowledged, Stripe's books,
//! and the invariants.
//!
//! Two kinds of trouble: *broken* may never be, however short the time since the fault; *pending* must come right
//! by itself, and is asked for again until it has or the time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::books;
use crate::failure::Failure;
use crate::healed::Healed;
use crate::ledger::{Entries, KnownOrder, Status};
use crate::market::{Market, PRICE_CENTS, read_order, stripe};
use crate::person::Wish;
use crate::system::System;
use crate::times::Times;

/// How long everything may take to come right once the fault is healed and the clients have come to their end.
const CONVERGED_SECONDS_MAX: u64 = 90;

/// The pause between two looks at everything.
const LOOK_MILLIS: u64 = 200;

/// How many sentences of each kind a failure shows.
const SHOWN_MAX: usize = 12;

/// What a look at everything has found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Acknowledged, and not there any more: by what it is, so that it counts once however often it is missed.
    pub lost: BTreeMap<String, String>,
    /// There, and nobody asked for it; or there twice; or paid twice. By what it is, too.
    pub doubled: BTreeMap<String, String>,
    /// An invariant that may never be broken is.
    pub broken: Vec<String>,
    /// Not right yet.
    pub pending: Vec<String>,
}

/// What came of it all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verdict {
    /// What was measured, for the invariants that are about time.
    pub times: Times,
    /// How many writes were answered 2xx.
    pub acknowledged: usize,
    /// How many of the things they told of are not there.
    pub lost: usize,
    /// How many tickets, orders and charges are there once too often.
    pub doubled: usize,
    /// How many purchases came to their end.
    pub purchases: usize,
    /// How many orders ended complete.
    pub complete: usize,
}

/// Polls until all is well.
///
/// # Panics
/// When something was lost, doubled or broken, or does not come right in time: with everything that was found.
pub async fn settle(system: &System, market: &Market, healed: Healed) -> Verdict {
    settle_within(system, market, healed, Duration::from_secs(CONVERGED_SECONDS_MAX)).await
}

/// [`settle`] with another bound.
///
/// # Panics
/// As [`settle`].
pub async fn settle_within(
    system: &System,
    market: &Market,
    mut healed: Healed,
    within: Duration,
) -> Verdict {
    let begun = Instant::now();
    loop {
        let entries = market.ledger().copy();
        let (findings, complete) = look(system, market, &entries).await;
        let wrong = findings.lost.len() + findings.doubled.len() + findings.broken.len();
        let sentence = if !entries.unexpected.is_empty() {
            Some(format!(
                "{} answers that the contract does not promise:\n{}",
                entries.unexpected_count,
                entries.unexpected.join("\n")
            ))
        } else if wrong > 0 {
            Some(String::new())
        } else if begun.elapsed() >= within {
            Some(format!("not right within {within:?}: "))
        } else {
            None
        };
        if let Some(sentence) = sentence {
            fail(system, &entries, findings, complete, &sentence).await;
        }
        if findings.pending.is_empty() {
            // Everything agrees, so that nothing of what the watch waits for can be outstanding.
            let converged = healed.known_everywhere(within).await;
            let converged = converged.expect("the services say that they have read what the books agree on");
            // Reads every row of every store: not a part of converging, and the last word.
            books::checked(system).await;
            let times = Times {
                converged,
                slowest: entries.slowest,
                ..Times::default()
            };
            return Verdict {
                times: times.with_deadlines(healed.at(), &entries.ran_out),
                ..findings.counted(&entries, complete)
            };
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
    }
}

/// Ends the row with a sentence, everything that was found, and the counts of it.
async fn fail(
    system: &System,
    entries: &Entries,
    mut findings: Findings,
    complete: usize,
    sentence: &str,
) -> ! {
    // The books were not looked at while the outside did not agree yet; what is lost is counted all the same.
    if !findings.pending.is_empty() {
        books::compare(system, entries, &mut findings).await;
    }
    Failure {
        sentence: format!("{sentence}{}\n{}", findings.in_words(), system.printed()),
        kills: Some(system.kills()),
        verdict: Some(Box::new(findings.counted(entries, complete))),
    }
    .raise()
}

impl Findings {
    /// All but the times.
    fn counted(&self, entries: &Entries, complete: usize) -> Verdict {
        Verdict {
            times: Times::default(),
            acknowledged: entries.acknowledged,
            lost: self.lost.len(),
            doubled: self.doubled.len(),
            purchases: entries.finished,
            complete,
        }
    }

    fn in_words(&self) -> String {
        let kind = |name: &str, found: &[&String]| {
            let shown: Vec<&str> = found
                .iter()
                .take(SHOWN_MAX)
                .map(|sentence| sentence.as_str())
                .collect();
            match found.len() {
                0 => String::new(),
                count => format!("{count} {name}: {}\n", shown.join("\n  ")),
            }
        };
        [
            kind("lost", &self.lost.values().collect::<Vec<_>>()),
            kind("doubled", &self.doubled.values().collect::<Vec<_>>()),
            kind("broken", &self.broken.iter().collect::<Vec<_>>()),
            kind("pending", &self.pending.iter().collect::<Vec<_>>()),
        ]
        .concat()
    }
}

/// An order as the system has it now.
struct Now {
    status: Status,
    ticket: String,
    reason: Option<String>,
}

async fn look(system: &System, market: &Market, entries: &Entries) -> (Findings, usize) {
    let mut findings = Findings::default();
    let orders = orders_now(market, &mut findings).await;
    if !findings.pending.is_empty() {
        return (findings, 0);
    }
    for (id, known) in &entries.orders {
        compare_order(id, known, orders.get(id), &mut findings);
    }
    let asked_for: BTreeSet<&String> = entries.orders.keys().collect();
    for id in orders.keys().filter(|id| !asked_for.contains(id)) {
        let sentence = format!("order {id} is there, and no client was ever told of it");
        findings.doubled.insert(id.clone(), sentence);
    }
    compare_tickets(market, entries, &orders, &mut findings).await;
    compare_money(system, &orders, &mut findings).await;
    // The books are a look at everything; they are only worth it once the outside agrees.
    if findings.pending.is_empty() {
        books::compare(system, entries, &mut findings).await;
    }
    let complete = orders.values().filter(|order| order.status == Status::Complete);
    (findings, complete.count())
}

/// Every order of every buyer.
async fn orders_now(market: &Market, findings: &mut Findings) -> BTreeMap<String, Now> {
    let mut orders = BTreeMap::new();
    for person in market.buyers() {
        let mut path = "/api/orders?limit=100".to_owned();
        loop {
            let answer = match person.once(&Wish::get(&path)).await {
                Ok(answer) if answer.status == 200 => answer,
                Ok(answer) => {
                    findings
                        .pending
                        .push(format!("{path} is answered {}: {}", answer.status, answer.text()));
                    return orders;
                }
                Err(error) => {
                    findings.pending.push(format!("{path}: {error}"));
                    return orders;
                }
            };
            let page = answer.json();
            for order in page.as_array().into_iter().flatten() {
                let Some((id, _, status)) = read_order(order) else {
                    findings.broken.push(format!("this is no order: {order}"));
                    continue;
                };
                let text = |value: &Value| value.as_str().map(str::to_owned);
                let now = Now {
                    status,
                    ticket: text(&order["ticket"]["id"]).unwrap_or_default(),
                    reason: text(&order["reason"]),
                };
                orders.insert(id, now);
            }
            match next_page(answer.header("link")) {
                Some(next) => path = next,
                None => break,
            }
        }
    }
    orders
}

/// The path in `<…>; rel="next"`.
fn next_page(link: Option<&str>) -> Option<String> {
    let (target, rel) = link?.split_once(';')?;
    let target = target.trim().strip_prefix('<')?.strip_suffix('>')?;
    // An absolute address is cut down to its path.
    let path = target.find("/api/").map(|at| &target[at..])?;
    rel.contains("next").then(|| path.to_owned())
}

fn compare_order(id: &str, known: &KnownOrder, now: Option<&Now>, findings: &mut Findings) {
    let Some(now) = now else {
        let sentence = format!("order {id} was answered 201");
        findings.lost.insert(id.to_owned(), sentence);
        return;
    };
    if now.ticket != known.ticket {
        findings.broken.push(format!(
            "order {id} is for {}, not for {}",
            now.ticket, known.ticket
        ));
    }
    let reason = now.reason.as_deref().unwrap_or("none");
    match now.status {
        Status::Cancelled if known.status == Status::Complete && reason != "refunded" => {
            let sentence = format!("order {id} was complete, and is cancelled ({reason})");
            findings.lost.insert(id.to_owned(), sentence);
        }
        Status::Complete if known.cancelled => {
            let sentence = format!("the cancellation of order {id} was answered 204");
            findings.lost.insert(id.to_owned(), sentence);
        }
        Status::Complete if known.refund => {
            findings
                .pending
                .push(format!("the refund of order {id} was answered 202"));
        }
        Status::Complete if !known.paid => {
            findings
                .broken
                .push(format!("order {id} is complete, and nobody paid"));
        }
        Status::Complete | Status::Cancelled => {}
        Status::Created | Status::AwaitingPayment | Status::Accepted | Status::Refunding => {
            findings.pending.push(format!("order {id} is {}", now.status));
        }
    }
}

/// Every listing is there, and what is left of it is what its orders leave.
async fn compare_tickets(
    market: &Market,
    entries: &Entries,
    orders: &BTreeMap<String, Now>,
    findings: &mut Findings,
) {
    let mut taken: BTreeMap<&str, u64> = BTreeMap::new();
    for order in orders.values().filter(|order| order.status != Status::Cancelled) {
        *taken.entry(&order.ticket).or_default() += 1;
    }
    for (id, known) in &entries.tickets {
        let taken = taken.get(id.as_str()).copied().unwrap_or(0);
        if taken > known.quantity {
            let sentence = format!("ticket {id} has {} pieces, and {taken} orders", known.quantity);
            findings.doubled.insert(id.clone(), sentence);
            continue;
        }
        let path = format!("/api/tickets/{id}");
        match market.sellers()[known.seller].once(&Wish::get(&path)).await {
            Ok(answer) if entries.withdrawn.contains(id) => match answer.status.as_u16() {
                404 => {}
                200 => {
                    let sentence = format!("the withdrawal of ticket {id} was answered 204");
                    findings.lost.insert(id.clone(), sentence);
                }
                status => findings.pending.push(format!("{path} is answered {status}")),
            },
            Ok(answer) if answer.status == 200 => {
                let available = answer.json()["available"].as_u64();
                if available != Some(known.quantity - taken) {
                    findings.pending.push(format!(
                        "ticket {id} says {available:?} of {} are left, its orders take {taken}",
                        known.quantity
                    ));
                }
            }
            Ok(answer) if answer.status == 404 => {
                findings
                    .lost
                    .insert(id.clone(), format!("ticket {id} was answered 201"));
            }
            Ok(answer) => findings
                .pending
                .push(format!("{path} is answered {}", answer.status)),
            Err(error) => findings.pending.push(format!("{path}: {error}")),
        }
    }
}

/// For every order exactly what was delivered is paid, and nothing is left authorised.
async fn compare_money(system: &System, orders: &BTreeMap<String, Now>, findings: &mut Findings) {
    let client = stripe(system);
    let ledger = match client.get("/stripe-fake/ledger").try_send().await {
        Ok(answer) if answer.status == 200 => answer.json(),
        Ok(answer) => return findings.pending.push(format!("Stripe answers {}", answer.status)),
        Err(error) => return findings.pending.push(format!("Stripe: {error}")),
    };
    let mut charges: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for intent in ledger["intents"].as_array().into_iter().flatten() {
        let order = intent["order"].as_str().unwrap_or("no order");
        charges.entry(order).or_default().push(intent);
    }
    for (order, intents) in &charges {
        let captured = intents.iter().filter(|intent| cents(&intent["captured"]) > 0);
        if captured.count() > 1 {
            let sentence = format!("order {order} was charged more than once");
            findings.doubled.insert((*order).to_owned(), sentence);
        }
        let held = intents
            .iter()
            .any(|intent| intent["status"] == "requires_capture");
        let over = orders.get(*order).is_none_or(|now| now.status.is_final());
        if held && over {
            findings
                .pending
                .push(format!("order {order} is over, and money is still held for it"));
        }
    }
    for (id, order) in orders {
        let none = Vec::new();
        let intents = charges.get(id.as_str()).unwrap_or(&none);
        let net: i64 = intents
            .iter()
            .map(|intent| cents(&intent["captured"]) - cents(&intent["refunded"]))
            .sum();
        match order.status {
            Status::Complete if net != PRICE_CENTS => {
                findings
                    .broken
                    .push(format!("order {id} is complete, and {net} cents were paid"));
            }
            Status::Cancelled if net != 0 => {
                findings
                    .pending
                    .push(format!("order {id} is cancelled, and {net} cents are kept"));
            }
            Status::Created
            | Status::AwaitingPayment
            | Status::Accepted
            | Status::Complete
            | Status::Refunding
            | Status::Cancelled => {}
        }
    }
}

fn cents(amount: &Value) -> i64 {
    amount.as_i64().unwrap_or(0)
}
