//! The books: every session, intent and refund, in memory, changed only by applying records.
//!
//! A pure value: it does no I/O and asks no clock. What a request decides becomes records; the same records
//! go to the journal and through `apply`, at the time of the request and again at the next start.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::clock::Seconds;
use crate::model::{Event, Intent, IntentStatus, Record, Refund, Session, SessionStatus, StoredAnswer};

/// How many events are kept after they were delivered, for `GET /v1/events/{id}`.
const EVENTS_SETTLED_MAX: usize = 2_000;
/// How many events may wait for delivery; beyond it the oldest is given up. A merchant whose webhook is
/// down for long has to re-read its open payments anyway, as with Stripe.
pub(crate) const EVENTS_PENDING_MAX: usize = 100_000;
/// How many answers are remembered for their idempotency keys; beyond it the oldest is forgotten early.
const ANSWERS_MAX: usize = 200_000;

/// Everything that this Stripe knows.
#[derive(Debug)]
pub(crate) struct Book {
    idempotency_seconds: i64,
    sessions: HashMap<String, Session>,
    intents: HashMap<String, Intent>,
    /// Ids in the order in which they came to be.
    intent_order: Vec<String>,
    refunds: HashMap<String, Refund>,
    refunds_by_intent: HashMap<String, Vec<String>>,
    open_sessions: BTreeSet<(Seconds, String)>,
    authorized: BTreeSet<(Seconds, String)>,
    events: HashMap<String, (u64, Event)>,
    event_count: u64,
    pending: BTreeMap<u64, String>,
    settled: VecDeque<String>,
    answers: HashMap<String, StoredAnswer>,
    answer_order: VecDeque<(Seconds, String)>,
}

impl Book {
    /// Empty books that remember answers for so long.
    pub(crate) fn new(idempotency_seconds: i64) -> Self {
        Self {
            idempotency_seconds,
            sessions: HashMap::new(),
            intents: HashMap::new(),
            intent_order: Vec::new(),
            refunds: HashMap::new(),
            refunds_by_intent: HashMap::new(),
            open_sessions: BTreeSet::new(),
            authorized: BTreeSet::new(),
            events: HashMap::new(),
            event_count: 0,
            pending: BTreeMap::new(),
            settled: VecDeque::new(),
            answers: HashMap::new(),
            answer_order: VecDeque::new(),
        }
    }

    pub(crate) fn session(&self, id: &str) -> Option<&Session> {
        self.sessions.get(id)
    }

    pub(crate) fn intent(&self, id: &str) -> Option<&Intent> {
        self.intents.get(id)
    }

    pub(crate) fn refund(&self, id: &str) -> Option<&Refund> {
        self.refunds.get(id)
    }

    pub(crate) fn event(&self, id: &str) -> Option<&Event> {
        self.events.get(id).map(|(_, event)| event)
    }

    /// An intent's refunds, oldest first.
    pub(crate) fn refunds_of(&self, intent: &str) -> impl DoubleEndedIterator<Item = &Refund> {
        self.refunds_by_intent
            .get(intent)
            .into_iter()
            .flatten()
            .filter_map(|id| self.refunds.get(id))
    }

    /// All intents, oldest first.
    pub(crate) fn intents(&self) -> impl DoubleEndedIterator<Item = &Intent> {
        self.intent_order.iter().filter_map(|id| self.intents.get(id))
    }

    /// How many sessions there are.
    pub(crate) fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Up to `max` open sessions whose time is over.
    pub(crate) fn overdue_sessions(&self, now: Seconds, max: usize) -> Vec<String> {
        self.open_sessions
            .iter()
            .take_while(|(at, _)| *at <= now)
            .take(max)
            .map(|(_, id)| id.clone())
            .collect()
    }

    /// Up to `max` intents that were authorised at or before this moment and not captured since.
    pub(crate) fn authorized_until(&self, until: Seconds, max: usize) -> Vec<String> {
        self.authorized
            .iter()
            .take_while(|(at, _)| *at <= until)
            .take(max)
            .map(|(_, id)| id.clone())
            .collect()
    }

    /// Events that wait for delivery, oldest first.
    pub(crate) fn pending_events(&self) -> impl Iterator<Item = &str> {
        self.pending.values().map(String::as_str)
    }

    /// The remembered answer for an idempotency key, if it is not forgotten by now.
    pub(crate) fn answer(&self, key: &str, now: Seconds) -> Option<&StoredAnswer> {
        self.answers
            .get(key)
            .filter(|answer| answer.at + self.idempotency_seconds > now)
    }

    /// Puts a change into the books.
    pub(crate) fn apply(&mut self, record: Record) {
        match record {
            Record::Session(session) => self.put_session(*session),
            Record::Intent(intent) => self.put_intent(*intent),
            Record::Refund(refund) => self.put_refund(*refund),
            Record::Event(event) => self.put_event(*event),
            Record::Answer(answer) => self.put_answer(*answer),
            Record::Settled(id) => self.settle(&id),
        }
    }

    /// Records that make these books out of empty ones. They are what a compacted journal holds.
    pub(crate) fn records(&self, now: Seconds) -> impl Iterator<Item = Record> {
        let sessions = self
            .sessions
            .values()
            .map(|session| Record::Session(Box::new(session.clone())));
        let intents = self
            .intents()
            .map(|intent| Record::Intent(Box::new(intent.clone())));
        let refunds = self.intents().flat_map(|intent| self.refunds_of(&intent.id));
        let refunds = refunds.map(|refund| Record::Refund(Box::new(refund.clone())));
        let events = self
            .settled
            .iter()
            .chain(self.pending.values())
            .filter_map(|id| self.event(id));
        let events = events.map(|event| Record::Event(Box::new(event.clone())));
        let answers = self
            .answer_order
            .iter()
            .filter_map(move |(_, key)| self.answer(key, now));
        let answers = answers.map(|answer| Record::Answer(Box::new(answer.clone())));
        sessions
            .chain(intents)
            .chain(refunds)
            .chain(events)
            .chain(answers)
    }

