//! Whether everything still adds up after a run: as anybody can see it over HTTP, and as `boxoffice verify` sees it from
//! within. A fast wrong answer is worth nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::http::{Connection, Request};
use crate::market::{Listing, Market};
use crate::results::Check;
use crate::system::Verify;

/// How long what is on its way may take to arrive.
const SETTLED_SECONDS_MAX: u64 = 30;

/// How many listings are looked at at once.
const CHECKING_AT_ONCE: usize = 16;

/// How many orders a page has.
const PAGE: usize = 100;

/// How many findings are told.
const TOLD_MAX: usize = 5;

/// How long `boxoffice verify` may take.
const VERIFY_SECONDS_MAX: u64 = 300;

#[derive(Deserialize)]
struct TicketAnswer {
    quantity: u32,
    available: u32,
}

#[derive(Deserialize)]
struct OrderAnswer<'a> {
    id: &'a str,
    status: &'a str,
    quantity: u32,
}

/// What is seen of one listing.
struct Seen {
    quantity: u64,
    available: u64,
    claimed: u64,
}

/// Looks at every listing of a run, as its seller, until all of them add up or the time is over.
pub async fn of_listings(market: &Market, listings: &Arc<Vec<Listing>>) -> Vec<Check> {
    let deadline = Instant::now() + Duration::from_secs(SETTLED_SECONDS_MAX);
    loop {
        let found = look(market, listings).await;
        if found.is_good() || Instant::now() > deadline {
            return found.checks();
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[derive(Default)]
struct Found {
    listings: usize,
    acknowledged: u64,
    unknown: u64,
    claimed: u64,
    lost: Vec<String>,
    oversold: Vec<String>,
    apart: Vec<String>,
    unread: Vec<String>,
}

impl Found {
    fn is_good(&self) -> bool {
        [&self.lost, &self.oversold, &self.apart, &self.unread]
            .iter()
            .all(|wrong| wrong.is_empty())
    }

    fn note(&mut self, listing: &Listing, seen: Result<Seen, String>) {
        self.listings += 1;
        let acknowledged = listing.acknowledged.load(Ordering::Relaxed);
        let unknown = listing.unknown.load(Ordering::Relaxed);
        self.acknowledged += acknowledged;
        self.unknown += unknown;
        let id = &listing.id;
        let seen = match seen {
            Ok(seen) => seen,
            Err(why) => return self.unread.push(format!("{id}: {why}")),
        };
        self.claimed += seen.claimed;
        if seen.claimed < acknowledged || seen.claimed > acknowledged + unknown {
            self.lost.push(format!(
                "{id}: {acknowledged} pieces acknowledged ({unknown} unknown), {} found",
                seen.claimed
            ));
        }
        if seen.claimed > seen.quantity {
            self.oversold.push(format!(
                "{id}: {} of {} pieces are claimed",
                seen.claimed, seen.quantity
            ));
        }
        if seen.available + seen.claimed != seen.quantity {
            self.apart.push(format!(
                "{id}: {} available and {} claimed of {}",
                seen.available, seen.claimed, seen.quantity
            ));
        }
    }

    fn checks(self) -> Vec<Check> {
        let all = format!("{} listings", self.listings);
        let counted = format!(
            "{} pieces acknowledged, {} of unknown outcome, {} found on {all}",
            self.acknowledged, self.unknown, self.claimed
        );
        let mut checks = vec![
            check(
                "every acknowledged order is there, and no other",
                &self.lost,
                counted,
            ),
            check("no ticket is sold beyond its pieces", &self.oversold, all.clone()),
            check("what is available and what is claimed add up", &self.apart, all),
        ];
        if !self.unread.is_empty() {
            checks.push(check("every listing can be read", &self.unread, String::new()));
        }
        checks
    }
}

fn check(name: &str, wrong: &[String], good: String) -> Check {
    let told: Vec<&str> = wrong.iter().take(TOLD_MAX).map(String::as_str).collect();
    let more = wrong.len().saturating_sub(TOLD_MAX);
    let said = match (wrong.is_empty(), more) {
        (true, _) => good,
        (false, 0) => told.join("; "),
        (false, more) => format!("{}; and {more} more", told.join("; ")),
    };
    Check {
        name: name.to_owned(),
        holds: wrong.is_empty(),
        said,
    }
}

async fn look(market: &Market, listings: &Arc<Vec<Listing>>) -> Found {
    let mut lookers = JoinSet::new();
    for first in 0..CHECKING_AT_ONCE.min(listings.len()) {
        let (market, listings) = (market.clone(), Arc::clone(listings));
        lookers.spawn(async move {
            let mut found = Vec::new();
            let mut connection = market.place.of("/api/tickets").connection();
            for at in (first..listings.len()).step_by(CHECKING_AT_ONCE) {
                found.push((at, see(&mut connection, &market, &listings[at].id).await));
            }
            found
        });
    }
    let mut found = Found::default();
    while let Some(seen) = lookers.join_next().await {
        match seen {
            Ok(seen) => {
                for (at, seen) in seen {
                    found.note(&listings[at], seen);
                }
            }
            Err(error) => found.unread.push(format!("looking was broken off: {error}")),
        }
    }
    found
}

async fn see(connection: &mut Connection, market: &Market, id: &str) -> Result<Seen, String> {
    let cookie = &market.seller.cookie;
    let mut claimed = 0;
    let mut after = String::new();
    loop {
        let path = format!("/api/tickets/{id}/orders?limit={PAGE}{after}");
        let answer = connection.send(&Request::get(&path).cookie(cookie)).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("{} to a look at its orders", answer.status));
        }
        let orders: Vec<OrderAnswer<'_>> = answer.json().map_err(|error| error.to_string())?;
        let active = orders.iter().filter(|order| order.status != "cancelled");
        claimed += active.map(|order| u64::from(order.quantity)).sum::<u64>();
        // The contract's `after` is opaque: it is taken from the link, and the last id tells that there is an end.
        let next = answer.header("link").and_then(next_after);
        match (next, orders.last().map(|order| order.id)) {
            (Some(next), Some(_)) => after = format!("&after={next}"),
            (_, _) => break,
        }
    }
    let path = format!("/api/tickets/{id}");
    let answer = connection.send(&Request::get(&path)).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let ticket: TicketAnswer = answer.json().map_err(|error| error.to_string())?;
    Ok(Seen {
        quantity: u64::from(ticket.quantity),
        available: u64::from(ticket.available),
        claimed,
    })
}

/// The `after` of the next page, as its link has it.
fn next_after(link: &str) -> Option<String> {
    let next = link.split(',').find(|link| link.contains("rel=\"next\""))?;
    let url = next.split_once('<')?.1.split_once('>')?.0;
    let query = url.split_once('?')?.1;
    let after = query.split('&').find_map(|pair| pair.strip_prefix("after="))?;
    Some(after.to_owned())
}

/// Asks `boxoffice verify` about a system.
pub async fn by_verify(program: &Path, verify: &Verify) -> Check {
    let mut command = Command::new(program);
    command
        .args(["verify", "--json", "--within", "30s"])
        .args(&verify.args)
        .kill_on_drop(true);
    if let Some(token) = &verify.operator_token {
        command.env("BOXOFFICE_OPERATOR_TOKEN", token);
    }
    let asked = tokio::time::timeout(Duration::from_secs(VERIFY_SECONDS_MAX), command.output()).await;
    let (holds, said) = match asked {
        Err(_) => (false, format!("it did not end within {VERIFY_SECONDS_MAX} s")),
        Ok(Err(error)) => (false, format!("it can't be run: {error}")),
        Ok(Ok(output)) => match serde_json::from_slice::<serde_json::Value>(&output.stdout) {
            Ok(report) => verified(&report),
            Err(_) => (false, String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        },
    };
    Check {
        name: "boxoffice verify: I1 to I7, every row and every index".to_owned(),
        holds,
        said,
    }
}

fn verified(report: &serde_json::Value) -> (bool, String) {
    let list = |name: &str| report[name].as_array().map_or(&[][..], Vec::as_slice);
    let rows: u64 = list("stores")
        .iter()
        .filter_map(|store| store["rows"].as_u64())
        .sum();
    if report["ok"] == true {
        return (true, format!("nothing is wrong in {rows} rows"));
    }
    let told = |value: &serde_json::Value| {
        value["sentence"]
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let wrong: Vec<String> = list("violations").iter().take(TOLD_MAX).map(told).collect();
    let problems = list("stores").iter().flat_map(|store| {
        let problems = store["problems"].as_array().cloned().unwrap_or_default();
        problems
            .into_iter()
            .take(TOLD_MAX)
            .map(|problem| problem.to_string())
    });
    (
        false,
        wrong.into_iter().chain(problems).collect::<Vec<_>>().join("; "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(acknowledged: u64, unknown: u64) -> Listing {
        Listing {
            id: "t".to_owned(),
            quantity: 10,
            acknowledged: acknowledged.into(),
            unknown: unknown.into(),
        }
    }

    fn broken(listing: &Listing, available: u64, claimed: u64) -> Vec<String> {
        let mut found = Found::default();
        let quantity = 10;
        found.note(
            listing,
            Ok(Seen {
                quantity,
                available,
                claimed,
            }),
        );
        let broken = found.checks().into_iter().filter(|check| !check.holds);
        broken.map(|check| check.name).collect()
    }

    #[test]
    fn what_is_lost_doubled_or_apart_is_found() {
        assert_eq!(broken(&listing(4, 0), 6, 4), Vec::<String>::new());
        assert_eq!(broken(&listing(4, 2), 5, 5), Vec::<String>::new());
        assert!(broken(&listing(4, 0), 7, 3)[0].contains("acknowledged"));
        assert!(broken(&listing(4, 0), 5, 5)[0].contains("acknowledged"));
        assert!(broken(&listing(4, 0), 5, 4)[0].contains("add up"));
        assert!(broken(&listing(11, 0), 0, 11)[0].contains("beyond"));
    }

    #[test]
    fn the_next_page_is_the_links() {
        let link = r#"</api/tickets/x/orders?limit=100&after=abc>; rel="next""#;
        assert_eq!(next_after(link), Some("abc".to_owned()));
        assert_eq!(next_after("</x>; rel=\"prev\""), None);
    }

    #[test]
    fn verify_is_understood() {
        let good = serde_json::json!({"ok": true, "stores": [{"rows": 3}, {"rows": 4}], "violations": []});
        assert_eq!(verified(&good), (true, "nothing is wrong in 7 rows".to_owned()));
        let bad = serde_json::json!({"ok": false, "stores": [{"rows": 3, "problems": ["a row"]}],
            "violations": [{"sentence": "I1: too many"}]});
        assert_eq!(verified(&bad), (false, "I1: too many; \"a row\"".to_owned()));
    }
}
