//! The roll of a source's readers: what each of them has said last, and asking all of them to speak.
//!
//! A relay calls the roll over every new connection: it puts a statement of its own into its request stream, and the
//! id of that statement, with its epoch, under a key at which every reader looks once a second. A reader that finds
//! an id that it has not answered states its cursor. So a relay knows who has spoken since it asked, whatever older
//! words still lie in the stream, and a reader hears of a new epoch before there is any event of it.
//!
//! It decides nothing: what a word means for a store or for a reader is its users' business.

use std::collections::BTreeMap;

use events::{Epoch, Position, Source};
use redis::cmd;

use crate::entry::StreamId;
use crate::errors::BusError;
use crate::link::Link;
use crate::requests::{self, Request, RequestKind};

/// How long a call is shown; it is shown anew every second. Nothing rests on its going.
const SHOWN_MILLIS: u64 = 4_000;

/// The last thing that a reader has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) id: StreamId,
    pub(crate) kind: RequestKind,
    pub(crate) cursor: Position,
}

/// A roll that was called, as readers find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roll {
    /// Of the call; every word after it has a larger one.
    pub(crate) id: StreamId,
    /// The epoch in which the source writes.
    pub(crate) epoch: Epoch,
}

/// What one relay knows of its readers.
#[derive(Debug)]
pub(crate) struct Readers {
    source: Source,
    expected: Vec<Source>,
    called: Option<Roll>,
    words: BTreeMap<Source, Word>,
    /// Who has claimed the furthest position, and which: also of before the roll was called, because a cursor never
    /// goes back as long as nobody restores that reader.
    furthest: Option<(Source, Position)>,
}

impl Readers {
    pub(crate) fn new(source: Source, expected: Vec<Source>) -> Self {
        Self {
            source,
            expected,
            called: None,
            words: BTreeMap::new(),
            furthest: None,
        }
    }

    /// Calls the roll: from now on only words after this one count as answers.
    pub(crate) async fn call(
        &mut self,
        link: &mut Link,
        requests_key: &str,
        head: Position,
    ) -> Result<(), BusError> {
        // Until it is called anew nobody has answered: the call before this one may have been over a Redis that is gone.
        self.called = None;
        // A word like any other: should this store ever be set back, its own word says how far it had come.
        let kind = RequestKind::Statement;
        let id = requests::ask(link, requests_key, kind, self.source, head).await?;
        let epoch = head.epoch;
        self.called = Some(Roll { id, epoch });
        Ok(())
    }

    /// Shows the call to the readers, again and again: a Redis that was emptied has forgotten it.
    pub(crate) async fn show(&self, link: &mut Link, key: &str) -> Result<(), BusError> {
        let Some(Roll { id, epoch }) = self.called else {
            return Ok(());
        };
        let mut set = cmd("SET");
        set.arg(key).arg(format!("{id} {epoch}"));
        link.run(set.arg("PX").arg(SHOWN_MILLIS)).await
    }

    /// Notes down what somebody has said.
    pub(crate) fn hear(&mut self, request: &Request) {
        let Request {
            id,
            kind,
            group,
            cursor,
        } = *request;
        self.words.insert(group, Word { id, kind, cursor });
        if self.furthest.is_none_or(|(_, furthest)| cursor > furthest) {
            self.furthest = Some((group, cursor));
        }
    }

    /// Who has claimed the furthest position, and which.
    pub(crate) fn furthest(&self) -> Option<(Source, Position)> {
        self.furthest
    }

    /// The words of readers that have spoken since the roll was called.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (Source, Word)> + '_ {
        let called = self.called.map(|roll| roll.id);
        self.words
            .iter()
            .map(|(group, word)| (*group, *word))
            .filter(move |(group, word)| *group != self.source && called.is_some_and(|id| word.id > id))
    }

    /// The readers that have not spoken since the roll was called.
    pub(crate) fn missing(&self) -> Vec<Source> {
        let answered: Vec<Source> = self.answers().map(|(group, _)| group).collect();
        let missing = |reader: &Source| !answered.contains(reader);
        self.expected.iter().copied().filter(missing).collect()
    }

    /// Whether nobody is left who could know more than a store that comes out of a backup: all readers have spoken
    /// since the roll was called, and each of them comes out of a backup itself.
    pub(crate) fn only_recollect(&self) -> bool {
        let recollects = |(_, word): (Source, Word)| word.kind == RequestKind::Recollection;
        self.missing().is_empty() && self.answers().all(recollects)
    }

    /// Whose groups the stream must have.
    pub(crate) fn expected(&self) -> &[Source] {
        &self.expected
    }
}

/// The roll that stands at `key`, if one does that can be read.
pub(crate) async fn read(link: &mut Link, key: &str) -> Result<Option<Roll>, BusError> {
    let text: Option<String> = link.run(cmd("GET").arg(key)).await?;
    Ok(text.as_deref().and_then(parse))
}

fn parse(text: &str) -> Option<Roll> {
    let (id, epoch) = text.split_once(' ')?;
    Some(Roll {
        id: id.parse().ok()?,
        epoch: Epoch(epoch.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use events::Seq;

    use super::*;

    fn at(epoch: u32, seq: u64) -> Position {
        Position {
            epoch: Epoch(epoch),
            seq: Seq(seq),
        }
    }

    fn request(millis: u64, group: Source, cursor: Position) -> Request {
        Request {
            id: StreamId { millis, counter: 0 },
            kind: RequestKind::Statement,
            group,
            cursor,
        }
    }

    #[test]
    fn only_words_after_the_call_are_answers_and_every_word_is_evidence() {
        let mut readers = Readers::new(Source::Orders, vec![Source::Tickets, Source::Payments]);
        readers.hear(&request(5, Source::Tickets, at(1, 90)));
        assert_eq!(readers.missing(), [Source::Tickets, Source::Payments]);
        let id = StreamId {
            millis: 7,
            counter: 0,
        };
        let epoch = Epoch::FIRST;
        readers.called = Some(Roll { id, epoch });
        readers.hear(&request(7, Source::Orders, at(1, 10)));
        readers.hear(&request(8, Source::Payments, at(1, 20)));
        assert_eq!(readers.missing(), [Source::Tickets]);
        assert_eq!(readers.furthest(), Some((Source::Tickets, at(1, 90))));
        readers.hear(&request(9, Source::Tickets, at(1, 90)));
        assert!(readers.missing().is_empty());
        assert_eq!(readers.answers().count(), 2, "its own word is no answer");
        assert!(!readers.only_recollect());
        for (millis, group, only) in [(10, Source::Tickets, false), (11, Source::Payments, true)] {
            let kind = RequestKind::Recollection;
            readers.hear(&Request {
                kind,
                ..request(millis, group, at(1, 5))
            });
            assert_eq!(readers.only_recollect(), only);
        }
    }

    #[test]
    fn a_call_is_read_as_it_is_shown() {
        let id = StreamId {
            millis: 7,
            counter: 1,
        };
        let epoch = Epoch(3);
        assert_eq!(parse("7-1 3"), Some(Roll { id, epoch }));
        assert_eq!(parse("7-1"), None);
        assert_eq!(parse("seven 3"), None);
    }
}
