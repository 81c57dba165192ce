//! Fault switches: what the API and the webhook are told to do wrong, and how often.
//!
//! Only a queue of instructions; `api` and `webhooks` act on them.

use serde::{Deserialize, Serialize};

/// How many switches may be set at once.
const FAULTS_MAX: usize = 1_000;
/// How long an answer may be made to hang.
const HANG_SECONDS_MAX: u64 = 3_600;
const HANG_SECONDS_DEFAULT: u64 = 60;
const COPIES_DEFAULT: u32 = 2;
const COPIES_MAX: u32 = 100;
const REORDER_DEFAULT: u64 = 2;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The work is done; the connection breaks in the middle of the answer.
    AnswerLost,
    /// The work is done; the answer is a page of HTML with status 200.
    Garbage,
    /// The work is done; the answer comes `seconds` late.
    Hang,
    /// The work is done only after `seconds`; its idempotency key is in use meanwhile.
    HangBefore,
    /// 500 without the work. Nothing is stored: the same key may try again.
    ErrorBefore,
    /// 500 without the work, stored under the idempotency key and repeated for it.
    ErrorStored,
    /// The work is done, the answer is 500, stored under the idempotency key and repeated for it.
    ErrorAfter,
    /// 429 without the work.
    RateLimited,
    /// 409 without the work, as if the idempotency key were in use.
    Conflict,
    /// An event is kept back until the switches are cleared.
    Hold,
    /// An event is sent `copies` times.
    Double,
    /// The next `count` events are kept back until all are there, then sent in reversed order.
    Reorder,
    /// An event is never sent.
    Drop,
}

impl Kind {
    fn is_for_events(self) -> bool {
        match self {
            Self::Hold | Self::Double | Self::Reorder | Self::Drop => true,
            Self::AnswerLost
            | Self::Garbage
            | Self::Hang
            | Self::HangBefore
            | Self::ErrorBefore
            | Self::ErrorStored
            | Self::ErrorAfter
            | Self::RateLimited
            | Self::Conflict => false,
        }
    }
}

/// One switch, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    fault: Kind,
    /// `POST /v1/payment_intents/*/capture`, or for events `payment_intent.*`; everything, if absent.
    #[serde(default)]
    route: Option<String>,
    /// How often; until cleared, if absent.
    #[serde(default)]
    count: Option<u64>,
    #[serde(default)]
    seconds: Option<u64>,
    #[serde(default)]
    copies: Option<u32>,
}

/// One switch, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    pub(crate) id: u64,
    #[serde(rename = "fault")]
    pub(crate) kind: Kind,
    route: String,
    /// How often it will still act; null is until cleared.
    remaining: Option<u64>,
    /// How often it has acted.
    served: u64,
    pub(crate) seconds: u64,
    pub(crate) copies: u32,
    /// How many events a reordering waits for.
    pub(crate) batch: u64,
}

/// All switches, in the order in which they were set; the first that fits acts.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    next: u64,
    set: Vec<Fault>,
}

impl Faults {
    /// Sets a switch; an error is a sentence.
    pub(crate) fn set(&mut self, wanted: Wanted) -> Result<Fault, String> {
        if self.set.len() >= FAULTS_MAX {
            return Err(format!(
                "at most {FAULTS_MAX} faults can be set: clear them first"
            ));
        }
        let seconds = wanted.seconds.unwrap_or(HANG_SECONDS_DEFAULT);
        if seconds > HANG_SECONDS_MAX {
            return Err(format!("seconds must be at most {HANG_SECONDS_MAX}"));
        }
        let copies = wanted.copies.unwrap_or(COPIES_DEFAULT);
        if !(1..=COPIES_MAX).contains(&copies) {
            return Err(format!("copies must be from 1 to {COPIES_MAX}"));
        }
        let reorders = wanted.fault == Kind::Reorder;
        let batch = wanted.count.filter(|_| reorders).unwrap_or(REORDER_DEFAULT);
        self.next += 1;
        let fault = Fault {
            id: self.next,
            kind: wanted.fault,
            route: wanted.route.unwrap_or_else(|| "*".to_owned()),
            remaining: if reorders { Some(batch) } else { wanted.count },
            served: 0,
            seconds,
            copies,
            batch,
        };
        self.set.push(fault.clone());
        Ok(fault)
    }

