//! `/internal/status`: how a service stands.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use store::Indexes;

use super::Inside;
use super::letters::summary;

/// How many dead letters are shown.
const DEAD_LETTERS_SHOWN_MAX: usize = 100;

pub(super) async fn status<I: Indexes>(State(inside): State<Inside<I>>) -> Json<Value> {
    let store = inside.parts.store.status();
    let bus = inside.parts.bus.status();
    let sources: Vec<Value> = bus
        .sources
        .iter()
        .map(|source| {
            json!({
                "source": source.source,
                "epoch": source.cursor.epoch,
                "cursor": source.cursor.seq,
                "head": source.head.map(|head| head.seq),
                "state": source.state.to_string(),
            })
        })
        .collect();
    let health = (inside.probe)();
    let letters = inside.parts.store.dead_letters(None, DEAD_LETTERS_SHOWN_MAX);
    // A store that does not serve says so above; its dead letters are not known then, which is not the same as none.
    let dead_letters: Option<Vec<Value>> = letters.ok().map(|letters| letters.iter().map(summary).collect());
    Json(json!({
        "service": inside.parts.source,
        "ready": health.is_ready(),
        "degraded": health.degraded(),
        "store": {
            "epoch": store.epoch,
            "head": store.head,
            "keys": store.keys,
            "state": state_in_words(&store.state),
        },
        "bus": {
            "connected": bus.connected,
            "relayed": bus.relayed.seq,
            "trouble": bus.relay_trouble,
            "takenBack": {
                "events": bus.taken_back.events,
                "without": bus.taken_back.without,
                "withoutCount": bus.taken_back.without_count,
            },
            "snapshotsFor": bus.snapshots,
            "sources": sources,
        },
        "deadLetters": dead_letters,
    }))
}

/// A store's state as an operator reads it.
pub(crate) fn state_in_words(state: &store::State) -> String {
    match state {
        store::State::Serving => "serving".to_owned(),
        store::State::Reopening { since, error } => {
            format!("reopening for {} s: {error}", since.elapsed().as_secs())
        }
        store::State::Adopting { why } => format!("adopting: {why}"),
        store::State::Old { why } => format!("old: {why}"),
        store::State::Closed => "closed".to_owned(),
    }
}
