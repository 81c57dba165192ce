//! The rows of faults.md, each a story with a name: start a system, let people buy, do harm, heal, judge.
//!
//! A row fails by panicking with a sentence, as a test does; whoever runs it catches that.

use std::pin::Pin;

use crate::report::Outcome;
use crate::stage::Stage;

mod killed;
mod redis;

/// What a row does.
pub type Story = fn(Stage) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One row.
pub struct Row {
    /// Its number in faults.md.
    pub number: u8,
    /// Its name, as it is asked for.
    pub name: &'static str,
    /// The fault, in a few words.
    pub fault: &'static str,
    /// What it does.
    pub story: Story,
}

macro_rules! rows {
    ($($number:literal $name:literal $fault:literal => $story:path,)+) => {
        /// All rows, in the order in which they run.
        pub const ROWS: &[Row] = &[$(Row {
            number: $number,
            name: $name,
            fault: $fault,
            story: |stage| Box::pin($story(stage)),
        },)+];
    };
}

rows! {
    2 "two-at-random" "two services killed at random, again and again" => killed::two_at_random,
    3 "after-2xx" "kill -9 right after the bytes of a 2xx" => killed::right_after_the_answer,
    6 "redis-killed-kept" "Redis killed and restarted, append-only file on" => redis::killed_and_kept,
    6 "redis-killed-lost" "Redis killed and restarted, nothing kept" => redis::killed_and_lost,
    8 "flushall" "FLUSHALL again and again" => redis::flushed,
    8 "pieces-deleted" "a group, a stream, the scheduled set deleted" => redis::pieces_deleted,
}

impl Row {
    /// The row of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.name == name)
    }

    /// The rows that somebody asks for: by name, or by number.
    pub fn asked_for(wish: &str) -> Vec<&'static Self> {
        let number = wish.parse::<u8>().ok();
        ROWS.iter()
            .filter(|row| row.name == wish || number == Some(row.number))
            .collect()
    }
}
