//! Answers that are kept beside what they were made from, and given again for as long as that is the same.
//!
//! It has no idea of when an answer is outdated. Whoever asks says what an answer would be made from now, its *ground*,
//! and gets only one that was made from exactly that: there is nothing to invalidate, and nothing to forget to. An answer
//! whose ground is gone lies there until another one takes its place, or until there is no room.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One answer may take this share of all the room: a few large ones must not push out all the others.
const SHARE_OF_ONE_MAX: usize = 8;

/// Answers by what was asked.
#[derive(Debug)]
pub struct Kept<G, A> {
    answers_max: usize,
    bytes_max: usize,
    inner: Mutex<Inner<G, A>>,
}

#[derive(Debug)]
struct Inner<G, A> {
    answers: HashMap<Box<str>, Answer<G, A>>,
    bytes: usize,
}

#[derive(Debug)]
struct Answer<G, A> {
    ground: G,
    answer: A,
    bytes: usize,
}

impl<G: PartialEq, A: Clone> Kept<G, A> {
    /// Room for so many answers, and for so many bytes of questions and answers.
    pub fn new(answers_max: usize, bytes_max: usize) -> Self {
        Self {
            answers_max,
            bytes_max,
            inner: Mutex::new(Inner {
                answers: HashMap::new(),
                bytes: 0,
            }),
        }
    }

    /// The answer to `asked`, if there is one that was made from `ground`.
    pub fn get(&self, asked: &str, ground: &G) -> Option<A> {
        let inner = self.lock();
        let found = inner.answers.get(asked)?;
        (found.ground == *ground).then(|| found.answer.clone())
    }

    /// Keeps an answer of `bytes` bytes that was made from `ground`: read before the answer was begun, so that what changes
    /// in between makes it one that is never found, and not one that is wrong.
    pub fn put(&self, asked: &str, ground: G, answer: A, bytes: usize) {
        let bytes = bytes.saturating_add(asked.len());
        if bytes > self.bytes_max / SHARE_OF_ONE_MAX {
            return;
        }
        let mut inner = self.lock();
        inner.remove(asked);
        // Begun anew rather than in order of use: what is asked often is back at once, and asking stays one look.
        if inner.answers.len() >= self.answers_max || inner.bytes + bytes > self.bytes_max {
            inner.answers.clear();
            inner.bytes = 0;
        }
        inner.bytes += bytes;
        let answer = Answer {
            ground,
            answer,
            bytes,
        };
        inner.answers.insert(asked.into(), answer);
    }

    fn lock(&self) -> MutexGuard<'_, Inner<G, A>> {
        // Whatever panicked under it has left whole answers behind, each beside its own ground.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<G, A> Inner<G, A> {
    fn remove(&mut self, asked: &str) {
        if let Some(gone) = self.answers.remove(asked) {
            self.bytes -= gone.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 800;

    #[test]
    fn only_an_answer_made_from_the_same_is_given() {
        let kept = Kept::new(10, ROOM);
        kept.put("list", 1, "one", 3);
        assert_eq!(kept.get("list", &1), Some("one"));
        assert_eq!(kept.get("list", &2), None);
        assert_eq!(kept.get("another", &1), None);
        kept.put("list", 2, "two", 3);
        assert_eq!((kept.get("list", &1), kept.get("list", &2)), (None, Some("two")));
    }

    #[test]
    fn there_are_never_more_answers_or_bytes_than_said() {
        let kept = Kept::new(10, ROOM);
        for (number, bytes) in (0..1_000_usize).map(|number| (number, number * 7 % (ROOM / 6))) {
            let asked = format!("{}", number % 25);
            kept.put(&asked, number, number, bytes);
            let inner = kept.lock();
            let sum: usize = inner.answers.values().map(|answer| answer.bytes).sum();
            assert_eq!(inner.bytes, sum);
            assert!(
                inner.answers.len() <= 10 && sum <= ROOM,
                "{} answers, {sum} bytes",
                inner.answers.len()
            );
        }
        assert_eq!(kept.get("24", &999), Some(999), "the last one is there");
    }

    #[test]
    fn what_would_take_most_of_the_room_is_not_kept() {
        let kept = Kept::new(10, ROOM);
        kept.put("a", (), (), 10);
        kept.put("b", (), (), ROOM / SHARE_OF_ONE_MAX);
        assert_eq!((kept.get("a", &()), kept.get("b", &())), (Some(()), None));
    }
}
