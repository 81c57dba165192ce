//! Asking a source how far it is, and its answer: what travels through Redis, and nothing of who asks or answers.
//!
//! A question is "*asker* *number*" in the list of its source; the answer is "*number* *epoch* *seq*" in a list of that
//! asker's own. An answer bears the number of its question, and an asker's name is never given twice: so an answer is
//! known to be younger than its question without any comparing of ids, of which an emptied Redis, or another one, begins
//! to give smaller ones. Both lists are short-lived. Whatever gets lost is asked again.
//!
//! It is no part of the request stream: what readers say there is evidence of how far a store had once come, and must
//! not be pushed out by questions, of which anybody can cause many.

use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use events::{Epoch, Position, Seq};
use redis::{Script, cmd};

use crate::errors::BusError;
use crate::link::Link;

/// How many questions wait for a relay; each service has one at a time, and asks again.
const INQUIRIES_KEPT_MAX: u64 = 64;
/// How long a question waits for a relay, and an answer for its asker: longer than anybody waits.
const INQUIRIES_KEPT_MILLIS: u64 = 4_000;
/// How long an asker's name can be; a longer one is none of ours.
const ASKER_BYTES_MAX: usize = 64;

/// KEYS: the list. ARGV: what to put in, how many entries it keeps, how long it is kept.
static PUT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], -ARGV[2], -1)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
",
    )
});

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inquiry {
    /// Who asks: a name that nobody else has, nor the same program after its next start.
    pub(crate) asker: String,
    /// Which of the asker's questions it is.
    pub(crate) number: u64,
}

/// What a source's relay says to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Of the question.
    pub(crate) number: u64,
    /// The last event that was durable when the question had been read.
    pub(crate) head: Position,
}

/// Puts a question to the relay that reads the list at `key`.
pub(crate) async fn ask(link: &mut Link, key: &str, inquiry: &Inquiry) -> Result<(), BusError> {
    let text = format!("{} {}", inquiry.asker, inquiry.number);
    put(link, key, &text).await
}

/// Waits for an answer in the asker's list at `key`, for at most `block`. It may be one to an earlier question.
pub(crate) async fn answered(
    link: &mut Link,
    key: &str,
    block: Duration,
) -> Result<Option<Answer>, BusError> {
    let text = take(link, key, block).await?;
    text.map(|text| text.parse()).transpose()
}

/// Waits for a question in the list at `key`, for at most `block`. One that can't be read is passed over.
pub(crate) async fn next(link: &mut Link, key: &str, block: Duration) -> Result<Option<Inquiry>, BusError> {
    let text = take(link, key, block).await?;
    Ok(text.as_deref().and_then(inquiry))
}

/// Puts an answer into its asker's list at `key`.
pub(crate) async fn answer(link: &mut Link, key: &str, answer: Answer) -> Result<(), BusError> {
    let Position { epoch, seq } = answer.head;
    put(link, key, &format!("{} {epoch} {seq}", answer.number)).await
}

async fn put(link: &mut Link, key: &str, text: &str) -> Result<(), BusError> {
    let mut call = PUT.key(key);
    call.arg(text).arg(INQUIRIES_KEPT_MAX).arg(INQUIRIES_KEPT_MILLIS);
    let mut connection = link.connection().await?;
    let done = call.invoke_async(&mut connection).await.map_err(BusError::from);
    link.seen(done)
}

async fn take(link: &mut Link, key: &str, block: Duration) -> Result<Option<String>, BusError> {
    let mut pop = cmd("BLPOP");
    pop.arg(key).arg(block.as_secs_f64());
    let popped: Option<(String, String)> = link.run(&pop).await?;
    Ok(popped.map(|(_, text)| text))
}

fn inquiry(text: &str) -> Option<Inquiry> {
    let (asker, number) = text.split_once(' ')?;
    // It becomes a part of a key.
    let is_name = asker
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let asker = (is_name && !asker.is_empty() && asker.len() <= ASKER_BYTES_MAX).then(|| asker.to_owned())?;
    let number = number.parse().ok()?;
    Some(Inquiry { asker, number })
}

impl FromStr for Answer {
    type Err = BusError;
    fn from_str(text: &str) -> Result<Self, BusError> {
        let parse = || {
            let mut parts = text.splitn(3, ' ');
            let number = parts.next()?.parse().ok()?;
            let epoch = Epoch(parts.next()?.parse().ok()?);
            let seq = Seq(parts.next()?.parse().ok()?);
            let head = Position { epoch, seq };
            Some(Self { number, head })
        };
        parse().ok_or(BusError::Shape("not an answer to an inquiry"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_asker_writes_is_a_question() {
        let asker = "0199-ab".to_owned();
        assert_eq!(inquiry("0199-ab 7"), Some(Inquiry { asker, number: 7 }));
        let long = format!("{} 7", "a".repeat(ASKER_BYTES_MAX + 1));
        for text in ["", "7", " 7", "a b 7", "a:b 7", "a -7", "a 7 ", long.as_str()] {
            assert_eq!(inquiry(text), None, "{text}");
        }
    }

    #[test]
    fn an_answer_is_read_as_it_is_written() {
        let head = Position {
            epoch: Epoch(2),
            seq: Seq(31),
        };
        assert_eq!("7 2 31".parse::<Answer>().unwrap(), Answer { number: 7, head });
        for text in ["", "7", "7 2", "7 2 31 ", "7 2 -1"] {
            assert!(text.parse::<Answer>().is_err(), "{text}");
        }
    }
}
