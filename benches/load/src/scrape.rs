//! What the system counts about itself, from its `/metrics`: how often each store synced its disk and how long that took.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::http::{Connection, Request};
use crate::number::{float, per, rounded, whole};
use crate::place::Place;

/// What was counted up to one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counted {
    /// Each store's syncs, by the upper bound of how long they took, cumulative as Prometheus has it.
    buckets: BTreeMap<String, Vec<(f64, u64)>>,
    /// Each store's transactions.
    transactions: BTreeMap<String, u64>,
}

/// What the stores did between two moments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Syncs {
    /// Syncs of all stores.
    pub count: u64,
    /// Transactions of all stores.
    pub transactions: u64,
    /// Half were faster.
    pub p50_ms: f64,
    /// 99 of a hundred were faster.
    pub p99_ms: f64,
    /// Each store's syncs and transactions.
    pub stores: BTreeMap<String, StoreSyncs>,
}

/// What one store did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreSyncs {
    /// Syncs.
    pub count: u64,
    /// Transactions, which share syncs.
    pub transactions: u64,
}

/// Asks every part of the system; nothing of those that do not tell.
pub async fn scrape(place: &Place) -> Counted {
    let mut counted = Counted::default();
    for address in place.addresses() {
        let mut connection = Connection::new(address, address.to_string());
        if let Ok(answer) = connection.send(&Request::get("/metrics")).await
            && answer.status == 200
            && let Ok(text) = std::str::from_utf8(answer.body)
        {
            counted.add(text);
        }
    }
    counted
}

impl Counted {
    fn add(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let Ok(value) = value.parse::<f64>() else {
                continue;
            };
            let Some(store) = label(name, "store") else {
                continue;
            };
            if name.starts_with("store_sync_seconds_bucket{") {
                let bound = label(name, "le").and_then(|bound| bound.parse().ok());
                let bucket = (bound.unwrap_or(f64::INFINITY), whole(value));
                self.buckets.entry(store.to_owned()).or_default().push(bucket);
            } else if name.starts_with("store_transactions_total{") {
                *self.transactions.entry(store.to_owned()).or_default() += whole(value);
            }
        }
    }

    /// What was done since `before`.
    pub fn since(&self, before: &Self) -> Syncs {
        let mut all: Vec<(f64, u64)> = Vec::new();
        let mut syncs = Syncs::default();
        for (store, buckets) in &self.buckets {
            let earlier = before.buckets.get(store);
            let mut count = 0;
            for (at, (bound, now)) in buckets.iter().enumerate() {
                let then = earlier.and_then(|earlier| earlier.get(at));
                let more = now.saturating_sub(then.map_or(0, |(_, count)| *count));
                count = count.max(more);
                match all.iter_mut().find(|(known, _)| known.total_cmp(bound).is_eq()) {
                    Some((_, sum)) => *sum += more,
                    None => all.push((*bound, more)),
                }
            }
            let transactions = self.transactions.get(store).copied().unwrap_or(0);
            let transactions =
                transactions.saturating_sub(before.transactions.get(store).copied().unwrap_or(0));
            if count > 0 || transactions > 0 {
                syncs.count += count;
                syncs.transactions += transactions;
                let store_syncs = StoreSyncs { count, transactions };
                syncs.stores.insert(store.clone(), store_syncs);
            }
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        syncs.p50_ms = rounded(quantile(&all, 0.5) * 1_000.0, 3);
        syncs.p99_ms = rounded(quantile(&all, 0.99) * 1_000.0, 3);
        syncs
    }
}

/// Within a bucket, times are taken to be spread evenly: as exact as the buckets are fine.
fn quantile(cumulative: &[(f64, u64)], quantile: f64) -> f64 {
    let total = cumulative.last().map_or(0, |(_, count)| *count);
    let wanted = float(total) * quantile;
    let (mut lower, mut below) = (0.0, 0);
    for (bound, count) in cumulative {
        if float(*count) >= wanted && *count > below {
            if bound.is_infinite() {
                return lower;
            }
            return lower + (bound - lower) * per(wanted - float(below), float(count - below));
        }
        (lower, below) = (*bound, *count);
    }
    0.0
}

fn label<'a>(name: &'a str, label: &str) -> Option<&'a str> {
    let (_, labels) = name.split_once('{')?;
    labels.trim_end_matches('}').split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == label).then(|| value.trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# TYPE store_sync_seconds histogram\n\
        store_sync_seconds_bucket{store=\"orders\",le=\"0.001\"} 10\n\
        store_sync_seconds_bucket{store=\"orders\",le=\"0.01\"} 10\n\
        store_sync_seconds_bucket{store=\"orders\",le=\"+Inf\"} 10\n\
        store_transactions_total{store=\"orders\"} 100\n";
    const AFTER: &str = "store_sync_seconds_bucket{store=\"orders\",le=\"0.001\"} 60\n\
        store_sync_seconds_bucket{store=\"orders\",le=\"0.01\"} 110\n\
        store_sync_seconds_bucket{store=\"orders\",le=\"+Inf\"} 110\n\
        store_transactions_total{store=\"orders\"} 400\n\
        store_sync_seconds_bucket{store=\"tickets\",le=\"0.001\"} 0\n\
        store_sync_seconds_bucket{store=\"tickets\",le=\"0.01\"} 100\n\
        store_sync_seconds_bucket{store=\"tickets\",le=\"+Inf\"} 100\n";

    #[test]
    fn what_was_done_between_two_scrapes() {
        let (mut before, mut after) = (Counted::default(), Counted::default());
        before.add(BEFORE);
        after.add(AFTER);
        let syncs = after.since(&before);
        assert_eq!((syncs.count, syncs.transactions), (200, 300));
        assert_eq!(syncs.stores["orders"].count, 100);
        // 50 of 200 took up to 1 ms, the other 150 up to 10 ms: the median lies a third of the way up.
        assert!((syncs.p50_ms - 4.0).abs() < 0.01, "{syncs:?}");
        assert_eq!(after.since(&after), Syncs::default());
    }
}
