//! What the bus counts. Every counter is there from the start, at zero, so that an alert on it never rests on a name
//! that nobody has heard of yet.

use events::Source;

/// Of a relay, by `source`.
const RELAY_COUNTERS: &[&str] = &[
    "bus_relayed_total",
    "bus_relay_errors_total",
    "bus_relay_mismatches_total",
    "bus_resends_total",
    "bus_adopted_events_total",
    "bus_adopted_without_total",
];

/// Of a relay, by `source` and `group`.
const RELAY_GROUP_COUNTERS: &[&str] = &["bus_snapshots_total"];

/// Of a consumer, by `source` and `group`.
const CONSUMER_COUNTERS: &[&str] = &[
    "bus_applied_total",
    "bus_passed_total",
    "bus_stale_total",
    "bus_restated_total",
    "bus_duplicates_total",
    "bus_gaps_total",
    "bus_resend_requests_total",
    "bus_handler_retries_total",
    "bus_dead_letters_total",
    "bus_consumer_errors_total",
];

/// Of an inquirer, by `source` and `group`.
const INQUIRER_COUNTERS: &[&str] = &["bus_inquiries_total", "bus_inquiries_unanswered_total"];

/// A relay begins.
pub(crate) fn relay(source: Source, readers: &[Source]) {
    for name in RELAY_COUNTERS {
        metrics::counter!(*name, "source" => source.as_str()).increment(0);
    }
    for group in readers {
        for name in RELAY_GROUP_COUNTERS {
            metrics::counter!(*name, "source" => source.as_str(), "group" => group.as_str()).increment(0);
        }
    }
}

/// A consumer begins.
pub(crate) fn consumer(source: Source, group: Source) {
    of_reader(CONSUMER_COUNTERS, source, group);
}

/// An inquirer begins.
pub(crate) fn inquirer(source: Source, group: Source) {
    of_reader(INQUIRER_COUNTERS, source, group);
}

fn of_reader(names: &[&'static str], source: Source, group: Source) {
    for name in names {
        metrics::counter!(*name, "source" => source.as_str(), "group" => group.as_str()).increment(0);
    }
}