    /// The switches that are set, those that have done their work included.
    pub(crate) fn all(&self) -> &[Fault] {
        &self.set
    }

    /// Whether a switch is still set.
    pub(crate) fn is_set(&self, id: u64) -> bool {
        self.set.iter().any(|fault| fault.id == id)
    }

    /// Clears all switches and returns how many there were.
    pub(crate) fn clear(&mut self) -> usize {
        std::mem::take(&mut self.set).len()
    }

    /// What is to go wrong with this request.
    pub(crate) fn for_request(&mut self, method: &str, path: &str) -> Option<Fault> {
        self.take(|fault| !fault.kind.is_for_events() && fits_route(&fault.route, method, path))
    }

    /// What is to go wrong with this event.
    pub(crate) fn for_event(&mut self, kind: &str) -> Option<Fault> {
        self.take(|fault| fault.kind.is_for_events() && fits(&fault.route, kind))
    }

    fn take(&mut self, wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let fault = self
            .set
            .iter_mut()
            .find(|fault| fault.remaining != Some(0) && wanted(fault))?;
        if let Some(remaining) = &mut fault.remaining {
            *remaining -= 1;
        }
        fault.served += 1;
        Some(fault.clone())
    }
}

/// A route without a method fits every method.
fn fits_route(route: &str, method: &str, path: &str) -> bool {
    match route.split_once(' ') {
        Some((wanted, route)) => wanted == method && fits(route, path),
        None => fits(route, path),
    }
}

/// Whether a text fits a pattern in which `*` stands for anything, slashes included.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => match text.strip_prefix(start) {
            None => false,
            Some(text) => {
                (0..=text.len()).any(|skipped| text.get(skipped..).is_some_and(|text| fits(rest, text)))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(json: &str) -> Wanted {
        serde_json::from_str(json).expect("a switch")
    }

    #[test]
    fn patterns() {
        assert!(fits("*", "") && fits("*", "anything") && fits("a*c", "abc") && fits("a*c", "ac"));
        assert!(!fits("a*c", "abd") && !fits("abc", "abcd") && fits("*/capture", "/v1/x/capture"));
        assert!(fits_route("POST /v1/refunds", "POST", "/v1/refunds"));
        assert!(!fits_route("POST /v1/refunds", "GET", "/v1/refunds"));
        assert!(fits_route("/v1/refunds", "GET", "/v1/refunds"));
    }

    #[test]
    fn a_switch_acts_as_often_as_it_was_told() {
        let mut faults = Faults::default();
        faults
            .set(wanted(r#"{"fault":"error_after","route":"POST *","count":2}"#))
            .expect("set");
        assert!(faults.for_request("GET", "/v1/x").is_none());
        assert!(
            faults.for_event("POST x").is_none(),
            "a request's fault never takes an event"
        );
        assert!(faults.for_request("POST", "/v1/x").is_some());
        assert!(faults.for_request("POST", "/v1/x").is_some());
        assert!(faults.for_request("POST", "/v1/x").is_none());
        assert_eq!((faults.all()[0].served, faults.clear()), (2, 1));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut faults = Faults::default();
        assert!(serde_json::from_str::<Wanted>(r#"{"fault":"explode"}"#).is_err());
        assert!(serde_json::from_str::<Wanted>(r#"{"fault":"hang","for":3}"#).is_err());
        assert!(
            faults
                .set(wanted(r#"{"fault":"hang","seconds":100000}"#))
                .is_err()
        );
        assert!(faults.set(wanted(r#"{"fault":"double","copies":0}"#)).is_err());
    }
}
