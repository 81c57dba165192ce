//! The invariants, checked across all services while the system runs: once a minute, in memory, and not at all while
//! nothing has changed.
//!
//! Each service checks what its own rows say; only here are they compared with each other. What is broken is logged and
//! counted; nothing is repaired. A system that is too large for it is `boxoffice verify`'s to check, and says so once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use events::{OrderStatus, Position, Source};
use invariants::{Books, Fact, Tolerance, Violation, check};
use service::{Clock, Shutdown, Started};
use tokio::time::{MissedTickBehavior, interval};

use crate::operator::collect::collect_at_most;
use crate::operator::remote::Remote;

/// How often.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// How many facts are held in memory for it: some 50 MB.
const FACTS_MAX: usize = 100_000;

/// For how many rounds a system that was too large is left in peace.
const ROUNDS_TOO_LARGE: u32 = 60;

/// After how many rounds in which the very same is still on its way it is told of.
const ROUNDS_STUCK: u32 = 3;

/// How often something was found broken, by its invariant.
const VIOLATIONS: &str = "invariant_violations_total";

/// The services of this process.
pub(crate) fn remotes(services: &[Started]) -> Vec<Remote> {
    services
        .iter()
        .map(|started| Remote::in_memory(started.source, started.internal.clone()))
        .collect()
}

/// Checks until `shutdown`.
pub(crate) async fn run(remotes: Vec<Remote>, shutdown: Shutdown) {
    let mut watch = Watch::default();
    let mut interval = interval(CHECK_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, when everything is still starting.
    interval.tick().await;
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = shutdown.clone().wait() => return,
        }
        tokio::select! {
            () = watch.round(&remotes) => {}
            () = shutdown.clone().wait() => return,
        }
    }
}

/// What is remembered from one round to the next.
#[derive(Debug, Default)]
struct Watch {
    /// Where everything stood when nothing was wrong and nothing was under way.
    at_rest: Option<Standing>,
    /// What has been told already, so that it is told once.
    told: BTreeSet<Violation>,
    /// In how many rounds in a row each of these was on its way.
    on_its_way: BTreeMap<Violation, u32>,
    /// For how many more rounds it is taken to be too large.
    too_large_for: u32,
    said_too_large: bool,
}

/// Where each store stands: its last event, and how far it has read.
type Standing = Vec<(Source, bool, Position, Vec<Position>)>;

/// What is to be said after a round.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Broken(Violation),
    Stuck(Violation),
}

impl Watch {
    async fn round(&mut self, remotes: &[Remote]) {
        if self.at_rest.is_some() && self.at_rest == standing_now(remotes).await {
            return;
        }
        if self.too_large_for > 0 {
            self.too_large_for -= 1;
            return;
        }
        match collect_at_most(remotes, FACTS_MAX).await {
            Ok(Some(books)) => self.judge(&books),
            Ok(None) => {
                self.too_large_for = ROUNDS_TOO_LARGE;
                if !self.said_too_large {
                    self.said_too_large = true;
                    tracing::info!(
                        facts_max = FACTS_MAX,
                        "there is too much to compare while serving; `boxoffice verify` does it"
                    );
                }
            }
            Err(error) => tracing::warn!(%error, "the invariants were not checked this time"),
        }
    }

    fn judge(&mut self, books: &Books) {
        let violations = check(books, Clock::new().now(), Tolerance::USUAL);
        self.at_rest = (violations.is_empty() && is_at_rest(books)).then(|| standing(books));
        for finding in self.findings(violations) {
            match finding {
                Finding::Broken(violation) => {
                    metrics::counter!(VIOLATIONS, "invariant" => violation.invariant.to_string())
                        .increment(1);
                    tracing::error!(invariant = %violation.invariant, subjects = ?violation.subjects, "{violation}");
                }
                Finding::Stuck(violation) => tracing::warn!(
                    invariant = %violation.invariant,
                    subjects = ?violation.subjects,
                    rounds = ROUNDS_STUCK,
                    "{violation} It has been so for some minutes."
                ),
            }
        }
    }

    /// What is new: broken, or on its way for so long that it seems stuck.
    fn findings(&mut self, violations: Vec<Violation>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut told = BTreeSet::new();
        let mut on_its_way = BTreeMap::new();
        for violation in violations {
            if violation.is_broken() {
                if !self.told.contains(&violation) {
                    findings.push(Finding::Broken(violation.clone()));
                }
                told.insert(violation);
            } else {
                let rounds = self.on_its_way.get(&violation).copied().unwrap_or(0) + 1;
                if rounds == ROUNDS_STUCK {
                    findings.push(Finding::Stuck(violation.clone()));
                }
                on_its_way.insert(violation, rounds);
            }
        }
        (self.told, self.on_its_way) = (told, on_its_way);
        findings
    }
}

/// Whether nothing will become wrong by itself: no order has a deadline ahead, no money is on its way.
fn is_at_rest(books: &Books) -> bool {
    books.facts.iter().all(|fact| match fact {
        Fact::Order(order) => matches!(order.status, OrderStatus::Complete | OrderStatus::Cancelled),
        Fact::User(_)
        | Fact::Ticket(_)
        | Fact::Hold(_)
        | Fact::TicketReplica(_)
        | Fact::OrderReplica(_)
        | Fact::Payment(_)
        | Fact::Deadline(_)
        | Fact::Charge(_) => true,
    })
}

/// Where everything stands, by the first page of each service's books; nothing if one does not answer.
async fn standing_now(remotes: &[Remote]) -> Option<Standing> {
    let mut accounts = Books::default();
    for remote in remotes {
        match remote.get("/internal/books?limit=1").await {
            Ok(page) => accounts.add(page),
            Err(error) => {
                tracing::debug!(%error, "a service does not say where it stands");
                return None;
            }
        }
    }
    Some(standing(&accounts))
}

fn standing(books: &Books) -> Standing {
    let of = |account: &invariants::Account| {
        let cursors = account.readings.iter().map(|reading| reading.cursor).collect();
        (account.source, account.serving, account.head, cursors)
    };
    books.accounts.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use invariants::{Invariant, Severity};

    use super::*;

    fn violation(severity: Severity) -> Violation {
        Violation {
            severity,
            invariant: Invariant::I1,
            subjects: vec!["t".to_owned()],
            sentence: "Ticket t has 3 of 2 pieces reserved or sold (I1).".to_owned(),
        }
    }

    #[test]
    fn what_is_broken_is_told_once_and_again_if_it_comes_back() {
        let mut watch = Watch::default();
        let broken = violation(Severity::Broken);
        assert_eq!(
            watch.findings(vec![broken.clone()]),
            [Finding::Broken(broken.clone())]
        );
        assert_eq!(watch.findings(vec![broken.clone()]), []);
        assert_eq!(watch.findings(Vec::new()), []);
        assert_eq!(watch.findings(vec![broken.clone()]), [Finding::Broken(broken)]);
    }

    #[test]
    fn what_is_on_its_way_is_told_only_when_it_seems_stuck() {
        let mut watch = Watch::default();
        let pending = violation(Severity::Pending);
        for _ in 1..ROUNDS_STUCK {
            assert_eq!(watch.findings(vec![pending.clone()]), []);
        }
        assert_eq!(
            watch.findings(vec![pending.clone()]),
            [Finding::Stuck(pending.clone())]
        );
        assert_eq!(watch.findings(vec![pending.clone()]), [], "once is enough");
        assert_eq!(watch.findings(Vec::new()), []);
        assert_eq!(watch.findings(vec![pending]), [], "it starts anew");
    }
}
