//! What deciding about a request gives: the changes to the books, and the answer.

use serde_json::Value;

use crate::clock::Seconds;
use crate::error::ApiError;
use crate::ids::Ids;
use crate::model::{Event, Record};
use crate::render;

/// What a decision may know beside the books: the time, a source of ids, and who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) now: Seconds,
    pub(crate) ids: &'a Ids,
    pub(crate) public_url: &'a str,
    /// Whether events are sent anywhere; if not, they are settled from the start.
    pub(crate) webhook: bool,
    /// The API request that leads to it, if one does (a person at the payment page makes none).
    pub(crate) request: Option<&'a str>,
    pub(crate) idempotency_key: Option<&'a str>,
}

impl Moment<'_> {
    /// An event about an object as it is after the change.
    pub(crate) fn event(&self, kind: &str, object: &Value) -> Record {
        let id = self.ids.object("evt_");
        let body = render::event(&id, kind, self.now, object, self.request, self.idempotency_key);
        Record::Event(Box::new(Event {
            id,
            created: self.now,
            kind: kind.to_owned(),
            body,
            pending: self.webhook,
        }))
    }
}

/// Changes to the books, and what to say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decision {
    pub(crate) records: Vec<Record>,
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Decision {
    /// An answer that changes nothing.
    pub(crate) fn answer(body: Value) -> Self {
        Self::changed(Vec::new(), body)
    }

    /// Changes, and the answer to them.
    pub(crate) fn changed(records: Vec<Record>, body: Value) -> Self {
        Self {
            records,
            status: 200,
            body,
        }
    }

    /// A refusal that changes the books all the same: a bank that refuses a capture, for example.
    pub(crate) fn refused(records: Vec<Record>, error: &ApiError) -> Self {
        Self {
            records,
            status: error.status,
            body: error.body(),
        }
    }
}
