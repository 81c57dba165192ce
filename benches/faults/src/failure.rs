//! How a row fails: a sentence for who reads the log, and what had been counted by then for the table.

use std::any::Any;
use std::panic::resume_unwind;

use crate::judge::Verdict;

/// The end of a row that does not pass.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What is wrong.
    pub sentence: String,
    /// How many kill -9 there were, if somebody knows.
    pub kills: Option<usize>,
    /// What the judge has counted; nothing if the row failed before it was judged.
    pub verdict: Option<Box<Verdict>>,
}

impl Failure {
    /// One of which nothing is known but a sentence.
    pub fn in_words(sentence: String) -> Self {
        Self {
            sentence,
            kills: None,
            verdict: None,
        }
    }

    /// Ends the row, as a panic does, but with the counts. Whoever runs the row prints the sentence.
    pub fn raise(self) -> ! {
        resume_unwind(Box::new(self))
    }

    /// Out of the panic that has ended a row, whoever it came from.
    pub fn caught(panic: Box<dyn Any + Send>) -> Self {
        match panic.downcast::<Self>() {
            Ok(failure) => *failure,
            Err(panic) => {
                let sentence = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
                Self::in_words(sentence.unwrap_or_else(|| "it failed without a word".to_owned()))
            }
        }
    }
}
