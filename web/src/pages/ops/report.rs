//! What the services told, turned into the rows that the operators' page shows. Pure, and lenient: whatever
//! is missing is "unknown", since this is read when something is wrong.

use serde::Deserialize;
use serde_json::Value;

use crate::format::{self, Moment};
use crate::upstream::Service;

/// Dead letters that are shown of one service; the rest is counted.
const DEAD_LETTERS_SHOWN_MAX: usize = 50;
/// Events that are shown of one story.
const STORY_EVENTS_MAX: usize = 500;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    pub(super) ready: Option<bool>,
    pub(super) degraded: Option<Vec<String>>,
    pub(super) store: Option<StoreStatus>,
    pub(super) bus: Option<BusStatus>,
    pub(super) dead_letters: Option<Vec<DeadLetter>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct StoreStatus {
    pub(super) epoch: Option<u64>,
    pub(super) head: Option<u64>,
    pub(super) keys: Option<u64>,
    pub(super) state: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BusStatus {
    pub(super) connected: Option<bool>,
    pub(super) relayed: Option<u64>,
    pub(super) trouble: Option<String>,
    pub(super) sources: Option<Vec<SourceStatus>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SourceStatus {
    pub(super) source: Option<String>,
    pub(super) epoch: Option<u64>,
    pub(super) cursor: Option<u64>,
    pub(super) head: Option<u64>,
    pub(super) state: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DeadLetter {
    pub(super) source: Option<String>,
    pub(super) epoch: Option<u64>,
    pub(super) seq: Option<u64>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) at: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StoryEvent {
    pub(super) source: Option<String>,
    pub(super) epoch: Option<u64>,
    pub(super) seq: Option<u64>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) time: Option<String>,
    pub(super) cause: Option<Value>,
    pub(super) data: Option<Value>,
}

pub(super) struct ServiceRow {
    pub(super) name: &'static str,
    pub(super) answered: bool,
    pub(super) ready: &'static str,
    pub(super) ready_tone: &'static str,
    pub(super) epoch: String,
    pub(super) head: String,
    pub(super) keys: String,
    pub(super) store_state: String,
    pub(super) bus: &'static str,
    pub(super) bus_tone: &'static str,
    pub(super) trouble: Option<String>,
    pub(super) unpublished: String,
}

pub(super) struct StreamRow {
    pub(super) consumer: &'static str,
    pub(super) source: String,
    pub(super) epoch: String,
    pub(super) cursor: String,
    pub(super) head: String,
    pub(super) lag: String,
    pub(super) behind: bool,
    pub(super) state: String,
}

pub(super) struct LetterRow {
    pub(super) service: &'static str,
    pub(super) place: String,
    pub(super) kind: String,
    pub(super) subject: String,
    pub(super) reason: String,
    pub(super) at: Option<Moment>,
}

pub(super) struct StoryRow {
    pub(super) time: Option<Moment>,
    pub(super) seconds: String,
    pub(super) kind: String,
    pub(super) place: String,
    pub(super) cause: String,
    pub(super) data: String,
}

/// One story of events from many sources: by time, and where clocks agree to the millisecond, by source and seq.
pub(super) fn in_order(mut events: Vec<StoryEvent>) -> Vec<StoryRow> {
    let time = |event: &StoryEvent| event.time.as_deref().and_then(Moment::parse);
    events.sort_by_cached_key(|event| {
        (
            time(event).map(|moment| moment.timestamp()),
            event.source.clone(),
            event.epoch,
            event.seq,
        )
    });
    let first = events.iter().find_map(time).map(|moment| moment.timestamp());
    events
        .into_iter()
        .take(STORY_EVENTS_MAX)
        .map(|event| {
            let moment = time(&event);
            let seconds = match (first, &moment) {
                (Some(first), Some(moment)) => {
                    let millis = moment.timestamp().as_millisecond() - first.as_millisecond();
                    format!("+{}.{:03} s", millis / 1_000, millis % 1_000)
                }
                (_, _) => unknown(),
            };
            StoryRow {
                seconds,
                place: place(event.source.as_ref(), event.epoch, event.seq),
                kind: event.kind.unwrap_or_else(unknown),
                cause: event.cause.as_ref().map(cause).unwrap_or_default(),
                data: event.data.map(|data| pretty(&data)).unwrap_or_default(),
                time: moment,
            }
        })
        .collect()
}

/// `cause` as `source epoch.seq` where it has these parts, else as it came.
fn cause(value: &Value) -> String {
    match (
        value.get("source").and_then(Value::as_str),
        value.get("epoch"),
        value.get("seq"),
    ) {
        (Some(source), epoch, Some(seq)) => place(
            Some(&source.to_owned()),
            epoch.and_then(Value::as_u64),
            seq.as_u64(),
        ),
        _ if value.is_null() => String::new(),
        _ => value.to_string(),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

pub(super) fn letters(service: Service, status: &Option<Status>) -> Vec<LetterRow> {
    let letters = status
        .as_ref()
        .and_then(|status| status.dead_letters.as_deref())
        .unwrap_or_default();
    letters
        .iter()
        .take(DEAD_LETTERS_SHOWN_MAX)
        .map(|letter| LetterRow {
            service: service.name(),
            place: place(letter.source.as_ref(), letter.epoch, letter.seq),
            kind: letter.kind.clone().unwrap_or_else(unknown),
            subject: letter.subject.clone().unwrap_or_else(unknown),
            reason: letter.reason.clone().unwrap_or_else(unknown),
            at: letter.at.as_deref().and_then(Moment::parse),
        })
        .collect()
}

pub(super) fn service_row(service: Service, status: Option<&Status>) -> ServiceRow {
    let store = status.and_then(|status| status.store.as_ref());
    let bus = status.and_then(|status| status.bus.as_ref());
    let (ready, ready_tone) = match status.and_then(|status| status.ready) {
        Some(true) => ("ready", "good"),
        Some(false) => ("not ready", "bad"),
        None => ("unknown", "muted"),
    };
    let (bus_word, bus_tone) = match bus.and_then(|bus| bus.connected) {
        Some(true) => ("connected", "good"),
        Some(false) => ("cut off", "bad"),
        None => ("unknown", "muted"),
    };
    let head = store.and_then(|store| store.head);
    ServiceRow {
        name: service.name(),
        answered: status.is_some(),
        ready,
        ready_tone,
        epoch: number(store.and_then(|store| store.epoch)),
        head: number(head),
        keys: number(store.and_then(|store| store.keys)),
        store_state: store
            .and_then(|store| store.state.clone())
            .unwrap_or_else(unknown),
        bus: bus_word,
        bus_tone,
        trouble: bus
            .and_then(|bus| bus.trouble.clone())
            .or_else(|| without(status)),
        unpublished: number(match (head, bus.and_then(|bus| bus.relayed)) {
            (Some(head), Some(relayed)) => Some(head.saturating_sub(relayed)),
            (_, _) => None,
        }),
    }
}

/// What a service works without, where that is more than the bus, which has a column of its own.
fn without(status: Option<&Status>) -> Option<String> {
    let degraded = status?.degraded.as_deref().unwrap_or_default();
    let others: Vec<&str> = degraded
        .iter()
        .map(String::as_str)
        .filter(|name| *name != "bus")
        .collect();
    (!others.is_empty()).then(|| format!("without {}", others.join(", ")))
}

pub(super) fn stream_rows(service: Service, status: Option<&Status>) -> Vec<StreamRow> {
    let sources = status
        .and_then(|status| status.bus.as_ref())
        .and_then(|bus| bus.sources.as_deref())
        .unwrap_or_default();
    sources
        .iter()
        .map(|source| {
            let lag = match (source.head, source.cursor) {
                (Some(head), Some(cursor)) => Some(head.saturating_sub(cursor)),
                (_, _) => None,
            };
            StreamRow {
                consumer: service.name(),
                source: source.source.clone().unwrap_or_else(unknown),
                epoch: number(source.epoch),
                cursor: number(source.cursor),
                head: number(source.head),
                lag: number(lag),
                state: source.state.clone().unwrap_or_else(unknown),
                behind: lag.is_some_and(|lag| lag > 0),
            }
        })
        .collect()
}

fn place(source: Option<&String>, epoch: Option<u64>, seq: Option<u64>) -> String {
    let part = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    format!(
        "{} {}.{}",
        source.map_or("unknown", String::as_str),
        part(epoch),
        part(seq)
    )
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(unknown, format::grouped)
}

fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_told_in_the_order_of_time() {
        let events: Vec<StoryEvent> = serde_json::from_str(
            r#"[{"source":"tickets","epoch":1,"seq":9,"type":"ticket:reserved","time":"2027-01-01T00:00:00.020Z",
                 "cause":{"source":"orders","epoch":1,"seq":4}},
                {"source":"orders","epoch":1,"seq":4,"type":"order:created","time":"2027-01-01T00:00:00Z"},
                {"type":"lost"}]"#,
        )
        .unwrap();
        let rows = in_order(events);
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.kind.as_str(), row.seconds.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("lost", "unknown"),
                ("order:created", "+0.000 s"),
                ("ticket:reserved", "+0.020 s")
            ]
        );
        assert_eq!(rows[2].cause, "orders 1.4");
    }

    #[test]
    fn a_status_without_anything_is_unknown_everywhere() {
        let status: Status = serde_json::from_str("{}").unwrap();
        let row = service_row(Service::Orders, Some(&status));
        assert_eq!(
            (row.ready, row.bus, row.head.as_str()),
            ("unknown", "unknown", "unknown")
        );
    }
}
