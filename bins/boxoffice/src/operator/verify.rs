//! `boxoffice verify`: the invariants, checksums, indexes, outboxes and cursors, checked and told in plain words.
//!
//! It reads and repairs nothing. What the invariants are stands in `lib/invariants`; this finds the books to check.

use std::str::FromStr;
use std::time::Duration;

use http::Method;
use invariants::{Books, Page, Tolerance, Violation, check};
use tokio::time::{Instant, sleep};

use super::at_rest;
use super::collect::collect;
use super::remote::Remote;
use super::report::{Report, StoreReport};
use super::target::{Reached, Target};
use super::{OperatorError, Outcome, now, say};

/// How long reading a whole store again may take.
const CHECK_MAX: Duration = Duration::from_secs(600);

/// How long a service may take to say how far it is with that.
const CHECK_ANSWER_MAX: Duration = Duration::from_secs(60);

/// How often a running system is asked again while something is still on its way.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Check that nothing is lost, doubled or damaged, and say what was found
///
/// Checks the invariants I1 to I7 across all services, every row's checksum, the indexes against the rows, and the
/// outboxes against the readers. Of a system that runs it asks the services; where nothing runs it reads copies of the
/// stores, so that they stay as they are.
///
/// What is still on its way while a system runs is given --within to arrive. Dead letters are told of; they are for you
/// to decide.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 nothing is wrong, 1 something is wrong, 2 it could not be checked.\n\nExamples:\n  boxoffice verify\n  boxoffice verify --data-dir /srv/boxoffice --within 30s\n  boxoffice verify --service tickets=http://127.0.0.1:8082 --service orders=http://127.0.0.1:8083\n  boxoffice verify --json | jq .violations"
)]
pub(crate) struct Verify {
    #[command(flatten)]
    target: Target,

    /// How long what is still on its way may take to arrive: 500ms, 10s, 2m
    #[arg(long, value_name = "TIME", default_value = "10s")]
    within: Within,

    /// Print one JSON object instead of sentences
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Checks, and prints what was found.
    pub(crate) async fn run(self) -> Result<Outcome, OperatorError> {
        let report = match self.target.reach().await? {
            Reached::Running(remotes) => running(&remotes, self.within.0).await?,
            Reached::AtRest(sources) => {
                let data_dir = self.target.data_dir.clone();
                let reading = tokio::task::spawn_blocking(move || at_rest::verify(&data_dir, &sources));
                reading.await.map_err(|error| {
                    OperatorError::Failed(format!("reading the stores panicked: {error}"))
                })??
            }
        };
        if self.json {
            say(&report.to_json());
        } else {
            for line in report.lines() {
                say(&line);
            }
        }
        Ok(if report.is_good() {
            Outcome::Good
        } else {
            Outcome::Bad
        })
    }
}

/// Checks a running system.
async fn running(remotes: &[Remote], within: Duration) -> Result<Report, OperatorError> {
    let (books, violations, waited) = settled(remotes, within).await?;
    let mut stores = Vec::new();
    for remote in remotes {
        let account = books.account(remote.source);
        let mut store = match read_again(remote).await {
            Ok(store) => store,
            // What does not serve can't be read; that it does not serve is what was found.
            Err(error) if account.is_some_and(|account| !account.serving) => {
                StoreReport::unreadable(remote.source, error.to_string())
            }
            Err(error) => return Err(error),
        };
        store.account = account.cloned();
        stores.push(store);
    }
    Ok(Report::of_running(stores, &books, violations, waited))
}

/// Has a service read its whole store again. It answers 503 while it is at it, and says how it went once it is done.
async fn read_again(remote: &Remote) -> Result<StoreReport, OperatorError> {
    let begun = Instant::now();
    loop {
        match remote
            .json(Method::POST, "/internal/check", CHECK_ANSWER_MAX)
            .await
        {
            Err(OperatorError::Refused { status: 503, .. }) if begun.elapsed() < CHECK_MAX => {
                // Also what answers 503 because it does not serve is asked again, if it serves soon.
                let page: Page = remote.get("/internal/books?limit=1").await?;
                if page.account.is_some_and(|account| !account.serving) {
                    return remote
                        .json(Method::POST, "/internal/check", CHECK_ANSWER_MAX)
                        .await;
                }
                sleep(ASK_AGAIN).await;
            }
            answered => return answered,
        }
    }
}

/// The books and what is wrong in them, once nothing is on its way any more or the time is over.
async fn settled(
    remotes: &[Remote],
    within: Duration,
) -> Result<(Books, Vec<Violation>, Duration), OperatorError> {
    let begun = Instant::now();
    loop {
        let books = collect(remotes).await?;
        let violations = check(&books, now(), Tolerance::USUAL);
        let is_over = begun.elapsed() >= within;
        if is_over || violations.is_empty() || violations.iter().any(Violation::is_broken) {
            return Ok((books, violations, begun.elapsed()));
        }
        sleep(ASK_AGAIN).await;
    }
}

/// A time, as a person writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Within(Duration);

impl FromStr for Within {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &text[digits.len()..];
        let wrong = || format!("`{text}` is no time; write 500ms, 10s or 2m");
        let number: u32 = digits.parse().map_err(|_| wrong())?;
        match unit {
            "ms" => Ok(Self(Duration::from_millis(u64::from(number)))),
            "s" | "" => Ok(Self(Duration::from_secs(u64::from(number)))),
            "m" => Ok(Self(Duration::from_secs(60 * u64::from(number)))),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_people_write_it() {
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("7", 7_000), ("2m", 120_000)] {
            assert_eq!(text.parse(), Ok(Within(Duration::from_millis(millis))), "{text}");
        }
        for wrong in ["", "s", "ten", "1h", "-1s", "1.5s"] {
            assert!(wrong.parse::<Within>().is_err(), "{wrong}");
        }
    }
}