    fn put_session(&mut self, session: Session) {
        if let Some(before) = self.sessions.get(&session.id) {
            self.open_sessions.remove(&(before.expires_at, before.id.clone()));
        }
        if session.status == SessionStatus::Open {
            self.open_sessions
                .insert((session.expires_at, session.id.clone()));
        }
        self.sessions.insert(session.id.clone(), session);
    }

    fn put_intent(&mut self, intent: Intent) {
        match self.intents.get(&intent.id) {
            Some(before) => {
                if let Some(charge) = &before.charge {
                    self.authorized.remove(&(charge.created, before.id.clone()));
                }
            }
            None => self.intent_order.push(intent.id.clone()),
        }
        if let (IntentStatus::RequiresCapture, Some(charge)) = (intent.status, &intent.charge) {
            self.authorized.insert((charge.created, intent.id.clone()));
        }
        self.intents.insert(intent.id.clone(), intent);
    }

    fn put_refund(&mut self, refund: Refund) {
        if !self.refunds.contains_key(&refund.id) {
            self.refunds_by_intent
                .entry(refund.intent.clone())
                .or_default()
                .push(refund.id.clone());
        }
        self.refunds.insert(refund.id.clone(), refund);
    }

    fn put_event(&mut self, event: Event) {
        if self.events.contains_key(&event.id) {
            return;
        }
        self.event_count += 1;
        if event.pending {
            self.pending.insert(self.event_count, event.id.clone());
        } else {
            self.settled.push_back(event.id.clone());
        }
        self.events.insert(event.id.clone(), (self.event_count, event));
        if self.pending.len() > EVENTS_PENDING_MAX
            && let Some((_, oldest)) = self.pending.pop_first()
        {
            tracing::warn!(event = %oldest, "too many events wait for the webhook: the oldest is given up");
            self.settle(&oldest);
        }
        self.forget_settled();
    }

    fn settle(&mut self, id: &str) {
        let Some((number, event)) = self.events.get_mut(id) else {
            return;
        };
        self.pending.remove(number);
        if std::mem::replace(&mut event.pending, false) {
            self.settled.push_back(id.to_owned());
        }
        self.forget_settled();
    }

    fn forget_settled(&mut self) {
        while self.settled.len() > EVENTS_SETTLED_MAX {
            if let Some(oldest) = self.settled.pop_front() {
                self.events.remove(&oldest);
            }
        }
    }

    fn put_answer(&mut self, answer: StoredAnswer) {
        let now = answer.at;
        self.answer_order.push_back((answer.at, answer.key.clone()));
        self.answers.insert(answer.key.clone(), answer);
        while let Some((at, key)) = self.answer_order.front() {
            if *at + self.idempotency_seconds > now && self.answer_order.len() <= ANSWERS_MAX {
                break;
            }
            // A key that was used again after it had been forgotten has a later answer: that one stays.
            if self.answers.get(key).is_some_and(|stored| stored.at == *at) {
                self.answers.remove(key);
            }
            self.answer_order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str) -> Record {
        let event = Event {
            id: id.to_owned(),
            created: 1,
            kind: "checkout.session.expired".to_owned(),
            body: "{}".to_owned(),
            pending: true,
        };
        Record::Event(Box::new(event))
    }

    fn answer(key: &str, at: Seconds) -> Record {
        Record::Answer(Box::new(StoredAnswer {
            key: key.to_owned(),
            at,
            path: "/v1/refunds".to_owned(),
            params: String::new(),
            request: "req_1".to_owned(),
            status: 200,
            body: "{}".to_owned(),
        }))
    }

    #[test]
    fn a_settled_event_is_pending_no_more_and_forgotten_after_many_others() {
        let mut book = Book::new(10);
        book.apply(event("evt_first"));
        book.apply(event("evt_second"));
        assert_eq!(
            book.pending_events().collect::<Vec<_>>(),
            ["evt_first", "evt_second"]
        );
        book.apply(Record::Settled("evt_first".to_owned()));
        assert_eq!(book.pending_events().collect::<Vec<_>>(), ["evt_second"]);
        assert!(book.event("evt_first").is_some());
        for n in 0..EVENTS_SETTLED_MAX {
            book.apply(event(&format!("evt_{n}")));
            book.apply(Record::Settled(format!("evt_{n}")));
        }
        assert!(book.event("evt_first").is_none());
        assert!(book.event("evt_second").is_some(), "what waits is not forgotten");
    }

    #[test]
    fn answers_are_forgotten_when_their_time_is_over() {
        let mut book = Book::new(10);
        book.apply(answer("a", 100));
        assert!(book.answer("a", 109).is_some());
        assert!(book.answer("a", 110).is_none());
        book.apply(answer("a", 111));
        assert!(
            book.answer("a", 111).is_some(),
            "the key's later answer replaces the forgotten one"
        );
        book.apply(answer("b", 121));
        assert!(
            book.answer("a", 121).is_none() && book.answers.len() == 1,
            "and the memory is given back"
        );
    }
}
